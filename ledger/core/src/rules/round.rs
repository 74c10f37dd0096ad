//! CloseRound: fixes commitments before the draw. Every embedded statement is verified here, and unpacked once.

use std::collections::BTreeSet;

use orion_protocol::draw;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{CloseRound, RoundEntry};
use orion_protocol::price::MAX_ATTEMPTS;
use orion_protocol::sign::Verified;
use orion_protocol::statements::{LeaseCore, LeaseKind};
use orion_protocol::{Digest, PublicKey, Signed};

use super::running_job;
use crate::job::{Entry, Job, Round};
use crate::state::State;

pub(super) fn close(state: &mut State, tx: &CloseRound) -> Result<Vec<Transfer>, Code> {
    let CloseRound { job: id, sequence, entries, eligible } = tx;
    let job = running_job(state, id)?;
    tx.check().map_err(|_| Code::OutOfBounds)?;
    if *sequence != job.rounds.len() as u64 {
        return Err(Code::WrongSequence);
    }
    if !eligible.iter().all(|key| may_audit(state, key)) {
        return Err(Code::BadValidator);
    }
    let mut shards = BTreeSet::new();
    let mut checked = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = check_entry(state, job, entry)?;
        if !shards.insert(entry.lease.shard) {
            return Err(Code::SlotTaken);
        }
        checked.push(entry);
    }
    let commitments: Vec<Digest> = checked.iter().map(|entry| entry.commitment_digest).collect();
    let round = Round { id: draw::round_id(id, &commitments), closed: tx.clone(), drawn: None, entries: checked };

    let at = job.rounds.len();
    let job = state.jobs.get_mut(id).ok_or(Code::NoSuchJob)?;
    for shard in shards {
        job.slots.entry(shard).or_default().open = true;
    }
    job.rounds.push(round);
    state.unsealed.push((*id, at));
    Ok(Vec::new())
}

/// The platform's worker has the last word on units, so it is never among those it would overrule.
fn may_audit(state: &State, key: &PublicKey) -> bool {
    let validates = state.providers.get(key).is_some_and(|provider| provider.validates);
    validates && !state.keys.is_platform(key) && !state.keys.is_revoked(key)
}

fn check_entry(state: &State, job: &Job, entry: &RoundEntry) -> Result<Entry, Code> {
    let RoundEntry { lease, commitment, ingested } = entry;
    let lease = check_signed_lease(state, lease)?;
    check_lease(state, job, &lease)?;

    if state.keys.is_revoked(&lease.provider) {
        return Err(Code::Revoked);
    }
    if !state.providers.contains_key(&lease.provider) {
        return Err(Code::BadCommitment);
    }
    let commitment = commitment.verify(&state.chain, &lease.provider).map_err(|_| Code::BadCommitment)?;
    let answers = commitment.lease == lease.digest()
        && commitment.units == lease.units
        && commitment.outputs.len() == job.spec.outputs.len();
    if !answers {
        return Err(Code::BadCommitment);
    }

    let platform = state.keys.platform().ok_or(Code::BadIngest)?;
    let ingested = ingested.verify(&state.chain, &platform).map_err(|_| Code::BadIngest)?;
    if ingested.commitment != commitment.digest() || ingested.refused.is_some() {
        return Err(Code::BadIngest);
    }
    Ok(Entry {
        lease_digest: lease.digest(),
        lease: lease.into_inner(),
        commitment_digest: commitment.digest(),
        commitment: commitment.into_inner(),
        verdict: None,
    })
}

/// The lease is signed by the operator of its epoch, whose key is not lost.
pub(super) fn check_signed_lease(state: &State, lease: &Signed<LeaseCore>) -> Result<Verified<LeaseCore>, Code> {
    let lease = lease.verify(&state.chain, &lease.key()).map_err(|_| Code::BadLease)?;
    if state.keys.operator_at(lease.token.epoch) != Some(lease.key()) {
        return Err(Code::BadLease);
    }
    if state.keys.is_lost(&lease.key()) { Err(Code::Revoked) } else { Ok(lease) }
}

/// The lease is for this job's work, cut as the task says, and newer than every judged attempt.
fn check_lease(state: &State, job: &Job, lease: &LeaseCore) -> Result<(), Code> {
    let range = job.spec.units.shard(lease.shard);
    let of_job =
        lease.kind == LeaseKind::Work && lease.task == job.task && range == Some((lease.first_unit, lease.units));
    let token = lease.token;
    if !of_job || token.epoch > state.epoch || token.attempt == 0 || token.copy != 0 {
        return Err(Code::BadLease);
    }
    let slot = job.slots.get(&lease.shard).copied().unwrap_or_default();
    if slot.accepted || slot.open {
        return Err(Code::SlotTaken);
    }
    if slot.judged > 0 && token.attempt <= slot.fence {
        return Err(Code::BadLease);
    }
    if slot.judged >= MAX_ATTEMPTS { Err(Code::OutOfBounds) } else { Ok(()) }
}
