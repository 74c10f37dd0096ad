//! What people are shown of a job: derived from its state, never read back.

use orion_protocol::ledger::SealRef;
use orion_protocol::ledger::api::Paid;
use orion_protocol::statements::ResultObject;
use orion_protocol::task::{OutputSpec, UnitTable};
use orion_protocol::{Digest, Name, Reason, Refusal};

use crate::fleet::WorkerId;
use crate::job::shard::ShardState;
use crate::job::{Duty, Job};

/// Jobs of at most so many shards keep all of them as objects.
const MAX_KEPT_SHARDS: u32 = 64;

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The workload is tried out.
    Preflight,
    /// Refused before any money moved; final.
    Refused(Refusal),
    /// Money is being locked.
    Escrow,
    /// Shards are computed and audited.
    Running,
    /// The result is put together.
    Aggregating,
    /// Everybody is paid.
    Settling,
    /// The rest is refunded.
    Closing,
    /// Over.
    Done,
}

impl Stage {
    /// Names of the stages of jobs that are not over, in order.
    pub const UNDER_WAY: [&'static str; 6] = ["Preflight", "Escrow", "Running", "Aggregating", "Settling", "Closing"];

    /// The word, in CamelCase.
    pub fn as_str(&self) -> &'static str {
        match self {
            Stage::Preflight => "Preflight",
            Stage::Refused(_) => "Refused",
            Stage::Escrow => "Escrow",
            Stage::Running => "Running",
            Stage::Aggregating => "Aggregating",
            Stage::Settling => "Settling",
            Stage::Closing => "Closing",
            Stage::Done => "Done",
        }
    }
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// How far it is.
    pub stage: Stage,
    /// Why it fails, or that it was deleted; it may still be judging and paying.
    pub ending: Option<Refusal>,
    /// What it waits for.
    pub waiting: Option<Refusal>,
    /// Whether the preflight accepted it.
    pub accepted: bool,
    /// Whether money is locked.
    pub funded: bool,
    /// Units by state.
    pub units: UnitCounts,
    /// Shards in all, running, and the indexes that are accepted and failed, ascending.
    pub shards: (u32, u32),
    /// Accepted shards.
    pub accepted_shards: Vec<u32>,
    /// Failed shards.
    pub failed_shards: Vec<u32>,
    /// Shards that are shown as objects: not accepted nor failed, and the finished ones.
    pub window: Vec<ShardStatus>,
    /// Rounds so far.
    pub rounds: Vec<RoundStatus>,
    /// Units re-executed, shards rejected, disputes.
    pub audited: (u64, u64, u64),
    /// How the items are cut.
    pub table: UnitTable,
    /// Drawn units a shard.
    pub audits_per_shard: u32,
    /// What comes out: types and shapes of a model's outputs are known after the preflight.
    pub outputs: Vec<OutputSpec>,
    /// The final files.
    pub results: Vec<ResultObject>,
    /// Money.
    pub cost: Option<Cost>,
    /// Where the evidence is.
    pub ledger: LedgerPlace,
}

/// Where a job's evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerPlace {
    /// The log after the job's last transaction, or a later one.
    pub seal: Option<SealRef>,
    /// The leaf of the settlement's first page, or a later one where another leader submitted it.
    pub settlement: Option<u64>,
    /// Part of the ids of transactions.
    pub attempt: u64,
}

/// Units by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounts {
    /// All.
    pub total: u64,
    /// Leased.
    pub running: u64,
    /// Committed, not yet judged.
    pub committed: u64,
    /// Accepted.
    pub accepted: u64,
}

/// What a job costs, in micro-credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Micro-credits per million work.
    pub price: u64,
    /// Accepted work.
    pub work: u64,
    /// Locked at first.
    pub escrowed: u64,
    /// Paid and refunded.
    pub paid: Paid,
}

/// A shard, for its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// Its index.
    pub index: u32,
    /// First unit and count.
    pub units: (u64, u64),
    /// How it ended.
    pub outcome: ShardOutcome,
}

/// How a shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardOutcome {
    /// It has not.
    Open,
    /// Accepted: who, which attempt, in which round.
    Accepted(WorkerId, u32, u64),
    /// Failed.
    Failed(Refusal),
}

/// A round, for its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundStatus {
    /// Rounds closed before it.
    pub sequence: u64,
    /// Its id.
    pub id: Digest,
    /// The seal that seeds its draw.
    pub seal: SealRef,
    /// What is judged.
    pub entries: Vec<RoundEntryStatus>,
    /// Votes, and validators that did not vote.
    pub votes: (u32, u32),
}

/// One shard of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundEntryStatus {
    /// The shard.
    pub shard: u32,
    /// The attempt.
    pub attempt: u32,
    /// Who committed.
    pub provider: Name,
    /// Digest of the commitment.
    pub commitment: Digest,
    /// The drawn units.
    pub drawn: Vec<u64>,
    /// The verdict, once there is one.
    pub verdict: Option<EntryStatus>,
}

/// The verdict on one shard of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryStatus {
    /// The whole shard, or nothing.
    pub accepted: bool,
    /// Whether the referee decided.
    pub disputed: bool,
    /// Index of its leaf in the log; 0 where a later leader did not see it.
    pub leaf: u64,
}

impl RoundStatus {
    /// Whether every shard is judged.
    pub fn is_judged(&self) -> bool {
        self.entries.iter().all(|entry| entry.verdict.is_some())
    }

    pub(crate) fn judge(&mut self, shard: u32, verdict: EntryStatus) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.shard == shard) {
            entry.verdict = Some(verdict);
        }
    }
}

/// What changes when something happened that people should see: cheap to make and to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    stage: std::mem::Discriminant<Stage>,
    reasons: [Option<Reason>; 2],
    counts: [u64; 8],
}

impl Headline {
    pub fn of(job: &Job) -> Headline {
        let reason = |refusal: Option<&Refusal>| refusal.map(|refusal| refusal.reason);
        Headline {
            stage: std::mem::discriminant(&job.stage),
            reasons: [reason(job.ending.as_ref()), reason(job.hindrance())],
            counts: [
                job.accepted.len() as u64,
                job.failed.len() as u64,
                job.shards.len() as u64,
                job.working() as u64,
                job.rounds_closed,
                job.verdicts,
                job.pages.0,
                // Stored, so that the next leader does not go through ids that are used.
                job.attempt,
            ],
        }
    }
}

/// The status of `job`.
pub(crate) fn of(job: &Job) -> JobStatus {
    let funded = matches!(job.stage, Stage::Running | Stage::Aggregating | Stage::Settling | Stage::Closing)
        || (job.stage == Stage::Done && job.ledger.is_some());
    let table = job.task.as_ref().map_or(&job.spec.units, |task| &task.spec.units);
    // In jobs of many shards the finished ones are gone once `accepted_shards` says so.
    let all = table.shards() <= MAX_KEPT_SHARDS;
    let finished = job
        .accepted
        .iter()
        .filter(|_| all)
        .map(|(index, shard)| (*index, ShardOutcome::Accepted(shard.worker.clone(), shard.attempt, shard.round)));
    let failed =
        job.failed.iter().filter(|_| all).map(|(index, refusal)| (*index, ShardOutcome::Failed(refusal.clone())));
    let open = job.shards.keys().map(|index| (*index, ShardOutcome::Open));
    let mut window: Vec<ShardStatus> = finished
        .chain(failed)
        .chain(open)
        .map(|(index, outcome)| ShardStatus { index, units: table.shard(index).unwrap_or_default(), outcome })
        .collect();
    window.sort_unstable_by_key(|shard| shard.index);
    JobStatus {
        stage: job.stage.clone(),
        ending: job.ending.clone(),
        waiting: job.hindrance().cloned(),
        accepted: funded || job.stage == Stage::Escrow,
        funded,
        units: units(job),
        shards: (table.shards(), u32::try_from(job.working()).unwrap_or(u32::MAX)),
        accepted_shards: job.accepted.keys().copied().collect(),
        failed_shards: job.failed.keys().copied().collect(),
        window,
        rounds: job.shown_rounds.values().cloned().collect(),
        audited: (job.tally.audited, job.tally.rejected, job.tally.disputed),
        table: *table,
        audits_per_shard: job.spec.audits_per_shard,
        outputs: job.spec.outputs.clone(),
        results: job.results.clone(),
        cost: cost(job),
        ledger: LedgerPlace { seal: job.last_seal, settlement: job.settlement, attempt: job.attempt },
    }
}

fn units(job: &Job) -> UnitCounts {
    let table = &job.spec.units;
    let of = |shard: &u32| table.shard(*shard).map_or(0, |(_, count)| count);
    let committed = job.shards.iter().filter(|(_, shard)| {
        matches!(shard.state, ShardState::Committed(_) | ShardState::Ingested(..) | ShardState::InRound)
    });
    let running = job.leases.values().filter_map(|out| match &out.duty {
        Duty::Work(shard) => Some(of(shard)),
        _ => None,
    });
    UnitCounts {
        total: table.units(),
        running: running.sum(),
        committed: committed.map(|(index, _)| of(index)).sum(),
        accepted: job.accepted.keys().map(of).sum(),
    }
}

fn cost(job: &Job) -> Option<Cost> {
    let task = job.task.as_ref()?;
    let units = &task.spec.units;
    let work = job.accepted.keys().filter_map(|shard| units.shard(*shard));
    let view = job.ledger.as_ref()?;
    Some(Cost {
        price: task.spec.price,
        work: work.map(|(first, count)| units.work_of(first, count)).sum(),
        escrowed: view.escrowed,
        paid: view.paid,
    })
}
