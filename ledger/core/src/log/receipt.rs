//! A provider's receipt: unit -> commitment root -> leaf -> checkpoint, and what became of the work. It verifies with no
//! network and no key but those of a [trust policy](super::trust).
//!
//! A receipt holds one leaf for each thing it shows: the round that fixed the commitment, the verdict, a page of the
//! settlement. That a leaf's receipt says ok is the ledger's word, and that of every witness who replayed it; signatures,
//! the round's id, paths and amounts are checked here again.

use orion_protocol::draw::round_id;
use orion_protocol::ids::Account;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt as Outcome, Transfer};
use orion_protocol::ledger::tx::{CloseRound, DrawnUnit, RecordVerdict, RoundEntry, ShardVerdict, Transaction};
use orion_protocol::merkle::{Sha3, root_from_path};
use orion_protocol::sign::VerifyError;
use orion_protocol::statements::{Commitment, LeaseCore, LeaseKind, Vote};
use orion_protocol::task::TaskSpec;
use orion_protocol::{CborError, ChainId, Digest, JobId, PublicKey, Signed, cbor};

use super::proof_file::ProofFile;
use super::trust::{JudgeError, Trust, Witnessed};
use crate::checkpoint::Checkpoint;

/// A unit's proof is at most so long, in bytes.
pub const MAX_UNIT_BYTES: usize = 4096;

/// A leaf, and the proof that it is in the log. Nothing is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// That it is in the log.
    pub proof: ProofFile,
}

/// All that shows what became of one shard's work. Nothing is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The CloseRound that holds the commitment.
    pub close: Entry,
    /// The RecordVerdict that judges it.
    pub verdict: Option<Entry>,
    /// A Settle or an expiry that pays for it.
    pub settle: Option<Entry>,
    /// One unit under the commitment's root. Whoever has the outputs and the job's salt can make it.
    pub unit: Option<DrawnUnit>,
    /// The TaskSpec object, whose digest the lease names.
    pub task: Option<Vec<u8>>,
}

/// Reads a unit's proof.
pub fn read_unit(bytes: &[u8]) -> Result<DrawnUnit, CborError> {
    cbor::from_slice("unit proof", bytes, MAX_UNIT_BYTES)
}

/// A leaf of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The round.
    Close,
    /// The verdict.
    Verdict,
    /// The payment.
    Settle,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Close => "close",
            Step::Verdict => "verdict",
            Step::Settle => "settle",
        })
    }
}

/// Why a receipt shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The checkpoint, or a signature on it, is no good.
    #[error("{0}: the checkpoint was refused")]
    Judge(Step, #[source] JudgeError),
    /// No log that is believed signed the checkpoint.
    #[error("{step}: no log of the trust policy signed the checkpoint of {origin}")]
    Untrusted {
        /// Whose checkpoint.
        step: Step,
        /// The log that it names.
        origin: String,
    },
    /// Too few witnesses.
    #[error("{step}: the cosignatures of {} witnesses are not the quorum that the trust policy asks for", .witnessed.len())]
    Quorum {
        /// Whose checkpoint.
        step: Step,
        /// Who cosigned.
        witnessed: Vec<Witnessed>,
    },
    /// The leaf is not where the proof says.
    #[error("{0}: the leaf is not in the log at the checkpoint")]
    NotIncluded(Step),
    /// The leaf cannot be read.
    #[error("{0}: cannot read the leaf")]
    Leaf(Step, #[source] CborError),
    /// A signature or a signed statement is refused.
    #[error("{0}: the {1} was refused")]
    Statement(Step, &'static str, #[source] VerifyError),
    /// The ledger refused it.
    #[error("{0}: the ledger refused it: {1}")]
    Refused(Step, Code),
    /// The leaf does not say what it must.
    #[error("{0}: {1}")]
    Content(Step, &'static str),
    /// The unit is not under the commitment's root.
    #[error("the unit {0} is not under the commitment's root")]
    Unit(u64),
    /// The task is not the lease's.
    #[error("the task is not the one that the lease names")]
    Task,
    /// Leaves out of order, or of different logs.
    #[error("the leaves are not of one log, in the order close, verdict, settle")]
    Order,
    /// Two checkpoints of one size differ: the log forked.
    #[error("two checkpoints of size {0} have different roots: the log forked")]
    Forked(u64),
}

impl ReceiptError {
    /// Whether nothing was proven wrong: more signatures, or another trust policy, may decide.
    pub fn undecided(&self) -> bool {
        matches!(self, ReceiptError::Untrusted { .. } | ReceiptError::Quorum { .. })
    }
}

/// What a receipt shows.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The chain.
    pub chain: ChainId,
    /// The job.
    pub job: JobId,
    /// The round.
    pub round: Digest,
    /// The work lease: task, shard, units, token, provider, worker.
    pub lease: LeaseCore,
    /// Who gave it.
    pub operator: PublicKey,
    /// What the provider committed to.
    pub commitment: Commitment,
    /// A unit that is under the commitment's root, and its digest.
    pub unit: Option<(u64, Digest)>,
    /// The task, where the receipt holds it: price, fee, and the policy's digest.
    pub task: Option<TaskSpec>,
    /// The verdict, where the receipt holds one.
    pub verdict: Option<Judgement>,
    /// Payments to provider and voters, where the receipt holds a page of the settlement.
    pub payments: Vec<Payment>,
    /// Where each leaf is, and under which checkpoint.
    pub places: Vec<Place>,
}

/// A verdict, as it follows from the votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether every drawn unit was right.
    pub accepted: bool,
    /// Drawn units in order, each with whether the committed digest was right.
    pub drawn: Vec<(u64, bool)>,
    /// Who voted, and whether their digests are the final ones.
    pub votes: Vec<(PublicKey, bool)>,
    /// Whether the referee had to decide.
    pub refereed: bool,
}

/// What one page of a settlement pays to one key, for all its work, or all its votes, in the job that the page covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// To whom.
    pub key: PublicKey,
    /// Earned, in micro-credits.
    pub vested: u64,
    /// Of it, already theirs to withdraw.
    pub matured: u64,
}

/// Where a leaf is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which leaf.
    pub step: Step,
    /// Its index in the log.
    pub leaf: u64,
    /// Leaves under the checkpoint: the statement is final as of this size.
    pub size: u64,
    /// Who cosigned it.
    pub witnessed: Vec<Witnessed>,
}

impl Receipt {
    /// What the receipt shows of the work under this lease.
    pub fn verify(&self, lease: &Digest, trust: &Trust) -> Result<Statement, ReceiptError> {
        let mut opened = vec![open(Step::Close, &self.close, trust)?];
        for (step, entry) in [(Step::Verdict, &self.verdict), (Step::Settle, &self.settle)] {
            if let Some(entry) = entry {
                opened.push(open(step, entry, trust)?);
            }
        }
        check_one_log(&opened)?;
        let places = opened.iter().map(|one| one.place.clone()).collect();
        let of = |step| opened.iter().find(|one| one.place.step == step);
        let chain = opened[0].chain.clone();
        let Some(Act::Sent(Transaction::CloseRound(close))) = of(Step::Close).map(|one| &one.act) else {
            return Err(ReceiptError::Content(Step::Close, "is no CloseRound"));
        };
        let work = Work::find(&chain, close, lease)?;
        let task = self.task.as_deref().map(|task| work.task(close, task)).transpose()?;
        if let Some(unit) = &self.unit {
            work.check_unit(unit)?;
        }
        let verdict = match of(Step::Verdict).map(|one| &one.act) {
            Some(Act::Sent(Transaction::RecordVerdict(verdict))) => Some(work.judgement(&chain, close, verdict)?),
            Some(_) => return Err(ReceiptError::Content(Step::Verdict, "is no RecordVerdict")),
            None => None,
        };
        let voters = verdict.iter().flat_map(|verdict| verdict.votes.iter().map(|(key, _)| *key));
        let payees = std::iter::once(work.lease.provider).chain(voters);
        let payments = match of(Step::Settle) {
            Some(settle) => payments(&chain, close.job, settle, payees.collect())?,
            None => Vec::new(),
        };
        let Work { round, lease, operator, commitment, .. } = work;
        let unit = self.unit.as_ref().map(|unit| (unit.unit, unit.digest));
        let job = close.job;
        Ok(Statement { chain, job, round, lease, operator, commitment, unit, task, verdict, payments, places })
    }
}

/// A leaf that is in a log that is believed.
struct Opened {
    chain: ChainId,
    checkpoint: Checkpoint,
    place: Place,
    act: Act,
    transfers: Vec<Transfer>,
}

/// What a leaf did.
enum Act {
    Sent(Transaction),
    Expired(JobId),
}

fn open(step: Step, entry: &Entry, trust: &Trust) -> Result<Opened, ReceiptError> {
    let Entry { leaf, proof } = entry;
    let judged = trust.judge(&proof.note).map_err(|error| ReceiptError::Judge(step, error))?;
    let untrusted = || ReceiptError::Untrusted { step, origin: judged.checkpoint.origin.clone() };
    let chain = judged.log.as_ref().and_then(|log| log.chain().ok()).ok_or_else(untrusted)?;
    if !judged.quorum {
        return Err(ReceiptError::Quorum { step, witnessed: judged.witnessed });
    }
    if !proof.holds(leaf, &judged.checkpoint) {
        return Err(ReceiptError::NotIncluded(step));
    }
    let body = Leaf::from_bytes(leaf).map_err(|error| ReceiptError::Leaf(step, error))?.body;
    let (act, outcome) = match body {
        LeafBody::Transaction(signed, outcome) => {
            let refused = |error| ReceiptError::Statement(step, "envelope", error);
            let envelope = signed.verify(&chain, &signed.key()).map_err(refused)?;
            let sent = Transaction::from_bytes(&envelope.payload).map_err(|error| ReceiptError::Leaf(step, error))?;
            (Act::Sent(sent), outcome)
        }
        LeafBody::Expire(job, outcome) => (Act::Expired(job), outcome),
        LeafBody::Genesis(_) | LeafBody::Seal(_) => {
            return Err(ReceiptError::Content(step, "the leaf holds no transaction"));
        }
    };
    let Outcome { code, transfers } = outcome;
    if code != Code::Ok {
        return Err(ReceiptError::Refused(step, code));
    }
    let place = Place { step, leaf: proof.index, size: judged.checkpoint.size, witnessed: judged.witnessed };
    Ok(Opened { chain, checkpoint: judged.checkpoint, place, act, transfers })
}

fn check_one_log(opened: &[Opened]) -> Result<(), ReceiptError> {
    let in_order = opened.is_sorted_by(|a, b| a.chain == b.chain && a.place.leaf < b.place.leaf);
    for (at, one) in opened.iter().enumerate() {
        let other = opened[..at].iter().find(|other| other.checkpoint.size == one.checkpoint.size);
        if in_order && other.is_some_and(|other| other.checkpoint.root != one.checkpoint.root) {
            return Err(ReceiptError::Forked(one.checkpoint.size));
        }
    }
    if in_order { Ok(()) } else { Err(ReceiptError::Order) }
}

/// One commitment of a round, with every signature checked.
struct Work {
    round: Digest,
    lease: LeaseCore,
    lease_digest: Digest,
    operator: PublicKey,
    commitment: Commitment,
}

impl Work {
    fn find(chain: &ChainId, close: &CloseRound, lease: &Digest) -> Result<Work, ReceiptError> {
        let wrong = |why| ReceiptError::Content(Step::Close, why);
        let refused = |what| move |error| ReceiptError::Statement(Step::Close, what, error);
        close.check().map_err(|_| wrong("the round is out of its bounds"))?;
        let entry = close.entries.iter().find(|entry| entry.lease.digest(chain) == *lease);
        let RoundEntry { lease, commitment, ingested } = entry.ok_or(wrong("the lease is not in the round"))?;
        let operator = lease.key();
        let lease = lease.verify(chain, &operator).map_err(refused("lease"))?;
        let commitment = commitment.verify(chain, &lease.provider).map_err(refused("commitment"))?;
        let ingested = ingested.verify(chain, &ingested.key()).map_err(refused("ingest"))?;
        let answers = lease.kind == LeaseKind::Work
            && commitment.lease == lease.digest()
            && commitment.units == lease.units
            && ingested.commitment == commitment.digest()
            && ingested.refused.is_none();
        if !answers {
            return Err(wrong("lease, commitment and ingest do not belong together"));
        }
        let commitments: Vec<Digest> = close.entries.iter().map(|entry| entry.commitment.digest(chain)).collect();
        let round = round_id(&close.job, &commitments);
        let (lease_digest, commitment) = (lease.digest(), commitment.into_inner());
        Ok(Work { round, lease: lease.into_inner(), lease_digest, operator, commitment })
    }

    fn task(&self, close: &CloseRound, object: &[u8]) -> Result<TaskSpec, ReceiptError> {
        let spec = TaskSpec::from_object(object).ok().filter(|_| Digest::of(object) == self.lease.task);
        let spec = spec.filter(|spec| {
            let range = (self.lease.first_unit, self.lease.units);
            spec.job == close.job && spec.units.shard(self.lease.shard) == Some(range)
        });
        spec.ok_or(ReceiptError::Task)
    }

    fn check_unit(&self, unit: &DrawnUnit) -> Result<(), ReceiptError> {
        let DrawnUnit { unit: number, digest, salt, path } = unit;
        let path: Vec<[u8; 32]> = path.iter().map(|node| node.0).collect();
        let leaf = Sha3::unit_leaf(salt, *number, digest);
        let place = number.checked_sub(self.lease.first_unit);
        let root = place.and_then(|place| root_from_path::<Sha3>(leaf, place, self.lease.units, &path));
        if root == Some(self.commitment.root.0) { Ok(()) } else { Err(ReceiptError::Unit(*number)) }
    }

    /// The verdict on this work, as it follows from the votes that the ledger took.
    fn judgement(&self, chain: &ChainId, close: &CloseRound, tx: &RecordVerdict) -> Result<Judgement, ReceiptError> {
        let wrong = |why| ReceiptError::Content(Step::Verdict, why);
        if (tx.job, tx.round) != (close.job, self.round) {
            return Err(wrong("is of another round"));
        }
        let shard = tx.shards.iter().find(|shard| shard.lease == self.lease_digest);
        let ShardVerdict { drawn, votes, referee, .. } = shard.ok_or(wrong("does not judge the lease"))?;
        for unit in drawn {
            self.check_unit(unit)?;
        }
        let votes = votes.iter().map(|vote| self.vote(chain, vote)).collect::<Result<Vec<_>, _>>()?;
        let referee = referee.as_ref().map(|vote| self.vote(chain, vote)).transpose()?;
        // The referee has the last word.
        let last = |unit: u64| {
            let said = referee.iter().chain(&votes).flat_map(|(_, vote)| &vote.units);
            said.clone().find(|said| said.unit == unit).map(|said| said.digest)
        };
        let drawn: Vec<(u64, bool)> =
            drawn.iter().map(|unit| (unit.unit, last(unit.unit) == Some(unit.digest))).collect();
        let upheld = |vote: &Vote| vote.units.iter().all(|said| last(said.unit) == Some(said.digest));
        let votes = votes.iter().map(|(key, vote)| (*key, upheld(vote))).collect();
        Ok(Judgement { accepted: drawn.iter().all(|(_, right)| *right), drawn, votes, refereed: referee.is_some() })
    }

    fn vote(&self, chain: &ChainId, vote: &Signed<Vote>) -> Result<(PublicKey, Vote), ReceiptError> {
        let refused = |error| ReceiptError::Statement(Step::Verdict, "vote", error);
        let (key, vote) = (vote.key(), vote.verify(chain, &vote.key()).map_err(refused)?.into_inner());
        if (vote.round, vote.lease) == (self.round, self.lease_digest) {
            Ok((key, vote))
        } else {
            Err(ReceiptError::Content(Step::Verdict, "a vote is about something else"))
        }
    }
}

/// What a page pays to those of `keys` whom it pays.
fn payments(chain: &ChainId, job: JobId, settle: &Opened, keys: Vec<PublicKey>) -> Result<Vec<Payment>, ReceiptError> {
    let wrong = |why| ReceiptError::Content(Step::Settle, why);
    let of = match &settle.act {
        Act::Sent(Transaction::Settle(settle)) => settle.job,
        Act::Expired(job) => *job,
        Act::Sent(_) => return Err(wrong("is neither a Settle nor an expiry")),
    };
    if of != job {
        return Err(wrong("is of another job"));
    }
    let escrow = Account::Escrow(job).id(chain);
    let mut payments: Vec<Payment> = Vec::new();
    for key in keys {
        let vesting = Account::Vesting(key, job).id(chain);
        let available = Account::Available(key).id(chain);
        let sum = |from, to| {
            let moved = settle.transfers.iter().filter(|transfer| (transfer.from, transfer.to) == (from, to));
            moved.fold(None, |sum: Option<u64>, transfer| Some(sum.unwrap_or(0).saturating_add(transfer.amount)))
        };
        if let Some(vested) = sum(escrow, vesting).filter(|_| payments.iter().all(|paid| paid.key != key)) {
            payments.push(Payment { key, vested, matured: sum(vesting, available).unwrap_or(0) });
        }
    }
    if payments.is_empty() { Err(wrong("pays neither the provider nor a voter")) } else { Ok(payments) }
}
