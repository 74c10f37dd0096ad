//! Rotate: a new key in the place of another one. What the old one signed and is in the log stays; it signs nothing after.

use orion_protocol::PublicKey;
use orion_protocol::ledger::Envelope;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{KeyRole, Rotate};

use super::stake;
use crate::state::State;

/// Whose word a rotation needs beside the issuers'.
pub(super) fn owner_of(state: &State, tx: &Rotate) -> Option<PublicKey> {
    let Rotate { role, old, new: _, lost } = tx;
    match role {
        KeyRole::Provider if *lost => state.keys.custodian(state.epoch),
        KeyRole::Provider => Some(*old),
        KeyRole::Operator | KeyRole::Platform | KeyRole::Checkpoint => None,
    }
}

pub(super) fn rotate(state: &mut State, envelope: &Envelope, tx: &Rotate, time_ms: u64) -> Result<Vec<Transfer>, Code> {
    let Rotate { role, old, new, lost } = *tx;
    if role == KeyRole::Checkpoint {
        return Err(Code::CheckpointKeyFixed);
    }
    if state.keys.is_revoked(&old) {
        return Err(Code::Revoked);
    }
    check_old(state, role, &old)?;
    if has_role(state, &new) || state.issuers.has(&old) {
        return Err(Code::KeyInUse);
    }
    // What the old key has at stake is taken back. Nothing below can fail.
    let transfers = stake::take_back(state, envelope, old, time_ms)?;
    match role {
        KeyRole::Operator => state.keys.rotate_operator(state.epoch, new, lost),
        KeyRole::Platform => {
            state.keys.platforms.push(new);
            state.keys.revoke(old, new, lost);
        }
        KeyRole::Provider | KeyRole::Checkpoint => {
            if let Some(provider) = state.providers.get(&old).cloned() {
                state.providers.insert(new, provider);
            }
            state.keys.revoke(old, new, lost);
        }
    }
    Ok(transfers)
}

/// The old key is the one in force.
fn check_old(state: &State, role: KeyRole, old: &PublicKey) -> Result<(), Code> {
    let keys = &state.keys;
    let in_force = match role {
        KeyRole::Operator => keys.next_operator() == Some(*old),
        KeyRole::Platform => keys.platform() == Some(*old),
        KeyRole::Provider if keys.knows(old) => return Err(Code::KeyInUse),
        KeyRole::Provider => state.providers.contains_key(old),
        KeyRole::Checkpoint => false,
    };
    if in_force { Ok(()) } else { Err(Code::NoSuchKey) }
}

/// Whether the key is anything to this chain, or was.
pub(super) fn has_role(state: &State, key: &PublicKey) -> bool {
    state.keys.knows(key)
        || *key == state.genesis.checkpoint
        || state.issuers.has(key)
        || state.providers.contains_key(key)
}
