//! What needs more than its sender's word: deposits of several issuers, withdrawals, reserves that the issuers give back, other issuers, policies. An approval is about one
//! transaction in one envelope, so nobody can use it for another, or twice.

use orion_protocol::ids::action_digest;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{Approved, Issuers, Purse, Withdraw};
use orion_protocol::ledger::{Envelope, Transaction};
use orion_protocol::{PublicKey, TxId};

use super::{accounts, keys, policy, reserve};
use crate::book::{Move, Place};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    envelope: &Envelope,
    tx: &Approved,
    time_ms: u64,
) -> Result<Vec<Transfer>, Code> {
    let inner = Transaction::from_bytes(&tx.inner).map_err(|_| Code::OutOfBounds)?;
    let owner = match &inner {
        Transaction::Deposit(_)
        | Transaction::Release(_)
        | Transaction::Issuers(_)
        | Transaction::PublishPolicy(_)
        | Transaction::Params(_) => None,
        Transaction::Withdraw(Withdraw { from, .. }) => owner_of(state, from),
        Transaction::Rotate(tx) => keys::owner_of(state, tx),
        _ => return Err(Code::NotAllowed),
    };
    if !state.issuers.has(&envelope.signer) && owner != Some(envelope.signer) {
        return Err(Code::NotAllowed);
    }
    check(state, envelope.signer, envelope.id, tx, owner)?;
    match &inner {
        Transaction::Deposit(tx) => accounts::deposit(state, tx),
        Transaction::Withdraw(tx) => withdraw(state, tx),
        Transaction::Release(tx) => reserve::void(state, tx.reserve),
        Transaction::Rotate(tx) => keys::rotate(state, envelope, tx, time_ms),
        Transaction::Issuers(tx) => replace_issuers(state, tx),
        Transaction::PublishPolicy(tx) => policy::publish(state, tx),
        Transaction::Params(tx) => policy::set_params(state, tx),
        _ => Err(Code::NotAllowed),
    }
}

/// Consumers' accounts and the treasury are in the platform's custody. What a key has that was replaced is its heir's.
fn owner_of(state: &State, purse: &Purse) -> Option<PublicKey> {
    match purse {
        Purse::Available(key) => Some(state.keys.heir(*key)),
        Purse::Treasury | Purse::Consumer(_) => state.keys.custodian(state.epoch),
    }
}

/// Every approval is good and needed, there are as many issuers as must be, and the owner. A key that is both counts once.
fn check(state: &State, signer: PublicKey, id: TxId, tx: &Approved, owner: Option<PublicKey>) -> Result<(), Code> {
    let Approved { inner, approvals } = tx;
    if approvals.len() > Approved::MAX_APPROVALS || !approvals.is_sorted_by(|a, b| a.key() < b.key()) {
        return Err(Code::BadApproval);
    }
    let action = action_digest(&signer, &id, inner);
    let (mut issuers, mut owners) = (0, 0);
    for approval in approvals {
        let key = approval.key();
        if owner == Some(key) {
            owners += 1;
        } else if state.issuers.has(&key) {
            issuers += 1;
        } else {
            return Err(Code::BadApproval);
        }
        let approval = approval.verify(&state.chain, &key).map_err(|_| Code::BadApproval)?;
        if approval.action != action {
            return Err(Code::BadApproval);
        }
    }
    let enough = issuers >= state.issuers.threshold && owners == u32::from(owner.is_some());
    if enough { Ok(()) } else { Err(Code::NotEnoughApprovals) }
}

fn withdraw(state: &mut State, tx: &Withdraw) -> Result<Vec<Transfer>, Code> {
    let Withdraw { from, amount, to: _, reserve } = tx;
    if *amount == 0 {
        return Err(Code::OutOfBounds);
    }
    if let Some(id) = reserve {
        let Purse::Available(key) = from else { return Err(Code::NoSuchReserve) };
        if reserve::find(state, id, key)?.amount < *amount {
            return Err(Code::ReserveOver);
        }
        // What was held back is there, so that the move below cannot fail any more.
        state.release(*id);
    }
    let from = match from {
        Purse::Available(key) => Place::available(&state.chain, *key),
        Purse::Treasury => Place::treasury(&state.chain),
        Purse::Consumer(account) => Place::consumer(*account),
    };
    state.book.apply(&[Move { from, to: Place::issuance(&state.chain), amount: *amount }])
}

/// No key of another role may issue.
fn replace_issuers(state: &mut State, tx: &Issuers) -> Result<Vec<Transfer>, Code> {
    tx.check().map_err(|_| Code::OutOfBounds)?;
    let other = |key: &PublicKey| !state.issuers.has(key) && keys::has_role(state, key);
    if tx.keys.iter().any(other) || state.providers.keys().any(|key| tx.has(key)) {
        return Err(Code::OutOfBounds);
    }
    state.issuers = tx.clone();
    Ok(Vec::new())
}
