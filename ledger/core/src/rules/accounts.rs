//! Who exists and what they hold: providers, epochs, deposits, escrows.

use std::collections::BTreeMap;

use orion_protocol::ids::JobId;
use orion_protocol::ledger::api::{JobPhase, Paid};
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{Deposit, OpenEpoch, OpenEscrow, RegisterProvider, TopUp};
use orion_protocol::price;
use orion_protocol::task::TaskSpec;

use super::running_job;
use crate::book::{Move, Place};
use crate::due::Due;
use crate::job::Job;
use crate::state::{Provider, State};

/// OpenEpoch carries so many random bytes.
const NONCE_BYTES: usize = 16;

pub(super) fn register_provider(state: &mut State, tx: &RegisterProvider) -> Result<Vec<Transfer>, Code> {
    let RegisterProvider { key, owner, validates } = tx;
    if state.keys.is_revoked(key) {
        return Err(Code::Revoked);
    }
    if state.providers.get(key).is_some_and(|provider| provider.owner != *owner) {
        return Err(Code::OwnerDiffers);
    }
    state.providers.insert(*key, Provider { owner: owner.clone(), validates: *validates });
    Ok(Vec::new())
}

pub(super) fn open_epoch(state: &mut State, envelope_epoch: u64, tx: &OpenEpoch) -> Result<Vec<Transfer>, Code> {
    let OpenEpoch { epoch, nonce } = tx;
    if nonce.len() != NONCE_BYTES || envelope_epoch != *epoch {
        return Err(Code::OutOfBounds);
    }
    if state.epoch.checked_add(1) != Some(*epoch) {
        return Err(Code::EpochTaken);
    }
    state.epoch = *epoch;
    state.keys.epoch_opened();
    Ok(Vec::new())
}

pub(super) fn deposit(state: &mut State, tx: &Deposit) -> Result<Vec<Transfer>, Code> {
    let Deposit { consumer, amount } = tx;
    if *amount == 0 {
        return Err(Code::OutOfBounds);
    }
    let (from, to) = (Place::issuance(&state.chain), Place::consumer(consumer.account));
    state.book.apply(&[Move { from, to, amount: *amount }])
}

/// More for a job whose rounds may still close. What it may cost is covered from the start; this is for who wants to lock more.
pub(super) fn top_up(state: &mut State, tx: &TopUp) -> Result<Vec<Transfer>, Code> {
    let TopUp { job: id, amount } = tx;
    let job = running_job(state, id)?;
    if *amount == 0 {
        return Err(Code::OutOfBounds);
    }
    let escrowed = job.escrowed.checked_add(*amount).ok_or(Code::Overflow)?;
    let (from, to) = (Place::consumer(job.consumer), Place::escrow(&state.chain, *id));
    let transfers = state.book.apply(&[Move { from, to, amount: *amount }])?;
    if let Some(job) = state.jobs.get_mut(id) {
        job.escrowed = escrowed;
    }
    Ok(transfers)
}

pub(super) fn open_escrow(state: &mut State, tx: &OpenEscrow, time_ms: u64) -> Result<Vec<Transfer>, Code> {
    let OpenEscrow { consumer, task, budget } = tx;
    let spec = TaskSpec::from_object(task).map_err(|_| Code::OutOfBounds)?;
    let id = spec.job;
    if id == JobId::NONE {
        return Err(Code::OutOfBounds);
    }
    let policy = state.policies.get(&spec.policy).ok_or(Code::UnknownPolicy)?;
    if spec.price != policy.price || spec.fee_ppm != policy.fee_ppm {
        return Err(Code::UnknownPolicy);
    }
    if state.phase(&id).is_some() {
        return Err(Code::JobExists);
    }
    let amount = price::escrow_of(&spec, policy).map_err(|_| Code::Overflow)?;
    if amount > *budget {
        return Err(Code::BudgetTooSmall);
    }
    let deadline_ms = time_ms.checked_add(policy.escrow_ms).ok_or(Code::Overflow)?;
    let (from, to) = (Place::consumer(consumer.account), Place::escrow(&state.chain, id));
    let transfers = state.book.apply(&[Move { from, to, amount }])?;
    let job = Job {
        task: spec.digest(),
        spec,
        consumer: consumer.account,
        escrowed: amount,
        deadline_ms,
        phase: JobPhase::Open,
        rounds: Vec::new(),
        verdicts: 0,
        slots: BTreeMap::new(),
        workers: BTreeMap::new(),
        validators: BTreeMap::new(),
        settlement: None,
        paid: Paid::default(),
        taken_back: BTreeMap::new(),
    };
    state.make_liable(&job.spec, job.consumer);
    state.jobs.insert(id, job);
    state.due.insert(deadline_ms, Due::Escrow(id));
    Ok(transfers)
}
