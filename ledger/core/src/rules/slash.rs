//! Slash: whoever gave two digests for one unit loses of what it has pending and at stake. It follows from the two votes alone, and
//! nobody gets what is lost but the consumer, at most the price of the units, and a pool that is nobody's.
//!
//! Built-in kernels only, whose digests every honest machine agrees about: a user's kernel may have a race, even where it names functions
//! of ours. And only until the job's last page has matured.

use orion_protocol::ledger::Envelope;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::Slash;
use orion_protocol::price::price_of;
use orion_protocol::statements::{LeaseCore, LeaseKind, Vote};
use orion_protocol::task::{TaskSpec, Workload};
use orion_protocol::{AccountId, Digest, JobId, PublicKey, Signed};

use super::not_slashed::NotSlashed;
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
    let (guilt, loss) = judge(state, &envelope.signer, tx).map_err(|why| why.code())?;
    let transfers = state.book.apply(&moves(state, &guilt, &loss))?;
    let Guilt { job, key, .. } = guilt;
    state.shrink_vests(job, &key, loss.vesting);
    state.shrink_unbondings(&key, loss.unbonding);
    if let Some(liable) = state.liable.get_mut(&job) {
        liable.slashed.insert(key);
    }
    Ok(transfers)
}

/// What the key would lose, in micro-credits.
pub(crate) fn would_lose(state: &State, sender: &PublicKey, tx: &Slash) -> Result<u64, NotSlashed> {
    let (_, Loss { vesting, bonded, unbonding }) = judge(state, sender, tx)?;
    Ok(vesting + bonded + unbonding)
}

fn judge(state: &State, sender: &PublicKey, tx: &Slash) -> Result<(Guilt, Loss), NotSlashed> {
    if state.keys.custodian(state.epoch) != Some(*sender) && !state.issuers.has(sender) {
        return Err(NotSlashed::Sender(*sender));
    }
    let guilt = guilt(state, tx)?;
    let loss = loss(state, &guilt)?;
    Ok((guilt, loss))
}

fn guilt(state: &State, tx: &Slash) -> Result<Guilt, NotSlashed> {
    let Slash { workload, task, lease, first, second } = tx;
    let key = first.key();
    let spec = TaskSpec::from_object(task).map_err(NotSlashed::Task)?;
    let job = spec.job;
    let liable = state.liable.get(&job).filter(|liable| liable.task == spec.digest());
    let Liable { task, consumer, slash_ppm, slashed } = liable.ok_or_else(|| not_liable(state, &spec))?;
    if !state.providers.contains_key(&key) {
        return Err(NotSlashed::NoProvider(key));
    }
    if slashed.contains(&key) {
        return Err(NotSlashed::Again(key, job));
    }
    let (have, want) = (Digest::of(workload), spec.workload);
    if have != want {
        return Err(NotSlashed::Workload { have, want });
    }
    if !is_built_in(workload) {
        return Err(NotSlashed::UsersKernel);
    }
    if state.keys.is_lost(&key) {
        return Err(NotSlashed::Lost(key));
    }
    if !state.earned_is_known(&job) {
        return Err(NotSlashed::NotSettled(job));
    }
    let lease = check_signed_lease(state, lease).map_err(NotSlashed::Lease)?;
    let range = spec.units.shard(lease.shard);
    if lease.kind != LeaseKind::Work || lease.task != *task || range != Some((lease.first_unit, lease.units)) {
        return Err(NotSlashed::OtherWork);
    }
    let vote = |which, vote: &Signed<Vote>| {
        let vote =
            vote.verify(&state.chain, &key).map_err(|why| NotSlashed::Vote { which, key, source: why.into() })?;
        match other_matter(&vote, &lease.digest(), task) {
            Some(what) => Err(NotSlashed::About { which, what }),
            None => Ok(vote),
        }
    };
    let (first, second) = (vote("first", first)?, vote("second", second)?);
    if first.round != second.round {
        return Err(NotSlashed::OtherRound);
    }
    let twice = told_twice(&lease, &first, &second);
    let work: u128 = twice.iter().map(|unit| u128::from(spec.units.work_of(*unit, 1))).sum();
    let price = price_of(work, spec.price).map_err(|_| NotSlashed::Overflow)?;
    if twice.is_empty() {
        return Err(NotSlashed::Same);
    }
    Ok(Guilt { job, consumer: *consumer, key, price, slash_ppm: *slash_ppm })
}

/// Why nobody answers for a job with this task.
fn not_liable(state: &State, spec: &TaskSpec) -> NotSlashed {
    let known = state.jobs.get(&spec.job).is_some_and(|job| job.task == spec.digest());
    match (state.genesis.bonds.unwrap_or_default().slash_ppm, spec.kernel_set) {
        (0, _) => NotSlashed::Off,
        (_, 0) => NotSlashed::UsersKernel,
        _ if known => NotSlashed::Over(spec.job),
        _ => NotSlashed::NoJob(spec.job),
    }
}

/// What else than this lease under this task a vote is about. A lease can be named under two tasks, and honest votes about those differ.
fn other_matter(vote: &Vote, lease: &Digest, task: &Digest) -> Option<&'static str> {
    match vote.task {
        _ if vote.lease != *lease => Some("another lease"),
        Some(of) if of != *task => Some("another task"),
        None => Some("no task, as votes of before are"),
        Some(_) => None,
    }
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
fn loss(state: &State, guilt: &Guilt) -> Result<Loss, NotSlashed> {
    let Guilt { job, key, slash_ppm, .. } = *guilt;
    let chain = &state.chain;
    let places = [Place::vesting(chain, key, job), Place::stake(chain, key), Place::unbonding(chain, key)];
    let have = places.map(|place| state.book.balance(&place));
    let all: u128 = have.into_iter().map(u128::from).sum();
    let bound = all * u128::from(slash_ppm) / 1_000_000;
    let mut left = u64::try_from(bound).map_err(|_| NotSlashed::Overflow)?;
    let [vesting, bonded, unbonding] = have.map(|have| {
        let taken = have.min(left);
        left -= taken;
        taken
    });
    if vesting == 0 && bonded == 0 && unbonding == 0 {
        return Err(NotSlashed::Nothing(key));
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
