//! The simulated world: one queue of events, one clock, one seed. Ledger rules, statements and the core are real; broker,
//! API server, processes and networks are not.
//!
//! A leader that is killed takes its memory along; requests that it sent may or may not arrive.

use std::collections::{BTreeMap, BTreeSet};

use orion_core::{Config, Core, Effect, JobSpec, JobStatus, LeaseOrder, ProviderInfo, Stage, WorkerId};
use orion_protocol::dtype::DType;
use orion_protocol::ids::Account;
use orion_protocol::ledger::tx::{Consumer, Deposit, Genesis, OpenEpoch, Policy, RegisterProvider};
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::messages::{Alive, Answer, Role};
use orion_protocol::sign::Signed;
use orion_protocol::statements::LeaseKind;
use orion_protocol::subjects::PLATFORM;
use orion_protocol::task::{OutputSpec, TaskSpec, UnitTable, job_salt};
use orion_protocol::{AccountId, ChainId, Digest, JobId, Name, PublicKey, SecretKey, TxId};

use crate::actors::{Actor, Buckets, Facts, Task};
use crate::event::{Event, Fact, Fault, LeaderId, Request};
use crate::ledger::{Ledger, kind_of};
use crate::rng::Rng;
use crate::truth::Habit;

/// When the world begins.
pub const START_MS: u64 = 1_700_000_000_000;
/// Nanoseconds of a unit, as the preflight says.
const UNIT_NANOS: u64 = 1_000_000;
/// A leader has read every stream by then.
const FOLD_MS: u64 = 2_000;

/// A core with what its process knows besides.
pub struct Leader {
    pub core: Core,
    pub epoch: u64,
    pub alive: bool,
    /// The next answer of each stream, and whether reading it is under way.
    cursors: BTreeMap<Name, (u64, bool)>,
}

/// An OrionJob.
pub struct JobObject {
    pub spec: JobSpec,
    pub deleted: bool,
    /// What the API server has.
    pub status: Option<JobStatus>,
    /// Its terminal status is stored.
    pub over: bool,
}

/// Everything.
pub struct World {
    pub seed: u64,
    pub now: u64,
    pub rng: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub ledger: Ledger,
    pub chain: ChainId,
    genesis: Genesis,
    operator: SecretKey,
    issuer: SecretKey,
    pub providers: Vec<ProviderInfo>,
    pub actors: BTreeMap<WorkerId, Actor>,
    pub buckets: Buckets,
    streams: BTreeMap<Name, BTreeMap<u64, (Name, Answer)>>,
    answered: BTreeSet<Digest>,
    pub leaders: Vec<Leader>,
    pub jobs: BTreeMap<JobId, JobObject>,
    pub tasks: BTreeMap<Digest, TaskSpec>,
    pub faulty: BTreeSet<Digest>,
    pub lies: BTreeMap<Digest, BTreeSet<u64>>,
    /// Keys that ever lied as validators, and those of them who lie alike.
    pub liars: BTreeSet<PublicKey>,
    /// Events so far, but ticks and heartbeats.
    pub events: u64,
    /// The leader is killed at these counts of events.
    pub kill_at: BTreeSet<u64>,
    /// How long what is sent takes at most, in milliseconds.
    pub delay_ms: u64,
    pub leases: BTreeMap<LeaseKind, u32>,
    /// Jobs whose parallelism was changed: windows may be wider than it for a while.
    pub changed: BTreeSet<JobId>,
    deposits: u64,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn worker(provider: &str, worker: &str) -> WorkerId {
    WorkerId { provider: name(provider), worker: name(worker) }
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

impl World {
    /// A world with a platform that has one worker, and credits for everything; nobody leads.
    pub fn new(seed: u64) -> World {
        World::with_escrow_ms(seed, 86_400_000)
    }

    /// The same, with another deadline of escrows.
    pub fn with_escrow_ms(seed: u64, escrow_ms: u64) -> World {
        let policy = Policy { price: 1_000_000, fee_ppm: 20_000, vesting_ms: 0, escrow_ms };
        let genesis = Genesis {
            nonce: Digest::of(&seed.to_le_bytes()),
            operator: key(1).public(),
            platform: key(2).public(),
            issuer: key(3).public(),
            checkpoint: key(4).public(),
            policy,
        };
        let mut world = World {
            seed,
            now: START_MS,
            rng: Rng::new(seed),
            queue: BTreeMap::new(),
            sequence: 0,
            ledger: Ledger::new(&genesis, START_MS),
            chain: genesis.chain(),
            operator: key(1),
            issuer: key(3),
            providers: Vec::new(),
            actors: BTreeMap::new(),
            buckets: Buckets::default(),
            streams: BTreeMap::new(),
            answered: BTreeSet::new(),
            leaders: Vec::new(),
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            faulty: BTreeSet::new(),
            lies: BTreeMap::new(),
            liars: BTreeSet::new(),
            events: 0,
            kill_at: BTreeSet::new(),
            delay_ms: 20,
            leases: BTreeMap::new(),
            changed: BTreeSet::new(),
            deposits: 0,
            genesis,
        };
        world.provider(PLATFORM, PLATFORM, false);
        world.process(PLATFORM, "p0", Role::Platform, 8);
        world
    }

    pub fn account(&self) -> AccountId {
        Account::Consumer { cluster: "cluster", namespace: "demo" }.id(&self.chain)
    }

    /// Credits, now.
    pub fn deposit(&mut self, amount: u64) {
        self.deposits += 1;
        let tx = Transaction::Deposit(Deposit { consumer: Consumer { account: self.account() }, amount });
        let id = TxId::derive("Deposit", &JobId::NONE, self.deposits, 0);
        let signed = tx.sign(&self.chain, &self.issuer, 0, id);
        assert_eq!(self.ledger.submit(signed, u64::MAX, self.now).receipt.code, Code::Ok);
    }

    /// Approves a provider and registers it.
    pub fn provider(&mut self, provider: &str, owner: &str, validates: bool) {
        let number = u8::try_from(self.providers.len()).unwrap();
        let key = if provider == PLATFORM { self.genesis.platform } else { key(10 + number).public() };
        let info = ProviderInfo { name: name(provider), key, owner: name(owner), validates };
        if provider != PLATFORM {
            let tx = RegisterProvider { key, owner: info.owner.clone(), validates };
            let id = TxId::derive("RegisterProvider", &JobId::NONE, number.into(), 0);
            let tx = Transaction::RegisterProvider(tx);
            let signed = tx.sign(&self.chain, &self.operator, self.ledger.chain.epoch(), id);
            assert_eq!(self.ledger.submit(signed, u64::MAX, self.now).receipt.code, Code::Ok);
        }
        self.streams.insert(info.name.clone(), BTreeMap::new());
        self.providers.push(info);
    }

    /// Starts a process of a provider.
    pub fn process(&mut self, provider: &str, process: &str, role: Role, slots: u32) -> WorkerId {
        let id = worker(provider, process);
        let at = self.providers.iter().position(|known| known.name == id.provider).unwrap();
        let secret = if provider == PLATFORM { key(2) } else { key(10 + u8::try_from(at).unwrap()) };
        let actor = Actor {
            id: id.clone(),
            role,
            secret,
            slots,
            habit: Habit::Honest,
            up: true,
            incarnation: 0,
            queue: std::collections::VecDeque::new(),
            holding: BTreeMap::new(),
        };
        self.actors.insert(id.clone(), actor);
        let first = self.rng.below(Alive::EVERY_S * 1000);
        self.at(first, Event::Beat(id.clone(), 0));
        id
    }

    /// A provider with so many workers and validators of the same owner.
    pub fn farm(&mut self, owner: &str, workers: u32, validators: u32) {
        self.provider(owner, owner, validators > 0);
        for at in 0..workers {
            self.process(owner, &format!("w{at}"), Role::Worker, 2);
        }
        for at in 0..validators {
            self.process(owner, &format!("v{at}"), Role::Validator, 2);
        }
    }

    pub fn actor(&mut self, provider: &str, process: &str) -> &mut Actor {
        self.actors.get_mut(&worker(provider, process)).unwrap()
    }

    /// A job as it would be applied; `content` says what it computes.
    pub fn job_spec(&self, number: u32, content: u8, units: u64, per_shard: u64) -> JobSpec {
        let uid = format!("job-{number}");
        let job = JobId::derive(&self.chain, "cluster", &uid);
        let outputs = vec![OutputSpec { name: name("out"), dtype: DType::Int32, shape: vec![units] }];
        JobSpec {
            job,
            uid: name(&uid),
            consumer: self.account(),
            workload: Digest::of(&[content]),
            inputs: vec![Digest::of(b"input")],
            units: UnitTable { items: units, items_per_unit: 1, units_per_shard: per_shard, work_per_item: 10 },
            outputs,
            audits_per_shard: 2,
            parallelism: 4,
            budget: 1 << 40,
            backoff_limit: 1,
            salt: job_salt(&[9; 32], &job),
            first_try: 0,
        }
    }

    /// Applies a job.
    pub fn apply(&mut self, spec: JobSpec) -> JobId {
        let job = spec.job;
        self.jobs.insert(job, JobObject { spec, deleted: false, status: None, over: false });
        if let Some(leader) = self.leader() {
            self.soon(Event::Intake(leader, job));
        }
        job
    }

    /// The leader of the last epoch, if it lives.
    pub fn leader(&self) -> Option<LeaderId> {
        let last = self.leaders.len().checked_sub(1)?;
        self.leaders[last].alive.then_some(last)
    }

    pub fn core(&self) -> &Core {
        &self.leaders[self.leader().expect("somebody leads")].core
    }

    /// Lets `event` happen after so many milliseconds.
    pub fn at(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    /// Lets a fault happen after so many milliseconds.
    pub fn fault(&mut self, after: u64, fault: Fault) {
        self.at(after, Event::Fault(fault));
    }

    fn soon(&mut self, event: Event) {
        let delay = self.delay();
        self.at(delay, event);
    }

    /// Mostly short, sometimes long.
    fn delay(&mut self) -> u64 {
        let most = if self.rng.one_in(20) { 20 * self.delay_ms } else { self.delay_ms };
        self.rng.within(1, most)
    }

    /// A new leader: its epoch, its providers, its jobs in any order, all answers from the start.
    pub fn lead(&mut self) -> LeaderId {
        let (at, epoch) = (self.leaders.len(), self.ledger.chain.epoch() + 1);
        let nonce = self.rng.next().to_le_bytes().repeat(2);
        let tx = Transaction::OpenEpoch(OpenEpoch { epoch, nonce: nonce.into() });
        let id = TxId::derive("OpenEpoch", &JobId::NONE, epoch, 0);
        let signed = tx.sign(&self.chain, &self.operator, epoch, id);
        assert_eq!(self.ledger.submit(signed, u64::MAX, self.now).receipt.code, Code::Ok);
        let core = Core::new(Config {
            chain: self.chain.clone(),
            operator: self.genesis.operator,
            platform: self.genesis.platform,
            policy: self.genesis.policy.clone(),
            epoch,
            min_price_per_second: 1,
            dispatch_from: self.now + Alive::EVERY_S * 1000 + 500,
        });
        let cursors = self.streams.keys().map(|name| (name.clone(), (0, true))).collect();
        self.leaders.push(Leader { core, epoch, alive: true, cursors });
        self.tell(at, &Fact::Providers(self.providers.clone()));
        let jobs: Vec<JobId> = self.jobs.iter().filter(|(_, job)| !job.over).map(|(id, _)| *id).collect();
        for job in jobs {
            let after = self.rng.below(FOLD_MS);
            self.at(after, Event::Intake(at, job));
        }
        for stream in self.streams.keys().cloned().collect::<Vec<_>>() {
            let after = self.rng.below(100);
            self.at(after, Event::Fold(at, stream));
        }
        self.at(100, Event::Tick(at));
        at
    }

    /// Takes the next event; false when nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        let Some(((time, _), event)) = self.queue.pop_first() else { return false };
        self.now = time;
        self.ledger.advance(time);
        if !matches!(event, Event::Tick(_) | Event::Beat(..)) {
            self.events += 1;
        }
        self.handle(event);
        if self.kill_at.remove(&self.events) {
            self.kill_leader(3_000);
        }
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(leader) => {
                if self.leaders[leader].alive {
                    self.tell(leader, &Fact::Tick);
                    self.at(100, Event::Tick(leader));
                }
            }
            Event::Tell(leader, fact) => self.tell(leader, &fact),
            Event::Fold(leader, stream) => self.fold(leader, &stream),
            Event::Intake(leader, job) => self.intake(leader, job),
            Event::Status(leader, job, status) => self.store_status(leader, job, *status),
            Event::Request(leader, request) => self.serve(leader, request),
            Event::Beat(id, incarnation) => self.beat(&id, incarnation),
            Event::Finish(id, incarnation, lease) => self.finish(&id, incarnation, &lease),
            Event::Fault(fault) => self.suffer(fault),
            Event::Restart(id, incarnation) => self.restart(&id, incarnation),
            Event::Depose(leader) => self.leaders[leader].alive = false,
            Event::Lead => {
                if self.leader().is_none() {
                    self.lead();
                }
            }
        }
    }

    /// Tells a leader a fact, twice where that must do nothing, and sends what it wants done on its way.
    pub fn tell(&mut self, leader: LeaderId, fact: &Fact) {
        if !self.leaders[leader].alive {
            return;
        }
        let effects = self.leaders[leader].core.step(fact.input(), self.now);
        self.perform(leader, effects, fact);
        if fact.is_idempotent() {
            let again = self.leaders[leader].core.step(fact.input(), self.now);
            assert!(again.is_empty(), "a fact that was repeated had effects: {again:?}");
        }
    }

    fn perform(&mut self, leader: LeaderId, effects: Vec<Effect>, fact: &Fact) {
        if !effects.is_empty() {
            self.check_core(leader, &effects, fact);
        }
        for effect in effects {
            let request = match effect {
                Effect::StatusChanged(job) => {
                    let status = self.leaders[leader].core.status(&job).unwrap();
                    self.soon(Event::Status(leader, job, Box::new(status)));
                    continue;
                }
                Effect::Store(job, object) => Request::Store(job, object),
                Effect::Lease(order) => {
                    *self.leases.entry(order.core.kind).or_default() += 1;
                    Request::Lease(order)
                }
                Effect::Submit(job, id, transaction) => Request::Submit(job, id, transaction),
                Effect::Query(job) => Request::Query(job),
                Effect::ReadDigests { job, lease, object, units: _ } => Request::Read { job, lease, object },
                Effect::EnsureConsumer(worker) => Request::Consumer(worker),
                Effect::Release { job: _, uid, held } => Request::Release { uid, held },
            };
            self.soon(Event::Request(leader, request));
        }
    }

    /// A request arrives, whether or not its leader still lives.
    fn serve(&mut self, leader: LeaderId, request: Request) {
        let fact = match request {
            Request::Lease(order) => return self.enqueue(*order),
            Request::Release { uid, held } => {
                for stream in self.streams.values_mut() {
                    stream.retain(|_, (owner, _)| *owner != uid);
                }
                for digest in held {
                    self.buckets.held.remove(&digest);
                }
                return;
            }
            Request::Store(job, object) => {
                self.check_object(&object);
                let digest = Digest::of(&object);
                if let Ok(spec) = TaskSpec::from_object(&object) {
                    self.tasks.insert(digest, spec);
                }
                self.buckets.given.insert(digest, object);
                Fact::Stored(job, digest)
            }
            Request::Submit(job, id, transaction) => {
                let signed = transaction.sign(&self.chain, &self.operator, self.leaders[leader].epoch, id);
                let outcome = self.ledger.submit(signed, self.leaders[leader].epoch, self.now);
                self.check_ledger(kind_of(&transaction));
                if outcome.receipt.code == Code::StaleEpoch {
                    self.leaders[leader].alive = false;
                    return;
                }
                Fact::Submitted(job, id, Box::new(outcome))
            }
            Request::Query(job) => Fact::Ledger(job, self.ledger.chain.job(&job).map(Box::new)),
            Request::Read { job, lease, object } => {
                let Some(bytes) = self.buckets.held.get(&object) else { return };
                let digests = bytes.as_chunks::<32>().0.iter().map(|digest| Digest(*digest)).collect();
                Fact::Digests(job, lease, digests)
            }
            Request::Consumer(worker) => Fact::ConsumerReady(worker),
        };
        self.soon(Event::Tell(leader, fact));
    }

    fn enqueue(&mut self, order: LeaseOrder) {
        let LeaseOrder { job: _, uid, provider, core, deadline_ms, salt, body } = order;
        let id = WorkerId { provider, worker: core.worker.clone() };
        let lease = Signed::new(&self.chain, &self.operator, &core);
        let digest = lease.digest(&self.chain);
        let task = Task { lease, core, digest, deadline_ms, salt, uid, body };
        self.actors.get_mut(&id).expect("leases go to workers that exist").queue.push_back(task);
        self.claim(&id);
    }

    /// Takes from the queue what there are slots for.
    fn claim(&mut self, id: &WorkerId) {
        let now = self.now;
        loop {
            let nap = self.rng.within(10, 120);
            let Some(actor) = self.actors.get_mut(id) else { return };
            if !actor.up || actor.holding.len() >= actor.slots as usize {
                return;
            }
            let Some(task) = actor.queue.pop_front() else { return };
            if task.deadline_ms < now {
                continue;
            }
            let takes = match actor.habit {
                Habit::Slow => nap * 2_000,
                Habit::Silent => task.deadline_ms + 1 - now,
                _ => nap,
            };
            let event = Event::Finish(id.clone(), actor.incarnation, task.digest);
            actor.holding.insert(task.digest, task);
            self.at(takes, event);
        }
    }

    fn finish(&mut self, id: &WorkerId, incarnation: u32, lease: &Digest) {
        let Some(actor) = self.actors.get_mut(id) else { return };
        if !actor.up || actor.incarnation != incarnation {
            return;
        }
        let Some(task) = actor.holding.remove(lease) else { return };
        if actor.role == Role::Validator && actor.habit.lies() {
            self.liars.insert(actor.secret.public());
        }
        let mut facts = Facts {
            chain: &self.chain,
            buckets: &mut self.buckets,
            tasks: &self.tasks,
            faulty: &self.faulty,
            lies: &mut self.lies,
            unit_nanos: UNIT_NANOS,
        };
        let answer = self.actors[id].answer(&task, &mut facts);
        // One message a subject: the first answer stands.
        if let Some(answer) = answer
            && self.answered.insert(*lease)
        {
            self.sequence += 1;
            let stream = self.streams.get_mut(&id.provider).unwrap();
            stream.insert(self.sequence, (task.uid, answer));
            for leader in 0..self.leaders.len() {
                self.wake(leader, &id.provider);
            }
        }
        self.claim(id);
    }

    fn wake(&mut self, leader: LeaderId, stream: &Name) {
        let alive = self.leaders[leader].alive;
        let Some((_, reading)) = self.leaders[leader].cursors.get_mut(stream) else { return };
        if alive && !*reading {
            *reading = true;
            self.soon(Event::Fold(leader, stream.clone()));
        }
    }

    fn fold(&mut self, leader: LeaderId, stream: &Name) {
        let Some((cursor, reading)) = self.leaders[leader].cursors.get_mut(stream) else { return };
        let next = self.streams[stream].range(*cursor + 1..).next();
        let Some((sequence, (uid, answer))) = next else {
            *reading = false;
            return;
        };
        *cursor = *sequence;
        let fact = Fact::Answer(stream.clone(), uid.clone(), Box::new(answer.clone()));
        let backlog = self.streams[stream].len() as u64;
        let pause = self.rng.below((FOLD_MS / (backlog + 1)).clamp(1, 20));
        self.at(pause, Event::Fold(leader, stream.clone()));
        self.tell(leader, &fact);
    }

    fn intake(&mut self, leader: LeaderId, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if !self.leaders[leader].alive || job.over {
            return;
        }
        let mut spec = job.spec.clone();
        spec.first_try = job.status.as_ref().map_or(0, |status| status.ledger.attempt);
        let deleted = job.deleted;
        let view = self.ledger.chain.job(&id).map(Box::new);
        self.tell(leader, &Fact::Job(Box::new(spec), view));
        if deleted {
            self.tell(leader, &Fact::Deleted(id));
        }
    }

    fn store_status(&mut self, leader: LeaderId, id: JobId, status: JobStatus) {
        // The status carries a resourceVersion: a leader that was replaced writes nothing.
        if Some(leader) != self.leader() {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let over = matches!(status.stage, Stage::Done | Stage::Refused(_));
        let newest = self.leaders[leader].core.status(&id);
        job.status = newest.or(Some(status));
        if over && !job.over {
            job.over = true;
            self.check_over(id);
            self.soon(Event::Tell(leader, Fact::Forget(id)));
        }
    }

    fn beat(&mut self, id: &WorkerId, incarnation: u32) {
        let Some(actor) = self.actors.get(id) else { return };
        if !actor.up || actor.incarnation != incarnation {
            return;
        }
        let fact = Fact::Beat(id.clone(), actor.beat());
        for leader in 0..self.leaders.len() {
            self.tell(leader, &fact);
        }
        self.at(Alive::EVERY_S * 1000, Event::Beat(id.clone(), incarnation));
    }

    pub fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(id, back) => self.crash(&id, back),
            Fault::Habit(id, habit) => {
                if let Some(actor) = self.actors.get_mut(&id) {
                    actor.habit = habit;
                }
            }
            Fault::KillLeader(gap) => self.kill_leader(gap),
            Fault::Usurp(overlap) => {
                let old = self.leader();
                self.lead();
                if let Some(old) = old {
                    self.at(overlap, Event::Depose(old));
                }
            }
            Fault::Delete(id) => {
                let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.over) else { return };
                job.deleted = true;
                self.tell_leader(Fact::Deleted(id));
            }
            Fault::Change(id, parallelism, budget) => {
                let Some(job) = self.jobs.get_mut(&id) else { return };
                if job.spec.parallelism != parallelism {
                    self.changed.insert(id);
                }
                (job.spec.parallelism, job.spec.budget) = (parallelism, budget);
                self.tell_leader(Fact::Changed(id, parallelism, budget));
            }
            Fault::Deposit(amount) => self.deposit(amount),
        }
    }

    /// What the watch brings to the leader; before its intake of the job it reads the object itself.
    fn tell_leader(&mut self, fact: Fact) {
        if let Some(leader) = self.leader() {
            self.soon(Event::Tell(leader, fact));
        }
    }

    fn crash(&mut self, id: &WorkerId, back: Option<u64>) {
        let Some(actor) = self.actors.get_mut(id) else { return };
        actor.holding.clear();
        actor.incarnation += 1;
        actor.up = false;
        let restart = Event::Restart(id.clone(), actor.incarnation);
        if let Some(after) = back {
            self.at(after, restart);
        }
    }

    fn restart(&mut self, id: &WorkerId, incarnation: u32) {
        let Some(actor) = self.actors.get_mut(id).filter(|actor| actor.incarnation == incarnation) else { return };
        actor.up = true;
        self.beat(id, incarnation);
        self.claim(id);
    }

    /// Kills the leader: requests under way arrive or not, answers to them find nobody.
    pub fn kill_leader(&mut self, gap: u64) {
        let Some(leader) = self.leader() else { return };
        self.leaders[leader].alive = false;
        let rng = &mut self.rng;
        self.queue.retain(|_, event| match event {
            Event::Request(from, _) if *from == leader => rng.one_in(2),
            Event::Status(from, ..) => *from != leader,
            _ => true,
        });
        self.at(gap, Event::Lead);
    }

    /// Lets things happen until `done`; fails when it is not so within so much time.
    pub fn until(&mut self, what: &str, limit_ms: u64, done: impl Fn(&World) -> bool) {
        let end = self.now + limit_ms;
        while !done(self) {
            assert!(self.step() && self.now < end, "not within {limit_ms} ms: {what}\n{}", self.describe());
        }
    }

    /// Lets every job end, and checks that nothing is left over.
    pub fn until_over(&mut self, limit_ms: u64) {
        self.until("every job ends", limit_ms, |world| world.jobs.values().all(|job| job.over));
        self.rest();
    }
}
