//! Jobs that are deleted while they run: what is committed is paid, the rest comes back, the object goes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::Api;
use kube::api::DeleteParams;
use orion_crds::OrionJob;
use orion_e2e::{Busy, Namespace, World, jobs, until};
use orion_protocol::ledger::api::JobPhase;

use crate::{LONG, shared};

/// The finalizer holds an object no longer than a minute; a little for everything else.
const GONE: Duration = Duration::from_secs(65);

#[tokio::test]
async fn the_committed_work_of_a_deleted_job_is_paid_and_the_rest_refunded() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "delete", "30").await?;
    namespace.submit(&jobs::slow()?).await?;
    let job = namespace.in_the_middle("slow", LONG).await?;
    namespace.jobs.delete("slow", &DeleteParams::default()).await.context("deleting the job")?;
    gone(&namespace, "slow").await?;
    settled(&world, &job).await?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn so_is_that_of_a_job_whose_namespace_is_deleted() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "terminate", "200").await?;
    // A namespace takes its time to delete what is in it.
    let long = Busy { units: 200, units_per_shard: 4, steps: 150_000_000, budget: "200".into(), ..Busy::named("slow") };
    namespace.submit(&long.job()?).await?;
    let job = namespace.in_the_middle("slow", LONG).await?;
    let all: Api<Object> = Api::all(world.kube.clone());
    all.delete(&namespace.name, &DeleteParams::default()).await.context("deleting the namespace")?;
    gone(&namespace, "slow").await?;
    settled(&world, &job).await?;
    until("the end of the namespace", GONE, async || Ok(all.get_opt(&namespace.name).await?.is_none().then_some(())))
        .await?;
    namespace.passed();
    Ok(())
}

async fn gone(namespace: &Namespace, job: &str) -> Result<()> {
    until("the end of the object", GONE, async || Ok(namespace.jobs.get_opt(job).await?.is_none().then_some(()))).await
}

/// Closed, with something paid and something refunded.
async fn settled(world: &World, job: &OrionJob) -> Result<()> {
    until("the settlement", LONG, async || {
        let closed = world.ledger()?.job(job)?.phase == JobPhase::Closed;
        Ok(closed.then_some(()))
    })
    .await?;
    let ledger = world.ledger()?;
    let record = ledger.closed(job)?;
    ensure!(record.sums.workers > 0 && record.sums.refunded > 0, "{:?}", record.sums);
    ensure!(record.accepted().is_none(), "the moment was missed: the whole job is accepted");
    ensure!(record.shards.iter().all(|shard| shard.open.is_none()), "something committed was not judged");
    Ok(())
}
