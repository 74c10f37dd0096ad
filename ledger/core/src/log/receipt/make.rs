//! Receipts made from a whole log: what the log says of one lease, found by reading its leaves once.

use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::{DrawnUnit, Transaction};
use orion_protocol::merkle::Sha256;
use orion_protocol::{ChainId, Digest, JobId};

use super::super::note::Note;
use super::super::proof_file::ProofFile;
use super::super::prove::{Levels, inclusion};
use super::{Entry, Receipt};
use crate::job::{self, Job};

/// The leaves of one job, and the hashes of all.
#[derive(Clone, Debug)]
pub struct Maker {
    chain: ChainId,
    job: JobId,
    hashes: Vec<[u8; 32]>,
    found: Vec<Found>,
}

/// A leaf that did something to the job.
#[derive(Clone, Debug)]
struct Found {
    at: usize,
    leaf: Vec<u8>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The job's rounds are closed in order.
    Close,
    Verdict {
        round: Digest,
        lease: Digest,
        drawn: Vec<DrawnUnit>,
    },
    /// A settlement's pages are paid in order, by Settle or when the job expires.
    Page,
}

/// Why the log has no such receipt.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoReceipt {
    /// No round of the job holds the lease.
    #[error("no round of the job holds a commitment under this lease")]
    Lease,
    /// The unit was not drawn; the ones that were.
    #[error("unit {0} was not drawn, only {1:?}: the log holds the paths of drawn units alone")]
    Unit(u64, Vec<u64>),
}

impl Maker {
    /// For receipts of this job.
    pub fn new(chain: &ChainId, job: JobId) -> Maker {
        Maker { chain: chain.clone(), job, hashes: Vec::new(), found: Vec::new() }
    }

    /// Takes the next leaf of a log that was verified.
    pub fn leaf(&mut self, bytes: &[u8]) {
        let at = self.hashes.len();
        self.hashes.push(Sha256::leaf(bytes));
        // Reading a leaf costs a signature; a leaf about the job holds its id.
        if bytes.windows(self.job.0.len()).any(|window| window == self.job.0) {
            for what in self.acts(bytes) {
                self.found.push(Found { at, leaf: bytes.to_vec(), what });
            }
        }
    }

    /// What a leaf did to the job.
    fn acts(&self, bytes: &[u8]) -> Vec<What> {
        let Ok(Leaf { body, .. }) = Leaf::from_bytes(bytes) else { return Vec::new() };
        let (signed, outcome) = match body {
            LeafBody::Transaction(signed, outcome) => (signed, outcome),
            LeafBody::Expire(job, outcome) if job == self.job && outcome.code == Code::Ok => return vec![What::Page],
            _ => return Vec::new(),
        };
        let Ok(envelope) = signed.verify(&self.chain, &signed.key()) else { return Vec::new() };
        match Transaction::from_bytes(&envelope.payload) {
            _ if outcome.code != Code::Ok => Vec::new(),
            Ok(Transaction::CloseRound(close)) if close.job == self.job => vec![What::Close],
            Ok(Transaction::RecordVerdict(verdict)) if verdict.job == self.job => {
                let round = verdict.round;
                let shards = verdict.shards.into_iter();
                shards.map(|shard| What::Verdict { round, lease: shard.lease, drawn: shard.drawn }).collect()
            }
            Ok(Transaction::Settle(settle)) if settle.job == self.job => vec![What::Page],
            _ => Vec::new(),
        }
    }

    /// What the log says of this lease's work, under the log's checkpoint; `job` is what replay made of the same leaves. `unit`:
    /// one that was drawn, to be proven too.
    pub fn receipt(&self, note: &Note, job: &Job, lease: &Digest, unit: Option<u64>) -> Result<Receipt, NoReceipt> {
        let is = |entry: &&job::Entry| entry.lease_digest == *lease;
        let at = job.rounds.iter().position(|round| round.entries.iter().any(|entry| is(&entry)));
        let at = at.ok_or(NoReceipt::Lease)?;
        let entry = job.rounds[at].entries.iter().find(is).ok_or(NoReceipt::Lease)?;
        let of = (&job.rounds[at].id, lease);
        let judges = |what: &What| matches!(what, What::Verdict { round, lease, .. } if (round, lease) == of);
        let verdict = self.nth(judges, 0);
        let drawn = match verdict.map(|found| &found.what) {
            Some(What::Verdict { drawn, .. }) => drawn.as_slice(),
            _ => &[],
        };
        let unit = unit.map(|number| {
            let found = drawn.iter().find(|unit| unit.unit == number).cloned();
            found.ok_or_else(|| NoReceipt::Unit(number, drawn.iter().map(|unit| unit.unit).collect()))
        });
        // Shares are paid in the order of the contributions' ids, workers first.
        let share = job.workers.keys().position(|id| *id == entry.commitment_digest);
        let page = share.and_then(|share| self.nth(|what| *what == What::Page, share / job::SHARES_A_PAGE));
        let close = self.nth(|what| *what == What::Close, at);
        Ok(Receipt {
            close: close.and_then(|found| self.entry(found, note)).ok_or(NoReceipt::Lease)?,
            verdict: verdict.and_then(|found| self.entry(found, note)),
            settle: page.and_then(|found| self.entry(found, note)),
            unit: unit.transpose()?,
            task: Some(job.spec.object()),
        })
    }

    fn nth(&self, what: impl Fn(&What) -> bool, n: usize) -> Option<&Found> {
        self.found.iter().filter(|found| what(&found.what)).nth(n)
    }

    fn entry(&self, found: &Found, note: &Note) -> Option<Entry> {
        let (index, size) = (found.at as u64, self.hashes.len() as u64);
        let path = inclusion(size, index, &Levels::of(&self.hashes)).ok()?;
        Some(Entry { leaf: found.leaf.clone(), proof: ProofFile { extra: None, index, path, note: note.clone() } })
    }
}
