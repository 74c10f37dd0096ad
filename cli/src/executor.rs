//! The executor of this machine, for `orion run` and `orion bench`: the worker's own program, started as a worker starts it, sandbox and bounds
//! included. This process never loads OpenCL.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orion_executor_client::{
    BuiltInCache, DeviceInfo, Executor, ExecutorConfig, ExecutorError, Kernels, clear_leftovers,
};

/// The worker's program that computes.
const PROGRAM: &str = "orion-executor";
/// The self-test may take so long, a driver's first start included.
const PROBE_WAIT: Duration = Duration::from_mins(1);
/// What a job may take, in bytes: as much as on a worker whose settings nobody changed.
const JOB_MEMORY: u64 = 1920 << 20;

/// How the executor is started; names and meaning are the worker's.
#[derive(clap::Args)]
pub struct ExecutorArgs {
    /// The program that computes; else orion-executor beside this program, or in PATH.
    #[arg(long, env = "ORION_EXECUTOR", value_name = "PROGRAM")]
    executor: Option<PathBuf>,
    /// A directory for executors, from which programs may be run; else one in the user's cache. Kernels of models stay there, compiled.
    #[arg(long, env = "ORION_SCRATCH", value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Where the OpenCL loader looks for drivers, if not where it usually does.
    #[arg(long, env = "OCL_ICD_VENDORS", value_name = "PATH")]
    icd_vendors: Option<OsString>,
    /// Threads of a CPU runtime, if not one for each core.
    #[arg(long, env = "ORION_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Run the job's kernel even where the system cannot keep it from this user's files (Landlock: Linux 5.13 and later).
    #[arg(long)]
    pub unconfined: bool,
    /// Bytes that the job may take in all.
    #[arg(long, default_value_t = JOB_MEMORY, value_name = "BYTES")]
    pub memory: u64,
}

impl ExecutorArgs {
    /// An executor, and what its device is. The self-test runs in one for built-in kernels, for only those find again what the driver compiled before.
    pub async fn open(&self, kernels: Kernels) -> anyhow::Result<(Executor, DeviceInfo)> {
        let config = self.config()?;
        let mut executor = spawn(&config, Kernels::BuiltIn)?;
        match executor.probe(Instant::now() + PROBE_WAIT).await {
            Ok(device) if kernels == Kernels::BuiltIn => Ok((executor, device)),
            Ok(device) => {
                executor.close().await;
                Ok((spawn(&config, kernels)?, device))
            }
            Err(fault) => {
                executor.close().await;
                let why = fault.into_refusal().message;
                bail!(
                    "no OpenCL device answers: {why}; install a driver (on Debian and Ubuntu: apt install pocl-opencl-icd)"
                )
            }
        }
    }

    fn config(&self) -> anyhow::Result<ExecutorConfig> {
        let scratch = match &self.scratch {
            Some(scratch) => scratch.clone(),
            None => cache()?,
        };
        std::fs::create_dir_all(&scratch).with_context(|| format!("making {}", scratch.display()))?;
        // What an interrupted run left; what cannot be removed does no harm.
        let _ = clear_leftovers(&scratch);
        Ok(ExecutorConfig {
            binary: self.executor.as_deref().map_or_else(|| Ok(program()), located)?,
            scratch: scratch.canonicalize().with_context(|| format!("finding {}", scratch.display()))?,
            icd_vendors: self.icd_vendors.clone(),
            memory: self.memory,
            threads: self.threads,
            unconfined: self.unconfined,
            built_in: BuiltInCache::default(),
        })
    }
}

fn spawn(config: &ExecutorConfig, kernels: Kernels) -> anyhow::Result<Executor> {
    match Executor::spawn(config, kernels) {
        Ok(executor) => Ok(executor),
        Err(error @ ExecutorError::Spawn { .. }) => {
            let error = anyhow::Error::new(error);
            bail!(
                "{error:#}; it comes with the worker: put it beside this program or in PATH, or name it with --executor"
            )
        }
        Err(error) => Err(error.into()),
    }
}

fn program() -> PathBuf {
    let beside = std::env::current_exe().map(|this| this.with_file_name(PROGRAM));
    beside.ok().filter(|path| path.exists()).unwrap_or_else(|| PROGRAM.into())
}

/// A bare name is looked for in PATH. A path is this process's: the executor begins in a directory of its own.
fn located(program: &Path) -> anyhow::Result<PathBuf> {
    if program.components().count() < 2 {
        return Ok(program.to_owned());
    }
    std::path::absolute(program).with_context(|| format!("finding {}", program.display()))
}

/// A directory that is this user's alone: what is compiled there is run.
fn cache() -> anyhow::Result<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let caches = caches.context("there is no home directory: name a directory of your own with --scratch")?;
    Ok(caches.join(Path::new("orion/executors")))
}
