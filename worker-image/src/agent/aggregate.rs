//! Putting the accepted shards together: one file an output, its rows in the order of the shards, never more than one
//! shard's rows in memory.

use orion_broker::ObjectError;
use orion_protocol::ids::aggregate_digest;
use orion_protocol::messages::{AnswerBody, Manifest, Message as _, TaskBody};
use orion_protocol::statements::{Aggregated, ResultObject};
use orion_protocol::subjects::{BUCKET_HELD, BUCKET_IN, BUCKET_RESULTS};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Reason, Refusal, Signed};

use crate::agent::Agent;
use crate::agent::materials::unusable;
use crate::agent::retry::{self, Deadline, Trouble};
use crate::agent::shard::{self, Units};
use crate::agent::verify::Lease;

/// Puts the result together; what cannot be put together is an answer.
pub async fn aggregate(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let TaskBody::Aggregate(digest) = &lease.body else { return Err(unusable("the task is no aggregation")) };
    let manifest = manifest(agent, digest, deadline).await?;
    if aggregate_digest(&manifest.task, digest) != lease.core.task {
        return Err(unusable("the lease is for another manifest or another task"));
    }
    let spec = agent.source(deadline).task_spec(&manifest.task).await?;
    agent.take_rows(lease, &spec, deadline).await?;
    let (results, refused) = match put_together(agent, &spec, &manifest, deadline).await {
        Ok(results) => (results, None),
        Err(Trouble::Refused(refusal)) => (Vec::new(), Some(refusal)),
        Err(gave_up) => return Err(gave_up),
    };
    let said = Aggregated { lease: lease.digest(), results, refused };
    Ok(AnswerBody::Aggregated(Signed::new(&agent.identity.chain, &agent.identity.key, &said)))
}

async fn manifest(agent: &Agent, digest: &Digest, deadline: Deadline) -> Result<Manifest, Trouble> {
    let get = || agent.broker.get(BUCKET_IN, digest, Manifest::MAX_BYTES as u64);
    let bytes = retry::objects(deadline, get).await.map_err(|error| error.or(|error| failed(&error.to_string())))?;
    Manifest::from_bytes(&bytes).map_err(|error| unusable(&retry::chain(&error)))
}

async fn put_together(
    agent: &Agent,
    spec: &TaskSpec,
    manifest: &Manifest,
    deadline: Deadline,
) -> Result<Vec<ResultObject>, Trouble> {
    let shards = u64::from(spec.units.shards());
    if manifest.shards.len() as u64 != shards {
        let why = format!("the manifest has {} shards, the job {shards}", manifest.shards.len());
        return Err(Trouble::Refused(failed(&why)));
    }
    if manifest.formats.len() != spec.outputs.len() {
        return Err(Trouble::Refused(failed("the manifest has another number of formats than the job has outputs")));
    }
    if let Some(at) = manifest.shards.iter().position(|outputs| outputs.len() != spec.outputs.len()) {
        return Err(Trouble::Refused(failed(&format!("shard {at} has another number of outputs than the job"))));
    }
    let mut results = Vec::with_capacity(spec.outputs.len());
    for at in 0..spec.outputs.len() {
        // A broken upload leaves nothing that is found; it is begun again.
        let written = retry::objects(deadline, || async move {
            match write_output(agent, spec, manifest, at, deadline).await {
                Ok(written) => Ok(Ok(written)),
                Err(WriteError::Upload(error)) => Err(error),
                Err(WriteError::Trouble(trouble)) => Ok(Err(trouble)),
            }
        });
        let written = written.await.map_err(|error| error.or(|error| failed(&error.to_string())))?;
        let (digest, size) = written?;
        results.push(ResultObject { name: spec.outputs[at].name.clone(), digest, size });
    }
    Ok(results)
}

/// Why an output was not written.
enum WriteError {
    /// The bucket of results did not take it.
    Upload(ObjectError),
    /// The rows are not to be had.
    Trouble(Trouble),
}

async fn write_output(
    agent: &Agent,
    spec: &TaskSpec,
    manifest: &Manifest,
    at: usize,
    deadline: Deadline,
) -> Result<(Digest, u64), WriteError> {
    let output = &spec.outputs[at];
    let mut upload = agent.broker.upload(BUCKET_RESULTS).await.map_err(WriteError::Upload)?;
    upload.write(&manifest.formats[at].head(output)).await.map_err(WriteError::Upload)?;
    for (index, outputs) in (0_u32..).zip(&manifest.shards) {
        let (first, count) = spec.units.shard(index).unwrap_or((0, 0));
        let size = shard::row_bytes(spec, Units { first, count })[at];
        let rows = rows(agent, &outputs[at], size, index, deadline).await.map_err(WriteError::Trouble)?;
        upload.write(&rows).await.map_err(WriteError::Upload)?;
    }
    upload.finish().await.map_err(WriteError::Upload)
}

/// One shard's rows of one output.
async fn rows(agent: &Agent, digest: &Digest, size: u64, shard: u32, deadline: Deadline) -> Result<Vec<u8>, Trouble> {
    let got = retry::objects(deadline, || agent.broker.get(BUCKET_HELD, digest, size)).await;
    let rows = got.map_err(|error| error.or(|error| failed(&format!("shard {shard}: {error}"))))?;
    if rows.len() as u64 != size {
        let why = format!("shard {shard} holds {} bytes, its units have {size}", rows.len());
        return Err(Trouble::Refused(failed(&why)));
    }
    Ok(rows)
}

fn failed(why: &str) -> Refusal {
    Refusal::new(Reason::AggregationFailed, why)
}
