//! A provider's receipt: unit -> commitment root -> leaf -> checkpoint, and what became of the work. It verifies with no
//! network and no key but those of a [trust policy](super::trust).
//!
//! A receipt holds one leaf for each thing it shows: the round that fixed the commitment, the verdict, a page of the
//! settlement. That a leaf's receipt says ok is the ledger's word, and that of every witness who replayed it; signatures,
//! the round's id, paths and amounts are checked here again.

mod check;
mod make;

use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::{DrawnUnit, Transaction};
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::sign::VerifyError;
use orion_protocol::statements::{Commitment, LeaseCore};
use orion_protocol::task::{TaskSpec, unit_salt};
use orion_protocol::{CborError, ChainId, Digest, JobId, PublicKey, cbor};

pub use self::make::{Maker, NoReceipt};

use self::check::{Act, Work, check_one_log, open, payments};
use super::proof_file::ProofFile;
use super::trust::{JudgeError, Trust, Witnessed};

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

/// The proof of one unit of a shard, by whoever has all its digests, in order, and the job's salt. `None` for a unit that is
/// not of the shard.
pub fn prove_unit(first_unit: u64, digests: &[Digest], job_salt: &Digest, unit: u64) -> Option<DrawnUnit> {
    let salt = |unit| unit_salt(job_salt, unit);
    let place = usize::try_from(unit.checked_sub(first_unit)?).ok()?;
    let digest = *digests.get(place)?;
    let numbered = (first_unit..).zip(digests);
    let leaves: Vec<[u8; 32]> = numbered.map(|(unit, digest)| Sha3::unit_leaf(&salt(unit), unit, digest)).collect();
    let path = merkle::path::<Sha3>(&leaves, place).into_iter().map(Digest).collect();
    Some(DrawnUnit { unit, digest, salt: salt(unit), path })
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
            Some(Act::Sent(Transaction::RecordVerdict(verdict))) => {
                Some(work.judgement(&chain, close, verdict, task.as_ref())?)
            }
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
