//! An operator played by a test: it lays the broker out, signs leases, and reads answers. Workers run in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orion_broker::testing::NatsServer;
use orion_broker::{Bounds, Broker, Fold, FoldEvent, Heard, Heartbeats, Settings};
use orion_protocol::dtype::DType;
use orion_protocol::ids::preflight_digest;
use orion_protocol::ledger::{Genesis, Policy};
use orion_protocol::messages::{Alive, Answer, AnswerBody, Beat, Committed, Message as _, Role, Task, TaskBody, Trial};
use orion_protocol::npy::Header;
use orion_protocol::statements::{AuditOf, LeaseCore, LeaseKind, LeaseTail, Token};
use orion_protocol::subjects::BUCKET_IN;
use orion_protocol::task::{Argument, Comparator, KernelWorkload, OutputSpec, TaskSpec, UnitTable, Workload, job_salt};
use orion_protocol::{ChainId, Digest, JobId, Name, PublicKey, SecretKey, Signed};
use orion_worker::agent::answer::Honest;
use orion_worker::agent::config::Config;
use orion_worker::agent::operators::Operators;
use orion_worker::agent::verify::Identity;
use orion_worker::agent::{AgentError, now_ms};
use orion_worker::executor::{BuiltInCache, ExecutorConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take; a first start of the OpenCL runtime on a busy machine included.
pub const WAIT: Duration = Duration::from_mins(2);
pub const JOB: JobId = JobId([7; 32]);

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Each identity's signing key, by its name.
pub fn key(owner: &str) -> SecretKey {
    SecretKey::from_seed(&Digest::of(owner.as_bytes()).0)
}

pub fn genesis() -> Genesis {
    let policy = Policy::per_work(1000, 20_000, 0, 86_400_000);
    let [operator, platform, issuer, checkpoint] =
        ["operator", "platform", "issuer", "checkpoint"].map(|owner| key(owner).public());
    Genesis { nonce: Digest::ZERO, operator, platform, issuer, checkpoint, policy, issuers: None, bonds: None }
}

/// The operator.
pub struct Operator {
    pub server: NatsServer,
    pub broker: Broker,
    pub chain: ChainId,
    scratch: tempfile::TempDir,
    attempt: u32,
}

/// A worker that runs in this process.
pub struct Running {
    pub provider: Name,
    pub worker: Name,
    pub key: PublicKey,
    pub listen: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    /// Stops it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("it ends in time").unwrap().unwrap();
    }
}

impl Operator {
    pub async fn start() -> Operator {
        let server = NatsServer::start(&["p1", "p2"]).await.unwrap();
        let broker = server.operator().await.unwrap();
        broker.ensure_platform(&Bounds::default()).await.unwrap();
        for provider in ["p1", "p2"] {
            broker.ensure_provider(&name(provider), &Bounds::default()).await.unwrap();
        }
        let scratch = tempfile::tempdir().unwrap();
        Operator { server, broker, chain: genesis().chain(), scratch, attempt: 0 }
    }

    /// Process ids of the executors of all workers.
    pub fn executors(&self) -> Vec<i32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let here =
            |path: &PathBuf| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.scratch.path()));
        let paths = entries.map(|entry| entry.path()).filter(here);
        paths.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
    }

    /// The settings of a worker.
    pub fn config(&self, provider: &str, worker: &str, role: Role) -> Config {
        let (seed, inbox_prefix) = match role {
            Role::Platform => (self.server.platform_seed(), "_INBOX_PLATFORM".to_owned()),
            _ => (self.server.provider_seed(provider).unwrap(), format!("_INBOX_{provider}")),
        };
        let broker = Settings { url: self.server.url(), seed: seed.to_owned(), inbox_prefix, name: worker.into() };
        let identity = Identity {
            chain: self.chain.clone(),
            operators: Arc::new(Operators::new(&genesis())),
            key: key(provider),
            provider: name(provider),
            worker: name(worker),
            role,
        };
        let executor = ExecutorConfig {
            binary: PathBuf::from(env!("CARGO_BIN_EXE_orion-executor")),
            scratch: self.scratch.path().to_owned(),
            icd_vendors: std::env::var_os("OCL_ICD_VENDORS"),
            memory: 64 << 20,
            threads: None,
            unconfined: false,
            built_in: BuiltInCache::default(),
        };
        // A port that is free now; nobody else on this machine takes it in the same moment.
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Config { identity, broker, executor, slots: 1, memory: 64 << 20, cache: 1 << 20, listen }
    }

    /// Starts a worker, waits until it lives, and gives it its consumer.
    pub async fn worker(&self, provider: &str, worker: &str, role: Role) -> Running {
        self.announced(self.config(provider, worker, role)).await
    }

    /// The same with settings of its own.
    pub async fn announced(&self, config: Config) -> Running {
        let mut heard = self.broker.heartbeats().await.unwrap();
        self.broker.flush().await.unwrap();
        let Identity { provider, worker, role, .. } = config.identity.clone();
        let running = run(config);
        let mine = |heard: &Heard| (&heard.provider, &heard.worker) == (&provider, &worker);
        let alive = hear(&mut heard, |heard| mine(heard).then(|| Beat::from_bytes(&heard.bytes).unwrap())).await;
        let Beat::Alive(alive) = alive else { panic!("{alive:?}") };
        alive.check().unwrap();
        let Alive { role: says, slots, leases, .. } = alive;
        assert_eq!((says, slots, leases.len()), (role, 1, 0));
        self.broker.ensure_consumer(&provider, &worker).await.unwrap();
        running
    }

    /// A lease's core for a worker.
    pub fn core(&mut self, to: &Running, kind: LeaseKind, task: Digest) -> LeaseCore {
        self.attempt += 1;
        LeaseCore {
            kind,
            task,
            shard: 0,
            first_unit: 0,
            units: 1,
            token: Token { epoch: 1, attempt: self.attempt, copy: 0 },
            provider: to.key,
            worker: to.worker.clone(),
            audit: None,
        }
    }

    /// Signs a task.
    pub fn task(&self, core: &LeaseCore, body: TaskBody, lasts: Duration) -> Task {
        let operator = key("operator");
        let lease = Signed::new(&self.chain, &operator, core);
        let deadline_ms = now_ms() + u64::try_from(lasts.as_millis()).unwrap();
        let salted = matches!(core.kind, LeaseKind::Work | LeaseKind::Ingest);
        let tail = LeaseTail { lease: lease.digest(&self.chain), deadline_ms, salt: salted.then(salt) };
        Task { lease, tail: Signed::new(&self.chain, &operator, &tail), job_uid: name("job-1"), body, opened: None }
    }

    /// Sends a task.
    pub async fn send(&self, to: &Running, task: &Task) -> Digest {
        let digest = task.lease.digest(&self.chain);
        self.broker.publish_task(&to.provider, &to.worker, &digest, task).await.unwrap();
        digest
    }

    /// Sends a task and waits for its answer.
    pub async fn ask(&self, to: &Running, core: &LeaseCore, body: TaskBody) -> AnswerBody {
        let task = self.task(core, body, WAIT);
        let digest = self.send(to, &task).await;
        self.answer(to, &digest).await
    }

    /// Waits for the answer to a lease.
    pub async fn answer(&self, of: &Running, lease: &Digest) -> AnswerBody {
        let mut fold = self.broker.fold(&of.provider);
        loop {
            let answer = next_answer(&mut fold).await;
            if answer.lease.digest(&self.chain) == *lease {
                return answer.body;
            }
        }
    }

    /// Has a shard computed.
    pub async fn work(&mut self, to: &Running, job: &Job, shard: u32) -> Committed {
        let (core, task) = self.work_task(to, job, shard);
        let lease = task.lease.clone();
        match self.ask(to, &core, TaskBody::Execute).await {
            AnswerBody::Committed(commitment) => Committed { provider: to.provider.clone(), lease, commitment },
            other => panic!("no commitment: {:?}", self.refusal(to, &other)),
        }
    }

    /// The work lease of a shard.
    pub fn work_task(&mut self, to: &Running, job: &Job, shard: u32) -> (LeaseCore, Task) {
        let (first_unit, units) = job.spec.units.shard(shard).unwrap();
        let core = LeaseCore { shard, first_unit, units, ..self.core(to, LeaseKind::Work, job.spec.digest()) };
        let task = self.task(&core, TaskBody::Execute, WAIT);
        (core, task)
    }

    /// The audit of some units of a committed shard.
    pub fn audit_core(&mut self, to: &Running, kind: LeaseKind, of: &Committed, units: &[u64]) -> LeaseCore {
        let work = of.lease.verify(&self.chain, &key("operator").public()).unwrap();
        let audit = AuditOf { round: Digest::of(b"round"), lease: work.digest(), units: units.to_vec() };
        let LeaseCore { shard, first_unit, units, .. } = *work;
        LeaseCore { shard, first_unit, units, audit: Some(audit), ..self.core(to, kind, work.task) }
    }

    /// The ingestion of a commitment.
    pub fn ingest_core(&mut self, to: &Running, of: &Committed) -> LeaseCore {
        let LeaseCore { shard, first_unit, units, task, .. } =
            of.lease.verify(&self.chain, &key("operator").public()).unwrap().into_inner();
        LeaseCore { shard, first_unit, units, ..self.core(to, LeaseKind::Ingest, task) }
    }

    /// What a refusing answer says.
    pub fn refusal(&self, of: &Running, body: &AnswerBody) -> Option<orion_protocol::Refusal> {
        match body {
            AnswerBody::Failed(failed) => Some(failed.verify(&self.chain, &of.key).unwrap().refusal.clone()),
            AnswerBody::Ingested(said) => said.verify(&self.chain, &of.key).unwrap().refused.clone(),
            AnswerBody::Preflighted(said) => said.verify(&self.chain, &of.key).unwrap().refused.clone(),
            AnswerBody::Aggregated(said) => said.verify(&self.chain, &of.key).unwrap().refused.clone(),
            AnswerBody::Committed(_) | AnswerBody::Voted(_) => None,
        }
    }
}

/// Listens to heartbeats until one is what is wanted; those that are not give it no more time.
pub async fn hear<T>(heard: &mut Heartbeats, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
    let listen = async {
        loop {
            if let Some(found) = wanted(&heard.next().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(WAIT, listen).await.expect("the heartbeat that is waited for")
}

/// Whether a heartbeat says that a lease was claimed.
pub fn started(heard: &Heard) -> Option<()> {
    matches!(Beat::from_bytes(&heard.bytes).unwrap(), Beat::Started(_)).then_some(())
}

/// Runs a worker with these settings.
pub fn run(config: Config) -> Running {
    let (stop, stopped) = watch::channel(false);
    let Identity { provider, worker, key, .. } = config.identity.clone();
    let listen = config.listen;
    let task = tokio::spawn(orion_worker::agent::run(config, Honest, stopped));
    Running { provider, worker, key: key.public(), listen, stop, task }
}

async fn next_answer(fold: &mut Fold) -> Answer {
    loop {
        let event = tokio::time::timeout(WAIT, fold.next()).await.expect("an answer in time").unwrap();
        if let FoldEvent::Answer(recorded) = event {
            return Answer::from_bytes(&recorded.bytes).unwrap();
        }
    }
}

pub fn salt() -> Digest {
    job_salt(&[9; 32], &JOB)
}

/// A job whose result is known: y = x * x + 3, over 1000 ints, 16 a unit, 20 units a shard.
pub struct Job {
    pub spec: TaskSpec,
    pub workload: Workload,
    pub input: Vec<u8>,
    pub expected: Vec<u8>,
}

pub const ITEMS: i32 = 1000;

impl Job {
    /// With another kernel body than the honest one.
    pub fn with_body(body: &str) -> Job {
        let source = format!(
            "__kernel void f(__global const int *x, __global int *y) {{ size_t i = get_global_id(0); {body} }}"
        );
        let workload = Workload::Kernel(KernelWorkload {
            source,
            entry_point: "f".into(),
            global_size: vec![1000],
            local_size: None,
            defines: Vec::new(),
            arguments: vec![Argument::Input(0), Argument::Output(0)],
        });
        let x: Vec<u8> = (0..ITEMS).flat_map(i32::to_le_bytes).collect();
        let input = [Header { dtype: DType::Int32, shape: vec![1000] }.to_bytes(), x].concat();
        let spec = TaskSpec {
            job: JOB,
            workload: Digest::of(&workload.object()),
            inputs: vec![Digest::of(&input)],
            kernel_set: 0,
            units: UnitTable { items: 1000, items_per_unit: 16, units_per_shard: 20, work_per_item: 2 },
            outputs: vec![OutputSpec { name: name("y"), dtype: DType::Int32, shape: vec![1000], layout: None }],
            comparator: Comparator::Exact,
            audits_per_shard: 2,
            price: 1000,
            fee_ppm: 20_000,
            policy: Digest::ZERO,
        };
        let expected = (0..ITEMS).flat_map(|x| (x * x + 3).to_le_bytes()).collect();
        Job { spec, workload, input, expected }
    }

    pub fn honest() -> Job {
        Job::with_body("y[i] = x[i] * x[i] + 3;")
    }

    /// Puts everything where workers find it.
    pub async fn store(&self, broker: &Broker) {
        for object in [self.workload.object(), self.input.clone(), self.spec.object()] {
            broker.put(BUCKET_IN, &object).await.unwrap();
        }
    }

    /// What a preflight lease is about.
    pub fn trial(&self) -> (Digest, Trial) {
        let TaskSpec { workload, inputs, units, outputs, job, .. } = self.spec.clone();
        let digest = preflight_digest(&job, &workload, &inputs);
        (digest, Trial { workload, inputs, units, outputs, job })
    }

    /// The rows of some units as they should be.
    pub fn rows(&self, first: u64, count: u64) -> &[u8] {
        let (item, items) = self.spec.units.items_of(first, count);
        let at = usize::try_from(item * 4).unwrap();
        &self.expected[at..at + usize::try_from(items * 4).unwrap()]
    }

    /// The digest of a unit as it should be.
    pub fn unit(&self, unit: u64) -> Digest {
        let output = orion_protocol::task::UnitOutput { spec: &self.spec.outputs[0], bytes: self.rows(unit, 1) };
        orion_protocol::task::unit_digest(&self.spec.digest(), unit, &[output])
    }
}
