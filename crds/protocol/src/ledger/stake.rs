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

/// Shows that one validator gave two digests for one unit. Nothing but this is looked at: two votes by one key, for one round,
/// one lease and one task, that differ.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Slash {
    /// The Workload object that the task names. Honest machines may differ about a kernel that a user wrote, so it is none.
    #[n(0)]
    pub workload: ByteVec,
    /// The TaskSpec object that the lease names.
    #[n(1)]
    pub task: ByteVec,
    /// The work lease that both votes are about.
    #[n(2)]
    pub lease: Signed<LeaseCore>,
    /// One of the votes.
    #[n(3)]
    pub first: Signed<Vote>,
    /// The other one.
    #[n(4)]
    pub second: Signed<Vote>,
}
