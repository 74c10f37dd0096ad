//! What travels over the broker around the signed statements: tasks to workers, their answers, heartbeats. Unsigned parts
//! carry convenience only; whatever decides anything is inside a statement.

use minicbor::{Decode, Encode};

use crate::bytes::Name;
use crate::cbor::{self, CborError};
use crate::digest::Digest;
use crate::format::Format;
use crate::ledger::api::LeafProof;
use crate::sign::Signed;
use crate::statements::{Aggregated, Commitment, Failed, Ingested, LeaseCore, LeaseTail, Preflighted, Vote};
use crate::task::{OutputSpec, UnitTable};

/// A message of the broker.
pub trait Message: Encode<()> + for<'b> Decode<'b, ()> {
    /// What it is, in errors.
    const WHAT: &'static str;
    /// The longest that is read, in bytes.
    const MAX_BYTES: usize;

    /// Its canonical bytes.
    fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads it.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::from_slice(Self::WHAT, bytes, Self::MAX_BYTES)
    }
}

/// A lease with what its holder needs besides the stored objects.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Task {
    /// The lease's core.
    #[n(0)]
    pub lease: Signed<LeaseCore>,
    /// The lease's tail.
    #[n(1)]
    pub tail: Signed<LeaseTail>,
    /// Uid of the OrionJob, for the subject of the answer.
    #[n(2)]
    pub job_uid: Name,
    /// By kind of lease.
    #[n(3)]
    pub body: TaskBody,
    /// The opening of the lease's epoch, as the log has it: that it is this operator's. Absent for the genesis' operator, whom
    /// everybody knows.
    #[n(4)]
    pub opened: Option<LeafProof>,
}

impl Message for Task {
    const WHAT: &'static str = "task";
    const MAX_BYTES: usize = 64 * 1024;
}

/// What a task says besides its lease.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TaskBody {
    /// Work, audit, referee: everything is in the TaskSpec object named by the lease's task digest.
    #[n(0)]
    Execute,
    /// Preflight: there is no TaskSpec yet.
    #[n(1)]
    Preflight(#[n(0)] Trial),
    /// Ingest: the commitment.
    #[n(2)]
    Ingest(#[n(0)] Committed),
    /// Aggregation: digest of the [`Manifest`] object in bucket `in`.
    #[n(3)]
    Aggregate(#[n(0)] Digest),
}

/// A job that is to be tried out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Trial {
    /// Digest of the workload object.
    #[n(0)]
    pub workload: Digest,
    /// Digests of the inputs.
    #[n(1)]
    pub inputs: Vec<Digest>,
    /// How the items are cut.
    #[n(2)]
    pub units: UnitTable,
    /// The outputs.
    #[n(3)]
    pub outputs: Vec<OutputSpec>,
    /// The job's id, which the lease's digest covers.
    #[n(4)]
    pub job: crate::ids::JobId,
}

/// A commitment with the lease that it answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Committed {
    /// The provider's name, for the bucket `out_<provider>`.
    #[n(0)]
    pub provider: Name,
    /// The work lease.
    #[n(1)]
    pub lease: Signed<LeaseCore>,
    /// What the provider signed.
    #[n(2)]
    pub commitment: Signed<Commitment>,
}

/// The accepted shards, in order: what is put together. An object in bucket `in`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// The task digest.
    #[n(0)]
    pub task: Digest,
    /// For each shard, ascending, the digests of its output objects in bucket `held`.
    #[n(1)]
    pub shards: Vec<Vec<Digest>>,
    /// The format of each output's file.
    #[n(2)]
    pub formats: Vec<Format>,
}

impl Message for Manifest {
    const WHAT: &'static str = "manifest";
    const MAX_BYTES: usize = 256 * 1024 * 1024;
}

/// What a lease's holder answers; it carries the lease back, so that a leader that never sent it can judge it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The lease that is answered.
    #[n(0)]
    pub lease: Signed<LeaseCore>,
    /// The answer.
    #[n(1)]
    pub body: AnswerBody,
}

impl Message for Answer {
    const WHAT: &'static str = "answer";
    const MAX_BYTES: usize = 32 * 1024;
}

/// The signed part of an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AnswerBody {
    /// To a preflight lease.
    #[n(0)]
    Preflighted(#[n(0)] Signed<Preflighted>),
    /// To a work lease.
    #[n(1)]
    Committed(#[n(0)] Signed<Commitment>),
    /// To an audit or referee lease.
    #[n(2)]
    Voted(#[n(0)] Signed<Vote>),
    /// To an ingest lease.
    #[n(3)]
    Ingested(#[n(0)] Signed<Ingested>),
    /// To an aggregation lease.
    #[n(4)]
    Aggregated(#[n(0)] Signed<Aggregated>),
    /// To any lease.
    #[n(5)]
    Failed(#[n(0)] Signed<Failed>),
}

/// What a worker process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Computes shards.
    #[n(0)]
    Worker,
    /// Re-executes drawn units.
    #[n(1)]
    Validator,
    /// The platform's own: preflight, ingest, aggregation, referee.
    #[n(2)]
    Platform,
}

impl Role {
    /// The word, in CamelCase.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Worker => "Worker",
            Role::Validator => "Validator",
            Role::Platform => "Platform",
        }
    }
}

/// Published on `hb.<provider>.<worker>` over core NATS; never stored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Beat {
    /// Every 2 s.
    #[n(0)]
    Alive(#[n(0)] Alive),
    /// A lease was claimed.
    #[n(1)]
    Started(#[n(0)] Signed<LeaseCore>),
    /// Units done of a lease, at most once a second.
    #[n(2)]
    Progress(#[n(0)] Digest, #[n(1)] u64),
}

impl Message for Beat {
    const WHAT: &'static str = "heartbeat";
    const MAX_BYTES: usize = 32 * 1024;
}

/// The state of a live worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Alive {
    /// What it does.
    #[n(0)]
    pub role: Role,
    /// The device class.
    #[n(1)]
    pub class: Digest,
    /// OpenCL driver and device name.
    #[n(2)]
    pub driver: String,
    /// How many leases it holds at most.
    #[n(3)]
    pub slots: u32,
    /// The leases that it holds.
    #[n(4)]
    pub leases: Vec<Signed<LeaseCore>>,
    /// Version of the program.
    #[n(5)]
    pub version: String,
    /// Whether kernels of users run here: only where they are kept from the provider's files, unless the provider waives that.
    #[n(6)]
    pub kernels: bool,
    /// Where the device computes otherwise than IEEE 754 and OpenCL say: the first probe of the self-test that shows it. Such a worker is given nothing.
    #[n(7)]
    pub fault: Option<String>,
}

impl Alive {
    /// The longest text of a fault, in bytes.
    pub const MAX_FAULT: usize = 160;
    /// Seconds between heartbeats.
    pub const EVERY_S: u64 = 2;
    /// Seconds of silence after which a worker counts as lost.
    pub const LOST_S: u64 = 8;
    /// At most so many slots are believed.
    pub const MAX_SLOTS: u32 = 16;

    /// Checks every bound.
    pub fn check(&self) -> Result<(), String> {
        if self.slots > Self::MAX_SLOTS || self.leases.len() > Self::MAX_SLOTS as usize {
            return Err(format!("more than {} slots or leases", Self::MAX_SLOTS));
        }
        if self.driver.len() > Commitment::MAX_DRIVER || self.version.len() > 64 {
            return Err("driver or version is too long".into());
        }
        let is_text = |text: &String| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if self.fault.as_ref().is_some_and(|fault| fault.len() > Self::MAX_FAULT || !is_text(fault)) {
            return Err("the device's fault is too long, or not printable".into());
        }
        Ok(())
    }
}
