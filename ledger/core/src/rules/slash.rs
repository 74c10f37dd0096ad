//! Slash: whoever gave two digests for one unit loses of what it has pending and at stake. It follows from the two votes alone, and
//! nobody gets what is lost but the consumer, at most the price of the units, and a pool that is nobody's.
//!
//! Built-in kernels only, whose digests every honest machine agrees about: a user's kernel may have a race, even where it names functions
//! of ours. And only until the job's last page has matured.

use orion_protocol::ledger::Envelope;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::Slash;
use orion_protocol::price::price_of;
use orion_protocol::sign::Verified;
use orion_protocol::statements::{LeaseCore, LeaseKind, Vote};
use orion_protocol::task::{TaskSpec, Workload};
use orion_protocol::{AccountId, Digest, JobId, PublicKey, Signed};

use super::round::check_signed_lease;
use crate::bonds::Liable;
use crate::book::{Move, Place};
use crate::state::State;

/// What two votes show.
struct Guilt {
    job: JobId,
    consumer: AccountId,
    key: PublicKey,
    /// Of the units that were told twice.
    price: u64,
    slash_ppm: u32,
}

/// What is taken from where.
struct Loss {
    vesting: u64,
    bonded: u64,
    unbonding: u64,
}

pub(super) fn slash(state: &mut State, envelope: &Envelope, tx: &Slash) -> Result<Vec<Transfer>, Code> {
    if state.keys.custodian(state.epoch) != Some(envelope.signer) && !state.issuers.has(&envelope.signer) {
        return Err(Code::NotAllowed);
    }
    let guilt = guilt(state, tx)?;
    let loss = loss(state, &guilt)?;
    let transfers = state.book.apply(&moves(state, &guilt, &loss))?;
    let Guilt { job, key, .. } = guilt;
    state.shrink_vests(job, &key, loss.vesting);
    state.shrink_unbondings(&key, loss.unbonding);
    if let Some(liable) = state.liable.get_mut(&job) {
        liable.slashed.insert(key);
    }
    Ok(transfers)
}

fn guilt(state: &State, tx: &Slash) -> Result<Guilt, Code> {
    let Slash { workload, task, lease, first, second } = tx;
    let key = first.key();
    let spec = TaskSpec::from_object(task).map_err(|_| Code::OutOfBounds)?;
    let liable = state.liable.get(&spec.job).filter(|liable| liable.task == spec.digest()).ok_or(Code::NotSlashable)?;
    let Liable { task: _, consumer, slash_ppm, slashed } = liable;
    if !state.providers.contains_key(&key) || slashed.contains(&key) {
        return Err(Code::NotSlashable);
    }
    if Digest::of(workload) != spec.workload || !is_built_in(workload) {
        return Err(Code::NotSlashable);
    }
    if state.keys.is_lost(&key) {
        return Err(Code::Revoked);
    }
    if !state.earned_is_known(&spec.job) {
        return Err(Code::NotSettled);
    }
    let lease = check_signed_lease(state, lease)?;
    let of_job = lease.kind == LeaseKind::Work
        && lease.task == liable.task
        && spec.units.shard(lease.shard) == Some((lease.first_unit, lease.units));
    // A lease can be named under two tasks, and honest votes about those differ.
    let about = |vote: &Verified<Vote>| vote.lease == lease.digest() && vote.task == Some(liable.task);
    let vote = |vote: &Signed<Vote>| vote.verify(&state.chain, &key).ok().filter(about);
    let (first, second) = vote(first).zip(vote(second)).ok_or(Code::NotSlashable)?;
    if !of_job || first.round != second.round {
        return Err(Code::NotSlashable);
    }
    let twice = told_twice(&lease, &first, &second);
    let work: u128 = twice.iter().map(|unit| u128::from(spec.units.work_of(*unit, 1))).sum();
    let price = price_of(work, spec.price).map_err(|_| Code::Overflow)?;
    if twice.is_empty() {
        return Err(Code::NotSlashable);
    }
    Ok(Guilt { job: spec.job, consumer: *consumer, key, price, slash_ppm: *slash_ppm })
}

fn is_built_in(workload: &[u8]) -> bool {
    match Workload::from_object(workload) {
        Ok(Workload::Inference(_)) => true,
        Ok(Workload::Kernel(_)) | Err(_) => false,
    }
}

/// The units of the lease for which the votes have different digests.
fn told_twice(lease: &LeaseCore, first: &Vote, second: &Vote) -> Vec<u64> {
    let of_lease = |unit: u64| unit.checked_sub(lease.first_unit).is_some_and(|place| place < lease.units);
    first.differs(second).filter(|unit| of_lease(*unit)).collect()
}

/// Pending pay of the job first, then the stake, then what is not free of it yet; so much of all that as was fixed for the job.
fn loss(state: &State, guilt: &Guilt) -> Result<Loss, Code> {
    let Guilt { job, key, slash_ppm, .. } = *guilt;
    let chain = &state.chain;
    let places = [Place::vesting(chain, key, job), Place::stake(chain, key), Place::unbonding(chain, key)];
    let have = places.map(|place| state.book.balance(&place));
    let all: u128 = have.into_iter().map(u128::from).sum();
    let bound = all * u128::from(slash_ppm) / 1_000_000;
    let mut left = u64::try_from(bound).map_err(|_| Code::Overflow)?;
    let [vesting, bonded, unbonding] = have.map(|have| {
        let taken = have.min(left);
        left -= taken;
        taken
    });
    if vesting == 0 && bonded == 0 && unbonding == 0 {
        return Err(Code::NotSlashable);
    }
    Ok(Loss { vesting, bonded, unbonding })
}

fn moves(state: &State, guilt: &Guilt, loss: &Loss) -> Vec<Move> {
    let Guilt { job, consumer, key, price, slash_ppm: _ } = *guilt;
    let (chain, mut owed) = (&state.chain, price);
    let from = [
        (Place::vesting(chain, key, job), loss.vesting),
        (Place::stake(chain, key), loss.bonded),
        (Place::unbonding(chain, key), loss.unbonding),
    ];
    let (consumer, pool) = (Place::consumer(consumer), Place::slash_pool(chain));
    let mut moves = Vec::with_capacity(2 * from.len());
    for (from, amount) in from {
        let back = amount.min(owed);
        owed -= back;
        moves.push(Move { from, to: consumer, amount: back });
        moves.push(Move { from, to: pool, amount: amount - back });
    }
    moves
}
