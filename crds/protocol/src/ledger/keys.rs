//! Keys that follow each other. What a key signed before stays what it is.

use minicbor::{Decode, Encode};

use crate::sign::PublicKey;

/// Puts a new key in the place of another one, which signs nothing after it; only within [`crate::ledger::tx::Approved`], by the
/// issuers' word. For a provider's key its own word is needed too, or, where it is lost, the operator's.
///
/// The accounts of a provider's old key stay what they are, and the new key is their owner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rotate {
    /// What the keys are for.
    #[n(0)]
    pub role: KeyRole,
    /// The key in force.
    #[n(1)]
    pub old: PublicKey,
    /// One that has no role, and never had one.
    #[n(2)]
    pub new: PublicKey,
    /// Whether somebody else may have the old one: then nothing counts any more that it may have signed and that is not in the log.
    #[n(3)]
    pub lost: bool,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyRole {
    /// Leases and transactions. The new one comes into force when it opens an epoch.
    #[n(0)]
    Operator,
    /// Ingests and referees' votes.
    #[n(1)]
    Platform,
    /// Commitments and votes.
    #[n(2)]
    Provider,
    /// Checkpoints. Refused: everybody who checks a log holds this key, and no log tells them of another one.
    #[n(3)]
    Checkpoint,
}
