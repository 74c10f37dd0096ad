//! Transactions: what operator and issuer sign and send. They embed what others signed, so that whoever replays the log can
//! check signatures, draw, verdict and payment again.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::bytes::Name;
use crate::cbor::{self, CborError};
use crate::digest::Digest;
use crate::draw::MAX_ELIGIBLE;
use crate::ids::{AccountId, ChainId, JobId, TxId};
use crate::sign::{PublicKey, Signed, Statement};
use crate::statements::{Approval, Commitment, Ingested, LeaseCore, Vote};

/// A leaf of the log, and so a transaction, is at most so long.
pub const MAX_LEAF_BYTES: usize = 65_535;
/// Where a CloseRound or RecordVerdict is split, in bytes of payload.
pub const SPLIT_BYTES: usize = 48 * 1024;
/// At most so many commitments a round.
pub const MAX_ROUND: usize = 32;
/// At most so many transfers a page of a settlement.
pub const MAX_TRANSFERS: usize = 400;

/// The rules of money that a job pins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policy {
    /// Default price in micro-credits per million work.
    #[n(0)]
    pub price: u64,
    /// Default fee in parts per million.
    #[n(1)]
    pub fee_ppm: u32,
    /// How long earnings vest, in milliseconds; 0 matures them in the same block.
    #[n(2)]
    pub vesting_ms: u64,
    /// How long an escrow lasts, in milliseconds of block time.
    #[n(3)]
    pub escrow_ms: u64,
}

impl Policy {
    /// The longest that earnings vest, in milliseconds: 365 days.
    pub const MAX_VESTING_MS: u64 = 365 * 86_400_000;

    /// Digest of the policy's canonical bytes, by which a TaskSpec names it.
    pub fn digest(&self) -> Digest {
        cbor::frame_digest("orion/policy/v1", &[cbor::Part::Bytes(&cbor::to_vec(self))])
    }
}

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

/// What is signed and ordered. Sameness compares signer, id and payload: the same again gives the first receipt, other
/// bytes under the same id are refused. The epoch is checked only for new ids.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Envelope {
    /// Who signs; must be the signature's key.
    #[n(0)]
    pub signer: PublicKey,
    /// The operator's leadership; 0 from the issuer.
    #[n(1)]
    pub epoch: u64,
    /// The idempotency key.
    #[n(2)]
    pub id: TxId,
    /// Canonical bytes of a [`Transaction`].
    #[n(3)]
    pub payload: ByteVec,
}

impl Statement for Envelope {
    const DOMAIN: &'static str = "orion/tx/v1";
    const MAX_BYTES: usize = MAX_LEAF_BYTES;
}

/// The transactions that are signed. Genesis, Expire, Mature and Lapse are the ledger's own and appear only as leaves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Transaction {
    /// A provider's key, owner and whether it validates.
    #[n(0)]
    RegisterProvider(#[n(0)] RegisterProvider),
    /// A new leadership: epoch = last + 1.
    #[n(1)]
    OpenEpoch(#[n(0)] OpenEpoch),
    /// Credits for a consumer.
    #[n(2)]
    Deposit(#[n(0)] Deposit),
    /// Locks what a job may cost.
    #[n(3)]
    OpenEscrow(#[n(0)] OpenEscrow),
    /// Fixes a round's commitments before the draw.
    #[n(4)]
    CloseRound(#[n(0)] CloseRound),
    /// Judges shards of a round.
    #[n(5)]
    RecordVerdict(#[n(0)] RecordVerdict),
    /// Pays, a page at a time.
    #[n(6)]
    Settle(#[n(0)] Settle),
    /// Refunds the rest.
    #[n(7)]
    Close(#[n(0)] Close),
    /// Locks more for a job that is open.
    #[n(8)]
    TopUp(#[n(0)] TopUp),
    /// Something that needs more than its sender's word, with the others'.
    #[n(9)]
    Approved(#[n(0)] Approved),
    /// Takes credits out; only within [`Approved`].
    #[n(10)]
    Withdraw(#[n(0)] Withdraw),
    /// Holds back what a provider owns, for a withdrawal to come.
    #[n(11)]
    Reserve(#[n(0)] Reserve),
    /// Gives up a reserve; the provider's word, or the issuers' within [`Approved`].
    #[n(12)]
    Release(#[n(0)] Release),
    /// Other issuers from now on; only within [`Approved`].
    #[n(16)]
    Issuers(#[n(0)] Issuers),
}

impl Transaction {
    /// Reads the payload of an envelope.
    pub fn from_bytes(bytes: &[u8]) -> Result<Transaction, CborError> {
        cbor::from_slice("transaction", bytes, MAX_LEAF_BYTES)
    }

    /// The kind's name: part of its id, shown to people.
    pub fn kind(&self) -> &'static str {
        match self {
            Transaction::RegisterProvider(_) => "RegisterProvider",
            Transaction::OpenEpoch(_) => "OpenEpoch",
            Transaction::Deposit(_) => "Deposit",
            Transaction::OpenEscrow(_) => "OpenEscrow",
            Transaction::CloseRound(_) => "CloseRound",
            Transaction::RecordVerdict(_) => "RecordVerdict",
            Transaction::Settle(_) => "Settle",
            Transaction::Close(_) => "Close",
            Transaction::TopUp(_) => "TopUp",
            Transaction::Approved(_) => "Approved",
            Transaction::Withdraw(_) => "Withdraw",
            Transaction::Reserve(_) => "Reserve",
            Transaction::Release(_) => "Release",
            Transaction::Issuers(_) => "Issuers",
        }
    }

    /// Puts it in an envelope and signs it. `id`: see [`TxId::derive`].
    pub fn sign(&self, chain: &ChainId, key: &crate::sign::SecretKey, epoch: u64, id: TxId) -> Signed<Envelope> {
        let envelope = Envelope { signer: key.public(), epoch, id, payload: cbor::to_vec(self).into() };
        Signed::new(chain, key, &envelope)
    }
}

/// Rounds name providers by key; owners come from here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RegisterProvider {
    /// The provider's signing key.
    #[n(0)]
    pub key: PublicKey,
    /// Who owns it, as approved; immutable.
    #[n(1)]
    pub owner: Name,
    /// Whether it may audit others.
    #[n(2)]
    pub validates: bool,
}

/// A new leadership.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenEpoch {
    /// The last epoch plus 1.
    #[n(0)]
    pub epoch: u64,
    /// Fresh random bytes: two replicas that open the same epoch differ, and one is refused.
    #[n(1)]
    pub nonce: ByteVec,
}

/// Credits for a consumer, that is, for a namespace of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Deposit {
    /// Whose account.
    #[n(0)]
    pub consumer: Consumer,
    /// Micro-credits.
    #[n(1)]
    pub amount: u64,
}

/// A namespace of a cluster; opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Consumer {
    /// The consumer's account id.
    #[n(0)]
    pub account: AccountId,
}

/// Locks what a job may cost.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenEscrow {
    /// Who pays.
    #[n(0)]
    pub consumer: Consumer,
    /// Canonical bytes of the TaskSpec *object* (its frame), so that its SHA3-256 is the task digest.
    #[n(1)]
    pub task: ByteVec,
    /// The most that may be locked, in micro-credits.
    #[n(2)]
    pub budget: u64,
}

/// One ingested commitment of a round.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoundEntry {
    /// The operator's lease.
    #[n(0)]
    pub lease: Signed<LeaseCore>,
    /// The provider's commitment.
    #[n(1)]
    pub commitment: Signed<Commitment>,
    /// The platform's ingest.
    #[n(2)]
    pub ingested: Signed<Ingested>,
}

/// Fixes a round's commitments before the draw.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CloseRound {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Rounds closed so far in the job.
    #[n(1)]
    pub sequence: u64,
    /// 1 to 32 commitments, at most one for a shard.
    #[n(2)]
    pub entries: Vec<RoundEntry>,
    /// Validators that were alive, ascending; at most 64.
    #[n(3)]
    pub eligible: Vec<PublicKey>,
}

impl CloseRound {
    /// Checks counts and order.
    pub fn check(&self) -> Result<(), String> {
        if self.entries.is_empty() || self.entries.len() > MAX_ROUND {
            return Err(format!("a round has 1 to {MAX_ROUND} commitments"));
        }
        if self.eligible.len() > MAX_ELIGIBLE || !self.eligible.is_sorted_by(|a, b| a < b) {
            return Err(format!("eligible validators: at most {MAX_ELIGIBLE}, ascending, no key twice"));
        }
        Ok(())
    }
}

/// A drawn unit, proved to lie under the commitment's root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DrawnUnit {
    /// The unit, counted over the job.
    #[n(0)]
    pub unit: u64,
    /// The digest that the worker committed to.
    #[n(1)]
    pub digest: Digest,
    /// The salt of its leaf.
    #[n(2)]
    pub salt: Digest,
    /// Inclusion path, lowest sibling first.
    #[n(3)]
    pub path: Vec<Digest>,
}

/// The evidence for one shard's verdict. The verdict itself is not stated: it follows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ShardVerdict {
    /// Digest of the work lease.
    #[n(0)]
    pub lease: Digest,
    /// The drawn units, in the order drawn.
    #[n(1)]
    pub drawn: Vec<DrawnUnit>,
    /// The validators' votes; the platform's too, where it came last in the order.
    #[n(2)]
    pub votes: Vec<Signed<Vote>>,
    /// Validators that were asked and did not vote, ascending.
    #[n(3)]
    pub absent: Vec<PublicKey>,
    /// The referee's vote, where votes and commitment differ.
    #[n(4)]
    pub referee: Option<Signed<Vote>>,
}

/// Judges shards of a round that are not judged yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordVerdict {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The round.
    #[n(1)]
    pub round: Digest,
    /// Parts recorded so far in the job.
    #[n(2)]
    pub sequence: u64,
    /// Between 1 and 32 shards.
    #[n(3)]
    pub shards: Vec<ShardVerdict>,
}

/// Pays what the verdicts say; the core computes it, this only asks for the next page.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settle {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The page, from 0.
    #[n(1)]
    pub page: u64,
}

/// Refunds the rest of the escrow.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Close {
    /// The job.
    #[n(0)]
    pub job: JobId,
}

/// Locks more for a job that is open, from the account that pays for it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TopUp {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Micro-credits.
    #[n(1)]
    pub amount: u64,
}

/// A Deposit, Withdraw, Release or Issuers with the words of those whose it is: of as many issuers as their threshold says, and, to take
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
