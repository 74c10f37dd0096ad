//! The one closed list of reasons: the same words in conditions, Events, metrics, messages and the CLI.

use minicbor::{Decode, Encode};

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = $index:literal,)*) => {
        /// Why something is as it is. The words are API: they are never renamed, numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Reason {
            $($(#[$meta])* #[n($index)] $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word, in CamelCase.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)*
                }
            }

            /// Whether a kernel did this at run time. It is the job's own fault once somebody else has confirmed it.
            pub fn is_of_kernel(self) -> bool {
                matches!(self, Reason::KernelFault | Reason::OutputOverflow)
            }
        }
    };
}

reasons! {
    // Of a job as it was written: final, found before it is accepted.
    /// A field of the spec is wrong; the message names it.
    InvalidSpec = 0,
    /// A ConfigMap or key that is not there (yet).
    InputNotFound = 1,
    /// An input that is no npy array of a supported type, or too large.
    InvalidInput = 2,
    /// The kernel does not compile; the message is the compiler's.
    CompileFailed = 3,
    /// The kernel's parameters do not fit the arguments.
    ArgumentMismatch = 4,
    /// The kernel uses something that is refused.
    UnsupportedKernel = 5,
    /// The kernel uses floating point, whose bits depend on the device.
    NotExact = 6,
    /// A unit run alone gives other bits than among others.
    KernelNotUnitPure = 7,
    /// Below the platform's minimum price per second of preflight time.
    WorkUnderdeclared = 8,
    /// Buffers beyond what a device or a lease may hold.
    TooLarge = 9,
    /// The preflight did not end in time.
    PreflightTimeout = 10,
    /// The model has an operator, or a use of one, that is not supported.
    UnsupportedOperator = 11,
    // Money.
    /// The budget is below what the job may cost.
    BudgetTooSmall = 20,
    /// The namespace's account holds less than the job may cost.
    InsufficientCredits = 21,
    /// The escrow's deadline came.
    DeadlineExceeded = 22,
    /// The reward policy that the job names is not published (yet).
    UnknownPolicy = 23,
    // What a job waits for.
    /// No worker that may take the work is alive.
    NoMatchingWorker = 30,
    /// The platform's own worker is not there.
    NoPlatformWorker = 31,
    /// Broker or ledger does not answer.
    BackendUnavailable = 32,
    /// Inputs are being read, the workload tried out.
    Preflight = 33,
    /// Not yet sealed by the ledger.
    EscrowPending = 34,
    /// Shards are being computed.
    Computing = 35,
    /// Shards are computed, validators re-execute samples.
    Validating = 36,
    /// The result is being put together.
    Aggregating = 37,
    /// The ledger is paying.
    Settling = 38,
    // Faults of an attempt.
    /// The worker fell silent.
    WorkerLost = 40,
    /// The lease's deadline passed without an answer.
    LeaseExpired = 41,
    /// Committed outputs cannot be fetched.
    OutputUnavailable = 42,
    /// Committed outputs do not hash to what was committed.
    OutputMismatch = 43,
    /// The audit found other bits.
    AuditFailed = 44,
    /// The kernel crashed or failed at run time.
    KernelFault = 45,
    /// Not enough memory for the lease.
    OutOfMemory = 46,
    /// The lease itself is not acceptable to its receiver.
    LeaseRefused = 47,
    /// A shard was tried as often as is allowed.
    BackoffLimitExceeded = 48,
    /// No owner is left who may compute the shard.
    NoOwnerLeft = 49,
    /// Aggregation failed.
    AggregationFailed = 50,
    /// Kernels of users do not run there: the system cannot keep them from the provider's files.
    NotConfined = 51,
    /// A device does not compute what it must; it is given nothing.
    DeviceInexact = 52,
    /// An item has more entries than its output has room for.
    OutputOverflow = 53,
    // Things that went well.
    /// The spec is accepted.
    Accepted = 60,
    /// The escrow is locked.
    Funded = 61,
    /// Shards are out.
    Dispatched = 62,
    /// Every shard has an accepted verdict.
    AllShardsAccepted = 63,
    /// The result is stored, everybody is paid.
    Succeeded = 64,
    /// Deleted by the consumer; what was committed is judged and paid.
    Deleted = 65,
    /// Internal fault of the platform; the message is for its operators.
    InternalError = 66,
    // Whether the settlement is final.
    /// Enough witnesses have not cosigned the log so far.
    WitnessesPending = 70,
    /// The log that holds the settlement has its quorum of cosignatures.
    Witnessed = 71,
    /// Witnesses refuse to cosign the log, and without them there is no quorum.
    WitnessRefused = 72,
    // Of a validator.
    /// It signed two votes that differ about one unit of one task.
    ContradictingVotes = 73,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason with the words for a person.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refusal {
    /// The reason.
    #[n(0)]
    pub reason: Reason,
    /// What and where, at most 4 KiB.
    #[n(1)]
    pub message: String,
}

impl Refusal {
    /// The longest message, in bytes.
    pub const MAX_MESSAGE: usize = 4096;

    /// A refusal; a message that is too long is cut (compilers are talkative).
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        let mut message = message.into();
        if message.len() > Self::MAX_MESSAGE {
            let cut = (0..=Self::MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(cut);
        }
        Refusal { reason, message }
    }

    /// Checks the bound of the message.
    pub fn check(&self) -> Result<(), String> {
        if self.message.len() > Self::MAX_MESSAGE {
            return Err(format!("message is over {} bytes", Self::MAX_MESSAGE));
        }
        Ok(())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}
