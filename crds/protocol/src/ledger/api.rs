//! What the ledger's service answers, in the same canonical CBOR.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/transactions` with a `Signed<Envelope>` | [`Submitted`], once durable and sealed; 400 with text when it cannot even be ordered |
//! | `GET /v1/head` | [`Head`] |
//! | `GET /v1/accounts/{account id}` | [`AccountView`] |
//! | `GET /v1/jobs/{job id}` | [`JobView`]; 404 when it has no escrow |
//! | `GET /v1/jobs?open` | [`OpenJobs`] |
//! | `GET /v1/history/account/{account id}`, `GET /v1/history/job/{job id}`, each with `?from=N&limit=N` or without | [`History`] |
//! | `GET /v1/policies` | [`Policies`] |
//! | `GET /v1/policies/{policy id}` | [`Policy`]; 404 when none was published under it |
//! | `GET /v1/witnesses` | [`Witnesses`] |
//! | `GET /v1/keys` | [`KeysView`] |
//! | `GET /v1/proofs/{leaf}` | [`LeafProof`] of the leaf with this index; 404 when the log has none, 503 until a checkpoint covers it |
//! | `GET /v1/export` | the log, in the format of `orion-ledger-core` |
//! | `GET /readyz` | 200 when transactions are taken |
//!
//! Where the service has a list of tokens, it answers 401 to whoever shows none that it knows, and 403 to whoever shows one for
//! something else.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::digest::Digest;
use crate::ids::{AccountId, ChainId, JobId};
use crate::ledger::leaf::{Code, Receipt, Transfer};
use crate::ledger::policy::Policy;
use crate::ledger::tx::{CloseRound, Issuers};
use crate::sign::{PublicKey, Signed, Statement as _, Verified, VerifyError};
use crate::statements::LeaseCore;
use crate::task::TaskSpec;

/// The header that carries a token. `Authorization` never arrives: the API server's proxy keeps it for itself.
pub const TOKEN_HEADER: &str = "orion-token";
/// A token is not longer, in bytes.
pub const MAX_TOKEN_BYTES: usize = 256;

/// The end of a block: what a round's draw is seeded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealRef {
    /// The block.
    #[n(0)]
    pub height: u64,
    /// Leaves in the log, the seal's own included.
    #[n(1)]
    pub size: u64,
    /// SHA-256 root over them.
    #[n(2)]
    pub root: Digest,
    /// Block time.
    #[n(3)]
    pub time_ms: u64,
}

/// The fate of a transaction that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Submitted {
    /// Its leaf's index in the log.
    #[n(0)]
    pub leaf: u64,
    /// What came of it.
    #[n(1)]
    pub receipt: Receipt,
    /// The seal of its block.
    #[n(2)]
    pub seal: SealRef,
}

/// Where the log stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Head {
    /// The chain.
    #[n(0)]
    pub chain: ChainId,
    /// The last seal.
    #[n(1)]
    pub seal: SealRef,
    /// The current epoch; 0 before the first.
    #[n(2)]
    pub epoch: u64,
    /// Registered providers: key and owner and whether it validates, ascending by key.
    #[n(3)]
    pub providers: Vec<(PublicKey, crate::bytes::Name, bool)>,
}

/// An account's balance.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AccountView {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// Micro-credits.
    #[n(1)]
    pub balance: u64,
}

/// No page of a [`History`] has more rows.
pub const MAX_HISTORY_ROWS: usize = 1000;

/// A page of what happened to an account or a job, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct History {
    /// At most [`MAX_HISTORY_ROWS`]: of an account each transfer from it or to it; of a job each transfer, and each entry that
    /// moved nothing.
    #[n(0)]
    pub rows: Vec<HistoryRow>,
    /// Where the next page begins; absent at the end. It says nothing else, and what comes to the log later follows it.
    #[n(1)]
    pub next: Option<u64>,
}

/// A line of a [`History`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HistoryRow {
    /// The leaf that tells it, by its index in the log.
    #[n(0)]
    pub leaf: u64,
    /// Its block.
    #[n(1)]
    pub height: u64,
    /// Time of the block: milliseconds since the Unix epoch.
    #[n(2)]
    pub time_ms: u64,
    /// The kind of the transaction, of what is approved where it is an `Approved`; or `Expire`, `Mature`, `Lapse`.
    #[n(3)]
    pub kind: String,
    /// What came of it.
    #[n(4)]
    pub code: Code,
    /// The job that it is about.
    #[n(5)]
    pub job: Option<JobId>,
    /// The money that moved.
    #[n(6)]
    pub transfer: Option<Transfer>,
}

/// Jobs whose escrow is open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenJobs {
    /// Their ids, ascending.
    #[n(0)]
    pub jobs: Vec<JobId>,
}

/// The policies that jobs may name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policies {
    /// The one of jobs that name none.
    #[n(0)]
    pub default: Digest,
    /// The genesis' and all that were published, ascending by id.
    #[n(1)]
    pub policies: Vec<Policy>,
}

/// All that the ledger knows of a job: enough for a new leader to go on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobView {
    /// The task.
    #[n(0)]
    pub task: TaskSpec,
    /// Who pays.
    #[n(1)]
    pub consumer: AccountId,
    /// How far it is.
    #[n(2)]
    pub phase: JobPhase,
    /// Locked at first, in micro-credits.
    #[n(3)]
    pub escrowed: u64,
    /// The escrow's deadline in block time.
    #[n(4)]
    pub deadline_ms: u64,
    /// Closed rounds, in order.
    #[n(5)]
    pub rounds: Vec<RoundView>,
    /// RecordVerdicts so far.
    #[n(6)]
    pub verdicts: u64,
    /// Pages settled, and how many there are (0 before page 0).
    #[n(7)]
    pub pages: (u64, u64),
    /// What was paid so far.
    #[n(8)]
    pub paid: Paid,
}

/// How far a job is on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum JobPhase {
    /// Rounds may close.
    #[n(0)]
    Open,
    /// Pages are being paid.
    #[n(1)]
    Settling,
    /// Refunded and done.
    #[n(2)]
    Closed,
    /// Ended by its deadline.
    #[n(3)]
    Expired,
}

/// Who got what, in micro-credits. Under a policy with a window this is what was earned: it may still vest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Paid {
    /// Workers.
    #[n(0)]
    pub workers: u64,
    /// Validators.
    #[n(1)]
    pub validators: u64,
    /// The platform's fee.
    #[n(2)]
    pub fee: u64,
    /// Back to the consumer.
    #[n(3)]
    pub refunded: u64,
}

/// A closed round.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoundView {
    /// Its id.
    #[n(0)]
    pub round: Digest,
    /// What was closed.
    #[n(1)]
    pub closed: CloseRound,
    /// The seal that seeds the draw.
    #[n(2)]
    pub seal: SealRef,
    /// For each entry, in order: accepted, rejected, or not judged yet.
    #[n(3)]
    pub verdicts: Vec<EntryVerdict>,
}

/// The verdict on one entry of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryVerdict {
    /// Not judged yet.
    #[n(0)]
    Open,
    /// Accepted.
    #[n(1)]
    Accepted,
    /// Rejected.
    #[n(2)]
    Rejected,
}

/// Who has seen the log, and how far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Witnesses {
    /// Whether a trust policy is in force that asks for witnesses.
    #[n(0)]
    pub quorum: bool,
    /// Whether no quorum can come together while those who refuse do.
    #[n(1)]
    pub blocked: bool,
    /// The size of the newest published checkpoint; 0 before the first.
    #[n(2)]
    pub published: u64,
    /// The largest checkpoint that has its quorum.
    #[n(3)]
    pub witnessed: Option<Witnessed>,
    /// Every witness, in the policy's order.
    #[n(4)]
    pub witnesses: Vec<WitnessView>,
}

/// A checkpoint with enough cosignatures.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Witnessed {
    /// Leaves in the log.
    #[n(0)]
    pub size: u64,
    /// The signed note, for who does not take the ledger's word.
    #[n(1)]
    pub note: String,
    /// Who cosigned it, by the policy's names and in its order.
    #[n(2)]
    pub by: Vec<String>,
}

/// A witness as the ledger sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WitnessView {
    /// The policy's name for it.
    #[n(0)]
    pub name: String,
    /// The largest size that it cosigned for this ledger; 0 for none since the ledger started.
    #[n(1)]
    pub size: u64,
    /// When, by its own word, in seconds since the Unix epoch; 0 for never.
    #[n(2)]
    pub seconds: u64,
    /// Why it refuses to cosign what it was shown: its words.
    #[n(3)]
    pub refused: Option<String>,
    /// Why it has not answered as it should.
    #[n(4)]
    pub error: Option<String>,
}

/// Whose keys do what: enough to tell whose leases count.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeysView {
    /// Ascending by epoch, and never empty. The last one may wait for its epoch.
    #[n(0)]
    pub operators: Vec<OperatorKey>,
    /// The platform worker's, in force.
    #[n(1)]
    pub platform: PublicKey,
    /// Who issues credits, and approves what issuers approve.
    #[n(2)]
    pub issuers: Issuers,
    /// Providers' keys that were replaced, ascending: they commit to nothing any more, and are asked for nothing.
    #[n(3)]
    pub replaced: Vec<PublicKey>,
}

/// An operator's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OperatorKey {
    /// The first epoch that it may open.
    #[n(0)]
    pub from_epoch: u64,
    /// The key.
    #[n(1)]
    pub key: PublicKey,
    /// Somebody else may have it: nothing counts that it signed and that is not in the log.
    #[n(2)]
    pub lost: bool,
}

impl KeysView {
    /// The operator who opens this epoch, or opened it, and signs its leases.
    pub fn operator_at(&self, epoch: u64) -> Option<&OperatorKey> {
        self.operators.iter().rev().find(|operator| operator.from_epoch <= epoch)
    }

    /// A lease by the operator of its epoch, whose key nobody else has.
    ///
    /// What the log holds was judged by the keys of its time, and is not for here.
    pub fn lease(&self, chain: &ChainId, signed: &Signed<LeaseCore>) -> Result<Verified<LeaseCore>, VerifyError> {
        let wrong = |want: PublicKey| VerifyError::WrongKey { domain: LeaseCore::DOMAIN, have: signed.key(), want };
        let known = self.operators.iter().find(|operator| operator.key == signed.key() && !operator.lost);
        let newest = self.operators.last().map_or(signed.key(), |operator| operator.key);
        let known = known.ok_or_else(|| wrong(newest))?;
        let lease = signed.verify(chain, &known.key)?;
        match self.operator_at(lease.token.epoch) {
            Some(operator) if operator.key != known.key => Err(wrong(operator.key)),
            _ => Ok(lease),
        }
    }
}

/// A leaf with the proof that it is in the log: for whoever has nothing of the log but its key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LeafProof {
    /// The leaf's bytes.
    #[n(0)]
    pub leaf: ByteVec,
    /// A proof as c2sp.org/tlog-proof has it, with the checkpoint under which the leaf is.
    #[n(1)]
    pub proof: String,
}
