//! What a lease refers to: TaskSpec, workload and inputs, fetched from bucket `in` by digest, bounded, and decoded.

use std::sync::Arc;

use orion_broker::{Broker, ObjectError};
use orion_engine::Load;
use orion_protocol::task::{OutputSpec, TaskSpec, UnitTable, Workload};
use orion_protocol::{Digest, Reason, Refusal};

use crate::agent::cache::Cache;
use crate::agent::retry::{Deadline, Trouble};

/// Objects carry a domain besides their content.
const FRAME_BYTES: u64 = 64;
/// Input files may be longer than their data by their headers.
const HEADER_BYTES: u64 = 1 << 20;

/// Where materials come from.
pub struct Source<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// Kept objects.
    pub cache: &'a Cache,
    /// Bytes that all inputs of a job may take together.
    pub memory: u64,
    /// When to stop trying.
    pub deadline: Deadline,
}

/// What a job is made of, as leases and TaskSpecs name it.
#[derive(Clone, Copy, Debug)]
pub struct JobRef<'a> {
    /// The workload's digest.
    pub workload: &'a Digest,
    /// The inputs' digests.
    pub inputs: &'a [Digest],
    /// How its items are cut.
    pub units: UnitTable,
    /// What comes out.
    pub outputs: &'a [OutputSpec],
}

impl<'a> From<&'a TaskSpec> for JobRef<'a> {
    fn from(spec: &'a TaskSpec) -> JobRef<'a> {
        JobRef { workload: &spec.workload, inputs: &spec.inputs, units: spec.units, outputs: &spec.outputs }
    }
}

impl Source<'_> {
    /// The TaskSpec with this digest.
    pub async fn task_spec(&self, task: &Digest) -> Result<TaskSpec, Trouble> {
        let bytes = self.object(task, TaskSpec::MAX_BYTES as u64 + FRAME_BYTES).await?;
        TaskSpec::from_object(&bytes).map_err(|error| unusable(&error.to_string()))
    }

    /// Workload and inputs, ready for an executor.
    pub async fn load(&self, job: JobRef<'_>) -> Result<Load, Trouble> {
        let JobRef { workload, inputs, units, outputs } = job;
        let bytes = self.object(workload, Workload::MAX_BYTES as u64 + FRAME_BYTES).await?;
        let workload = Workload::from_object(&bytes).map_err(|error| unusable(&error.to_string()))?;
        let mut room = self.memory.saturating_add(HEADER_BYTES);
        let mut files = Vec::with_capacity(inputs.len());
        for input in inputs {
            let file = self.object(input, room).await?;
            room -= file.len() as u64;
            files.push(file);
        }
        Ok(Load { workload, units, outputs: outputs.to_vec(), inputs: files })
    }

    async fn object(&self, digest: &Digest, max_bytes: u64) -> Result<Arc<Vec<u8>>, Trouble> {
        let got = self.cache.get(self.broker, digest, max_bytes, self.deadline).await;
        got.map_err(|error| {
            error.or(|error| match error {
                ObjectError::TooLarge { .. } => Refusal::new(Reason::TooLarge, error.to_string()),
                _ => Refusal::new(Reason::LeaseRefused, error.to_string()),
            })
        })
    }
}

/// A lease that refers to something that cannot be used.
pub fn unusable(why: &str) -> Trouble {
    Trouble::Refused(Refusal::new(Reason::LeaseRefused, why))
}
