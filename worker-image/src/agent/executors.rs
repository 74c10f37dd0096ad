//! The executors at hand: one process a job, kept with its job loaded for the next lease of the same task, killed when it was
//! idle for a while, when too many are idle, or when it failed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use orion_engine::Load;
use orion_protocol::{Digest, Reason, Refusal};

use crate::agent::retry::{Deadline, Trouble};
use crate::executor::{DeviceInfo, Executor, ExecutorConfig};

/// Idle executors kept: each may hold a job's buffers.
const IDLE_MAX: usize = 3;
/// An executor idle for longer is killed.
const IDLE_FOR: Duration = Duration::from_mins(1);
/// The self-test may take so long, a driver's first start included.
const PROBE_WAIT: Duration = Duration::from_mins(1);

/// Executors by task digest.
pub struct Executors {
    config: ExecutorConfig,
    /// Longest idle first.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    task: Digest,
    executor: Executor,
    since: Instant,
}

impl Executors {
    /// None yet.
    pub fn new(config: ExecutorConfig) -> Executors {
        Executors { config, idle: Mutex::default() }
    }

    /// Asks a fresh executor what the device is.
    pub async fn probe(&self) -> Result<DeviceInfo, Trouble> {
        let mut executor = self.spawn()?;
        let device = executor.probe(Instant::now() + PROBE_WAIT).await;
        executor.close().await;
        Ok(device?)
    }

    /// An idle executor that has this task loaded. Those that ended while they idled are let go.
    pub fn idle(&self, task: &Digest) -> Option<Executor> {
        let mut idle = self.lock();
        idle.retain(|idle| idle.executor.is_usable());
        let at = idle.iter().position(|idle| idle.task == *task)?;
        Some(idle.remove(at).executor)
    }

    /// A fresh executor with a job loaded.
    pub async fn loaded(&self, load: &Load, deadline: Deadline) -> Result<Executor, Trouble> {
        let mut executor = self.spawn()?;
        match executor.load(load, deadline.0).await {
            Ok(()) => Ok(executor),
            Err(fault) => {
                executor.close().await;
                Err(fault.into())
            }
        }
    }

    /// A fresh executor, for a job that is only tried out.
    pub fn spawn(&self) -> Result<Executor, Trouble> {
        Executor::spawn(&self.config).map_err(|error| {
            let why = super::retry::chain(&error);
            tracing::error!(error = why, "no executor can be started");
            Trouble::Refused(Refusal::new(Reason::InternalError, why))
        })
    }

    /// Takes an executor back; one that failed is killed.
    pub fn give_back(&self, task: Digest, executor: Executor) {
        if !executor.is_usable() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(Idle { task, executor, since: Instant::now() });
    }

    /// Kills what was idle for too long.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain(|idle| now.duration_since(idle.since) < IDLE_FOR);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
