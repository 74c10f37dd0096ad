//! The agent: pulls signed leases off the broker, has them computed by executors, stores what came out and signs for it. It
//! holds the keys and speaks to the network, and never runs a kernel itself.
//!
//! It believes nothing but the operator's signature: objects are checked by digest, leases by key, sizes before they are
//! allocated. It never gives up on a slow broker before a lease's deadline, and never answers a lease twice.

pub mod aggregate;
pub mod answer;
pub mod cache;
pub mod config;
pub mod execute;
pub mod executors;
pub mod heartbeat;
mod http;
pub mod ingest;
pub mod materials;
pub mod memory;
pub mod metrics;
pub mod operators;
pub mod preflight;
pub mod pull;
pub mod retry;
pub mod session;
pub mod shard;
pub mod verify;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use orion_broker::Broker;
use orion_engine::Load;
use orion_engine::need::{self, Need};
use orion_protocol::task::TaskSpec;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::answer::Answering;
use crate::agent::cache::Cache;
use crate::agent::config::Config;
use crate::agent::executors::Executors;
use crate::agent::heartbeat::Leases;
use crate::agent::materials::{JobRef, Source};
use crate::agent::memory::Taken;
use crate::agent::metrics::Metrics;
use crate::agent::retry::{Deadline, Trouble};
use crate::agent::verify::{Identity, Lease};
use crate::executor::{DeviceInfo, clear_leftovers};

/// Between two looks for a device.
const PROBE_PAUSE_FIRST: Duration = Duration::from_secs(1);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A worker's parts, shared by everything that runs in it.
pub struct Agent {
    /// Who it is.
    pub identity: Identity,
    /// Its connection.
    pub broker: Broker,
    /// Inputs kept.
    pub cache: Cache,
    /// Executors at hand.
    pub executors: Executors,
    /// Leases held.
    pub leases: Leases,
    /// Its metrics.
    pub metrics: Metrics,
    /// Leases worked on at a time.
    pub slots: u32,
    /// Bytes that jobs may take, in this process and in executors.
    pub memory: u64,
    device: OnceLock<DeviceInfo>,
}

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The broker's settings are of no use.
    #[error("cannot set up the broker's connection")]
    Broker(#[source] orion_broker::Error),
    /// The pages cannot be served.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Agent {
    /// Connects; returns at once even when the broker is away.
    pub async fn new(config: &Config) -> Result<Agent, AgentError> {
        let Config { identity, broker, executor, slots, memory, cache, listen: _ } = config.clone();
        if let Err(error) = clear_leftovers(&executor.scratch) {
            tracing::warn!(%error, "what earlier executors left in the scratch folder stays");
        }
        let broker = orion_broker::connect(&broker).await.map_err(AgentError::Broker)?;
        Ok(Agent {
            identity,
            broker,
            cache: Cache::new(cache),
            executors: Executors::new(executor, memory),
            leases: Leases::default(),
            metrics: Metrics::default(),
            slots,
            memory,
            device: OnceLock::new(),
        })
    }

    /// The device, once it answered.
    pub fn device(&self) -> Result<DeviceInfo, Trouble> {
        self.device.get().cloned().ok_or_else(|| Trouble::GaveUp("no device has answered".into()))
    }

    /// Where materials come from.
    pub fn source(&self, deadline: Deadline) -> Source<'_> {
        Source { broker: &self.broker, cache: &self.cache, deadline }
    }

    /// A lease's job, and the memory that loading it takes. What its rows take is kept until the lease ends.
    pub async fn fetch(&self, lease: &Lease, job: JobRef<'_>, deadline: Deadline) -> Result<(Load, Taken), Trouble> {
        let source = self.source(deadline);
        let workload = source.workload(job).await?;
        let files = source.input_sizes(job.inputs).await?;
        let need = Need::before(&workload, &job.units, job.outputs, &files, self.memory).map_err(Trouble::Refused)?;
        // All at once: two jobs that hold their inputs' memory and wait for the rest could wait for each other.
        let mut taken = self.executors.take(need.all(), deadline).await?;
        let load = source.load(workload, job, &files).await?;
        let need = load.check(self.memory).map_err(Trouble::Refused)?;
        drop(taken.split(taken.bytes().saturating_sub(need.all())));
        self.leases.keep(lease.digest(), taken.split(need.rows));
        Ok((load, taken))
    }

    /// Takes the memory of a shard's rows until the lease ends.
    pub async fn take_rows(&self, lease: &Lease, spec: &TaskSpec, deadline: Deadline) -> Result<(), Trouble> {
        let taken = self.executors.take(need::rows(&spec.units, &spec.outputs), deadline).await?;
        self.leases.keep(lease.digest(), taken);
        Ok(())
    }

    /// Asks for the device until there is one.
    async fn find_device(&self) -> &DeviceInfo {
        let mut pause = PROBE_PAUSE_FIRST;
        loop {
            match self.executors.probe().await {
                Ok(device) => {
                    tracing::info!(class = %device.class, driver = device.driver, "device");
                    if let Some(fault) = &device.fault {
                        tracing::error!(fault, "this device computes wrongly: it will be given nothing to compute");
                    }
                    if !device.kernels {
                        tracing::warn!(
                            "this system has no Landlock (Linux 5.13 and later): kernels of users are refused here"
                        );
                    }
                    self.metrics.device.set(1);
                    return self.device.get_or_init(|| device);
                }
                Err(error) => tracing::warn!(%error, "no OpenCL device yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PROBE_PAUSE_MAX);
        }
    }
}

/// Runs a worker until `stop` becomes true.
pub async fn run(config: Config, answering: impl Answering, mut stop: watch::Receiver<bool>) -> Result<(), AgentError> {
    let agent = Arc::new(Agent::new(&config).await?);
    let address = config.listen;
    let listen = |source| AgentError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let pages = http::serve(listener, Arc::clone(&agent));
    let stopped = stop.clone();
    let live = async {
        let device = tokio::select! {
            device = agent.find_device() => device,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        tokio::select! {
            never = agent.beat_for_ever(device) => match never {},
            () = pull::pull(Arc::clone(&agent), Arc::new(answering), stopped) => {}
        }
    };
    tokio::select! {
        served = pages => served.map_err(listen),
        () = live => {
            // Answers and refusals that are still in the client's buffer.
            if let Err(error) = agent.broker.flush().await {
                tracing::debug!(%error, "the last messages may be lost");
            }
            Ok(())
        }
    }
}

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
