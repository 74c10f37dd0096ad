//! The agent's flags, and what they become once checked: keys read, names parsed, bounds set. Nothing later reads a file or
//! the environment.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orion_broker::Settings;
use orion_broker::permissions::{Role as BrokerRole, inbox_prefix, is_free};
use orion_protocol::bytes::unhex;
use orion_protocol::ledger::Genesis;
use orion_protocol::messages::{Alive, Role};
use orion_protocol::{Name, SecretKey};

use crate::agent::executors::IDLE_MAX;
use crate::agent::operators::Operators;
use crate::agent::verify::Identity;
use crate::executor::{BuiltInCache, ExecutorConfig};

/// Key and seed files are a line of text, the genesis under a kilobyte (twice that in hex).
const MAX_FILE_BYTES: u64 = 4096;
/// Memory of a worker where nobody says otherwise: 3 GiB.
const DEFAULT_MEMORY: u64 = 3 << 30;
/// Memory of this process without any job: code, connection, messages on their way.
const OWN_BYTES: u64 = 128 << 20;
/// Memory of an executor without its job: the driver and its compiler. With PoCL 140 MiB were seen; what it maps from files
/// is not counted.
const EXECUTOR_BYTES: u64 = 192 << 20;

/// What a worker process does, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleFlag {
    /// Computes shards.
    Worker,
    /// Re-executes drawn units.
    Validator,
    /// The platform's own: preflight, ingest, aggregation, referee.
    Platform,
}

impl From<RoleFlag> for Role {
    fn from(flag: RoleFlag) -> Role {
        match flag {
            RoleFlag::Worker => Role::Worker,
            RoleFlag::Validator => Role::Validator,
            RoleFlag::Platform => Role::Platform,
        }
    }
}

/// The agent's flags; each is also read from the environment.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "orion-worker", version, about = "Computes, validates or serves the platform, under signed leases.")]
pub struct Flags {
    /// What this process does.
    #[arg(long, env = "ORION_ROLE", value_enum)]
    pub role: RoleFlag,
    /// The broker, several addresses separated by commas.
    #[arg(long, env = "ORION_NATS_URL", value_name = "URL")]
    pub nats_url: String,
    /// The broker identity's nkey seed.
    #[arg(long, env = "ORION_NATS_SEED", value_name = "FILE")]
    pub nats_seed: PathBuf,
    /// The provider's name; `platform` for the platform's own.
    #[arg(long, env = "ORION_PROVIDER", value_name = "NAME")]
    pub provider: Name,
    /// This worker's name, usually the pod's.
    #[arg(long, env = "ORION_WORKER", value_name = "NAME")]
    pub worker: Name,
    /// The provider's signing key: 64 hex digits of its seed.
    #[arg(long, env = "ORION_SIGNING_KEY", value_name = "FILE")]
    pub signing_key: PathBuf,
    /// The genesis: its canonical bytes, or their hex.
    #[arg(long, env = "ORION_GENESIS", value_name = "FILE")]
    pub genesis: PathBuf,
    /// The program that computes.
    #[arg(long, env = "ORION_EXECUTOR", default_value = "orion-executor", value_name = "PROGRAM")]
    pub executor: PathBuf,
    /// A directory for executors, from which programs may be run.
    #[arg(long, env = "ORION_SCRATCH", value_name = "DIR")]
    pub scratch: PathBuf,
    /// Where the OpenCL loader looks for drivers, if not where it usually does.
    #[arg(long, env = "OCL_ICD_VENDORS", value_name = "PATH")]
    pub icd_vendors: Option<OsString>,
    /// Leases worked on at a time.
    #[arg(long, env = "ORION_SLOTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(Alive::MAX_SLOTS)))]
    pub slots: u32,
    /// Bytes that this worker may take in all, its executors and its cache included: in a pod, its limit.
    #[arg(long, env = "ORION_MEMORY", default_value_t = DEFAULT_MEMORY, value_name = "BYTES")]
    pub memory: u64,
    /// Bytes of inputs that are kept for the next lease.
    #[arg(long, env = "ORION_CACHE", default_value_t = 256 << 20, value_name = "BYTES")]
    pub cache: u64,
    /// Threads of a CPU runtime, if not one for each core.
    #[arg(long, env = "ORION_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Run kernels of strangers even where the system cannot keep them from this user's files (Landlock: Linux 5.13 and later). Only for jobs of
    /// your own.
    #[arg(long, env = "ORION_UNCONFINED")]
    pub unconfined: bool,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "ORION_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
}

/// Why the flags are of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file that does not hold what it should.
    #[error("{path} is no {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Less memory than the worker takes before any job.
    #[error(
        "--memory is {have} bytes, over {least} are taken without any job: {cache} by the cache, the rest by processes"
    )]
    Memory {
        /// What it may take.
        have: u64,
        /// What it takes.
        least: u64,
        /// What the cache takes of that.
        cache: u64,
    },
    /// The name `platform` and the role platform belong together.
    #[error("the platform's worker, and only that, has the role and the provider name platform")]
    PlatformName,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this worker is, and whom it obeys.
    pub identity: Identity,
    /// How it reaches the broker.
    pub broker: Settings,
    /// How executors are started.
    pub executor: ExecutorConfig,
    /// Leases worked on at a time.
    pub slots: u32,
    /// Bytes that jobs may take, in this process and in executors.
    pub memory: u64,
    /// Bytes of objects that are kept.
    pub cache: u64,
    /// Where the pages are served.
    pub listen: SocketAddr,
}

impl Config {
    /// Reads the files and checks that all fits together.
    pub fn from_flags(flags: Flags) -> Result<Config, ConfigError> {
        let Flags { role, nats_url, nats_seed, provider, worker, signing_key, genesis, .. } = flags;
        let Flags { executor, scratch, icd_vendors, slots, memory, cache, threads, unconfined, listen, .. } = flags;
        let role = Role::from(role);
        if (role == Role::Platform) == is_free(&provider) {
            return Err(ConfigError::PlatformName);
        }
        let (genesis, key) = (read_genesis(&genesis)?, read_key(&signing_key)?);
        if role == Role::Platform && key.public() != genesis.platform {
            let (have, genesis) = (key.public(), genesis.platform);
            tracing::warn!(%have, %genesis, "this key is the platform's only if the log has put it in the place of the genesis'");
        }
        let inbox_prefix = match role {
            Role::Platform => inbox_prefix(BrokerRole::Platform { providers: &[] }),
            Role::Worker | Role::Validator => inbox_prefix(BrokerRole::Provider(&provider)),
        };
        let seed = read_text(&nats_seed)?.trim().to_owned();
        let broker = Settings { url: nats_url, seed, inbox_prefix, name: format!("{provider}/{worker}") };
        let (chain, operators) = (genesis.chain(), Arc::new(Operators::new(&genesis)));
        let identity = Identity { chain, operators, key, provider, worker, role };
        let memory = for_jobs(memory, cache, slots)?;
        let executor = ExecutorConfig {
            binary: executor,
            scratch,
            icd_vendors,
            memory,
            threads,
            unconfined,
            built_in: BuiltInCache::default(),
        };
        Ok(Config { identity, broker, executor, slots, memory, cache, listen })
    }
}

/// What jobs may take of all memory, in bytes: processes are there before them, at work and idle.
pub fn for_jobs(memory: u64, cache: u64, slots: u32) -> Result<u64, ConfigError> {
    let executors = EXECUTOR_BYTES * (u64::from(slots) + IDLE_MAX as u64);
    let least = cache.saturating_add(OWN_BYTES + executors);
    let rest = memory.checked_sub(least).filter(|rest| *rest > 0);
    rest.ok_or(ConfigError::Memory { have: memory, least, cache })
}

fn read_genesis(path: &Path) -> Result<Genesis, ConfigError> {
    let bytes = read(path)?;
    let content = || ConfigError::Content { path: path.into(), what: "genesis" };
    if let Ok(genesis) = Genesis::from_bytes(&bytes) {
        return Ok(genesis);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| content())?.trim();
    let digits =
        text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| unhex::<1>(pair).ok()));
    let bytes: Option<Vec<u8>> = digits.map(|byte| byte.map(|[byte]| byte)).collect();
    Genesis::from_bytes(&bytes.ok_or_else(content)?).map_err(|_| content())
}

fn read_key(path: &Path) -> Result<SecretKey, ConfigError> {
    let seed = unhex::<32>(read_text(path)?.trim());
    let seed = seed.map_err(|_| ConfigError::Content { path: path.into(), what: "signing key of 64 hex digits" })?;
    Ok(SecretKey::from_seed(&seed))
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    String::from_utf8(read(path)?).map_err(|_| ConfigError::Content { path: path.into(), what: "text" })
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    use std::io::Read as _;
    let failed = |source| ConfigError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
