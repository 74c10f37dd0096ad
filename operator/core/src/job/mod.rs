//! One job: its facts ([`facts`]), and the plan that follows from them ([`plan`]).

mod duties;
mod facts;
mod heard;
mod plan;
mod resume;
pub(crate) mod round;
pub(crate) mod shard;
mod transact;

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::ids::{aggregate_digest, preflight_digest};
use orion_protocol::ledger::{JobView, SealRef, Transaction};
use orion_protocol::statements::ResultObject;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, PublicKey, Refusal, TxId};

use crate::Millis;
use crate::effect::{Contradiction, JobSpec};
use crate::fleet::WorkerId;
use crate::status::{RoundStatus, Stage};
use heard::Heard;
use round::Round;
use shard::Shard;

/// The state of one job.
#[derive(Debug)]
pub(crate) struct Job {
    pub spec: JobSpec,
    pub stage: Stage,
    /// Why no more leases are given: what went wrong, or that the job was deleted.
    pub ending: Option<Refusal>,
    /// Why money is not locked, or what else the job waits for.
    pub waiting: Option<Refusal>,
    /// What stands in preflight leases for the task digest.
    pub trial: Digest,
    pub unit_nanos: Option<u64>,
    pub load_nanos: Option<u64>,
    pub task: Option<Task>,
    /// Objects that are in bucket `in`; the others are being put there.
    pub stored: BTreeSet<Digest>,
    pub storing: BTreeSet<Digest>,
    pub shards: BTreeMap<u32, Shard>,
    pub next_shard: u32,
    /// Digests of the output objects of accepted shards.
    pub accepted: BTreeMap<u32, AcceptedShard>,
    pub failed: BTreeMap<u32, Refusal>,
    /// Objects of attempts that a verdict refused.
    pub spoiled: BTreeSet<Digest>,
    pub rounds: BTreeMap<u64, Round>,
    pub rounds_closed: u64,
    pub verdicts: u64,
    pub pages: (u64, u64),
    pub tx: Option<PendingTx>,
    pub attempt: u64,
    pub retry_at: Millis,
    /// What the escrow will lock, once that is known.
    pub escrow: u64,
    pub resyncs: u32,
    /// Leases that are out, by digest.
    pub leases: BTreeMap<Digest, Out>,
    /// Duties that are not to be tried before a time.
    pub pauses: BTreeMap<Duty, Millis>,
    /// What the platform's worker failed to do so far: how often in a row, and what it said last.
    pub setbacks: BTreeMap<Duty, (u32, Refusal)>,
    pub manifest: Option<Digest>,
    pub results: Vec<ResultObject>,
    pub ledger: Option<Box<JobView>>,
    pub querying: bool,
    pub tally: Tally,
    /// The log after the job's last transaction, and the leaf of its first Settle; or later ones, where an earlier leader submitted
    /// them.
    pub last_seal: Option<SealRef>,
    pub settlement: Option<u64>,
    /// Rounds as people see them: the open ones, and the last 64.
    pub shown_rounds: BTreeMap<u64, RoundStatus>,
    /// Leases of aggregations that failed.
    pub failed_aggregations: BTreeSet<Digest>,
    /// Whether the ledger is to be asked, and whether its answer replaces everything.
    pub query: bool,
    pub resync: bool,
    /// Workers whose lease ended since the fleet was told.
    pub freed: Vec<WorkerId>,
    /// Leases given, of any kind: no two of them are alike.
    pub issued: u32,
    /// Whom the job waits for.
    pub unmet: Option<Refusal>,
    pub heard: Heard,
    /// Validators that contradicted themselves since it was told.
    pub contradictions: Vec<Contradiction>,
    /// No work is leased before: workers say first what they hold from an earlier leader.
    pub work_from: Millis,
}

/// The task as it was priced, with its digest.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub digest: Digest,
    pub spec: TaskSpec,
}

/// What is kept of an accepted shard.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedShard {
    pub outputs: Vec<Digest>,
    pub digest_list: Digest,
    pub worker: WorkerId,
    pub attempt: u32,
    pub round: u64,
}

/// A transaction that was handed out and has no receipt yet. One at a time a job.
#[derive(Debug)]
pub(crate) struct PendingTx {
    pub id: TxId,
    pub transaction: Transaction,
    /// Shards and their fate, for a RecordVerdict.
    pub verdicts: Vec<PendingVerdict>,
}

/// What a RecordVerdict will say about one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingVerdict {
    pub round: u64,
    pub shard: u32,
    pub accepted: bool,
    pub disputed: bool,
    pub audited: u64,
    /// Votes and absences in the evidence.
    pub votes: (u32, u32),
}

/// A lease that is out.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    pub duty: Duty,
    pub worker: WorkerId,
    pub given: Millis,
    pub deadline: Millis,
    /// Heartbeats in a row in which its worker did not list it.
    pub misses: u32,
}

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Duty {
    Preflight,
    Ingest(u32),
    Confirm(u32),
    Referee { round: u64, shard: u32, units: Vec<u64> },
    Audit { round: u64, shard: u32, validator: PublicKey, units: Vec<u64> },
    Aggregate,
    Work(u32),
}

/// Counts for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub audited: u64,
    pub rejected: u64,
    pub disputed: u64,
}

/// A job that has read nothing from the ledger yet.
impl Job {
    pub fn new(spec: JobSpec) -> Job {
        Job {
            trial: preflight_digest(&spec.job, &spec.workload, &spec.inputs),
            attempt: spec.first_try,
            spec,
            stage: Stage::Preflight,
            ending: None,
            waiting: None,
            unit_nanos: None,
            load_nanos: None,
            task: None,
            stored: BTreeSet::new(),
            storing: BTreeSet::new(),
            shards: BTreeMap::new(),
            next_shard: 0,
            accepted: BTreeMap::new(),
            failed: BTreeMap::new(),
            spoiled: BTreeSet::new(),
            rounds: BTreeMap::new(),
            rounds_closed: 0,
            verdicts: 0,
            pages: (0, 0),
            tx: None,
            retry_at: 0,
            escrow: 0,
            resyncs: 0,
            leases: BTreeMap::new(),
            pauses: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            manifest: None,
            results: Vec::new(),
            ledger: None,
            querying: false,
            tally: Tally::default(),
            last_seal: None,
            settlement: None,
            shown_rounds: BTreeMap::new(),
            failed_aggregations: BTreeSet::new(),
            query: false,
            resync: false,
            freed: Vec::new(),
            issued: 0,
            unmet: None,
            heard: Heard::default(),
            contradictions: Vec::new(),
            work_from: 0,
        }
    }

    /// Whether its escrow was opened under an earlier leader.
    pub fn is_resumed(&self) -> bool {
        self.work_from > 0
    }

    /// How long `units` may take beyond the fixed part of a deadline: ten times what the preflight measured, loading included, and
    /// the time to fetch the inputs.
    pub fn allowance_ms(&self, units: u64) -> Millis {
        let unit = self.unit_nanos.unwrap_or(DEFAULT_UNIT_NANOS);
        let nanos = unit.saturating_mul(units).saturating_add(self.load_nanos.unwrap_or(DEFAULT_LOAD_NANOS));
        (nanos.saturating_mul(10) / 1_000_000).saturating_add(self.fetch_ms()).min(MAX_ALLOWANCE_MS)
    }

    /// How long it may take to fetch the inputs.
    pub fn fetch_ms(&self) -> Millis {
        (self.spec.input_bytes / FETCH_BYTES_PER_MS).min(MAX_ALLOWANCE_MS)
    }

    /// What stands in the task field of this job's leases.
    pub fn task_digests(&self) -> impl Iterator<Item = Digest> + use<> {
        let task = self.task.as_ref().map(|task| task.digest);
        let aggregate = self.manifest.zip(task).map(|(manifest, task)| aggregate_digest(&task, &manifest));
        [Some(self.trial), task, aggregate].into_iter().flatten()
    }

    /// What bucket `held` may have of this job, once or more often.
    pub fn held(&self) -> Vec<Digest> {
        let accepted = self.accepted.values().map(|shard| (&shard.outputs, &shard.digest_list));
        let open = self.shards.values().filter_map(|shard| shard.state.claim());
        let closed = self.rounds.values().flat_map(|round| &round.cases).map(|case| &case.claim);
        let claimed = open.chain(closed).map(|claim| (&claim.commitment.outputs, &claim.commitment.digest_list));
        let objects = accepted.chain(claimed).flat_map(|(outputs, list)| outputs.iter().chain([list]));
        objects.copied().chain(self.spoiled.iter().copied()).collect()
    }

    /// Objects in bucket `in` that whoever works on the job reads.
    pub fn given(&self) -> Vec<Digest> {
        let task = self.task.as_ref().map(|task| task.digest);
        [self.spec.workload]
            .into_iter()
            .chain(self.spec.inputs.iter().copied())
            .chain(task)
            .chain(self.manifest)
            .collect()
    }

    /// What holds the job up, if anything does: money, nobody there, or a platform that fails.
    pub fn hindrance(&self) -> Option<&Refusal> {
        let asks =
            matches!(self.stage, Stage::Preflight | Stage::Running | Stage::Aggregating) && self.ending.is_none();
        let setback = self.setbacks.values().next().filter(|_| asks).map(|(_, refusal)| refusal);
        self.waiting.as_ref().or(self.unmet.as_ref()).or(setback)
    }

    /// Whether a lease for this duty is out.
    pub fn is_out(&self, duty: &Duty) -> bool {
        self.leases.values().any(|out| out.duty == *duty)
    }

    /// How many work leases are out.
    pub fn working(&self) -> usize {
        self.leases.values().filter(|out| matches!(out.duty, Duty::Work(_))).count()
    }
}

/// Assumed where a new leader has not (yet) found the preflight's answer.
const DEFAULT_UNIT_NANOS: u64 = 1_000_000_000;
const DEFAULT_LOAD_NANOS: u64 = 6_000_000_000;
/// What a worker's connection is expected to bring: 32 Mbit/s.
const FETCH_BYTES_PER_MS: u64 = 4_000;
/// No lease lasts longer than an hour more than its fixed part.
const MAX_ALLOWANCE_MS: Millis = 3_600_000;
