//! The executors at hand: one process a job, kept with its job loaded for the next lease of the same task, killed when it was
//! idle for a while, when too many are idle, when its memory is needed, or when it failed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use orion_engine::Load;
use orion_protocol::{Digest, Reason, Refusal};

use crate::agent::memory::{Memory, Taken};
use crate::agent::retry::{Deadline, Trouble};
use crate::executor::{DeviceInfo, Executor, ExecutorConfig, Kernels};

/// Idle executors kept: each is a process and may hold a job's buffers.
pub const IDLE_MAX: usize = 3;
/// An executor idle for longer is killed.
const IDLE_FOR: Duration = Duration::from_mins(1);
/// The self-test may take so long, a driver's first start included.
const PROBE_WAIT: Duration = Duration::from_mins(1);

/// Between two looks whether other leases have given memory back.
const MEMORY_PAUSE: Duration = Duration::from_millis(50);

/// Executors by task digest, and the memory that jobs may take.
pub struct Executors {
    config: ExecutorConfig,
    memory: Memory,
    /// Longest idle first.
    idle: Mutex<Vec<Idle>>,
}

/// An executor with a job loaded, and the memory that this takes.
#[derive(Debug)]
pub struct Loaded {
    /// The executor.
    pub executor: Executor,
    /// Given back after the executor is gone.
    pub memory: Taken,
}

struct Idle {
    task: Digest,
    loaded: Loaded,
    since: Instant,
}

impl Executors {
    /// None yet.
    pub fn new(config: ExecutorConfig, memory: u64) -> Executors {
        Executors { config, memory: Memory::new(memory), idle: Mutex::default() }
    }

    /// Asks a fresh executor what the device is.
    pub async fn probe(&self) -> Result<DeviceInfo, Trouble> {
        let mut executor = self.spawn(Kernels::BuiltIn)?;
        let device = executor.probe(Instant::now() + PROBE_WAIT).await;
        executor.close().await;
        Ok(device?)
    }

    /// An idle executor that has this task loaded. Those that ended while they idled are let go.
    pub fn idle(&self, task: &Digest) -> Option<Loaded> {
        let mut idle = self.lock();
        idle.retain(|idle| idle.loaded.executor.is_usable());
        let at = idle.iter().position(|idle| idle.task == *task)?;
        Some(idle.remove(at).loaded)
    }

    /// A fresh executor with a job loaded.
    pub async fn loaded(&self, load: &Load, deadline: Deadline) -> Result<Executor, Trouble> {
        let mut executor = self.spawn(Kernels::of(&load.workload))?;
        match executor.load(load, deadline.0).await {
            Ok(found) => {
                tracing::info!(device_bytes = found.device_bytes, "loaded a job");
                Ok(executor)
            }
            Err(fault) => {
                executor.close().await;
                Err(fault.into())
            }
        }
    }

    /// A fresh executor, for a job that is only tried out.
    pub fn spawn(&self, kernels: Kernels) -> Result<Executor, Trouble> {
        Executor::spawn(&self.config, kernels).map_err(|error| {
            let why = super::retry::chain(&error);
            tracing::error!(error = why, "no executor can be started");
            Trouble::Refused(Refusal::new(Reason::InternalError, why))
        })
    }

    /// Takes memory if it is there once enough idle executors are gone.
    pub async fn try_take(&self, bytes: u64) -> Option<Taken> {
        loop {
            if let Some(taken) = self.memory.take(bytes) {
                return Some(taken);
            }
            let longest_idle = {
                let mut idle = self.lock();
                if idle.is_empty() { None } else { Some(idle.remove(0)) }
            };
            // Its memory is free when its process is gone, not before.
            longest_idle?.loaded.executor.close().await;
        }
    }

    /// Takes memory, and waits for it while other leases hold it. What never fits is refused.
    pub async fn take(&self, bytes: u64, deadline: Deadline) -> Result<Taken, Trouble> {
        let limit = self.memory.limit();
        if bytes > limit {
            let why = format!("the lease takes {bytes} bytes of memory, this worker has {limit} for its jobs");
            return Err(Trouble::Refused(Refusal::new(Reason::TooLarge, why)));
        }
        loop {
            if let Some(taken) = self.try_take(bytes).await {
                return Ok(taken);
            }
            if !deadline.pause(MEMORY_PAUSE).await {
                let why = format!("other leases hold the memory: {bytes} bytes of {limit} did not become free");
                return Err(Trouble::GaveUp(why));
            }
        }
    }

    /// Takes an executor back; one that failed is killed.
    pub fn give_back(&self, task: Digest, loaded: Loaded) {
        if !loaded.executor.is_usable() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(Idle { task, loaded, since: Instant::now() });
    }

    /// Kills what was idle for too long.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain(|idle| now.duration_since(idle.since) < IDLE_FOR);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
