//! A job's way in: the spec is parsed, its inputs are read once and pinned by digest, workload and inputs are stored. What is
//! wrong with the job itself is a [`Refusal`]; what may yet come is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use orion_core::JobSpec;
use orion_crds::job::InputStatus;
use orion_crds::{OrionJob, ValidatedJob};
use orion_protocol::ids::Account;
use orion_protocol::ledger::JobView;
use orion_protocol::subjects::BUCKET_IN;
use orion_protocol::{Digest, JobId, Name, Reason, Refusal, npy};

use crate::edges::Edges;

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
    let pinned = job.status.as_ref().map(|status| status.inputs.clone()).unwrap_or_default();
    let inputs = match inputs(edges, &valid, &pinned).await {
        Ok(inputs) => inputs,
        Err(Problem::Final(refusal)) => return Intake::Refused(refusal),
        Err(Problem::Passing(refusal)) => return Intake::Waiting(refusal),
    };
    let workload = match edges.broker.put(BUCKET_IN, &valid.workload().object()).await {
        Ok(digest) => digest,
        Err(error) => return Intake::Waiting(backend(&error)),
    };
    let first_try = job.status.as_ref().and_then(|status| status.ledger.as_ref()).map_or(0, |ledger| ledger.r#try);
    let chain = &edges.identity.chain;
    let id = JobId::derive(chain, &edges.cluster, valid.uid.as_str());
    let consumer = Account::Consumer { cluster: &edges.cluster, namespace: &valid.namespace }.id(chain);
    let digests = inputs.iter().map(|(digest, _)| *digest).collect();
    let spec = JobSpec {
        job: id,
        uid: valid.uid,
        consumer,
        workload,
        inputs: digests,
        units: valid.units,
        outputs: valid.outputs,
        audits_per_shard: valid.audits_per_shard,
        parallelism: valid.parallelism,
        budget: valid.budget,
        backoff_limit: valid.backoff_limit_per_shard,
        salt: edges.identity.salt(&id),
        first_try,
    };
    Intake::Ready(Box::new(spec), inputs.into_iter().map(|(_, status)| status).collect())
}

/// A job that the ledger knows, as it was taken in: what a namespace holds now says nothing about it any more. `asked` are its
/// parallelism and backoff limit; a job without an object has none.
pub fn resumed(edges: &Edges, id: JobId, uid: Name, view: &JobView, asked: Option<(u32, u32)>) -> JobSpec {
    let task = &view.task;
    let (parallelism, backoff_limit) = asked.unwrap_or((1, 0));
    JobSpec {
        job: id,
        uid,
        consumer: view.consumer,
        workload: task.workload,
        inputs: task.inputs.clone(),
        units: task.units,
        outputs: task.outputs.clone(),
        audits_per_shard: task.audits_per_shard,
        parallelism,
        budget: view.escrowed,
        backoff_limit,
        salt: edges.identity.salt(&id),
        first_try: 0,
    }
}

enum Problem {
    Final(Refusal),
    Passing(Refusal),
}

/// The inputs' digests, in order: those pinned before if they are still stored, else what the ConfigMaps hold now.
async fn inputs(
    edges: &Arc<Edges>,
    job: &ValidatedJob,
    pinned: &[InputStatus],
) -> Result<Vec<(Digest, InputStatus)>, Problem> {
    let mut maps: BTreeMap<&str, ConfigMap> = BTreeMap::new();
    let mut found = Vec::new();
    for input in &job.inputs {
        let pin = pinned.iter().find(|pin| pin.name == input.name.as_str());
        if let Some((pin, digest)) = pin.and_then(|pin| Some((pin, pin.digest.parse::<Digest>().ok()?)))
            && edges
                .broker
                .exists(BUCKET_IN, &digest)
                .await
                .map_err(|error| Problem::Passing(backend(&error)))?
                .is_some()
        {
            found.push((digest, pin.clone()));
            continue;
        }
        if !maps.contains_key(input.config_map.as_str()) {
            maps.insert(&input.config_map, config_map(edges, &job.namespace, &input.config_map).await?);
        }
        let bytes = maps.get(input.config_map.as_str()).and_then(|map| value(map, &input.key)).ok_or_else(|| {
            let words = format!(
                "spec.inputs[{}].source.configMap: {} has no key {} in binaryData",
                input.name, input.config_map, input.key
            );
            Problem::Passing(Refusal::new(Reason::InputNotFound, words))
        })?;
        let digest = Digest::of(bytes);
        if let Some(pin) = pin.filter(|pin| pin.digest != digest.to_string()) {
            let words = format!("spec.inputs[{}]: {} was pinned and is no longer stored", input.name, pin.digest);
            return Err(Problem::Final(Refusal::new(Reason::InvalidInput, words)));
        }
        npy::parse(bytes).map_err(|error| {
            let words =
                format!("spec.inputs[{}]: {} of ConfigMap {}: {error}", input.name, input.key, input.config_map);
            Problem::Final(Refusal::new(Reason::InvalidInput, words))
        })?;
        edges.broker.put(BUCKET_IN, bytes).await.map_err(|error| Problem::Passing(backend(&error)))?;
        let status =
            InputStatus { name: input.name.to_string(), digest: digest.to_string(), size_bytes: bytes.len() as u64 };
        found.push((digest, status));
    }
    Ok(found)
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
