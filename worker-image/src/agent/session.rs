//! An executor at work on one lease: an idle one that has the task loaded, or a fresh one. Units are run in bounded chunks and
//! hashed.
//!
//! No kernel is blamed for the end of a process that may have been gone before it was asked.

use std::ops::Range;

use orion_engine::need;
use orion_protocol::rows::RowsError;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Reason, Refusal};

use crate::agent::Agent;
use crate::agent::executors::Loaded;
use crate::agent::retry::{Deadline, Trouble};
use crate::agent::shard::{self, Shard, Units};
use crate::agent::verify::Lease;
use crate::executor::{Executor, Fault};

/// An executor with a task loaded, for one lease.
pub struct Session<'a> {
    agent: &'a Agent,
    task: Digest,
    spec: &'a TaskSpec,
    deadline: Deadline,
    loaded: Loaded,
    /// It was idle, and has not said anything since.
    silent: bool,
}

impl<'a> Session<'a> {
    /// Takes an idle executor of the task, or loads a fresh one.
    pub async fn open(
        agent: &'a Agent,
        lease: &Lease,
        spec: &'a TaskSpec,
        deadline: Deadline,
    ) -> Result<Session<'a>, Trouble> {
        let task = lease.core.task;
        if let Some(loaded) = agent.executors.idle(&task) {
            if let Some(rows) = agent.executors.try_take(need::rows(&spec.units, &spec.outputs)).await {
                agent.leases.keep(lease.digest(), rows);
                return Ok(Session { agent, task, spec, deadline, loaded, silent: true });
            }
            // Who waits for memory holds none, or two could wait for each other.
            loaded.executor.close().await;
        }
        let (load, memory) = agent.fetch(lease, spec.into(), deadline).await?;
        let loaded = Loaded { executor: agent.executors.loaded(&load, deadline).await?, memory };
        Ok(Session { agent, task, spec, deadline, loaded, silent: false })
    }

    /// Runs units; `progress` hears how many are done.
    pub async fn run(&mut self, units: Units, mut progress: impl FnMut(u64)) -> Result<Shard, Trouble> {
        let result = self.try_run(units, &mut progress).await;
        match result {
            // What ended while it idled, or as soon as it was woken, may have been ended by anything.
            Err(Fault::Crashed(refusal)) if self.silent => {
                tracing::info!(%refusal, "an idle executor is gone, a fresh one is loaded");
                self.silent = false;
                let (source, job) = (self.agent.source(self.deadline), self.spec.into());
                let (workload, sizes) = (source.workload(job).await?, source.input_sizes(job.inputs).await?);
                let load = source.load(workload, job, &sizes).await?;
                self.loaded.executor = self.agent.executors.loaded(&load, self.deadline).await?;
                Ok(self.try_run(units, &mut progress).await?)
            }
            result => Ok(result?),
        }
    }

    async fn try_run(&mut self, units: Units, mut progress: impl FnMut(u64)) -> Result<Shard, Fault> {
        let Session { task, spec, deadline, loaded, silent, .. } = self;
        let heard = |units| {
            *silent = false;
            progress(units);
        };
        run(&mut loaded.executor, task, spec, units, *deadline, heard).await
    }

    /// Leaves the executor for the task's next lease.
    pub fn close(self) {
        self.agent.executors.give_back(self.task, self.loaded);
    }
}

/// Runs units in bounded chunks and hashes each; `progress` hears how many are done.
async fn run(
    executor: &mut Executor,
    task: &Digest,
    spec: &TaskSpec,
    units: Units,
    deadline: Deadline,
    progress: impl FnMut(u64),
) -> Result<Shard, Fault> {
    // All at once: growing by doubling would take up to twice as much.
    let room = shard::span(spec, units).room().into_iter();
    let outputs = room.map(|bytes| Vec::with_capacity(usize::try_from(bytes).unwrap_or_default())).collect();
    let mut shard = Shard { outputs, digests: Vec::new() };
    let take = |chunk: Range<u64>, rows: Vec<Vec<u8>>| -> Result<(), Fault> {
        let chunk = Units { first: chunk.start, count: chunk.end - chunk.start };
        // The executor's client guarantees what the rows are.
        let digests = shard::digests(task, spec, chunk, &rows);
        let other = |error: RowsError| Fault::Refused(Refusal::new(Reason::InternalError, error.to_string()));
        shard.digests.extend(digests.map_err(other)?);
        for (all, rows) in shard.outputs.iter_mut().zip(rows) {
            all.extend_from_slice(&rows);
        }
        Ok(())
    };
    executor.run_in_chunks(units.numbers(), deadline.0, progress, take).await?;
    Ok(shard)
}
