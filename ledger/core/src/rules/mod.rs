//! What each transaction does, and why it may be refused. Every rule reads everything it needs, refuses with a code or
//! else writes; money moves in one all-or-nothing set a transaction.

mod accounts;
mod approved;
mod keys;
mod not_slashed;
mod policy;
mod reserve;
mod round;
mod settle;
mod slash;
mod stake;
mod verdict;

use orion_protocol::JobId;
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::{Envelope, Transaction};

use crate::job::Job;
use crate::state::State;

pub use not_slashed::NotSlashed;
pub(crate) use settle::{expire, mature};
pub(crate) use slash::would_lose;
pub(crate) use stake::lapse;

/// Applies a transaction under a new id in a block with time `time_ms`.
pub(crate) fn apply(
    state: &mut State,
    envelope: &Envelope,
    transaction: &Transaction,
    time_ms: u64,
) -> Result<Vec<Transfer>, Code> {
    may_send(state, envelope, transaction)?;
    match transaction {
        Transaction::RegisterProvider(tx) => accounts::register_provider(state, tx),
        Transaction::OpenEpoch(tx) => accounts::open_epoch(state, envelope.epoch, tx),
        Transaction::Deposit(tx) => accounts::deposit(state, tx),
        Transaction::OpenEscrow(tx) => accounts::open_escrow(state, tx, time_ms),
        Transaction::CloseRound(tx) => round::close(state, tx),
        Transaction::RecordVerdict(tx) => verdict::record(state, tx),
        Transaction::Settle(tx) => settle::settle(state, tx, time_ms),
        Transaction::Close(tx) => settle::close(state, tx),
        Transaction::TopUp(tx) => accounts::top_up(state, tx),
        Transaction::Approved(tx) => approved::apply(state, envelope, tx, time_ms),
        Transaction::Reserve(tx) => reserve::reserve(state, envelope, tx, time_ms),
        Transaction::Release(tx) => reserve::release(state, envelope, tx),
        Transaction::Stake(tx) => stake::stake(state, envelope, tx),
        Transaction::Unstake => stake::unstake(state, envelope, time_ms),
        Transaction::Slash(tx) => slash::slash(state, envelope, tx),
        Transaction::Withdraw(_)
        | Transaction::Rotate(_)
        | Transaction::Issuers(_)
        | Transaction::PublishPolicy(_)
        | Transaction::Params(_) => Err(Code::NotEnoughApprovals),
    }
}

/// An issuer deposits where its word is enough, outside of epochs; so are approvals and reserves, whose rules say whose they are. Everything
/// else is the operator's, in its epoch.
fn may_send(state: &State, envelope: &Envelope, transaction: &Transaction) -> Result<(), Code> {
    let own_rules = matches!(
        transaction,
        Transaction::Approved(_)
            | Transaction::Withdraw(_)
            | Transaction::Issuers(_)
            | Transaction::PublishPolicy(_)
            | Transaction::Params(_)
            | Transaction::Reserve(_)
            | Transaction::Release(_)
            | Transaction::Stake(_)
            | Transaction::Unstake
            | Transaction::Rotate(_)
            | Transaction::Slash(_)
    );
    let deposit = matches!(transaction, Transaction::Deposit(_));
    let signer = envelope.signer;
    if state.keys.is_revoked(&signer) {
        return Err(Code::Revoked);
    }
    if own_rules || deposit {
        if deposit && !state.issuers.has(&signer) {
            return Err(Code::NotAllowed);
        }
        if envelope.epoch != 0 {
            return Err(Code::OutOfBounds);
        }
        let enough = own_rules || state.issuers.threshold == 1;
        return if enough { Ok(()) } else { Err(Code::NotEnoughApprovals) };
    }
    let opens = matches!(transaction, Transaction::OpenEpoch(_));
    let operator = if opens { state.keys.next_operator() } else { state.keys.operator_at(state.epoch) };
    if operator != Some(signer) {
        return Err(Code::NotAllowed);
    }
    if opens || envelope.epoch == state.epoch { Ok(()) } else { Err(Code::StaleEpoch) }
}

/// The job, in any phase but ended ones.
fn open_job<'s>(state: &'s State, id: &JobId) -> Result<&'s Job, Code> {
    match state.phase(id).ok_or(Code::NoSuchJob)? {
        JobPhase::Open | JobPhase::Settling => state.jobs.get(id).ok_or(Code::NoSuchJob),
        JobPhase::Closed => Err(Code::JobSettling),
        JobPhase::Expired => Err(Code::EscrowExpired),
    }
}

/// The job, while rounds may still close and verdicts be recorded.
fn running_job<'s>(state: &'s State, id: &JobId) -> Result<&'s Job, Code> {
    let job = open_job(state, id)?;
    if job.phase == JobPhase::Open { Ok(job) } else { Err(Code::JobSettling) }
}
