//! What a chain starts from: whose keys do what, and the rules of money.

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::digest::Digest;
use crate::ids::ChainId;
use crate::ledger::policy::Policy;
use crate::sign::PublicKey;

/// What a chain starts from; its digest is the chain's id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Genesis {
    /// Fresh random bytes, so that two installs are two chains.
    #[n(0)]
    pub nonce: Digest,
    /// Signs leases and all transactions but deposits.
    #[n(1)]
    pub operator: PublicKey,
    /// Signs preflights, ingests, aggregations and referee votes.
    #[n(2)]
    pub platform: PublicKey,
    /// Signs deposits.
    #[n(3)]
    pub issuer: PublicKey,
    /// Signs checkpoints.
    #[n(4)]
    pub checkpoint: PublicKey,
    /// The default policy.
    #[n(5)]
    pub policy: Policy,
    /// Who issues instead of the one issuer, who must be among them; absent: that one alone.
    #[n(6)]
    pub issuers: Option<Issuers>,
    /// What is not by the defaults; absent: nothing.
    #[n(7)]
    pub bonds: Option<Bonds>,
}

/// What a chain fixes beyond its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bonds {
    /// How long a stake that is taken back can still be lost, in milliseconds of block time.
    #[n(0)]
    pub unbonding_ms: u64,
    /// What a validator loses that says two things, of its pending pay and its stake together, in parts per million; 0: nothing, nobody
    /// is slashed.
    #[n(1)]
    pub slash_ppm: u32,
}

impl Bonds {
    /// The longest that a stake is bound, in milliseconds: 365 days.
    pub const MAX_UNBONDING_MS: u64 = 365 * 86_400_000;

    /// Checks bounds.
    pub fn check(&self) -> Result<(), String> {
        let Bonds { unbonding_ms, slash_ppm } = *self;
        if !(1..=Self::MAX_UNBONDING_MS).contains(&unbonding_ms) {
            return Err("bonds: unbonding_ms is between 1 and 365 days".into());
        }
        if slash_ppm <= 1_000_000 { Ok(()) } else { Err("bonds: slash_ppm is at most 1000000".into()) }
    }
}

impl Default for Bonds {
    /// A week, and nobody is slashed.
    fn default() -> Bonds {
        Bonds { unbonding_ms: 7 * 86_400_000, slash_ppm: 0 }
    }
}

/// Who issues credits and takes them back: so many of these keys together.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Issuers {
    /// How many of them must approve.
    #[n(0)]
    pub threshold: u32,
    /// Ascending.
    #[n(1)]
    pub keys: Vec<PublicKey>,
}

impl Issuers {
    /// At most so many keys.
    pub const MAX_KEYS: usize = 16;

    /// One key, which needs nobody else.
    pub fn alone(key: PublicKey) -> Issuers {
        Issuers { threshold: 1, keys: vec![key] }
    }

    /// Whether this key is one of them.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.keys.binary_search(key).is_ok()
    }

    /// Checks counts and order.
    pub fn check(&self) -> Result<(), String> {
        let Issuers { threshold, keys } = self;
        if keys.is_empty() || keys.len() > Self::MAX_KEYS || !keys.is_sorted_by(|a, b| a < b) {
            return Err(format!("issuers: between 1 and {} keys, ascending, none twice", Self::MAX_KEYS));
        }
        let most = u32::try_from(keys.len()).unwrap_or(0);
        if (1..=most).contains(threshold) {
            Ok(())
        } else {
            Err(format!("issuers: the threshold is between 1 and {most}"))
        }
    }
}

impl Genesis {
    /// The longest encoding, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Genesis, CborError> {
        cbor::from_slice("genesis", bytes, Self::MAX_BYTES)
    }

    /// The chain that starts here.
    pub fn chain(&self) -> ChainId {
        ChainId::of_genesis(&self.to_bytes())
    }
}
