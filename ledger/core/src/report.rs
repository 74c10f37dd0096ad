//! What a checked log says: who computed what, who checked it, who was paid, and that it all adds up.

use std::collections::BTreeMap;

use orion_protocol::bytes::Name;
use orion_protocol::ledger::api::{JobPhase, SealRef};
use orion_protocol::ledger::leaf::Totals;
use orion_protocol::statements::{Commitment, LeaseCore};
use orion_protocol::task::TaskSpec;
use orion_protocol::{AccountId, ChainId, Digest, JobId, PublicKey};

use crate::book::Place;
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::job::{Entry, Job, Round};

/// What a checked log says.
#[derive(Clone, Debug)]
pub struct Report {
    /// The chain.
    pub chain: ChainId,
    /// The checkpoint under which everything lies.
    pub checkpoint: Checkpoint,
    /// The seal at the checkpoint.
    pub seal: SealRef,
    /// Leaves that were checked.
    pub entries: u64,
    /// The current epoch.
    pub epoch: u64,
    /// Sums of all accounts by kind.
    pub totals: Totals,
    /// All jobs together.
    pub sums: Sums,
    /// By id.
    pub jobs: Vec<JobReport>,
}

/// Where escrowed money went, in micro-credits: escrowed is the sum of the others but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Ever locked.
    pub escrowed: u64,
    /// To workers.
    pub workers: u64,
    /// To validators.
    pub validators: u64,
    /// The platform's fee.
    pub fee: u64,
    /// Back to the consumer.
    pub refunded: u64,
    /// Still locked.
    pub locked: u64,
    /// Of what went to workers and validators, what slashes took back while it was pending.
    pub taken_back: u64,
}

impl Sums {
    /// Whether escrowed is the sum of what it became, and no more was taken back than was paid.
    pub fn add_up(&self) -> bool {
        let Sums { escrowed, workers, validators, fee, refunded, locked, taken_back } = *self;
        let parts = [workers, validators, fee, refunded, locked];
        let all = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part));
        all == Some(escrowed) && taken_back <= workers.saturating_add(validators)
    }

    /// Both together. A chain issues less than 2^63 micro-credits, but may lock them many times over, so sums saturate.
    fn and(self, other: Sums) -> Sums {
        Sums {
            escrowed: self.escrowed.saturating_add(other.escrowed),
            workers: self.workers.saturating_add(other.workers),
            validators: self.validators.saturating_add(other.validators),
            fee: self.fee.saturating_add(other.fee),
            refunded: self.refunded.saturating_add(other.refunded),
            locked: self.locked.saturating_add(other.locked),
            taken_back: self.taken_back.saturating_add(other.taken_back),
        }
    }
}

/// One job.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The job.
    pub job: JobId,
    /// The task digest.
    pub task: Digest,
    /// The task.
    pub spec: TaskSpec,
    /// Who paid.
    pub consumer: AccountId,
    /// How far it came.
    pub phase: JobPhase,
    /// Where its money went.
    pub sums: Sums,
    /// What each provider was paid, by key, and what was taken back of it.
    pub payouts: Vec<Payout>,
    /// Shards that were ever in a round, ascending.
    pub shards: Vec<ShardReport>,
}

impl JobReport {
    /// The accepted attempt of every shard, ascending, when every shard has one: what the result must hash to.
    pub fn accepted(&self) -> Option<Vec<&Attempt>> {
        let accepted: Vec<&Attempt> = self.shards.iter().filter_map(|shard| shard.accepted.as_ref()).collect();
        (accepted.len() as u64 == u64::from(self.spec.units.shards())).then_some(accepted)
    }
}

/// What a provider was paid in a job, in micro-credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// To whom.
    pub provider: PublicKey,
    /// Whose it is.
    pub owner: Option<Name>,
    /// For accepted shards.
    pub worker: u64,
    /// For votes that were upheld.
    pub validator: u64,
    /// Of both, what a slash took back while it was pending.
    pub taken_back: u64,
}

/// One shard.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// Its index.
    pub shard: u32,
    /// The attempt that was accepted.
    pub accepted: Option<Attempt>,
    /// Attempts that were rejected, in order.
    pub rejected: Vec<Attempt>,
    /// An attempt that is not judged.
    pub open: Option<Attempt>,
}

/// One commitment in a round.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The round.
    pub round: Digest,
    /// The work lease.
    pub lease: LeaseCore,
    /// What the worker's provider committed to.
    pub commitment: Commitment,
    /// Who owns the provider.
    pub owner: Option<Name>,
    /// Drawn units, in the order drawn, each with whether the committed digest was right; empty before the verdict.
    pub drawn: Vec<(u64, bool)>,
    /// Who voted.
    pub auditors: Vec<AuditorReport>,
    /// Units that the referee decided.
    pub refereed: Vec<u64>,
}

/// One vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditorReport {
    /// Whose.
    pub key: PublicKey,
    /// Who owns it; `None` for the platform's own worker.
    pub owner: Option<Name>,
    /// On which units.
    pub units: Vec<u64>,
    /// Whether the verdict upheld it.
    pub upheld: bool,
    /// Whether it counts as a contribution to be paid.
    pub paid: bool,
}

impl Report {
    /// Of a chain that was replayed to `checkpoint`.
    pub fn new(checkpoint: Checkpoint, chain: &Chain) -> Report {
        let jobs: Vec<JobReport> = chain.jobs().iter().map(|(id, job)| job_report(chain, *id, job)).collect();
        Report {
            chain: chain.id().clone(),
            entries: checkpoint.size,
            checkpoint,
            seal: chain.seal_ref(),
            epoch: chain.epoch(),
            totals: chain.totals(),
            sums: jobs.iter().fold(Sums::default(), |sum, job| sum.and(job.sums)),
            jobs,
        }
    }

    /// The job, if the log knows it.
    pub fn job(&self, job: &JobId) -> Option<&JobReport> {
        self.jobs.iter().find(|report| report.job == *job)
    }
}

/// Checks that each job's money adds up and that its escrow is what the sums say.
pub(crate) fn check_jobs(chain: &Chain) -> Result<(), String> {
    for (id, job) in chain.jobs() {
        let sums = sums(chain, *id, job);
        if !sums.add_up() {
            return Err(format!("job {id}: {sums:?}"));
        }
        if !job.is_open() && sums.locked != 0 {
            return Err(format!("job {id} is closed with {} locked", sums.locked));
        }
    }
    Ok(())
}

fn sums(chain: &Chain, id: JobId, job: &Job) -> Sums {
    let locked = chain.state.book.balance(&Place::escrow(chain.id(), id));
    let orion_protocol::ledger::api::Paid { workers, validators, fee, refunded } = job.paid;
    let taken_back = job.taken_back.values().fold(0, |sum: u64, taken| sum.saturating_add(*taken));
    Sums { escrowed: job.escrowed, workers, validators, fee, refunded, locked, taken_back }
}

fn job_report(chain: &Chain, id: JobId, job: &Job) -> JobReport {
    let mut shards: BTreeMap<u32, ShardReport> = BTreeMap::new();
    for round in &job.rounds {
        for entry in &round.entries {
            let shard = entry.lease.shard;
            let empty = ShardReport { shard, accepted: None, rejected: Vec::new(), open: None };
            let report = shards.entry(shard).or_insert(empty);
            let attempt = attempt(chain, round, entry);
            match &entry.verdict {
                None => report.open = Some(attempt),
                Some(verdict) if verdict.accepted => report.accepted = Some(attempt),
                Some(_) => report.rejected.push(attempt),
            }
        }
    }
    JobReport {
        job: id,
        task: job.task,
        spec: job.spec.clone(),
        consumer: job.consumer,
        phase: job.phase,
        sums: sums(chain, id, job),
        payouts: payouts(chain, job),
        shards: shards.into_values().collect(),
    }
}

fn payouts(chain: &Chain, job: &Job) -> Vec<Payout> {
    let mut payouts: BTreeMap<PublicKey, Payout> = BTreeMap::new();
    for page in job.settlement.iter().flat_map(|settled| (0..settled.done).map(|page| settled.page(page))) {
        for share in page {
            let provider = share.provider;
            let taken_back = job.taken_back.get(&provider).copied().unwrap_or(0);
            let empty = Payout { provider, owner: owner(chain, &provider), worker: 0, validator: 0, taken_back };
            let payout = payouts.entry(provider).or_insert(empty);
            let sum = if share.audit { &mut payout.validator } else { &mut payout.worker };
            *sum = sum.saturating_add(share.amount);
        }
    }
    payouts.into_values().collect()
}

fn attempt(chain: &Chain, round: &Round, entry: &Entry) -> Attempt {
    let verdict = entry.verdict.clone();
    let (drawn, auditors, refereed) =
        verdict.map_or_else(Default::default, |verdict| (verdict.drawn, verdict.auditors, verdict.refereed));
    let auditor = |auditor: crate::job::Auditor| {
        let crate::job::Auditor { key, units, upheld, paid } = auditor;
        let platform = chain.state.keys.is_platform(&key);
        AuditorReport { key, owner: if platform { None } else { owner(chain, &key) }, units, upheld, paid }
    };
    Attempt {
        round: round.id,
        lease: entry.lease.clone(),
        commitment: entry.commitment.clone(),
        owner: owner(chain, &entry.lease.provider),
        drawn,
        auditors: auditors.into_iter().map(auditor).collect(),
        refereed,
    }
}

fn owner(chain: &Chain, key: &PublicKey) -> Option<Name> {
    chain.providers().get(key).map(|provider| provider.owner.clone())
}
