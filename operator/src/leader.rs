//! One leadership: from the won Lease to its loss. Opens an epoch, reads what there is, and then lets the core say what is to
//! be done, one fact at a time.
//!
//! Start: caches synced, epoch opened, providers set up, open escrows read, answers folded, one round of heartbeats, dispatch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, ResourceExt};
use orion_core::{Config, Core, Effect, Input, JobStatus, ProviderInfo, Stage, WorkerId};
use orion_crds::conditions::is_true;
use orion_crds::{ConditionType, OrionJob, Provider};
use orion_protocol::messages::{Alive, Beat, Message};
use orion_protocol::subjects::BUCKET_RESULTS;
use orion_protocol::{Digest, JobId, Name, Refusal};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock;
use crate::contradiction;
use crate::edges::Edges;
use crate::epoch::Epoch;
use crate::finality::{self, Settled};
use crate::housekeeping::{self, Housekeeping, InUse};
use crate::intake;
use crate::job::{self, Chain, Channels};
use crate::perform::Performer;
use crate::providers;
use crate::render::is_terminal;
use crate::seldom::Seldom;

/// Facts that wait for the core; who sends more waits.
const QUEUE: usize = 4096;
/// How often the core looks at the time.
const TICK: Duration = Duration::from_millis(100);
/// So long a new leader waits for its providers' streams before it goes on without.
const SETTING_UP: Duration = Duration::from_secs(15);
/// How often Provider statuses are looked at.
const SHOW_PROVIDERS: Duration = Duration::from_secs(5);

/// Leads until the leadership ends. Dropping the future ends every task of it.
pub async fn lead(edges: Arc<Edges>, min_price_per_second: u64) -> anyhow::Result<()> {
    let mut beat = JoinSet::new();
    beat.spawn(keep_beating(edges.clone()));
    let jobs: Api<OrionJob> = Api::all(edges.kube.clone());
    let providers: Api<Provider> = Api::namespaced(edges.kube.clone(), &edges.namespace);
    let mut jobs = watch_objects(jobs, watcher::Config::default()).default_backoff().modify(lighten).boxed();
    let mut providers =
        watch_objects(providers, watcher::Config::default()).default_backoff().modify(forget_managers).boxed();
    let first_jobs = initial(&mut jobs).await.context("listing OrionJobs")?;
    let first_providers = initial(&mut providers).await.context("listing Providers")?;
    let epoch = Arc::new(Epoch::open(&edges).await?);
    tracing::info!(epoch = epoch.number, "leading");
    let mut watch = JoinSet::new();
    watch.spawn({
        let (epoch, edges) = (epoch.clone(), edges.clone());
        async move { epoch.watch(&edges).await }
    });
    let (inputs, facts) = mpsc::channel(QUEUE);
    let (known_providers, seen_providers) = watch::channel(Vec::new());
    let (settled, seen_settled) = watch::channel(Settled::new());
    let mut finality = JoinSet::new();
    finality.spawn(finality::run(edges.clone(), seen_settled));
    let identity = &edges.identity;
    let core = Core::new(Config {
        chain: identity.chain.clone(),
        keys: epoch.keys.clone(),
        epoch: epoch.number,
        slashing: identity.genesis.bonds.unwrap_or_default().slash_ppm > 0,
        min_price_per_second,
        dispatch_from: clock::now_ms() + Alive::EVERY_S * 1000 + 500,
    });
    let performer = Performer { edges: edges.clone(), inputs: inputs.clone(), providers: seen_providers, epoch };
    let mut leader = Leader {
        edges,
        core,
        performer,
        inputs,
        known_providers,
        tasks: JoinSet::new(),
        jobs: HashMap::new(),
        settled,
        objects: BTreeMap::new(),
        refused: BTreeMap::new(),
        ready: BTreeSet::new(),
        setting_up: BTreeSet::new(),
        housekeeping: Arc::default(),
        unwanted: BTreeSet::new(),
        clearing: false,
        left_alone: false,
    };
    leader.begin(first_jobs, first_providers).await?;
    leader.run(facts, jobs, providers).await
}

/// The guard's beat, from a task of its own: a busy loop is not a stopped process.
async fn keep_beating(edges: Arc<Edges>) {
    while edges.guard.beat() {
        tokio::time::sleep(TICK).await;
    }
}

/// Nobody here reads who wrote which field; it is half of an object.
fn forget_managers<K: kube::Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// A finished job's workload is never looked at again.
fn lighten(job: &mut OrionJob) {
    forget_managers(job);
    if job.status.as_ref().is_some_and(is_terminal) {
        job.spec.workload.kernel = None;
        job.spec.workload.inference = None;
    }
}

type Watch<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// The first full list of a watch.
async fn initial<K>(stream: &mut Watch<K>) -> anyhow::Result<Vec<K>> {
    let mut found = Vec::new();
    loop {
        match stream.next().await.context("the watch ended")? {
            Ok(Event::InitApply(object) | Event::Apply(object)) => found.push(object),
            Ok(Event::InitDone) => return Ok(found),
            Ok(Event::Init) => found.clear(),
            Ok(Event::Delete(_)) => {}
            Err(error) => tracing::warn!(error = %Chain(&error), "the API server does not list yet"),
        }
    }
}

/// Digests of a job's results.
fn results(object: &OrionJob) -> BTreeSet<Digest> {
    let outputs = object.status.iter().flat_map(|status| &status.outputs);
    outputs.filter_map(|output| output.digest.as_ref()?.parse().ok()).collect()
}

struct Leader {
    edges: Arc<Edges>,
    core: Core,
    performer: Performer,
    inputs: mpsc::Sender<Input>,
    known_providers: watch::Sender<Vec<ProviderInfo>>,
    /// Everything that runs for this leadership; dropped with it.
    tasks: JoinSet<Done>,
    /// By the object's uid.
    jobs: HashMap<String, Handle>,
    settled: watch::Sender<Settled>,
    objects: BTreeMap<Name, Provider>,
    refused: BTreeMap<Name, Refusal>,
    ready: BTreeSet<Name>,
    setting_up: BTreeSet<Name>,
    housekeeping: Arc<Mutex<Housekeeping>>,
    /// Results that go unless somebody names them.
    unwanted: BTreeSet<Digest>,
    /// Some of them are being deleted.
    clearing: bool,
    /// An escrow could not be read: its job may need what nobody names.
    left_alone: bool,
}

/// What a task was about.
enum Done {
    Job(String),
    Provider(ProviderInfo, Result<(), Refusal>),
    House(Vec<Digest>),
    Cleared,
    Background,
}

/// A job's task, from outside.
struct Handle {
    id: JobId,
    object: watch::Sender<Option<Arc<OrionJob>>>,
    core: watch::Sender<Option<JobStatus>>,
    served: bool,
}

impl Leader {
    async fn begin(&mut self, jobs: Vec<OrionJob>, objects: Vec<Provider>) -> anyhow::Result<()> {
        let head = self.edges.ledger.head().await.context("reading the ledger's providers")?;
        let registered = head.providers.into_iter().map(|(key, owner, _)| (key, owner)).collect();
        self.step(Input::Registered(registered));
        let platform = providers::platform(&self.performer.epoch.keys).context("the platform's name")?;
        providers::ensure_streams(&self.edges, &platform.name).await;
        self.add_provider(platform);
        for object in objects {
            self.see_provider(object);
        }
        // Providers first, so that what they have done is read early. One that cannot be set up holds nobody up.
        let until = Instant::now() + SETTING_UP;
        while !self.setting_up.is_empty() {
            match tokio::time::timeout_at(until, self.tasks.join_next()).await {
                Ok(Some(done)) => self.task_done(done.unwrap_or(Done::Background)),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(providers = ?self.setting_up, "these providers are not set up yet");
                    break;
                }
            }
        }
        let folding = self.known_providers.borrow().iter().map(|provider| provider.name.clone()).collect();
        self.step(Input::Folding(folding));
        let open = self.edges.ledger.open_jobs().await.context("reading open escrows")?;
        for object in jobs {
            self.see_job(object);
        }
        let known: BTreeSet<JobId> = self.jobs.values().map(|handle| handle.id).collect();
        for id in open.into_iter().filter(|id| !known.contains(id)) {
            if let Err(error) = self.adopt_orphan(id).await {
                // The ledger ends it at its deadline; nobody else may wait for that.
                self.left_alone = true;
                tracing::error!(job = %id, error = format!("{error:#}"), "an escrow without an OrionJob was left alone");
            }
        }
        Ok(())
    }

    async fn run(
        &mut self,
        mut facts: mpsc::Receiver<Input>,
        mut jobs: Watch<OrionJob>,
        mut providers: Watch<Provider>,
    ) -> anyhow::Result<()> {
        let mut heartbeats = self.edges.broker.heartbeats().await.context("listening to heartbeats")?;
        let mut refused = Seldom::default();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut show = tokio::time::interval(SHOW_PROVIDERS);
        let mut housekeeping = tokio::time::interval_at(Instant::now() + housekeeping::EVERY, housekeeping::EVERY);
        while self.edges.guard.holds() {
            tokio::select! {
                Some(input) = facts.recv() => self.step(input),
                Some(event) = jobs.next() => self.job_event(event),
                Some(event) = providers.next() => self.provider_event(event),
                Some(done) = self.tasks.join_next() => self.task_done(done.unwrap_or(Done::Background)),
                _ = tick.tick() => {
                    self.step(Input::Tick);
                    self.clear_results();
                }
                _ = show.tick() => self.show_providers(),
                _ = housekeeping.tick() => self.keep_house(),
                heard = heartbeats.next() => {
                    let heard = heard.context("the broker's connection was closed")?;
                    match Beat::from_bytes(&heard.bytes) {
                        Ok(beat) => {
                            let id = WorkerId { provider: heard.provider, worker: heard.worker };
                            self.step(Input::Beat(id, beat));
                        }
                        Err(error) => {
                            self.edges.metrics.refused_beats.inc();
                            if let Some(left_out) = refused.say() {
                                tracing::warn!(provider = %heard.provider, %error, left_out, "a heartbeat was refused");
                            }
                        }
                    }
                }
            }
        }
        anyhow::bail!("this process did not run for too long, or a later leader is there")
    }

    /// Tells the core a fact, and starts what it wants done.
    fn step(&mut self, input: Input) {
        for effect in self.core.step(input, clock::now_ms()) {
            if let Effect::Lease(order) = &effect {
                self.edges.metrics.lease(order.core.kind);
            }
            if let Effect::StatusChanged(id) = effect {
                self.show_job(&id);
            } else if let Effect::Contradiction(found) = effect {
                contradiction::tell(&self.edges, self.objects.get(&found.provider), &found);
            } else {
                let performer = self.performer.clone();
                self.tasks.spawn(async move {
                    performer.perform(effect).await;
                    Done::Background
                });
            }
        }
    }

    fn show_job(&mut self, id: &JobId) {
        let Some(status) = self.core.status(id) else { return };
        let over = matches!(status.stage, Stage::Done | Stage::Refused(_));
        match self.jobs.values().find(|handle| handle.id == *id && handle.served) {
            Some(handle) => {
                handle.core.send_replace(Some(status));
            }
            // Nobody is left to show it to.
            None if over => self.step(Input::Forget(*id)),
            None => {}
        }
    }

    fn job_event(&mut self, event: watcher::Result<Event<OrionJob>>) {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => self.see_job(object),
            Ok(Event::Delete(object)) => self.job_gone(&object),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(error = %Chain(&error), "watching OrionJobs"),
        }
    }

    fn see_job(&mut self, object: OrionJob) {
        let Some(uid) = object.uid() else { return };
        let object = Arc::new(object);
        self.see_settled(&uid, &object);
        if let Some(handle) = self.jobs.get(&uid) {
            handle.object.send_replace(Some(object));
            return;
        }
        let id = JobId::derive(&self.edges.identity.chain, &self.edges.cluster, &uid);
        let (object, object_seen) = watch::channel(Some(object));
        let (core, core_seen) = watch::channel(None);
        let channels = Channels { object: object_seen, core: core_seen, inputs: self.inputs.clone() };
        self.jobs.insert(uid.clone(), Handle { id, object, core, served: true });
        let edges = self.edges.clone();
        self.tasks.spawn(async move {
            job::serve(edges, id, channels).await;
            Done::Job(uid)
        });
    }

    /// Keeps in view what may still become final.
    fn see_settled(&self, uid: &str, object: &Arc<OrionJob>) {
        self.settled.send_if_modified(|settled| {
            if finality::is_open(object) {
                settled.insert(uid.to_owned(), object.clone());
                return true;
            }
            settled.remove(uid).is_some()
        });
    }

    /// The object is gone: the core ends the job from what it has, and its results go, unless another job has the same.
    fn job_gone(&mut self, object: &OrionJob) {
        let Some(handle) = object.uid().and_then(|uid| self.jobs.remove(&uid)) else { return };
        handle.object.send_replace(None);
        self.settled.send_if_modified(|settled| object.uid().is_some_and(|uid| settled.remove(&uid).is_some()));
        self.step(Input::Deleted(handle.id));
        self.unwanted.extend(results(object));
    }

    /// Deletes results that nobody names any more. Another job may have the same, for they are named by content: so nothing goes
    /// while one is put together, and nothing is put together until all is gone.
    fn clear_results(&mut self) {
        if self.unwanted.is_empty() || self.clearing || !self.knows_all() {
            return;
        }
        let Some(known) = self.core.results(clock::now_ms()) else { return };
        let shown = self.results();
        let unnamed = std::mem::take(&mut self.unwanted).into_iter().filter(|digest| !shown.contains(digest));
        // What a job has and does not show yet, or has no more to show, is looked at again.
        let (kept, gone): (BTreeSet<Digest>, BTreeSet<Digest>) = unnamed.partition(|digest| known.contains(digest));
        self.unwanted = kept;
        let gone: Vec<Digest> = gone.into_iter().collect();
        if gone.is_empty() {
            return;
        }
        self.clearing = true;
        self.step(Input::Clearing(true));
        let edges = self.edges.clone();
        self.tasks.spawn(async move {
            housekeeping::delete(&edges.broker, &edges.guard, BUCKET_RESULTS, &gone).await;
            Done::Cleared
        });
    }

    /// The results of all jobs.
    fn results(&self) -> BTreeSet<Digest> {
        let objects = self.jobs.values().filter_map(|handle| handle.object.borrow().clone());
        objects.flat_map(|object| results(&object)).collect()
    }

    /// Whether the core knows every job that may have something on the broker.
    fn knows_all(&self) -> bool {
        let funded = |object: &OrionJob| {
            let status = object.status.as_ref();
            status.is_some_and(|status| is_true(&status.conditions, ConditionType::Funded) && !is_terminal(status))
        };
        let seen = |handle: &Handle| handle.object.borrow().as_ref().is_some_and(|object| funded(object));
        !self.left_alone && self.jobs.values().all(|handle| !seen(handle) || self.core.status(&handle.id).is_some())
    }

    /// Removes what earlier leaders and broken uploads left on the broker.
    fn keep_house(&mut self) {
        let (edges, house) = (self.edges.clone(), self.housekeeping.clone());
        let in_use = InUse { needed: self.knows_all().then(|| self.core.needed()) };
        self.tasks.spawn(async move { Done::House(house.lock().await.run(&edges, &in_use).await) });
    }

    /// An escrow without an object: what is committed is judged and paid, the rest refunded.
    async fn adopt_orphan(&mut self, id: JobId) -> anyhow::Result<()> {
        let Some(seen) = self.edges.ledger.job(&id).await.context("reading an open escrow")? else { return Ok(()) };
        tracing::warn!(job = %id, "an escrow has no OrionJob any more: it is wound up");
        let uid: Name = format!("orphan-{}", &id.to_string()[..16]).parse().context("naming an orphan")?;
        let spec = intake::resumed(&self.edges, id, uid, &seen.view, None);
        self.step(Input::Job(Box::new(spec), Some(seen)));
        self.step(Input::Deleted(id));
        Ok(())
    }

    fn provider_event(&mut self, event: watcher::Result<Event<Provider>>) {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => self.see_provider(object),
            Ok(Event::Delete(object)) => self.retire(&object),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(error = %Chain(&error), "watching Providers"),
        }
    }

    /// It stays registered, and what it has committed is judged and paid; it gets nothing more to do. A later leader does not
    /// read its answers any more.
    fn retire(&mut self, object: &Provider) {
        self.objects.retain(|_, known| known.uid() != object.uid());
        let gone = object.name_any();
        self.known_providers.send_modify(|known| {
            known
                .iter_mut()
                .filter(|provider| provider.name.as_str() == gone)
                .for_each(|provider| provider.retired = true);
        });
        let all = self.known_providers.borrow().clone();
        self.step(Input::Providers(all));
    }

    fn see_provider(&mut self, object: Provider) {
        let parsed = providers::parse(&object);
        let Ok(name) = object.name_any().parse::<Name>() else { return };
        let known = self.known_providers.borrow().iter().find(|provider| provider.name == name).cloned();
        self.objects.insert(name.clone(), object);
        match parsed {
            Err(refusal) => {
                self.refused.insert(name, refusal);
            }
            Ok(provider) if known.as_ref() != Some(&provider) && self.setting_up.insert(name) => {
                let (edges, epoch) = (self.edges.clone(), self.performer.epoch.clone());
                self.tasks.spawn(async move {
                    let done = providers::set_up(&edges, &epoch, &provider).await;
                    Done::Provider(provider, done)
                });
            }
            Ok(_) => {}
        }
    }

    fn add_provider(&mut self, provider: ProviderInfo) {
        let new = !self.known_providers.borrow().iter().any(|known| known.name == provider.name);
        self.known_providers.send_modify(|known| {
            known.retain(|other| other.name != provider.name);
            known.push(provider.clone());
        });
        let all = self.known_providers.borrow().clone();
        self.step(Input::Providers(all));
        if new {
            let (edges, epoch, inputs) = (self.edges.clone(), self.performer.epoch.clone(), self.inputs.clone());
            self.tasks.spawn(async move {
                providers::fold(edges, epoch, provider.name, inputs).await;
                Done::Background
            });
        }
    }

    fn task_done(&mut self, done: Done) {
        match done {
            Done::Job(uid) => {
                if let Some(handle) = self.jobs.get_mut(&uid) {
                    handle.served = false;
                    let id = handle.id;
                    self.show_job(&id);
                }
            }
            Done::Provider(provider, outcome) => {
                self.setting_up.remove(&provider.name);
                match outcome {
                    Ok(()) => {
                        self.refused.remove(&provider.name);
                        self.ready.insert(provider.name.clone());
                        self.add_provider(provider);
                    }
                    Err(refusal) => {
                        self.refused.insert(provider.name, refusal);
                    }
                }
            }
            Done::House(old) => self.unwanted.extend(old),
            Done::Cleared => {
                self.clearing = false;
                self.step(Input::Clearing(false));
            }
            Done::Background => {}
        }
    }

    fn show_providers(&mut self) {
        let (edges, objects) = (self.edges.clone(), self.objects.clone());
        let (refused, ready) = (self.refused.clone(), self.ready.clone());
        let workers = self.core.fleet().view(clock::now_ms());
        self.edges.metrics.show(self.core.stages(), &workers);
        self.tasks.spawn(async move {
            providers::show(&edges, &objects, &refused, &ready, &workers).await;
            Done::Background
        });
    }
}
