//! What a provider puts at stake, and how it loses it.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::sign::Signed;
use crate::statements::{LeaseCore, Vote};

/// Puts credits of the provider that signs it at stake.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stake {
    /// Micro-credits.
    #[n(0)]
    pub amount: u64,
}

/// Shows that one validator gave two digests for one unit. Nothing but this is looked at: two votes by one key, for one round and
/// one lease, that differ.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Slash {
    /// Canonical bytes of the TaskSpec object that the lease names.
    #[n(0)]
    pub task: ByteVec,
    /// The work lease that both votes are about.
    #[n(1)]
    pub lease: Signed<LeaseCore>,
    /// One of the votes.
    #[n(2)]
    pub first: Signed<Vote>,
    /// The other one.
    #[n(3)]
    pub second: Signed<Vote>,
}
