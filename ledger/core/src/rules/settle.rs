//! Settle, Close and the ledger's own Expire: money leaves an escrow by these, and no other way. What is earned vests for as long
//! as the policy says, and matures by the ledger's own act.

use std::collections::BTreeMap;

use orion_protocol::ledger::api::{JobPhase, Paid};
use orion_protocol::ledger::leaf::{Code, Receipt, Transfer};
use orion_protocol::ledger::tx::{Close, Policy, Settle};
use orion_protocol::{Digest, JobId, PublicKey};

use super::open_job;
use crate::book::{Move, Place};
use crate::contract::{Division, Facts, Parameters, Trap, divide};
use crate::due::Due;
use crate::job::{Contribution, Job, Round, Settlement, Share};
use crate::state::{State, paid};

pub(super) fn settle(state: &mut State, tx: &Settle, time_ms: u64) -> Result<Vec<Transfer>, Code> {
    let Settle { job: id, page } = tx;
    let job = open_job(state, id)?;
    if !job.rounds.iter().all(Round::judged) {
        return Err(Code::RoundOpen);
    }
    let settlement = job.settlement.clone().map_or_else(|| fix(state, job), Ok)?;
    if *page != settlement.done || settlement.complete() {
        return Err(Code::WrongSequence);
    }
    pay_page(state, *id, settlement, time_ms, false)
}

pub(super) fn close(state: &mut State, tx: &Close) -> Result<Vec<Transfer>, Code> {
    let Close { job: id } = tx;
    let job = open_job(state, id)?;
    if !job.settlement.as_ref().is_some_and(Settlement::complete) {
        return Err(Code::NotSettled);
    }
    let refund = refund(state, *id, job, 0)?;
    let amount = refund.amount;
    let transfers = state.book.apply(&[refund])?;
    if let Some(job) = state.jobs.get_mut(id) {
        job.paid.refunded += amount;
    }
    state.end(*id, JobPhase::Closed);
    Ok(transfers)
}

/// Ends a job whose deadline passed: what is left of Settle's pages, one receipt each, the refund with the last; rounds
/// without verdict go unpaid. A settlement that was complete already leaves one receipt, with the refund.
pub(crate) fn expire(state: &mut State, id: JobId, time_ms: u64) -> Result<Vec<Receipt>, Code> {
    let mut receipts = Vec::new();
    loop {
        let job = open_job(state, &id)?;
        // Of a policy that traps nothing is known but that the consumer's credits are not others'.
        let fixed = || fix(state, job).unwrap_or_else(|_| Settlement { shares: Vec::new().into(), fee: 0, done: 0 });
        let settlement = job.settlement.clone().unwrap_or_else(fixed);
        let last = settlement.done + 1 >= settlement.pages();
        receipts.push(paid(pay_page(state, id, settlement, time_ms, last)?));
        if last {
            state.end(id, JobPhase::Expired);
            return Ok(receipts);
        }
    }
}

/// Fixes what everybody gets by the job's policy, from the verdicts so far.
fn fix(state: &State, job: &Job) -> Result<Settlement, Code> {
    let policy = policy_of(state, job)?;
    let Division { workers, validators, treasury } =
        divide(&Parameters(policy), &Facts::of(job)).map_err(Trap::code)?;
    let share = |audit| move |(provider, amount)| Share { provider, audit, amount };
    let keys = |done: &BTreeMap<Digest, Contribution>| done.values().map(|one| one.provider).collect::<Vec<_>>();
    let shares = keys(&job.workers).into_iter().zip(workers).map(share(false));
    let audits = keys(&job.validators).into_iter().zip(validators).map(share(true));
    Ok(Settlement { shares: shares.chain(audits).collect(), fee: treasury, done: 0 })
}

/// The policy that the job named when its escrow was opened.
fn policy_of<'s>(state: &'s State, job: &Job) -> Result<&'s Policy, Code> {
    state.policies.get(&job.spec.policy).ok_or(Code::UnknownPolicy)
}

/// Matures a page whose window has passed.
pub(crate) fn mature(state: &mut State, id: JobId, page: u64) -> Result<Vec<Transfer>, Code> {
    let vest = state.vests.get(&(id, page)).ok_or(Code::NoSuchJob)?;
    let (until_ms, moves) = (vest.until_ms, state.matured(id, vest));
    let transfers = state.book.apply(&moves)?;
    state.due.remove(until_ms, Due::Mature(id, page));
    state.vests.remove(&(id, page));
    state.forgive(id);
    Ok(transfers)
}

/// Pays the next page of `settlement`, and, where asked, refunds the rest in the same set of moves.
fn pay_page(
    state: &mut State,
    id: JobId,
    mut settlement: Settlement,
    time_ms: u64,
    refunding: bool,
) -> Result<Vec<Transfer>, Code> {
    let job = open_job(state, &id)?;
    let window_ms = policy_of(state, job)?.vesting_ms;
    let mut vesting_later: BTreeMap<PublicKey, u64> = BTreeMap::new();
    let escrow = Place::escrow(&state.chain, id);
    let (mut moves, mut sums, mut spent) = (Vec::new(), job.paid, 0_u64);
    let add = |sum: &mut u64, amount: u64| {
        *sum = sum.checked_add(amount).ok_or(Code::Overflow)?;
        Ok::<(), Code>(())
    };
    for Share { provider, audit, amount } in settlement.page(settlement.done).iter().copied() {
        let vesting = Place::vesting(&state.chain, provider, id);
        let available = Place::available(&state.chain, provider);
        moves.push(Move { from: escrow, to: vesting, amount });
        if window_ms == 0 {
            // Vesting and maturing fall into the same block.
            moves.push(Move { from: vesting, to: available, amount });
        } else if amount > 0 {
            add(vesting_later.entry(provider).or_default(), amount)?;
        }
        add(if audit { &mut sums.validators } else { &mut sums.workers }, amount)?;
        add(&mut spent, amount)?;
    }
    if settlement.done + 1 == settlement.pages() {
        moves.push(Move { from: escrow, to: Place::treasury(&state.chain), amount: settlement.fee });
        add(&mut sums.fee, settlement.fee)?;
        add(&mut spent, settlement.fee)?;
    }
    if refunding {
        let refund = refund(state, id, job, spent)?;
        add(&mut sums.refunded, refund.amount)?;
        moves.push(refund);
    }
    let transfers = state.book.apply(&moves)?;
    // At the end of time nothing matures, and nothing fails either.
    if !vesting_later.is_empty() {
        state.vest(id, settlement.done, time_ms.saturating_add(window_ms), vesting_later);
    }
    settlement.done = (settlement.done + 1).min(settlement.pages());
    record(state, id, settlement, sums);
    Ok(transfers)
}

fn record(state: &mut State, id: JobId, settlement: Settlement, sums: Paid) {
    if let Some(job) = state.jobs.get_mut(&id) {
        job.settlement = Some(settlement);
        job.paid = sums;
        job.phase = JobPhase::Settling;
    }
}

/// What the escrow holds beyond `spent`, back to the consumer.
fn refund(state: &State, id: JobId, job: &Job, spent: u64) -> Result<Move, Code> {
    let escrow = Place::escrow(&state.chain, id);
    let amount = state.book.balance(&escrow).checked_sub(spent).ok_or(Code::InsufficientCredits)?;
    Ok(Move { from: escrow, to: Place::consumer(job.consumer), amount })
}

#[cfg(test)]
mod tests {
    use orion_protocol::bytes::Name;
    use orion_protocol::dtype::DType;
    use orion_protocol::ledger::Genesis;
    use orion_protocol::task::{Comparator, OutputSpec, TaskSpec, UnitTable};
    use orion_protocol::{AccountId, SecretKey};

    use super::*;

    const ID: JobId = JobId([7; 32]);

    /// A job with 1,000 micro-credits and accepted work for more: no rule makes one, and no policy of parameters traps otherwise.
    fn trapped() -> State {
        let [operator, platform, issuer, checkpoint] =
            [1, 2, 3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]).public());
        let policy = Policy::per_work(1_000_000, 0, 0, 1);
        let nonce = Digest::ZERO;
        let mut state = State::new(Genesis {
            nonce,
            operator,
            platform,
            issuer,
            checkpoint,
            policy: policy.clone(),
            issuers: None,
            bonds: None,
        });
        let spec = TaskSpec {
            job: ID,
            workload: Digest::ZERO,
            inputs: Vec::new(),
            kernel_set: 0,
            units: UnitTable { items: 1, items_per_unit: 1, units_per_shard: 1, work_per_item: 1 },
            outputs: vec![OutputSpec {
                name: "out".parse::<Name>().unwrap(),
                dtype: DType::Int32,
                shape: vec![1],
                layout: None,
            }],
            comparator: Comparator::Exact,
            audits_per_shard: 1,
            price: policy.price,
            fee_ppm: 0,
            policy: policy.digest(),
        };
        let consumer = AccountId([9; 32]);
        let escrow = Place::escrow(&state.chain, ID);
        state.book.apply(&[Move { from: Place::issuance(&state.chain), to: escrow, amount: 1_000 }]).unwrap();
        let work = Contribution { provider: operator, work: 1_001 };
        let job = Job {
            task: spec.digest(),
            spec,
            consumer,
            escrowed: 1_000,
            deadline_ms: 1,
            phase: JobPhase::Open,
            rounds: Vec::new(),
            verdicts: 0,
            slots: BTreeMap::new(),
            workers: BTreeMap::from([(Digest::ZERO, work)]),
            validators: BTreeMap::new(),
            settlement: None,
            paid: Paid::default(),
            taken_back: BTreeMap::new(),
        };
        state.due.insert(1, Due::Escrow(ID));
        state.jobs.insert(ID, job);
        state
    }

    #[test]
    fn a_policy_that_traps_pays_nobody_and_gives_everything_back_at_the_deadline() {
        let mut state = trapped();
        let before = state.book.totals();
        assert_eq!(settle(&mut state, &Settle { job: ID, page: 0 }, 1), Err(Code::PolicyTraps));
        assert_eq!((state.book.totals(), state.jobs[&ID].phase), (before, JobPhase::Open));
        let receipts = expire(&mut state, ID, 2).unwrap();
        assert_eq!(receipts.len(), 1);
        assert_eq!(state.book.balance(&Place::consumer(AccountId([9; 32]))), 1_000);
        assert_eq!((state.jobs[&ID].paid.refunded, state.phase(&ID)), (1_000, Some(JobPhase::Expired)));
    }
}
