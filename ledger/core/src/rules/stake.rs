//! Stake, Unstake and the ledger's own Lapse of what was taken back: until then it can be lost.

use orion_protocol::ids::unbonding_id;
use orion_protocol::ledger::Envelope;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::Stake;
use orion_protocol::{Digest, PublicKey};

use crate::bonds::Unbonding;
use crate::book::{Move, Place};
use crate::state::State;

/// So many stakes are being taken back by one provider at a time.
const MAX_UNBONDINGS: usize = 16;

pub(super) fn stake(state: &mut State, envelope: &Envelope, tx: &Stake) -> Result<Vec<Transfer>, Code> {
    let Stake { amount } = *tx;
    let provider = envelope.signer;
    // The key of the platform or an operator goes out of force without being asked, and what it had at stake could never leave.
    if !state.providers.contains_key(&provider) || state.keys.knows(&provider) {
        return Err(Code::NotAllowed);
    }
    if amount == 0 {
        return Err(Code::OutOfBounds);
    }
    let (from, to) = (Place::available(&state.chain, provider), Place::stake(&state.chain, provider));
    state.book.apply(&[Move { from, to, amount }])
}

pub(super) fn unstake(state: &mut State, envelope: &Envelope, time_ms: u64) -> Result<Vec<Transfer>, Code> {
    let provider = envelope.signer;
    if !state.providers.contains_key(&provider) {
        return Err(Code::NotAllowed);
    }
    if state.book.balance(&Place::stake(&state.chain, provider)) == 0 {
        return Err(Code::InsufficientCredits);
    }
    if state.unbondings.values().filter(|one| one.provider == provider).count() >= MAX_UNBONDINGS {
        return Err(Code::OutOfBounds);
    }
    take_back(state, envelope, provider, time_ms)
}

/// Takes back all that a provider has at stake, if that is anything.
pub(super) fn take_back(
    state: &mut State,
    envelope: &Envelope,
    provider: PublicKey,
    time_ms: u64,
) -> Result<Vec<Transfer>, Code> {
    let (from, to) = (Place::stake(&state.chain, provider), Place::unbonding(&state.chain, provider));
    let amount = state.book.balance(&from);
    let transfers = state.book.apply(&[Move { from, to, amount }])?;
    if amount > 0 {
        // At the end of time nothing is freed, and nothing fails either.
        let until_ms = time_ms.saturating_add(state.genesis.bonds.unwrap_or_default().unbonding_ms);
        let id = unbonding_id(&envelope.signer, &envelope.id);
        state.unbond(id, Unbonding { provider, amount, until_ms });
    }
    Ok(transfers)
}

/// What happens when the time of a reserve, or of a stake that was taken back, has passed.
pub(crate) fn lapse(state: &mut State, id: Digest) -> Result<Vec<Transfer>, Code> {
    if state.release(id).is_some() {
        return Ok(Vec::new());
    }
    let Some(Unbonding { provider, amount, .. }) = state.bonded_until_now(id) else { return Ok(Vec::new()) };
    let (from, to) = (Place::unbonding(&state.chain, provider), Place::available(&state.chain, provider));
    state.book.apply(&[Move { from, to, amount }])
}
