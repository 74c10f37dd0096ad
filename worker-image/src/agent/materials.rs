//! What a lease refers to: TaskSpec, workload and inputs, fetched from bucket `in` by digest, bounded, and decoded.

use std::sync::Arc;

use orion_broker::{Broker, ObjectError};
use orion_engine::Load;
use orion_protocol::subjects::BUCKET_IN;
use orion_protocol::task::{KERNEL_SET, OutputSpec, TaskSpec, UnitTable, Workload};
use orion_protocol::{Digest, Reason, Refusal};

use crate::agent::cache::Cache;
use crate::agent::retry::{self, Deadline, RetryError, Trouble};

/// Objects carry a domain besides their content.
const FRAME_BYTES: u64 = 64;

/// Where materials come from.
pub struct Source<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// Kept objects.
    pub cache: &'a Cache,
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
    /// The kernel set, where the ledger says it already.
    pub kernel_set: Option<u32>,
}

impl<'a> From<&'a TaskSpec> for JobRef<'a> {
    fn from(spec: &'a TaskSpec) -> JobRef<'a> {
        JobRef {
            workload: &spec.workload,
            inputs: &spec.inputs,
            units: spec.units,
            outputs: &spec.outputs,
            kernel_set: Some(spec.kernel_set),
        }
    }
}

impl Source<'_> {
    /// The TaskSpec with this digest.
    pub async fn task_spec(&self, task: &Digest) -> Result<TaskSpec, Trouble> {
        let bytes = self.object(task, TaskSpec::MAX_BYTES as u64 + FRAME_BYTES).await?;
        let spec = TaskSpec::from_object(&bytes).map_err(|error| unusable(&error.to_string()))?;
        if ![0, KERNEL_SET].contains(&spec.kernel_set) {
            let why = format!("the job is for kernel set {}, this worker has {KERNEL_SET}", spec.kernel_set);
            return Err(unusable(&why));
        }
        Ok(spec)
    }

    /// Bytes of each input, before they are fetched.
    pub async fn input_sizes(&self, inputs: &[Digest]) -> Result<Vec<u64>, Trouble> {
        let mut sizes = Vec::with_capacity(inputs.len());
        for input in inputs {
            let look = async || {
                let size = self.broker.exists(BUCKET_IN, input).await?;
                size.ok_or_else(|| ObjectError::NotFound { bucket: BUCKET_IN.into(), digest: *input })
            };
            sizes.push(retry::objects(self.deadline, look).await.map_err(unobtainable)?);
        }
        Ok(sizes)
    }

    /// The workload, which the ledger's kernel set must suit.
    pub async fn workload(&self, job: JobRef<'_>) -> Result<Workload, Trouble> {
        let bytes = self.object(job.workload, Workload::MAX_BYTES as u64 + FRAME_BYTES).await?;
        let workload = Workload::from_object(&bytes).map_err(|error| unusable(&error.to_string()))?;
        if job.kernel_set.is_some_and(|set| set != workload.kernel_set()) {
            return Err(unusable("the task names another kernel set than its workload needs"));
        }
        Ok(workload)
    }

    /// Workload and inputs, of so many bytes, ready for an executor.
    pub async fn load(&self, workload: Workload, job: JobRef<'_>, sizes: &[u64]) -> Result<Load, Trouble> {
        let mut files = Vec::with_capacity(job.inputs.len());
        for (input, size) in job.inputs.iter().zip(sizes) {
            files.push(self.object(input, *size).await?);
        }
        Ok(Load { workload, units: job.units, outputs: job.outputs.to_vec(), inputs: files })
    }

    async fn object(&self, digest: &Digest, max_bytes: u64) -> Result<Arc<Vec<u8>>, Trouble> {
        self.cache.get(self.broker, digest, max_bytes, self.deadline).await.map_err(unobtainable)
    }
}

fn unobtainable(error: RetryError) -> Trouble {
    error.or(|error| match error {
        ObjectError::TooLarge { .. } => Refusal::new(Reason::TooLarge, error.to_string()),
        _ => Refusal::new(Reason::LeaseRefused, error.to_string()),
    })
}

/// A lease that refers to something that cannot be used.
pub fn unusable(why: &str) -> Trouble {
    Trouble::Refused(Refusal::new(Reason::LeaseRefused, why))
}
