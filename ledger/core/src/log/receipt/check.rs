//! What each leaf of a receipt must say, and that the leaves belong together.

use orion_protocol::draw::round_id;
use orion_protocol::ids::Account;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt as Outcome, Transfer};
use orion_protocol::ledger::tx::{CloseRound, DrawnUnit, RecordVerdict, RoundEntry, ShardVerdict, Transaction};
use orion_protocol::merkle::{Sha3, root_from_path};
use orion_protocol::statements::{Commitment, LeaseCore, LeaseKind, Vote};
use orion_protocol::task::TaskSpec;
use orion_protocol::{ChainId, Digest, JobId, PublicKey, Signed};

use super::super::trust::Trust;
use super::{Entry, Judgement, Payment, Place, ReceiptError, Step};
use crate::checkpoint::Checkpoint;

/// A leaf that is in a log that is believed.
pub(super) struct Opened {
    pub(super) chain: ChainId,
    pub(super) checkpoint: Checkpoint,
    pub(super) place: Place,
    pub(super) act: Act,
    transfers: Vec<Transfer>,
}

/// What a leaf did.
pub(super) enum Act {
    Sent(Transaction),
    Expired(JobId),
}

pub(super) fn open(step: Step, entry: &Entry, trust: &Trust) -> Result<Opened, ReceiptError> {
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
        LeafBody::Genesis(_) | LeafBody::Seal(_) | LeafBody::Mature(..) | LeafBody::Lapse(..) => {
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

pub(super) fn check_one_log(opened: &[Opened]) -> Result<(), ReceiptError> {
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
pub(super) struct Work {
    pub(super) round: Digest,
    pub(super) lease: LeaseCore,
    pub(super) lease_digest: Digest,
    pub(super) operator: PublicKey,
    pub(super) commitment: Commitment,
}

impl Work {
    pub(super) fn find(chain: &ChainId, close: &CloseRound, lease: &Digest) -> Result<Work, ReceiptError> {
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

    pub(super) fn task(&self, close: &CloseRound, object: &[u8]) -> Result<TaskSpec, ReceiptError> {
        let spec = TaskSpec::from_object(object).ok().filter(|_| Digest::of(object) == self.lease.task);
        let spec = spec.filter(|spec| {
            let range = (self.lease.first_unit, self.lease.units);
            spec.job == close.job && spec.units.shard(self.lease.shard) == Some(range)
        });
        spec.ok_or(ReceiptError::Task)
    }

    pub(super) fn check_unit(&self, unit: &DrawnUnit) -> Result<(), ReceiptError> {
        let DrawnUnit { unit: number, digest, salt, path } = unit;
        let path: Vec<[u8; 32]> = path.iter().map(|node| node.0).collect();
        let leaf = Sha3::unit_leaf(salt, *number, digest);
        let place = number.checked_sub(self.lease.first_unit);
        let root = place.and_then(|place| root_from_path::<Sha3>(leaf, place, self.lease.units, &path));
        if root == Some(self.commitment.root.0) { Ok(()) } else { Err(ReceiptError::Unit(*number)) }
    }

    /// The verdict on this work, as it follows from the votes that the ledger took.
    pub(super) fn judgement(
        &self,
        chain: &ChainId,
        close: &CloseRound,
        tx: &RecordVerdict,
        task: Option<&TaskSpec>,
    ) -> Result<Judgement, ReceiptError> {
        let wrong = |why| ReceiptError::Content(Step::Verdict, why);
        if (tx.job, tx.round) != (close.job, self.round) {
            return Err(wrong("is of another round"));
        }
        let shard = tx.shards.iter().find(|shard| shard.lease == self.lease_digest);
        let ShardVerdict { drawn, votes, referee, .. } = shard.ok_or(wrong("does not judge the lease"))?;
        let asked = task.map(|task| u64::from(task.audits_per_shard).min(self.lease.units));
        if asked.is_some_and(|asked| asked != drawn.len() as u64) {
            return Err(wrong("draws another number of units than the task asks for"));
        }
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
pub(super) fn payments(
    chain: &ChainId,
    job: JobId,
    settle: &Opened,
    keys: Vec<PublicKey>,
) -> Result<Vec<Payment>, ReceiptError> {
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
