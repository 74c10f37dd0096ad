//! Why two votes slash nobody: more of it than the code in a receipt says, for whoever asks before they send.

use orion_protocol::ledger::leaf::Code;
use orion_protocol::sign::VerifyError;
use orion_protocol::{CborError, Digest, JobId, PublicKey};

/// Why a Slash is refused.
#[derive(Debug, thiserror::Error)]
pub enum NotSlashed {
    /// Not everybody may send one.
    #[error("{0} is neither the operator's key in force nor an issuer's, and nobody else may slash")]
    Sender(PublicKey),
    /// The task's bytes.
    #[error("the task cannot be read")]
    Task(#[source] CborError),
    /// Of the whole chain.
    #[error("this chain slashes nobody: its genesis says slash_ppm 0")]
    Off,
    /// Honest machines may differ about it.
    #[error("the workload is a kernel that a user wrote, and honest machines may differ about it")]
    UsersKernel,
    /// Never, or it is not known any more.
    #[error("the log knows no job {0} with this task")]
    NoJob(JobId),
    /// Nothing of it is pending.
    #[error("all pay for job {0} has matured, and nobody answers for it any more")]
    Over(JobId),
    /// The platform's own key, or a stranger's.
    #[error("{0} is no provider's key")]
    NoProvider(PublicKey),
    /// Once for a key and job.
    #[error("{0} was slashed for job {1} before, which is done once")]
    Again(PublicKey, JobId),
    /// The workload's bytes are not those that the task names.
    #[error("the workload has the digest {have}, the task names {want}")]
    Workload {
        /// Of the bytes that were given.
        have: Digest,
        /// In the task.
        want: Digest,
    },
    /// Somebody else may have said it.
    #[error("the key {0} was lost, and what it signs shows nothing")]
    Lost(PublicKey),
    /// What it earned in the job is not fixed yet.
    #[error("job {0} is not settled yet")]
    NotSettled(JobId),
    /// The lease's signature, or its signer.
    #[error("the lease is none of the operator's: {0}")]
    Lease(Code),
    /// Another kind, task, shard or range.
    #[error("the lease is not for work of this task")]
    OtherWork,
    /// A signature, a key or an encoding.
    #[error("the {which} vote is none of {key}")]
    Vote {
        /// First or second.
        which: &'static str,
        /// Whose it must be.
        key: PublicKey,
        /// What is wrong with it.
        #[source]
        source: Box<VerifyError>,
    },
    /// What the vote is about.
    #[error("the {which} vote is about {what}")]
    About {
        /// First or second.
        which: &'static str,
        /// What else it is about.
        what: &'static str,
    },
    /// The votes are about two draws.
    #[error("the votes are about two rounds")]
    OtherRound,
    /// No unit of the lease has two digests.
    #[error("the votes do not differ about any unit of the lease")]
    Same,
    /// An amount is beyond what can be counted.
    #[error("the price of the units is beyond what can be counted")]
    Overflow,
    /// Pay, stake and what is unbonding.
    #[error("{0} has nothing left to lose, or too little for a part of it")]
    Nothing(PublicKey),
}

impl NotSlashed {
    /// What a receipt says of it.
    pub fn code(&self) -> Code {
        match self {
            NotSlashed::Sender(_) => Code::NotAllowed,
            NotSlashed::Task(_) => Code::OutOfBounds,
            NotSlashed::Lost(_) => Code::Revoked,
            NotSlashed::NotSettled(_) => Code::NotSettled,
            NotSlashed::Lease(code) => *code,
            NotSlashed::Overflow => Code::Overflow,
            NotSlashed::Off
            | NotSlashed::UsersKernel
            | NotSlashed::NoJob(_)
            | NotSlashed::Over(_)
            | NotSlashed::NoProvider(_)
            | NotSlashed::Again(..)
            | NotSlashed::Workload { .. }
            | NotSlashed::OtherWork
            | NotSlashed::Vote { .. }
            | NotSlashed::About { .. }
            | NotSlashed::OtherRound
            | NotSlashed::Same
            | NotSlashed::Nothing(_) => Code::NotSlashable,
        }
    }
}
