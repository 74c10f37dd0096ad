//! Reserve, Release and the ledger's own Lapse: a reserve is resolved once, by a withdrawal, by giving it up, or by its time.

use orion_protocol::ids::reserve_id;
use orion_protocol::ledger::Envelope;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{Release, Reserve};
use orion_protocol::{Digest, PublicKey};

use crate::state::{Reserved, State};

pub(super) fn reserve(
    state: &mut State,
    envelope: &Envelope,
    tx: &Reserve,
    time_ms: u64,
) -> Result<Vec<Transfer>, Code> {
    let Reserve { amount, expires_ms } = *tx;
    let provider = envelope.signer;
    if !state.providers.contains_key(&provider) {
        return Err(Code::NotAllowed);
    }
    let lasts_ms = expires_ms.checked_sub(time_ms).ok_or(Code::OutOfBounds)?;
    let open = state.reserves.values().filter(|reserved| reserved.provider == provider).count();
    if amount == 0 || !(1..=Reserve::MAX_MS).contains(&lasts_ms) || open >= Reserve::MAX_OPEN {
        return Err(Code::OutOfBounds);
    }
    state.reserve(reserve_id(&provider, &envelope.id), Reserved { provider, amount, expires_ms })?;
    Ok(Vec::new())
}

pub(super) fn release(state: &mut State, envelope: &Envelope, tx: &Release) -> Result<Vec<Transfer>, Code> {
    let Release { reserve } = tx;
    find(state, reserve, &envelope.signer)?;
    void(state, *reserve)
}

/// The reserve, if it is this provider's.
pub(super) fn find(state: &State, id: &Digest, provider: &PublicKey) -> Result<Reserved, Code> {
    let reserved = state.reserves.get(id).filter(|reserved| reserved.provider == *provider);
    reserved.copied().ok_or(Code::NoSuchReserve)
}

/// Ends a reserve and moves nothing.
pub(super) fn void(state: &mut State, id: Digest) -> Result<Vec<Transfer>, Code> {
    state.release(id).map(|_| Vec::new()).ok_or(Code::NoSuchReserve)
}
