//! From bytes off the broker to a lease that may be worked on: the operator's two signatures, that they belong together, and
//! that the lease is ours, of a kind for our role, and not late. No clock, no network.

use std::sync::Arc;

use orion_protocol::messages::{Message as _, Role, Task, TaskBody};
use orion_protocol::sign::VerifyError;
use orion_protocol::statements::{LeaseCore, LeaseKind, LeaseTail};
use orion_protocol::{CborError, ChainId, Digest, Name, PublicKey, SecretKey, Signed, Verified};

use crate::agent::operators::{OperatorError, Operators};

/// Who a worker is, and whom it obeys.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The chain that is part of every signature.
    pub chain: ChainId,
    /// Sign leases.
    pub operators: Arc<Operators>,
    /// Our signing key.
    pub key: SecretKey,
    /// Our provider's name, in subjects and buckets.
    pub provider: Name,
    /// Our name.
    pub worker: Name,
    /// What we do.
    pub role: Role,
}

/// A lease that may be worked on. Only [`check`] makes one.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What the operator signed.
    pub core: Verified<LeaseCore>,
    /// Deadline and salt.
    pub tail: Verified<LeaseTail>,
    /// The core as it came, for the answer and for heartbeats.
    pub signed: Signed<LeaseCore>,
    /// Uid of the OrionJob, for the answer's subject.
    pub job: Name,
    /// What the task says besides.
    pub body: TaskBody,
}

impl Lease {
    /// The lease's digest.
    pub fn digest(&self) -> Digest {
        self.core.digest()
    }
}

/// Why a message is not worked on.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Not a task at all.
    #[error("the message is no task")]
    Malformed(#[source] CborError),
    /// Not the operator's.
    #[error(transparent)]
    Operator(OperatorError),
    /// A signature or a content that is refused.
    #[error("the lease's tail is not acceptable")]
    Tail(#[source] VerifyError),
    /// Core and tail are of different leases.
    #[error("the tail belongs to another lease")]
    Torn,
    /// Somebody else's lease.
    #[error("the lease is for worker {worker} of {provider}")]
    NotOurs {
        /// Whose worker.
        provider: PublicKey,
        /// Which worker.
        worker: Name,
    },
    /// Not for this role.
    #[error("a lease of kind {kind:?} is not for role {role:?}")]
    Kind {
        /// The lease's kind.
        kind: LeaseKind,
        /// Our role.
        role: Role,
    },
    /// The message's body is of another kind than its lease.
    #[error("a lease of kind {kind:?} came with another kind of task")]
    Body {
        /// The lease's kind.
        kind: LeaseKind,
    },
    /// Who commits or ingests needs the job's salt.
    #[error("a lease of kind {kind:?} came without the job's salt")]
    NoSalt {
        /// The lease's kind.
        kind: LeaseKind,
    },
    /// The deadline is over.
    #[error("the lease's deadline passed {late_ms} ms ago")]
    Late {
        /// How long ago.
        late_ms: u64,
    },
}

impl LeaseError {
    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            LeaseError::Malformed(_) => "malformed",
            LeaseError::Operator(OperatorError::Statement(_)) | LeaseError::Tail(_) => "signature",
            LeaseError::Operator(_) => "operator",
            LeaseError::Torn => "torn",
            LeaseError::NotOurs { .. } => "not_ours",
            LeaseError::Kind { .. } => "kind",
            LeaseError::Body { .. } => "body",
            LeaseError::NoSalt { .. } => "no_salt",
            LeaseError::Late { .. } => "late",
        }
    }
}

/// Whether a role takes leases of a kind. The platform also audits, as the last in every order.
pub fn takes(role: Role, kind: LeaseKind) -> bool {
    match role {
        Role::Worker => kind == LeaseKind::Work,
        Role::Validator => kind == LeaseKind::Audit,
        Role::Platform => kind != LeaseKind::Work,
    }
}

/// Checks a message; `now_ms` is Unix time.
pub fn check(identity: &Identity, bytes: &[u8], now_ms: u64) -> Result<Lease, LeaseError> {
    let task = Task::from_bytes(bytes).map_err(LeaseError::Malformed)?;
    let core = identity.operators.lease(&task).map_err(LeaseError::Operator)?;
    let Task { lease: signed, tail, job_uid: job, body, opened: _ } = task;
    let tail = tail.verify(&identity.chain, &core.key()).map_err(LeaseError::Tail)?;
    if tail.lease != core.digest() {
        return Err(LeaseError::Torn);
    }
    if core.provider != identity.key.public() || core.worker != identity.worker {
        return Err(LeaseError::NotOurs { provider: core.provider, worker: core.worker.clone() });
    }
    let (kind, role) = (core.kind, identity.role);
    if !takes(role, kind) {
        return Err(LeaseError::Kind { kind, role });
    }
    if !fits(kind, &body) {
        return Err(LeaseError::Body { kind });
    }
    if matches!(kind, LeaseKind::Work | LeaseKind::Ingest) && tail.salt.is_none() {
        return Err(LeaseError::NoSalt { kind });
    }
    if tail.deadline_ms <= now_ms {
        return Err(LeaseError::Late { late_ms: now_ms - tail.deadline_ms });
    }
    Ok(Lease { core, tail, signed, job, body })
}

fn fits(kind: LeaseKind, body: &TaskBody) -> bool {
    match body {
        TaskBody::Execute => matches!(kind, LeaseKind::Work | LeaseKind::Audit | LeaseKind::Referee),
        TaskBody::Preflight(_) => kind == LeaseKind::Preflight,
        TaskBody::Ingest(_) => kind == LeaseKind::Ingest,
        TaskBody::Aggregate(_) => kind == LeaseKind::Aggregate,
    }
}
