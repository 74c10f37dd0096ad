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
use crate::statements::{Commitment, Ingested, LeaseCore, Vote};

pub use crate::ledger::approved::{Approved, Purse, Release, Reserve, Withdraw};
pub use crate::ledger::genesis::{Bonds, Genesis, Issuers};
pub use crate::ledger::keys::{KeyRole, Rotate};
pub use crate::ledger::policy::{Mode, Params, Policy, PublishPolicy, Split};
pub use crate::ledger::stake::{Slash, Stake};

/// A leaf of the log, and so a transaction, is at most so long.
pub const MAX_LEAF_BYTES: usize = 65_535;
/// Where a CloseRound or RecordVerdict is split, in bytes of payload.
pub const SPLIT_BYTES: usize = 48 * 1024;
/// At most so many commitments a round.
pub const MAX_ROUND: usize = 32;
/// At most so many transfers a page of a settlement.
pub const MAX_TRANSFERS: usize = 400;

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
    /// Puts what a provider owns at stake.
    #[n(13)]
    Stake(#[n(0)] Stake),
    /// Takes all that a provider has at stake back, after a while.
    #[n(14)]
    Unstake,
    /// Another key in the place of one; only within [`Approved`].
    #[n(15)]
    Rotate(#[n(0)] Rotate),
    /// Other issuers from now on; only within [`Approved`].
    #[n(16)]
    Issuers(#[n(0)] Issuers),
    /// A policy that jobs may name from now on; only within [`Approved`].
    #[n(17)]
    PublishPolicy(#[n(0)] PublishPolicy),
    /// What holds for new jobs; only within [`Approved`].
    #[n(18)]
    Params(#[n(0)] Params),
    /// A validator that said two things loses some of what it has.
    #[n(19)]
    Slash(#[n(0)] Box<Slash>),
}

impl Transaction {
    /// Reads the payload of an envelope.
    pub fn from_bytes(bytes: &[u8]) -> Result<Transaction, CborError> {
        cbor::from_slice("transaction", bytes, MAX_LEAF_BYTES)
    }

    /// The transaction of an envelope that was verified before, such as one that the log holds: nothing here vouches for it.
    pub fn unverified(signed: &Signed<Envelope>) -> Result<Transaction, CborError> {
        let envelope: Envelope = cbor::from_slice(Envelope::DOMAIN, signed.unverified(), Envelope::MAX_BYTES)?;
        Transaction::from_bytes(&envelope.payload)
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
            Transaction::Stake(_) => "Stake",
            Transaction::Unstake => "Unstake",
            Transaction::Rotate(_) => "Rotate",
            Transaction::Issuers(_) => "Issuers",
            Transaction::PublishPolicy(_) => "PublishPolicy",
            Transaction::Params(_) => "Params",
            Transaction::Slash(_) => "Slash",
        }
    }

    /// Verifies every signature that it embeds ahead, where there are any: see [`Signed::preverify`].
    pub fn preverify(&self, chain: &ChainId) {
        match self {
            Transaction::CloseRound(closed) if closed.entries.len() <= MAX_ROUND => {
                for RoundEntry { lease, commitment, ingested } in &closed.entries {
                    lease.preverify(chain);
                    commitment.preverify(chain);
                    ingested.preverify(chain);
                }
            }
            Transaction::RecordVerdict(verdict) if verdict.shards.len() <= MAX_ROUND => {
                let votes = verdict.shards.iter().flat_map(|shard| shard.votes.iter().chain(&shard.referee));
                votes.for_each(|vote| vote.preverify(chain));
            }
            Transaction::Approved(approved) if approved.approvals.len() <= Approved::MAX_APPROVALS => {
                approved.approvals.iter().for_each(|one| one.preverify(chain));
            }
            Transaction::Slash(slash) => {
                slash.lease.preverify(chain);
                slash.first.preverify(chain);
                slash.second.preverify(chain);
            }
            _ => {}
        }
    }

    /// Whether it embeds signatures, so that verifying them ahead is worth a thread.
    pub fn embeds_signatures(&self) -> bool {
        matches!(
            self,
            Transaction::CloseRound(_)
                | Transaction::RecordVerdict(_)
                | Transaction::Approved(_)
                | Transaction::Slash(_)
        )
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
