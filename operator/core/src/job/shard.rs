//! One shard on its way from waiting to judged.

use std::collections::BTreeSet;

use orion_protocol::sign::Signed;
use orion_protocol::statements::{Commitment, Ingested, LeaseCore, Token};
use orion_protocol::{Digest, Name, Reason, Refusal};

use crate::Millis;
use crate::fleet::WorkerId;

/// A shard that is neither accepted nor failed.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// The newest token given or adopted; older ones are void.
    pub token: Option<Token>,
    /// The highest attempt that has a verdict.
    pub judged_attempt: u32,
    /// How many attempts have a verdict.
    pub judged: u32,
    /// Faults that the platform confirmed.
    pub faults: u32,
    /// Workers that may not try again.
    pub barred_workers: BTreeSet<WorkerId>,
    /// Owners that may not try again.
    pub barred_owners: BTreeSet<Name>,
    /// No lease before this time.
    pub not_before: Millis,
    pub state: ShardState,
}

/// Where the shard is.
#[derive(Debug, Default)]
pub(crate) enum ShardState {
    /// To be leased, or leased.
    #[default]
    Waiting,
    /// A provider says that the kernel fails; the platform tries it.
    Faulted(Fault),
    /// Committed; to be ingested.
    Committed(Box<Claim>),
    /// Ingested; to be closed in a round.
    Ingested(Box<Claim>, Signed<Ingested>, Millis),
    /// In a closed round.
    InRound,
}

/// A fault that one provider reported.
#[derive(Debug)]
pub(crate) struct Fault {
    pub lease: Digest,
    pub owner: Name,
    pub refusal: Refusal,
}

/// A commitment whose signatures and bounds were checked.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub provider: Name,
    pub owner: Name,
    pub signed_lease: Signed<LeaseCore>,
    pub lease_digest: Digest,
    pub lease: LeaseCore,
    pub signed_commitment: Signed<Commitment>,
    pub commitment_digest: Digest,
    pub commitment: Commitment,
}

impl Claim {
    pub fn worker(&self) -> WorkerId {
        WorkerId { provider: self.provider.clone(), worker: self.lease.worker.clone() }
    }
}

impl Shard {
    /// Whether a commitment under `token` may still count: the shard waits, and nothing newer was given or judged.
    pub fn takes(&self, token: &Token) -> bool {
        matches!(self.state, ShardState::Waiting)
            && token.attempt > self.judged_attempt
            && self.token.is_none_or(|newest| *token >= newest)
    }

    /// The token of the next try.
    pub fn next_token(&self, epoch: u64) -> Token {
        let attempt = self.token.map_or(0, |token| token.attempt).max(self.judged_attempt) + 1;
        Token { epoch, attempt, copy: 0 }
    }

    /// An attempt came to nothing without a verdict: who is barred hangs on the reason.
    pub fn refuse(&mut self, worker: &WorkerId, owner: &Name, reason: Reason, now: Millis) {
        match reason {
            Reason::OutputMismatch | Reason::AuditFailed | Reason::KernelFault | Reason::OutOfMemory => {
                self.barred_owners.insert(owner.clone());
            }
            _ => {
                self.barred_workers.insert(worker.clone());
            }
        }
        self.state = ShardState::Waiting;
        self.not_before = now + BACKOFF_MS;
    }

    /// Whether this worker may take the next try.
    pub fn suits(&self, worker: &WorkerId, owner: &Name) -> bool {
        !self.barred_workers.contains(worker) && !self.barred_owners.contains(owner)
    }
}

/// Pause after an attempt that came to nothing, so that a broken worker does not spin.
const BACKOFF_MS: Millis = 200;
