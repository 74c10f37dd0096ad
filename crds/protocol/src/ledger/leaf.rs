//! What the log holds: one leaf a transaction with its receipt, and a seal leaf at the end of each block. Nothing that
//! replay needs lives outside leaves.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::digest::Digest;
use crate::ids::{AccountId, JobId};
use crate::ledger::tx::{Envelope, MAX_LEAF_BYTES};
use crate::sign::Signed;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Leaf {
    /// The block, from 0.
    #[n(0)]
    pub height: u64,
    /// The place within the block, from 0.
    #[n(1)]
    pub index: u64,
    /// What it holds.
    #[n(2)]
    pub body: LeafBody,
}

impl Leaf {
    /// The canonical bytes, which the tree hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Leaf, CborError> {
        cbor::from_slice("leaf", bytes, MAX_LEAF_BYTES)
    }
}

/// What a leaf holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LeafBody {
    /// Block 0 starts with the genesis bytes.
    #[n(0)]
    Genesis(#[n(0)] ByteVec),
    /// A signed transaction and what came of it; refused ones that were ordered are here too.
    #[n(1)]
    Transaction(#[n(0)] Signed<Envelope>, #[n(1)] Receipt),
    /// An escrow's deadline passed; the ledger's own act.
    #[n(2)]
    Expire(#[n(0)] JobId, #[n(1)] Receipt),
    /// The end of a block.
    #[n(3)]
    Seal(#[n(0)] Seal),
    /// A page of a job's pay has vested; the ledger's own act.
    #[n(4)]
    Mature(#[n(0)] JobId, #[n(1)] Receipt),
    /// A reserve's time has passed, or a stake that was taken back is free; the ledger's own act.
    #[n(5)]
    Lapse(#[n(0)] Digest, #[n(1)] Receipt),
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Ok, or why not.
    #[n(0)]
    pub code: Code,
    /// The money that moved, in order.
    #[n(1)]
    pub transfers: Vec<Transfer>,
}

/// Money that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Transfer {
    /// From this account,
    #[n(0)]
    pub from: AccountId,
    /// to this one,
    #[n(1)]
    pub to: AccountId,
    /// so many micro-credits.
    #[n(2)]
    pub amount: u64,
}

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $index:literal,)*) => {
        /// How a transaction ended. Numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Code {
            $($(#[$meta])* #[n($index)] $name,)*
        }

        impl Code {
            /// The word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    /// Applied.
    Ok = 0,
    /// The signer may not send this kind.
    NotAllowed = 1,
    /// Another leadership has begun.
    StaleEpoch = 2,
    /// The epoch is not the last one plus 1, or was opened by another.
    EpochTaken = 3,
    /// The id was used with other bytes.
    ExistsWithDifferentBytes = 4,
    /// The provider is registered with another owner.
    OwnerDiffers = 5,
    /// The account holds too little.
    InsufficientCredits = 6,
    /// The budget is below what the job may cost.
    BudgetTooSmall = 7,
    /// A field is out of its bounds.
    OutOfBounds = 8,
    /// There is no such job.
    NoSuchJob = 9,
    /// The job has an escrow already.
    JobExists = 10,
    /// The escrow's deadline passed.
    EscrowExpired = 11,
    /// The job is being settled, or is closed.
    JobSettling = 12,
    /// Not the next in its sequence.
    WrongSequence = 13,
    /// An embedded lease is not one of this job's, or not signed by the operator.
    BadLease = 14,
    /// An embedded commitment does not answer its lease.
    BadCommitment = 15,
    /// An embedded ingest is missing or refuses.
    BadIngest = 16,
    /// The shard has an accepted verdict already, or is in a round that is not judged.
    SlotTaken = 17,
    /// An eligible validator is not registered, or does not validate.
    BadValidator = 18,
    /// There is no such round, or the shard in it is judged.
    NoSuchRound = 19,
    /// The drawn units are not the draw's, or not under the root.
    BadDraw = 20,
    /// A vote is not from whom the draw says, or does not cover its units.
    BadVote = 21,
    /// A referee's vote is needed and missing, or there and not needed.
    BadReferee = 22,
    /// A closed round is not judged.
    RoundOpen = 23,
    /// The settlement is not complete.
    NotSettled = 24,
    /// A sum of money does not fit.
    Overflow = 25,
    /// There is no such policy, or the task's price or fee is not the policy's.
    UnknownPolicy = 26,
    /// It needs the words of more than those who gave theirs.
    NotEnoughApprovals = 27,
    /// An approval is of somebody whose word is not needed, of something else, or out of order.
    BadApproval = 28,
    /// There is no such reserve, or it is somebody else's.
    NoSuchReserve = 29,
    /// More than was reserved.
    ReserveOver = 30,
    /// Another key is in the place of this one.
    Revoked = 31,
    /// The key of checkpoints is the log's for ever: for another one, start a new chain.
    CheckpointKeyFixed = 32,
    /// The key has a role, or had one.
    KeyInUse = 33,
    /// The key that is to be replaced does not have the role.
    NoSuchKey = 34,
    /// It does not show that somebody said two things who can still be slashed for it.
    NotSlashable = 35,
    /// A policy's price is over its bound.
    PolicyPrice = 37,
    /// A share that a policy gives is over the whole, or its parts are not the whole.
    PolicyShares = 38,
    /// A policy's window or escrow lasts too long, or its escrow no time at all.
    PolicyTimes = 39,
    /// Not the canonical bytes of a policy, or too many of them.
    PolicyBytes = 40,
    /// What a policy proposed was refused: too many steps, a weight too many or too few, or more than the escrow holds.
    PolicyTraps = 41,
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of a block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seal {
    /// Block time: milliseconds since the Unix epoch, strictly rising.
    #[n(0)]
    pub time_ms: u64,
    /// SHA3-256 of the seal leaf before; zero in block 0.
    #[n(1)]
    pub previous: Digest,
    /// SHA3 over the block's changed balances, chained: see the core.
    #[n(2)]
    pub state: Digest,
    /// Sums over everything.
    #[n(3)]
    pub totals: Totals,
}

/// Sums of all accounts of a kind, in micro-credits; deposited = the sum of the others, withdrawn included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Totals {
    /// Ever deposited.
    #[n(0)]
    pub deposited: u64,
    /// Consumers' accounts.
    #[n(1)]
    pub consumers: u64,
    /// Locked for jobs.
    #[n(2)]
    pub escrows: u64,
    /// Earned, not yet matured.
    #[n(3)]
    pub vesting: u64,
    /// Providers' accounts.
    #[n(4)]
    pub providers: u64,
    /// The platform's fees.
    #[n(5)]
    pub treasury: u64,
    /// At stake; left out while that is nothing.
    #[cbor(n(6), skip_if = "is_zero")]
    pub stakes: u64,
    /// Taken back from stakes, and not free yet; left out while that is nothing.
    #[cbor(n(7), skip_if = "is_zero")]
    pub unbonding: u64,
    /// Lost by those who were slashed, and nobody's; left out while that is nothing.
    #[cbor(n(8), skip_if = "is_zero")]
    pub slash_pool: u64,
    /// Ever withdrawn; left out while that is nothing.
    #[cbor(n(9), skip_if = "is_zero")]
    pub withdrawn: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a field is left out by a function of its reference")]
fn is_zero(sum: &u64) -> bool {
    *sum == 0
}
