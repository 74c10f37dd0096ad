//! A namespace a scenario, with credits of its own. It is deleted when the scenario ends; a scenario that failed shows its
//! jobs first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as Object};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use orion_crds::conditions::{condition, is_true};
use orion_crds::{ConditionType, OrionJob};

use crate::world::connect;
use crate::{World, until};

/// A namespace that goes away.
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its jobs.
    pub jobs: Api<OrionJob>,
    /// Its ConfigMaps.
    pub maps: Api<ConfigMap>,
    passed: AtomicBool,
}

impl Namespace {
    /// Makes one with `credits` ORION.
    pub async fn with_credits(world: &World, scenario: &str, credits: &str) -> Result<Namespace> {
        let namespace = Namespace::poor(world, scenario).await?;
        world.deposit(&namespace.name, credits)?;
        Ok(namespace)
    }

    /// Makes one without credits.
    pub async fn poor(world: &World, scenario: &str) -> Result<Namespace> {
        let mut object = Object::default();
        object.metadata.generate_name = Some(format!("e2e-{scenario}-"));
        let all: Api<Object> = Api::all(world.kube.clone());
        let made = all.create(&PostParams::default(), &object).await.context("making a namespace")?;
        let name = made.name_any();
        println!("{scenario}: namespace {name}");
        let jobs = Api::namespaced(world.kube.clone(), &name);
        let maps = Api::namespaced(world.kube.clone(), &name);
        Ok(Namespace { name, jobs, maps, passed: AtomicBool::new(false) })
    }

    /// All went well: nothing needs to be shown.
    pub fn passed(self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    /// Submits a job.
    pub async fn submit(&self, job: &OrionJob) -> Result<OrionJob> {
        self.jobs.create(&PostParams::default(), job).await.with_context(|| format!("submitting {}", job.name_any()))
    }

    /// Puts a ConfigMap there.
    pub async fn put(&self, map: &ConfigMap) -> Result<()> {
        self.maps.create(&PostParams::default(), map).await.context("making a ConfigMap")?;
        Ok(())
    }

    /// The job as it is now.
    pub async fn get(&self, job: &str) -> Result<OrionJob> {
        self.jobs.get(job).await.with_context(|| format!("reading {job}"))
    }

    /// Waits until the job is as wanted.
    pub async fn wait_for(
        &self,
        job: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&OrionJob) -> bool,
    ) -> Result<OrionJob> {
        let seen = until(what, limit, async || {
            let now = self.get(job).await?;
            Ok(wanted(&now).then_some(now))
        });
        seen.await.with_context(|| format!("waiting for {job}"))
    }

    /// Waits until the job has succeeded; fails as soon as it has failed.
    pub async fn succeeded(&self, job: &str, limit: Duration) -> Result<OrionJob> {
        let over = self.wait_for(job, "the end", limit, |job| is(job, ConditionType::Succeeded) || failed(job)).await?;
        if !is(&over, ConditionType::Succeeded) {
            bail!("{job} failed: {}", reason(&over, ConditionType::Failed));
        }
        Ok(over)
    }

    /// Waits until 0 < accepted < total has been seen on the object: the moment for whoever wants to break something.
    pub async fn in_the_middle(&self, job: &str, limit: Duration) -> Result<OrionJob> {
        let begun = self.wait_for(job, "the first accepted shard", limit, |job| accepted(job).0 > 0).await?;
        let (accepted, total) = accepted(&begun);
        if accepted >= total {
            bail!("the moment was missed: {accepted} of {total} units of {job} are accepted already");
        }
        println!("{job}: {accepted} of {total} units are accepted");
        Ok(begun)
    }
}

/// Whether a condition is True.
pub fn is(job: &OrionJob, of: ConditionType) -> bool {
    job.status.as_ref().is_some_and(|status| is_true(&status.conditions, of))
}

fn failed(job: &OrionJob) -> bool {
    is(job, ConditionType::Failed)
}

/// Status, reason and message of a condition, in one line; empty where there is none.
pub fn reason(job: &OrionJob, of: ConditionType) -> String {
    let status = job.status.as_ref();
    let condition = status.and_then(|status| condition(&status.conditions, of));
    condition.map_or_else(String::new, |c| format!("{} {}: {}", c.status, c.reason, c.message))
}

/// Accepted units, and all.
pub fn accepted(job: &OrionJob) -> (u64, u64) {
    let progress = job.status.as_ref().and_then(|status| status.progress.as_ref());
    progress.map_or((0, 0), |progress| (progress.units.accepted, progress.units.total))
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let (name, failing) = (self.name.clone(), !self.passed.load(Ordering::Relaxed));
        // Nothing can be awaited here, and the scenario's runtime may be going.
        let cleaner = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            if let Err(error) = runtime.block_on(clean(&name, failing)) {
                eprintln!("namespace {name} stays: {error:#}");
            }
        });
        cleaner.join().ok();
    }
}

async fn clean(name: &str, show: bool) -> Result<()> {
    let kube = connect().await?;
    if show {
        let jobs: Api<OrionJob> = Api::namespaced(kube.clone(), name);
        for job in jobs.list(&ListParams::default()).await? {
            eprintln!("{name}/{}: {}", job.name_any(), serde_json::to_string(&job.status)?);
        }
    }
    let all: Api<Object> = Api::all(kube);
    match all.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        other => other.map(|_| ()).context("deleting the namespace"),
    }
}
