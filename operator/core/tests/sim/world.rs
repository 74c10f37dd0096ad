//! The simulated world: one queue of events, one clock, one seed. Ledger rules, statements and the core are real; broker,
//! API server, processes and networks are not.
//!
//! A leader that is killed takes its memory along; requests that it sent may or may not arrive.

use std::collections::{BTreeMap, BTreeSet};

use orion_core::{Contradiction, Core, JobSpec, JobStatus, ProviderInfo, WorkerId};
use orion_protocol::dtype::DType;
use orion_protocol::ids::{Account, action_digest};
use orion_protocol::ledger::tx::{
    Approved, Consumer, Deposit, Genesis, KeyRole, Policy, PublishPolicy, RegisterProvider, Rotate,
};
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::messages::{Alive, Answer, Role};
use orion_protocol::statements::{Approval, LeaseKind, Vote};
use orion_protocol::subjects::PLATFORM;
use orion_protocol::task::{OutputSpec, TaskSpec, UnitTable, job_salt};
use orion_protocol::{AccountId, ChainId, Digest, Format, JobId, Name, PublicKey, SecretKey, Signed, TxId, cbor};

use crate::actors::{Actor, Buckets};
use crate::event::{Event, Fact, Fault, LeaderId};
use crate::leaders::Leader;
use crate::ledger::Ledger;
use crate::rng::Rng;
use crate::truth::Habit;

/// When the world begins.
pub const START_MS: u64 = 1_700_000_000_000;

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
    pub queue: BTreeMap<(u64, u64), Event>,
    pub sequence: u64,
    pub ledger: Ledger,
    pub chain: ChainId,
    pub genesis: Genesis,
    pub operator: SecretKey,
    issuer: SecretKey,
    pub providers: Vec<ProviderInfo>,
    /// Whose approval was taken back: the next leader does not hear of them.
    pub removed: BTreeSet<Name>,
    pub actors: BTreeMap<WorkerId, Actor>,
    pub buckets: Buckets,
    pub streams: BTreeMap<Name, BTreeMap<u64, (Name, Answer)>>,
    pub answered: BTreeSet<Digest>,
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
    /// Transactions of cores so far, and which of them are refused whatever they say: as when something that is not
    /// simulated differs between operator and ledger.
    pub submits: u64,
    pub refuse_at: BTreeMap<u64, Code>,
    /// How long what is sent takes at most, in milliseconds.
    pub delay_ms: u64,
    pub leases: BTreeMap<LeaseKind, u32>,
    /// Jobs whose parallelism was changed: windows may be wider than it for a while.
    pub changed: BTreeSet<JobId>,
    /// What leaders say that validators said twice, and whether the log had the verdict by then.
    pub contradictions: Vec<(LeaderId, Contradiction, bool)>,
    /// Votes in the log, by round, work lease and key.
    pub recorded: BTreeMap<(Digest, Digest, PublicKey), Signed<Vote>>,
    deposits: u64,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn worker(provider: &str, worker: &str) -> WorkerId {
    WorkerId { provider: name(provider), worker: name(worker) }
}

pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

impl World {
    /// A world with a platform that has one worker, and credits for everything; nobody leads.
    pub fn new(seed: u64) -> World {
        World::with_escrow_ms(seed, 86_400_000)
    }

    /// The same, with another deadline of escrows.
    pub fn with_escrow_ms(seed: u64, escrow_ms: u64) -> World {
        let policy = Policy::per_work(1_000_000, 20_000, 0, escrow_ms);
        let genesis = Genesis {
            nonce: Digest::of(&seed.to_le_bytes()),
            operator: key(1).public(),
            platform: key(2).public(),
            issuer: key(3).public(),
            checkpoint: key(4).public(),
            policy,
            issuers: None,
            bonds: None,
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
            removed: BTreeSet::new(),
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
            submits: 0,
            refuse_at: BTreeMap::new(),
            delay_ms: 20,
            leases: BTreeMap::new(),
            changed: BTreeSet::new(),
            contradictions: Vec::new(),
            recorded: BTreeMap::new(),
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

    /// Publishes a reward policy, now.
    pub fn publish(&mut self, policy: &Policy) {
        self.approve(&Transaction::PublishPolicy(PublishPolicy { policy: policy.to_bytes().into() }));
    }

    /// Puts a new key in the place of the operator's, now. Who leads goes on as it was.
    pub fn rotate_operator(&mut self, new: SecretKey, lost: bool) {
        let old = self.operator.public();
        self.approve(&Transaction::Rotate(Rotate { role: KeyRole::Operator, old, new: new.public(), lost }));
        self.operator = new;
    }

    /// Puts a new key in the place of the platform's, now, and gives it to its worker.
    pub fn rotate_platform(&mut self, new: &SecretKey) {
        let platform = self.providers.iter_mut().find(|one| one.name.as_str() == PLATFORM).unwrap();
        let old = std::mem::replace(&mut platform.key, new.public());
        let workers = self.actors.values_mut().filter(|actor| actor.id.provider.as_str() == PLATFORM);
        workers.for_each(|actor| actor.secret = new.clone());
        self.approve(&Transaction::Rotate(Rotate { role: KeyRole::Platform, old, new: new.public(), lost: false }));
    }

    /// Puts a new key in the place of a provider's, now, and gives it to its processes; its object is made anew with it.
    pub fn rotate_provider(&mut self, provider: &str, new: &SecretKey) {
        let found = self.providers.iter_mut().find(|one| one.name.as_str() == provider).unwrap();
        let old = std::mem::replace(&mut found.key, new.public());
        let own = self.actors.values_mut().filter(|actor| actor.id.provider.as_str() == provider);
        let secrets: Vec<SecretKey> = own.map(|actor| std::mem::replace(&mut actor.secret, new.clone())).collect();
        let rotate = Rotate { role: KeyRole::Provider, old, new: new.public(), lost: false };
        self.approve_with(&Transaction::Rotate(rotate), &secrets[..1]);
    }

    /// What takes the issuer's word, now.
    fn approve(&mut self, inner: &Transaction) {
        self.approve_with(inner, &[]);
    }

    /// What takes others' words too.
    fn approve_with(&mut self, inner: &Transaction, others: &[SecretKey]) {
        let inner = cbor::to_vec(inner);
        let id = TxId::derive("Approved", &JobId(Digest::of(&inner).0), 0, 0);
        let action = action_digest(&self.issuer.public(), &id, &inner);
        let mut keys: Vec<&SecretKey> = others.iter().chain([&self.issuer]).collect();
        keys.sort_by_key(|key| key.public());
        let approvals = keys.into_iter().map(|key| Signed::new(&self.chain, key, &Approval { action })).collect();
        let tx = Transaction::Approved(Approved { inner: inner.into(), approvals });
        let signed = tx.sign(&self.chain, &self.issuer, 0, id);
        assert_eq!(self.ledger.submit(signed, u64::MAX, self.now).receipt.code, Code::Ok);
    }

    /// Approves a provider and registers it.
    pub fn provider(&mut self, provider: &str, owner: &str, validates: bool) {
        let number = u8::try_from(self.providers.len()).unwrap();
        let key = if provider == PLATFORM { self.genesis.platform } else { key(10 + number).public() };
        let info = ProviderInfo { name: name(provider), key, owner: name(owner), validates, retired: false };
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
            confined: true,
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

    /// A job as it would be applied; `content` says what it computes.
    pub fn job_spec(&self, number: u32, content: u8, units: u64, per_shard: u64) -> JobSpec {
        let uid = format!("job-{number}");
        let job = JobId::derive(&self.chain, "cluster", &uid);
        let outputs = vec![OutputSpec { name: name("out"), dtype: DType::Int32, shape: vec![units], layout: None }];
        JobSpec {
            job,
            uid: name(&uid),
            consumer: self.account(),
            workload: Digest::of(&[content]),
            inputs: vec![Digest::of(b"input")],
            input_bytes: 5,
            units: UnitTable { items: units, items_per_unit: 1, units_per_shard: per_shard, work_per_item: 10 },
            outputs,
            formats: vec![Format::Npy],
            kernel_set: 0,
            is_model: false,
            audits_per_shard: 2,
            parallelism: 4,
            budget: 1 << 40,
            backoff_limit: 1,
            salt: job_salt(&[9; 32], &job),
            policy: self.genesis.policy.clone(),
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

    pub fn soon(&mut self, event: Event) {
        let delay = self.delay();
        self.at(delay, event);
    }

    /// Mostly short, sometimes long.
    fn delay(&mut self) -> u64 {
        let most = if self.rng.one_in(20) { 20 * self.delay_ms } else { self.delay_ms };
        self.rng.within(1, most)
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
