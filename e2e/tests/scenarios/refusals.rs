//! Jobs that are wrong: refused with words that help, and then left alone.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace as Object;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::namespace::reason;
use orion_e2e::wait::holds;
use orion_e2e::{Busy, Namespace};

use crate::{LONG, SHORT, alone, shared};

/// What Orion writes.
const OURS: [&str; 4] = ["orionjobs", "shards", "validationrounds", "providers"];
/// How the API server counts writes.
const WRITES: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];

#[tokio::test]
async fn a_kernel_that_does_not_compile_is_refused_in_the_compilers_words() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "compile", "30").await?;
    let good = Busy { units: 48, steps: 15_000_000, ..Busy::named("good") };
    namespace.submit(&good.job()?).await?;
    namespace.submit(&broken("broken")?).await?;
    let job = refused(&namespace, "broken").await?;
    let words = reason(&job, ConditionType::Accepted);
    ensure!(words.starts_with("False CompileFailed: "), "{words}");
    ensure!(words.contains("does_not_exist"), "these are not the compiler's words: {words}");
    // `kubectl describe` tells it too.
    let events: Api<Event> = Api::namespaced(world.kube.clone(), &namespace.name);
    orion_e2e::until("an Event", SHORT, async || {
        let told = events.list(&ListParams::default()).await?;
        let about = |event: &Event| event.regarding.as_ref().is_some_and(|of| of.uid == job.metadata.uid);
        let mut told = told.iter().filter(|event| about(event));
        Ok(told.any(|event| event.reason.as_deref() == Some("CompileFailed")).then_some(()))
    })
    .await?;
    // Nothing is tried again.
    let version = job.resource_version();
    holds(Duration::from_secs(10), async || {
        let now = namespace.get("broken").await?.resource_version();
        ensure!(now == version, "it was written again: {now:?} after {version:?}");
        Ok(())
    })
    .await?;
    let job = namespace.succeeded("good", LONG).await?;
    world.ledger()?.complete(&job)?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn an_idle_platform_with_a_refused_job_writes_nothing_for_a_minute() -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "idle", "30").await?;
    namespace.submit(&broken("broken")?).await?;
    refused(&namespace, "broken").await?;
    // While a namespace of a scenario before this one goes, the API server is asked to delete what is in it.
    let everywhere: Api<Object> = Api::all(world.kube.clone());
    orion_e2e::until("quiet", LONG, async || {
        let all = everywhere.list(&ListParams::default()).await?;
        let scenarios = all.iter().filter(|one| one.name_any().starts_with("e2e-")).count();
        Ok((scenarios == 1).then_some(()))
    })
    .await?;
    let mut before = Vec::new();
    for resource in OURS {
        before.push(world.requests(resource, &WRITES).await?);
    }
    ensure!(before[0] > 0, "the API server does not count writes as we think");
    holds(Duration::from_mins(1), async || {
        for (resource, before) in OURS.iter().zip(&before) {
            let now = world.requests(resource, &WRITES).await?;
            ensure!(now == *before, "{} writes to {resource}", now - before);
        }
        Ok(())
    })
    .await?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_spec_that_does_not_fit_together_is_refused_by_field() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "spec", "30").await?;
    let mut job = Busy::named("shape").job()?;
    job.spec.outputs[0].shape = Some(vec![7]);
    namespace.submit(&job).await?;
    let words = reason(&refused(&namespace, "shape").await?, ConditionType::Accepted);
    ensure!(words.starts_with("False InvalidSpec: ") && words.contains("outputs[last].shape"), "{words}");

    let mut job = Busy::named("argument").job()?;
    job.spec.workload.kernel.as_mut().context("a kernel")?.arguments[0].output = Some("lost".into());
    namespace.submit(&job).await?;
    let words = reason(&refused(&namespace, "argument").await?, ConditionType::Accepted);
    ensure!(words.starts_with("False InvalidSpec: ") && words.contains("arguments[0]"), "{words}");
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_name_of_41_characters_is_refused_by_the_api_server() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::poor(&world, "name").await?;
    let job = |length: usize| Busy::named(&"n".repeat(length)).job();
    match namespace.jobs.create(&kube::api::PostParams::default(), &job(41)?).await {
        Err(kube::Error::Api(status)) if status.code == 422 => {
            ensure!(status.message.contains("at most 40 characters"), "{}", status.message);
        }
        other => bail!("{other:?}"),
    }
    namespace.submit(&job(40)?).await?;
    namespace.passed();
    Ok(())
}

fn broken(name: &str) -> Result<OrionJob> {
    let mut job = Busy::named(name).job()?;
    let kernel = job.spec.workload.kernel.as_mut().context("a kernel")?;
    kernel.source.inline = Some("__kernel void slow(__global uint *last) { last[0] = does_not_exist; }".into());
    Ok(job)
}

async fn refused(namespace: &Namespace, job: &str) -> Result<OrionJob> {
    // The finalizer goes right after the words are there.
    let is_refused =
        |job: &OrionJob| reason(job, ConditionType::Accepted).starts_with("False") && job.finalizers().is_empty();
    namespace.wait_for(job, "a refusal", SHORT, is_refused).await
}
