//! Writing to the API server, fenced: every status carries uid and resourceVersion, children are POSTed under their names,
//! and nothing is written once the leadership may have ended.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use orion_crds::{OrionJob, Shard, ValidationRound, names};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::children::{Known, Parent, Write};
use crate::edges::Edges;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The leadership ended, or may have.
    #[error("no longer the leader")]
    Deposed,
    /// The object is gone, or another of the same name is there.
    #[error("the object is gone")]
    Gone,
    /// The namespace is being deleted: nothing new can be made in it.
    #[error("the namespace is being deleted")]
    Terminating,
    /// Somebody else wrote in between.
    #[error("the object changed in between")]
    Conflict,
    /// Anything else.
    #[error("writing to the API server")]
    Api(#[source] kube::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 404 => WriteError::Gone,
            kube::Error::Api(status) if status.code == 409 => WriteError::Conflict,
            kube::Error::Api(status) if is_terminating(status) => WriteError::Terminating,
            _ => WriteError::Api(error),
        }
    }
}

/// Why the API server makes nothing in a namespace that goes, see `NamespaceTerminatingCause` of its `api/core/v1`.
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// A request that is not answered is given up, and counts as not written.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one request if this process may still write.
async fn fenced<T>(edges: &Edges, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    if !edges.guard.holds() {
        return Err(WriteError::Deposed);
    }
    edges.metrics.requests.inc();
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(WriteError::Conflict),
    }
}

/// Applies a status to exactly this version of the object; gives the version after it.
pub async fn apply_status<K, S>(edges: &Edges, object: &K, status: &S) -> Result<K, WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    apply_status_as(edges, names::MANAGER, object, status).await
}

/// The same for the part of a status that `manager` writes: what others wrote stays.
pub async fn apply_status_as<K, S>(edges: &Edges, manager: &str, object: &K, status: &S) -> Result<K, WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    let name = object.name_any();
    let api: Api<K> = Api::namespaced(edges.kube.clone(), &object.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": object.uid(), "resourceVersion": object.resource_version()},
        "status": status,
    });
    let params = PatchParams::apply(manager).force();
    fenced(edges, api.patch_status(&name, &params, &Patch::Apply(patch))).await
}

/// The object as it is now; gone when its name belongs to another.
pub async fn current(edges: &Edges, job: &OrionJob) -> Result<OrionJob, WriteError> {
    let api: Api<OrionJob> = Api::namespaced(edges.kube.clone(), &job.namespace().unwrap_or_default());
    let now = fenced(edges, api.get(&job.name_any())).await?;
    if now.uid() == job.uid() { Ok(now) } else { Err(WriteError::Gone) }
}

/// Puts or takes away the finalizer, on exactly this version.
pub async fn set_finalizer(edges: &Edges, job: &OrionJob, present: bool) -> Result<OrionJob, WriteError> {
    let mut finalizers: Vec<String> = job.finalizers().to_vec();
    if finalizers.iter().any(|name| name == names::FINALIZER) == present {
        return Ok(job.clone());
    }
    finalizers.retain(|name| name != names::FINALIZER);
    if present {
        finalizers.push(names::FINALIZER.to_owned());
    }
    let api: Api<OrionJob> = Api::namespaced(edges.kube.clone(), &job.namespace().unwrap_or_default());
    let patch = json!({"metadata": {
        "uid": job.uid(), "resourceVersion": job.resource_version(), "finalizers": finalizers,
    }});
    fenced(edges, api.patch(&job.name_any(), &PatchParams::default(), &Patch::Merge(patch))).await
}

/// The children that exist.
pub async fn children(edges: &Edges, parent: &Parent) -> Result<Known, WriteError> {
    let params = ListParams::default().labels(&format!("{}={}", names::LABEL_JOB_UID, parent.uid));
    let shards: Api<Shard> = Api::namespaced(edges.kube.clone(), &parent.namespace);
    let rounds: Api<ValidationRound> = Api::namespaced(edges.kube.clone(), &parent.namespace);
    let shards = fenced(edges, shards.list(&params)).await?;
    let rounds = fenced(edges, rounds.list(&params)).await?;
    let finished = |generation: Option<i64>| generation.is_some_and(|generation| generation > 0);
    Ok(Known {
        shards: shards
            .iter()
            .map(|shard| {
                (shard.name_any(), finished(shard.status.as_ref().and_then(|status| status.observed_generation)))
            })
            .collect(),
        rounds: rounds
            .iter()
            .map(|round| {
                (round.name_any(), finished(round.status.as_ref().and_then(|status| status.observed_generation)))
            })
            .collect(),
    })
}

/// Does one write to a child.
pub async fn write_child(edges: &Arc<Edges>, parent: &Parent, write: &Write) -> Result<(), WriteError> {
    match write {
        Write::CreateShard(shard) => create(edges, parent, shard.as_ref()).await,
        Write::CreateRound(round) => create(edges, parent, round.as_ref()).await,
        Write::FinishShard(name, status) => finish::<Shard, _>(edges, parent, name, status).await,
        Write::FinishRound(name, status) => finish::<ValidationRound, _>(edges, parent, name, status).await,
        Write::DeleteShard(name) => delete::<Shard>(edges, parent, name).await,
        Write::DeleteRound(name) => delete::<ValidationRound>(edges, parent, name).await,
    }
}

/// Creates; one that is there already is ours only if it has the same owner.
async fn create<K>(edges: &Edges, parent: &Parent, object: &K) -> Result<(), WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(edges.kube.clone(), &parent.namespace);
    match fenced(edges, api.create(&PostParams::default(), object)).await {
        Ok(_) => Ok(()),
        Err(WriteError::Conflict) => {
            let there = fenced(edges, api.get(&object.name_any())).await?;
            let ours = there.owner_references().iter().any(|owner| owner.uid == parent.uid);
            if ours { Ok(()) } else { Err(WriteError::Conflict) }
        }
        Err(error) => Err(error),
    }
}

async fn finish<K, S>(edges: &Edges, parent: &Parent, name: &str, status: &S) -> Result<(), WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize,
{
    let api: Api<K> = Api::namespaced(edges.kube.clone(), &parent.namespace);
    let object = fenced(edges, api.get(name)).await?;
    if !object.owner_references().iter().any(|owner| owner.uid == parent.uid) {
        return Err(WriteError::Conflict);
    }
    apply_status(edges, &object, status).await.map(|_| ())
}

async fn delete<K>(edges: &Edges, parent: &Parent, name: &str) -> Result<(), WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(edges.kube.clone(), &parent.namespace);
    match fenced(edges, api.delete(name, &DeleteParams::default())).await {
        Ok(_) | Err(WriteError::Gone) => Ok(()),
        Err(error) => Err(error),
    }
}
