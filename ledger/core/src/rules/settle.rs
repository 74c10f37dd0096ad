//! Settle, Close and the ledger's own Expire: money leaves an escrow by these, and no other way. What is earned vests for as long
//! as the policy says, and matures by the ledger's own act.

use std::collections::BTreeMap;

use orion_protocol::ledger::api::{JobPhase, Paid};
use orion_protocol::ledger::leaf::{Code, Receipt, Transfer};
use orion_protocol::ledger::tx::{Close, Settle};
use orion_protocol::price::{self, fee_of, price_of};
use orion_protocol::{Digest, JobId, PublicKey};

use super::open_job;
use crate::book::{Move, Place};
use crate::due::Due;
use crate::job::{Contribution, Job, Round, Settlement, Share};
use crate::state::{State, paid};

pub(super) fn settle(state: &mut State, tx: &Settle, time_ms: u64) -> Result<Vec<Transfer>, Code> {
    let Settle { job: id, page } = tx;
    let job = open_job(state, id)?;
    if !job.rounds.iter().all(Round::judged) {
        return Err(Code::RoundOpen);
    }
    let settlement = job.settlement.clone().map_or_else(|| fix(job), Ok)?;
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
        let settlement = job.settlement.clone().map_or_else(|| fix(job), Ok)?;
        let last = settlement.done + 1 >= settlement.pages();
        receipts.push(paid(pay_page(state, id, settlement, time_ms, last)?));
        if last {
            state.end(id, JobPhase::Expired);
            return Ok(receipts);
        }
    }
}

/// Fixes what everybody gets, from the verdicts so far.
fn fix(job: &Job) -> Result<Settlement, Code> {
    let pool = |contributions: &BTreeMap<Digest, Contribution>| {
        let work: u128 = contributions.values().map(|one| u128::from(one.work)).sum();
        price_of(work, job.spec.price).map_err(|_| Code::Overflow)
    };
    let (workers, validators) = (pool(&job.workers)?, pool(&job.validators)?);
    let both = workers.checked_add(validators).ok_or(Code::Overflow)?;
    let fee = fee_of(both, job.spec.fee_ppm).map_err(|_| Code::Overflow)?;
    let mut shares = split(workers, &job.workers, false);
    shares.extend(split(validators, &job.validators, true));
    Ok(Settlement { shares: shares.into(), fee, done: 0 })
}

fn split(pool: u64, contributions: &BTreeMap<Digest, Contribution>, audit: bool) -> Vec<Share> {
    let weights: Vec<u64> = contributions.values().map(|one| one.work).collect();
    let amounts = price::split(pool, &weights);
    contributions.values().zip(amounts).map(|(one, amount)| Share { provider: one.provider, audit, amount }).collect()
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
    // The one policy that a task may pin is the genesis'.
    let window_ms = state.genesis.policy.vesting_ms;
    let mut vesting_later: BTreeMap<PublicKey, u64> = BTreeMap::new();
    let job = open_job(state, &id)?;
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
    state.vest(id, settlement.done, time_ms.saturating_add(window_ms), vesting_later);
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
