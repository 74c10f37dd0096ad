//! Transactions by which credits leave, and that need more than their sender's word.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::digest::Digest;
use crate::ids::AccountId;
use crate::ledger::genesis::Issuers;
use crate::sign::{PublicKey, Signed};
use crate::statements::Approval;

/// A Deposit, Withdraw, Release, Rotate, Issuers, PublishPolicy or Params with the words of those whose it is: of as many issuers as
/// their threshold says, and, to take
/// out what somebody has, of the owner: the provider's key, or the operator's for consumers and treasury.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approved {
    /// Canonical bytes of the [`Transaction`] that is approved.
    #[n(0)]
    pub inner: ByteVec,
    /// Ascending by key, none twice, nobody's whose word is not needed.
    #[n(1)]
    pub approvals: Vec<Signed<Approval>>,
}

impl Approved {
    /// At most so many approvals: all issuers, and the owner.
    pub const MAX_APPROVALS: usize = Issuers::MAX_KEYS + 1;
}

/// Takes credits out of the ledger. What is given for them is settled elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Withdraw {
    /// Whose.
    #[n(0)]
    pub from: Purse,
    /// Micro-credits.
    #[n(1)]
    pub amount: u64,
    /// Whom it is for, in the issuers' books: opaque here.
    #[n(2)]
    pub to: Digest,
    /// The reserve that it is taken from, which ends by that: see [`crate::ids::reserve_id`].
    #[n(3)]
    pub reserve: Option<Digest>,
}

/// Holds back credits of the provider that signs it, until they are withdrawn, released, or the time has passed. Nothing else can
/// move them meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reserve {
    /// Micro-credits.
    #[n(0)]
    pub amount: u64,
    /// In block time, milliseconds: the first block past it gives them back.
    #[n(1)]
    pub expires_ms: u64,
}

impl Reserve {
    /// A provider has at most so many at a time.
    pub const MAX_OPEN: usize = 16;
    /// None lasts longer, in milliseconds: 30 days.
    pub const MAX_MS: u64 = 30 * 86_400_000;
}

/// Gives up a reserve.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// Which.
    #[n(0)]
    pub reserve: Digest,
}

/// What credits can be taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Purse {
    /// What a provider owns.
    #[n(0)]
    Available(#[n(0)] PublicKey),
    /// The platform's fees.
    #[n(1)]
    Treasury,
    /// What a consumer may spend.
    #[n(2)]
    Consumer(#[n(0)] AccountId),
}
