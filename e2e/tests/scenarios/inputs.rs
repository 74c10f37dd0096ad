//! ConfigMaps that come late, or change: read once, when they are there.

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use kube::api::{Patch, PatchParams};
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::namespace::{is, reason};
use orion_e2e::{Namespace, World, jobs};
use serde_json::json;

use crate::{LONG, SHORT, shared};

#[tokio::test]
async fn a_config_map_may_come_after_the_job() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "late", "10").await?;
    namespace.submit(&jobs::digits()?).await?;
    let waits = |job: &OrionJob| reason(job, ConditionType::Accepted).starts_with("Unknown InputNotFound: ");
    let job = namespace.wait_for("digits-knn", "the missing input", SHORT, waits).await?;
    let words = reason(&job, ConditionType::Accepted);
    ensure!(words.contains("ConfigMap digits"), "{words}");
    namespace.put(&jobs::digits_inputs()?).await?;
    namespace.succeeded("digits-knn", LONG).await?;
    right_result(&world, &namespace)?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_config_map_that_changes_during_the_run_changes_nothing() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "edit", "10").await?;
    let map = jobs::digits_inputs()?;
    namespace.put(&map).await?;
    namespace.submit(&jobs::digits()?).await?;
    let read = |job: &OrionJob| job.status.as_ref().is_some_and(|status| !status.inputs.is_empty());
    let job = namespace.wait_for("digits-knn", "the inputs to be read", SHORT, read).await?;
    ensure!(!is(&job, ConditionType::Validated), "the moment was missed: everything is computed already");
    let mut labels = map.binary_data.context("the ConfigMap has data")?.remove("labels.npy").context("labels")?;
    let end = labels.0.len() - 1;
    // Another digit for everybody.
    labels.0[end - 1796..].fill(7);
    let patch = Patch::Merge(json!({"binaryData": {"labels.npy": ByteString(labels.0)}}));
    namespace.maps.patch("digits", &PatchParams::default(), &patch).await.context("editing the ConfigMap")?;
    namespace.succeeded("digits-knn", LONG).await?;
    right_result(&world, &namespace)?;
    namespace.passed();
    Ok(())
}

fn right_result(world: &World, namespace: &Namespace) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().to_str().context("a path")?;
    world.orion_exits(0, &["result", "digits-knn", "-n", &namespace.name, "--dir", directory])?;
    let expected = std::fs::read(jobs::digits_folder().join("expected.npy"))?;
    ensure!(std::fs::read(folder.path().join("predictions.npy"))? == expected, "the result is wrong");
    Ok(())
}
