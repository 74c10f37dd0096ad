//! A job's way in: the spec is parsed, its inputs are read once and pinned by digest, workload and inputs are stored. What is
//! wrong with the job itself is a [`Refusal`]; what may yet come is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use orion_broker::ObjectError;
use orion_core::JobSpec;
use orion_crds::job::InputStatus;
use orion_crds::validated::InputSource;
use orion_crds::{OrionJob, ValidatedJob};
use orion_protocol::ids::Account;
use orion_protocol::ledger::{JobView, Policy};
use orion_protocol::npy::Header;
use orion_protocol::subjects::BUCKET_IN;
use orion_protocol::task::Workload;
use orion_protocol::{Digest, Format, JobId, Name, Reason, Refusal};

use crate::edges::Edges;
use crate::housekeeping;

/// How an attempt to take a job in ended.
pub enum Intake {
    /// Ready for the core; its inputs as they were read.
    Ready(Box<JobSpec>, Vec<InputStatus>),
    /// Final.
    Refused(Refusal),
    /// To be tried again.
    Waiting(Refusal),
}

/// Tries to take a job in.
pub async fn take(edges: &Arc<Edges>, job: &OrionJob) -> Intake {
    let valid = match ValidatedJob::try_from(job) {
        Ok(valid) => valid,
        Err(refusal) => return Intake::Refused(refusal),
    };
    let policy = match policy(edges, valid.policy).await {
        Ok(policy) => policy,
        Err(refusal) => return Intake::Waiting(refusal),
    };
    let pinned = job.status.as_ref().map(|status| status.inputs.clone()).unwrap_or_default();
    let inputs = match inputs(edges, &valid, &pinned).await {
        Ok(inputs) => inputs,
        Err(Problem::Final(refusal)) => return Intake::Refused(refusal),
        Err(Problem::Passing(refusal)) => return Intake::Waiting(refusal),
    };
    let workload = match store(edges, &valid.workload.object()).await {
        Ok(digest) => digest,
        Err(error) => return Intake::Waiting(backend(&error)),
    };
    let header = |at: usize| inputs.get(at).and_then(|input: &Found| input.header.as_ref());
    let units = match valid.units_by(header) {
        Ok(units) => units,
        Err(refusal) => return Intake::Refused(refusal),
    };
    let first_try = job.status.as_ref().and_then(|status| status.ledger.as_ref()).map_or(0, |ledger| ledger.r#try);
    let chain = &edges.identity.chain;
    let id = JobId::derive(chain, &edges.cluster, valid.uid.as_str());
    let consumer = Account::Consumer { cluster: &edges.cluster, namespace: &valid.namespace }.id(chain);
    let digests = inputs.iter().map(|found| found.digest).collect();
    let input_bytes = inputs.iter().map(|found| found.status.size_bytes).sum();
    let spec = JobSpec {
        job: id,
        uid: valid.uid,
        consumer,
        workload,
        inputs: digests,
        input_bytes,
        units,
        outputs: valid.outputs,
        formats: valid.formats,
        kernel_set: valid.workload.kernel_set(),
        is_model: matches!(valid.workload, Workload::Inference(_)),
        audits_per_shard: valid.audits_per_shard,
        parallelism: valid.parallelism,
        budget: valid.budget,
        backoff_limit: valid.backoff_limit_per_shard,
        salt: edges.identity.salt(&id),
        policy,
        first_try,
    };
    Intake::Ready(Box::new(spec), inputs.into_iter().map(|found| found.status).collect())
}

/// A job that the ledger knows, as it was taken in: what a namespace holds now says nothing about it any more, but for what the ledger does not
/// say. Without an object it is taken for a kernel: whoever may run one may run a model too.
pub fn resumed(edges: &Edges, id: JobId, uid: Name, view: &JobView, asked: Option<ValidatedJob>) -> JobSpec {
    let task = &view.task;
    let (parallelism, backoff_limit) =
        asked.as_ref().map_or((1, 0), |job| (job.parallelism, job.backoff_limit_per_shard));
    let is_model = asked.as_ref().is_some_and(|job| matches!(job.workload, Workload::Inference(_)));
    let formats = asked.map_or_else(|| vec![Format::default(); task.outputs.len()], |job| job.formats);
    JobSpec {
        job: id,
        uid,
        consumer: view.consumer,
        workload: task.workload,
        inputs: task.inputs.clone(),
        input_bytes: 0,
        units: task.units,
        outputs: task.outputs.clone(),
        formats,
        kernel_set: task.kernel_set,
        is_model,
        audits_per_shard: task.audits_per_shard,
        parallelism,
        budget: view.escrowed,
        backoff_limit,
        salt: edges.identity.salt(&id),
        // The task, which names its own, is in the ledger: nothing asks for this one any more.
        policy: edges.identity.genesis.policy.clone(),
        first_try: 0,
    }
}

/// What the job costs: by the policy that it names, or by the one that the ledger has for jobs that name none. One that is not
/// published may yet be.
async fn policy(edges: &Edges, named: Option<Digest>) -> Result<Policy, Refusal> {
    let known = edges.ledger.policies().await.map_err(|error| {
        Refusal::new(Reason::BackendUnavailable, format!("asking the ledger for reward policies: {error}"))
    })?;
    let id = named.unwrap_or(known.default);
    known.policies.into_iter().find(|policy| policy.digest() == id).ok_or_else(|| {
        let words = format!(
            "spec.reward.policy: {id} is not published on this chain (orion ledger policy show); it is looked for again"
        );
        Refusal::new(Reason::UnknownPolicy, words)
    })
}

enum Problem {
    Final(Refusal),
    Passing(Refusal),
}

/// An input that is stored.
struct Found {
    digest: Digest,
    status: InputStatus,
    /// Its array's header; a model has none.
    header: Option<Header>,
}

/// The inputs, in order: what is stored under the digest of the spec or of an earlier intake, else what the ConfigMaps hold now.
async fn inputs(edges: &Arc<Edges>, job: &ValidatedJob, pinned: &[InputStatus]) -> Result<Vec<Found>, Problem> {
    let mut maps: BTreeMap<&str, ConfigMap> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, input) in job.inputs.iter().enumerate() {
        let pin = pinned.iter().find(|pin| pin.name == input.name.as_str());
        let pin = pin.and_then(|pin| pin.digest.parse::<Digest>().ok());
        let known = match &input.source {
            // Only what was put: inputs out of other namespaces' ConfigMaps lie there too, and the log says their digests.
            InputSource::Object(digest) => {
                let put = edges.broker.put_size(BUCKET_IN, digest).await;
                put.map_err(|error| Problem::Passing(backend(&error)))?.map(|_| *digest)
            }
            InputSource::ConfigMap { .. } => pin,
        };
        if let Some(digest) = known
            && let Some(there) = stored(edges, job, at, digest).await?
        {
            found.push(there);
            continue;
        }
        let (map, key) = match &input.source {
            InputSource::Object(digest) => return Err(Problem::Passing(not_put(&input.name, digest))),
            InputSource::ConfigMap { name, key } => (name.as_str(), key.as_str()),
        };
        if !maps.contains_key(map) {
            maps.insert(map, config_map(edges, &job.namespace, map).await?);
        }
        let bytes = maps.get(map).and_then(|map| value(map, key)).ok_or_else(|| {
            let words = format!("spec.inputs[{}].source.configMap: {map} has no key {key} in binaryData", input.name);
            Problem::Passing(Refusal::new(Reason::InputNotFound, words))
        })?;
        found.push(read(edges, job, at, bytes, pin).await?);
    }
    Ok(found)
}

/// An input that the store has. Of an array only the beginning is read: whoever computes with it checks all of it.
async fn stored(edges: &Edges, job: &ValidatedJob, at: usize, digest: Digest) -> Result<Option<Found>, Problem> {
    let passing = |error: ObjectError| Problem::Passing(backend(&error));
    let held = edges.broker.hold(BUCKET_IN, &digest, housekeeping::held_since()).await.map_err(passing)?;
    let Some(size) = held else { return Ok(None) };
    let start = match edges.broker.head(BUCKET_IN, &digest).await {
        Ok(start) => start,
        // What is stored is broken: it comes anew from where it came from.
        Err(error) if error.is_about_object() => return Ok(None),
        Err(error) => return Err(passing(error)),
    };
    Found::new(job, at, digest, &start, size).map(Some)
}

/// An input out of a ConfigMap, which is stored; it must be what was pinned before.
async fn read(
    edges: &Edges,
    job: &ValidatedJob,
    at: usize,
    bytes: &[u8],
    pinned: Option<Digest>,
) -> Result<Found, Problem> {
    let digest = Digest::of(bytes);
    if let Some(pinned) = pinned.filter(|pinned| *pinned != digest) {
        let words = format!("spec.inputs[{}]: {pinned} was pinned and is no longer stored", job.inputs[at].name);
        return Err(Problem::Final(Refusal::new(Reason::InvalidInput, words)));
    }
    let found = Found::new(job, at, digest, bytes, bytes.len() as u64)?;
    store(edges, bytes).await.map_err(|error| Problem::Passing(backend(&error)))?;
    Ok(found)
}

/// Stores bytes, so that they stay until the core knows who needs them.
pub async fn store(edges: &Edges, bytes: &[u8]) -> Result<Digest, ObjectError> {
    let digest = edges.broker.put(BUCKET_IN, bytes).await?;
    let held = edges.broker.hold(BUCKET_IN, &digest, housekeeping::held_since()).await?;
    held.map(|_| digest).ok_or_else(|| ObjectError::NotFound { bucket: BUCKET_IN.into(), digest })
}

impl Found {
    /// Of an input's first bytes and its size. An array's header is read; a file that has none is refused.
    fn new(job: &ValidatedJob, at: usize, digest: Digest, start: &[u8], size: u64) -> Result<Found, Problem> {
        let header = job.header(at, start, size).map_err(Problem::Final)?;
        let name = job.inputs[at].name.to_string();
        Ok(Found { digest, status: InputStatus { name, digest: digest.to_string(), size_bytes: size }, header })
    }
}

fn not_put(input: &Name, digest: &Digest) -> Refusal {
    let words = format!(
        "spec.inputs[{input}].source.object: {digest} is not on the platform; put it there with: orion put FILE. It is looked for again"
    );
    Refusal::new(Reason::InputNotFound, words)
}

async fn config_map(edges: &Arc<Edges>, namespace: &str, name: &str) -> Result<ConfigMap, Problem> {
    let api: Api<ConfigMap> = Api::namespaced(edges.kube.clone(), namespace);
    match api.get_opt(name).await {
        Ok(Some(map)) => Ok(map),
        Ok(None) => {
            let words = format!("ConfigMap {name} is not in namespace {namespace}; it is looked for again");
            Err(Problem::Passing(Refusal::new(Reason::InputNotFound, words)))
        }
        Err(error) => Err(Problem::Passing(Refusal::new(
            Reason::BackendUnavailable,
            format!("reading ConfigMap {name}: {error}"),
        ))),
    }
}

fn value<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a [u8]> {
    map.binary_data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}

fn backend(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Reason::BackendUnavailable, format!("storing inputs: {error}"))
}
