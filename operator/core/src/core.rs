//! The core: all jobs and the fleet, stepped by one input at a time.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::ledger::api::KeysView;
use orion_protocol::ledger::tx::DrawnUnit;
use orion_protocol::messages::{Answer, Beat, Role};
use orion_protocol::statements::LeaseCore;
use orion_protocol::{ChainId, Digest, Name, PublicKey, Reason, Refusal, Verified};

use crate::Millis;
use crate::effect::{Effect, Input, JobKey};
use crate::fleet::{Fleet, Needs, Wanted, WorkerId};
use crate::job::{Duty, Job};
use crate::status::{self, Headline, JobStatus, Stage};

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain.
    pub chain: ChainId,
    /// Whose leases are believed, and whose word decides.
    pub keys: KeysView,
    /// The epoch of this leadership.
    pub epoch: u64,
    /// Whether validators can lose something: then their votes must say what they are about.
    pub slashing: bool,
    /// Micro-credits that a second of preflight time must pay at least.
    pub min_price_per_second: u64,
    /// No lease before this: one round of heartbeats after the leadership began.
    pub dispatch_from: Millis,
}

/// So long it is waited for the answers of all providers: one who cannot be read holds the others up no longer.
const FOLD_MS: Millis = 30_000;

/// No operator makes so many attempts at a shard. A higher one could leave no room for another.
const MAX_ATTEMPT_OF_OTHERS: u32 = 1 << 16;

/// Everything that jobs look at but do not own.
pub(crate) struct Context<'a> {
    pub chain: &'a ChainId,
    pub platform: PublicKey,
    pub epoch: u64,
    pub slashing: bool,
    pub min_price_per_second: u64,
    pub dispatch_from: Millis,
    pub fleet: &'a Fleet,
}

/// The state machine of a leadership.
#[derive(Debug)]
pub struct Core {
    config: Config,
    fleet: Fleet,
    jobs: BTreeMap<JobKey, Job>,
    /// Which job owns what stands in the task field of leases.
    tasks: BTreeMap<Digest, JobKey>,
    /// After whom the next round of dispatching starts.
    turn: Option<JobKey>,
    shown: BTreeMap<JobKey, Headline>,
    /// Held objects of jobs that are over.
    garbage: BTreeSet<Digest>,
    /// Jobs whose held objects are being deleted, and until when that is waited for.
    releasing: BTreeMap<JobKey, Millis>,
    /// Results are being deleted.
    clearing: bool,
    /// Whose answers are not all read yet, and from when on leases are given once they are.
    folding: BTreeSet<Name>,
    heard_from: Millis,
    /// Answers whose task no job owns (yet): a new leader reads them before it knows all jobs.
    early: BTreeMap<Digest, Vec<(Name, Box<Answer>)>>,
    early_count: usize,
}

/// At most so many early answers are kept; what is beyond is read again by the next leader, or done again.
const MAX_EARLY: usize = 4096;
/// Deleting what is held takes less.
const RELEASE_MS: Millis = 60_000;

impl Core {
    /// A core that knows nothing yet.
    pub fn new(config: Config) -> Core {
        Core {
            heard_from: config.dispatch_from,
            config,
            folding: BTreeSet::new(),
            fleet: Fleet::default(),
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            turn: None,
            shown: BTreeMap::new(),
            garbage: BTreeSet::new(),
            releasing: BTreeMap::new(),
            clearing: false,
            early: BTreeMap::new(),
            early_count: 0,
        }
    }

    /// The fleet, for Provider status and metrics.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The job as people see it.
    pub fn status(&self, job: &JobKey) -> Option<JobStatus> {
        self.jobs.get(job).map(status::of)
    }

    /// What jobs that are not over need of buckets `in` and `held`.
    pub fn needed(&self) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
        let over = |job: &&Job| matches!(job.stage, Stage::Done | Stage::Refused(_));
        let jobs = || self.jobs.values().filter(|job| !over(job));
        (jobs().flat_map(Job::given).collect(), jobs().flat_map(Job::held).collect())
    }

    /// The results that jobs have; nothing while one may be stored that no job names yet.
    pub fn results(&self, now: Millis) -> Option<BTreeSet<Digest>> {
        let open = now < self.config.dispatch_from || self.jobs.values().any(|job| job.stage == Stage::Aggregating);
        let results = || self.jobs.values().flat_map(|job| &job.results).map(|result| result.digest);
        (!open).then(|| results().collect())
    }

    /// How many jobs are in each stage before their end; every such stage is named.
    pub fn stages(&self) -> BTreeMap<&'static str, u64> {
        let mut stages: BTreeMap<&'static str, u64> = Stage::UNDER_WAY.into_iter().map(|stage| (stage, 0)).collect();
        for job in self.jobs.values() {
            if let Some(count) = stages.get_mut(job.stage.as_str()) {
                *count += 1;
            }
        }
        stages
    }

    /// Takes one fact and says what is to be done.
    pub fn step(&mut self, input: Input, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        let touched = self.fold(input, now, &mut effects);
        match touched {
            Touched::None => return effects,
            Touched::Job(job) => self.plan(&job, now, &mut effects),
            Touched::All => {
                for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                    self.plan(&job, now, &mut effects);
                }
            }
        }
        self.dispatch(now, &mut effects);
        self.show(touched, &mut effects);
        effects
    }

    fn fold(&mut self, input: Input, now: Millis, effects: &mut Vec<Effect>) -> Touched {
        match input {
            Input::Job(spec, seen) => {
                let key = spec.job;
                if self.jobs.contains_key(&key) {
                    return Touched::None;
                }
                let context = context(&self.config, &self.fleet);
                let job = match seen {
                    Some(seen) => Job::resumed(&context, *spec, seen, now),
                    None => Job::new(*spec),
                };
                self.jobs.insert(key, job);
                Touched::Job(key)
            }
            Input::Changed { job, parallelism, budget } => self.with(job, |_, job| {
                job.spec.parallelism = parallelism;
                if !matches!(job.stage, Stage::Running | Stage::Aggregating | Stage::Settling | Stage::Closing) {
                    job.spec.budget = budget;
                }
            }),
            Input::Deleted(job) => self.with(job, |_, job| {
                let words = "deleted: what is committed is judged and paid, the rest refunded";
                job.ending = Some(Refusal::new(Reason::Deleted, words));
            }),
            Input::Forget(job) => self.forget(&job, now, effects),
            Input::Released(job) => {
                self.releasing.remove(&job);
                Touched::None
            }
            Input::Stored(job, digest) => self.with(job, |_, job| {
                job.storing.remove(&digest);
                job.stored.insert(digest);
            }),
            Input::Clearing(clearing) => {
                self.clearing = clearing;
                Touched::None
            }
            Input::Submitted(job, id, outcome) => self.with(job, |ctx, job| job.submitted(ctx, id, &outcome, now)),
            Input::Short(job, id) => self.with(job, |_, job| job.short(id, now)),
            Input::Ledger(job, seen) => self.with(job, |ctx, job| job.ledger(ctx, seen, now)),
            Input::Digests(job, lease, drawn) => self.digests(job, lease, &drawn),
            Input::Answer(provider, _, answer) => self.answer(&provider, answer, now),
            Input::Folding(providers) => {
                self.folding.extend(providers);
                self.config.dispatch_from = self.heard_from.max(now + FOLD_MS);
                Touched::None
            }
            Input::CaughtUp(provider) => {
                if self.folding.remove(&provider) && self.folding.is_empty() {
                    self.config.dispatch_from = self.heard_from.max(now);
                }
                Touched::None
            }
            Input::Beat(worker, beat) => self.beat(&worker, beat, now, effects),
            Input::ConsumerReady(worker) => {
                self.fleet.ready(&worker);
                Touched::All
            }
            Input::Registered(owners) => {
                self.fleet.set_registered(owners);
                Touched::None
            }
            Input::Providers(providers) => {
                self.fleet.set_providers(providers);
                Touched::All
            }
            Input::Tick => {
                self.fleet.expire(now);
                Touched::All
            }
        }
    }

    fn with(&mut self, key: JobKey, fact: impl FnOnce(&Context<'_>, &mut Job)) -> Touched {
        let context = context(&self.config, &self.fleet);
        let Some(job) = self.jobs.get_mut(&key) else { return Touched::None };
        fact(&context, job);
        Touched::Job(key)
    }

    fn digests(&mut self, job: JobKey, lease: Digest, drawn: &[DrawnUnit]) -> Touched {
        self.with(job, |_, job| {
            let cases = job.rounds.values_mut().flat_map(|round| &mut round.cases);
            for case in cases.filter(|case| case.claim.lease_digest == lease && case.proven.is_none()) {
                case.proven = Some(drawn.to_vec());
            }
        })
    }

    fn answer(&mut self, provider: &Name, answer: Box<Answer>, now: Millis) -> Touched {
        let Ok(lease) = self.config.keys.lease(&self.config.chain, &answer.lease) else { return Touched::None };
        // Whoever hears of a later leader's leases was replaced, and leaves them alone.
        if lease.token.epoch > self.config.epoch {
            return Touched::None;
        }
        let Some(key) = self.tasks.get(&lease.task).copied() else {
            if self.early_count < MAX_EARLY {
                self.early_count += 1;
                self.early.entry(lease.task).or_default().push((provider.clone(), answer));
            }
            return Touched::None;
        };
        if !self.may_be_out(key, &lease) {
            return Touched::None;
        }
        let Some(provider) = self.fleet.provider(provider).cloned() else { return Touched::None };
        self.with(key, |ctx, job| job.answer(ctx, &lease, &answer, &provider, now))
    }

    /// Whether a lease may have been given. An operator that was replaced can still sign leases of its epochs: of its jobs, with as
    /// many attempts as an operator makes.
    fn may_be_out(&self, job: JobKey, lease: &Verified<LeaseCore>) -> bool {
        let own = self.config.keys.operator_at(self.config.epoch).is_some_and(|own| own.key == lease.key());
        let resumed = || self.jobs.get(&job).is_some_and(Job::is_resumed);
        own || (lease.token.attempt <= MAX_ATTEMPT_OF_OTHERS && resumed())
    }

    fn beat(&mut self, worker: &WorkerId, beat: Beat, now: Millis, effects: &mut Vec<Effect>) -> Touched {
        let Beat::Alive(alive) = beat else { return Touched::None };
        let leases = alive.leases.clone();
        match self.fleet.beat(worker, alive, now) {
            None => return Touched::None,
            Some(true) => effects.push(Effect::EnsureConsumer(worker.clone())),
            Some(false) => {}
        }
        let held: Vec<Digest> = leases.iter().map(|lease| lease.digest(&self.config.chain)).collect();
        for job in self.jobs.values_mut() {
            job.listed(worker, &held, now);
        }
        for (signed, digest) in leases.iter().zip(&held) {
            let known = self.jobs.values().any(|job| job.leases.contains_key(digest));
            if known || !self.fleet.may_look(&worker.provider, now) {
                continue;
            }
            let Ok(lease) = self.config.keys.lease(&self.config.chain, signed) else { continue };
            let owns = self.fleet.provider(&worker.provider).is_some_and(|provider| provider.key == lease.provider);
            let Some(key) = self.tasks.get(&lease.task).copied() else { continue };
            if !owns || lease.worker != worker.worker || !self.may_be_out(key, &lease) {
                continue;
            }
            let mut adopted = false;
            self.with(key, |ctx, job| adopted = job.adopt(ctx, worker, &lease, now));
            if adopted {
                self.fleet.hold(worker);
            }
        }
        Touched::None
    }

    fn forget(&mut self, key: &JobKey, now: Millis, effects: &mut Vec<Effect>) -> Touched {
        let over = |job: &Job| matches!(job.stage, Stage::Done | Stage::Refused(_));
        if !self.jobs.get(key).is_some_and(over) {
            return Touched::None;
        }
        if let Some(job) = self.jobs.remove(key) {
            self.garbage.extend(job.held());
            let held = self.unneeded(now);
            if !held.is_empty() {
                self.releasing.insert(*key, now + RELEASE_MS);
            }
            effects.push(Effect::Release { job: *key, uid: job.spec.uid.clone(), held });
            for out in job.leases.values() {
                self.fleet.release(&out.worker);
            }
        }
        self.tasks.retain(|_, job| job != key);
        self.shown.remove(key);
        Touched::None
    }

    /// Takes from the garbage what no other job has: jobs may share objects, which are named by content.
    fn unneeded(&mut self, now: Millis) -> Vec<Digest> {
        // Before that moment not every job is known with all that it holds.
        if now < self.config.dispatch_from {
            return Vec::new();
        }
        let (_, needed) = self.needed();
        let gone = self.garbage.difference(&needed).copied().collect();
        self.garbage.retain(|digest| needed.contains(digest));
        gone
    }

    fn plan(&mut self, key: &JobKey, now: Millis, effects: &mut Vec<Effect>) {
        loop {
            let context = context(&self.config, &self.fleet);
            let Some(job) = self.jobs.get_mut(key) else { return };
            job.plan(&context, now, effects);
            for worker in std::mem::take(&mut job.freed) {
                self.fleet.release(&worker);
            }
            let mut early = Vec::new();
            for digest in job.task_digests() {
                if self.tasks.insert(digest, *key).is_none() {
                    early.extend(self.early.remove(&digest).unwrap_or_default());
                }
            }
            if early.is_empty() {
                return;
            }
            self.early_count = self.early_count.saturating_sub(early.len());
            for (provider, answer) in early {
                self.answer(&provider, answer, now);
            }
        }
    }

    /// Gives leases, one a job in turn, until nobody wants or nobody can take any.
    fn dispatch(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if now < self.config.dispatch_from {
            return;
        }
        self.releasing.retain(|_, until| *until > now);
        let mut waiting: BTreeMap<JobKey, Vec<Duty>> = BTreeMap::new();
        for (key, job) in &mut self.jobs {
            let context = context(&self.config, &self.fleet);
            let mut duties = job.duties(&context, now);
            duties.retain(|duty| match duty {
                Duty::Ingest(_) => self.releasing.is_empty(),
                Duty::Aggregate => !self.clearing,
                _ => true,
            });
            duties.reverse();
            job.unmet = None;
            if !duties.is_empty() {
                waiting.insert(*key, duties);
            }
        }
        let mut unmet: BTreeSet<JobKey> = BTreeSet::new();
        let mut trials = self.free_trials(now);
        while !waiting.is_empty() {
            let after =
                |turn: JobKey| waiting.range((std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded)).next();
            let next = self.turn.and_then(after).or_else(|| waiting.iter().next()).map(|(key, _)| *key);
            let Some(key) = next else { break };
            self.turn = Some(key);
            let duty = waiting.get_mut(&key).and_then(Vec::pop);
            match duty {
                None => {
                    waiting.remove(&key);
                }
                Some(Duty::Preflight) if trials == 0 => {}
                Some(duty) => {
                    trials -= usize::from(duty == Duty::Preflight);
                    if !self.give(&key, duty, now, effects) {
                        unmet.insert(key);
                    }
                }
            }
        }
        for key in unmet {
            self.say_unmet(&key, now);
        }
    }

    /// How many preflights may begin. They are free, and run what nobody has looked at yet: where the platform has several slots,
    /// one is always left to the jobs that pay.
    fn free_trials(&self, now: Millis) -> usize {
        let slots = self.fleet.slots(Role::Platform, now);
        let out = self.jobs.values().filter(|job| job.is_out(&Duty::Preflight)).count();
        slots.saturating_sub(1).max(1).saturating_sub(out)
    }

    fn give(&mut self, key: &JobKey, duty: Duty, now: Millis, effects: &mut Vec<Effect>) -> bool {
        let context = context(&self.config, &self.fleet);
        let Some(job) = self.jobs.get_mut(key) else { return false };
        let Some((worker, provider)) = job.choose(&context, &duty, now) else { return false };
        let Some(order) = job.grant(&context, duty, worker.clone(), provider, now) else { return false };
        effects.push(Effect::Lease(Box::new(order)));
        self.fleet.hold(&worker);
        true
    }

    /// Says whom a job waits for, when nobody of that kind is alive at all.
    fn say_unmet(&mut self, key: &JobKey, now: Millis) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let wanted = job.wanted(Role::Worker);
        let platform = self.fleet.has(&self.config.keys.platform, Wanted { role: Role::Platform, ..wanted }, now);
        let workers = self.fleet.any(wanted, now, |_, _| true);
        let which = if wanted.needs == Needs::Kernels { " and Landlock" } else { "" };
        let words =
            |who: &str| format!("{who} with an exact device{which} is not alive: see the conditions of providers");
        let none = |reason, who: &str| Some(Refusal::new(reason, words(who)));
        job.unmet = match (platform, workers) {
            (false, _) => none(Reason::NoPlatformWorker, "the platform's own worker"),
            (_, false) => none(Reason::NoMatchingWorker, "a provider's worker"),
            _ => None,
        };
    }

    /// Says which jobs look different from before.
    fn show(&mut self, touched: Touched, effects: &mut Vec<Effect>) {
        let keys: Vec<JobKey> = match touched {
            Touched::None => Vec::new(),
            Touched::Job(key) => vec![key],
            Touched::All => self.jobs.keys().copied().collect(),
        };
        for key in keys {
            let Some(job) = self.jobs.get(&key) else { continue };
            let headline = Headline::of(job);
            if self.shown.get(&key) != Some(&headline) {
                self.shown.insert(key, headline);
                effects.push(Effect::StatusChanged(key));
            }
        }
    }
}

/// Which jobs a fact was about.
#[derive(Clone, Copy)]
enum Touched {
    None,
    Job(JobKey),
    All,
}

fn context<'a>(config: &'a Config, fleet: &'a Fleet) -> Context<'a> {
    Context {
        chain: &config.chain,
        platform: config.keys.platform,
        epoch: config.epoch,
        slashing: config.slashing,
        min_price_per_second: config.min_price_per_second,
        dispatch_from: config.dispatch_from,
        fleet,
    }
}
