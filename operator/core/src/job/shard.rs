//! One shard on its way from waiting to judged.

use std::collections::{BTreeMap, BTreeSet};

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
    /// How often all of them were given another chance.
    pub chances: u32,
    /// No lease before this time.
    pub not_before: Millis,
    /// What the platform said of commitments, by their digests; it may be read before the commitment.
    pub ingests: BTreeMap<Digest, (Signed<Ingested>, Ingested)>,
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

impl ShardState {
    /// The commitment, before it is in a round.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            ShardState::Committed(claim) | ShardState::Ingested(claim, ..) => Some(claim),
            ShardState::Waiting | ShardState::Faulted(_) | ShardState::InRound => None,
        }
    }
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
    /// Whether a commitment under `token` may still count: the shard waits, or has but an older commitment that is not
    /// ingested, and nothing newer was given or judged.
    pub fn takes(&self, token: &Token) -> bool {
        let open = match &self.state {
            ShardState::Waiting => true,
            ShardState::Committed(claim) => claim.lease.token < *token,
            ShardState::Faulted(_) | ShardState::Ingested(..) | ShardState::InRound => false,
        };
        open && token.attempt > self.judged_attempt && self.token.is_none_or(|newest| *token >= newest)
    }

    /// Goes on if the platform has said how the ingest of the commitment ended.
    pub fn ingest(&mut self, now: Millis) {
        let ShardState::Committed(claim) = &self.state else { return };
        let Some((signed, said)) = self.ingests.get(&claim.commitment_digest) else { return };
        let claim = claim.clone();
        match said.refused.as_ref().map(|refusal| refusal.reason) {
            None => self.state = ShardState::Ingested(claim, signed.clone(), now),
            Some(reason) => self.refuse(&claim.worker(), &claim.owner, reason, now),
        }
    }

    /// A verdict refused an attempt; what came of a later one stays.
    pub fn reject(&mut self, attempt: u32, owner: &Name, now: Millis) {
        self.judged += 1;
        self.judged_attempt = self.judged_attempt.max(attempt);
        self.barred_owners.insert(owner.clone());
        if matches!(self.state, ShardState::InRound) {
            self.state = ShardState::Waiting;
            self.not_before = now + BACKOFF_MS;
        }
    }

    /// Workers that were barred may try again, after a pause that grows.
    pub fn give_another_chance(&mut self, now: Millis) {
        self.barred_workers.clear();
        self.not_before = now + (CHANCE_MS << self.chances.min(MAX_CHANCE_SHIFT));
        self.chances += 1;
    }

    /// The token of the next try.
    pub fn next_token(&self, epoch: u64) -> Token {
        let attempt = self.token.map_or(0, |token| token.attempt).max(self.judged_attempt).saturating_add(1);
        Token { epoch, attempt, copy: 0 }
    }

    /// An attempt came to nothing without a verdict: who is barred hangs on the reason.
    pub fn refuse(&mut self, worker: &WorkerId, owner: &Name, reason: Reason, now: Millis) {
        match reason {
            Reason::OutputMismatch | Reason::KernelFault | Reason::OutputOverflow | Reason::OutOfMemory => {
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
/// First pause before workers that were all barred try again; it doubles so often, to about five minutes.
const CHANCE_MS: Millis = 5_000;
const MAX_CHANCE_SHIFT: u32 = 6;
