//! The example, from `kubectl apply` to a result that anybody can check, and a ledger that cannot be changed unseen.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use orion_crds::job::OutputStatus;
use orion_e2e::{Namespace, World, jobs};
use orion_ledger_core::VerifierKey;
use orion_protocol::SecretKey;
use serde_json::json;

use crate::{LONG, shared};

#[tokio::test]
async fn the_example_succeeds_and_its_result_is_checked_byte_by_byte() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "digits", "10").await?;
    namespace.put(&jobs::digits_inputs()?).await?;
    namespace.submit(&jobs::digits()?).await?;
    let job = namespace.succeeded("digits-knn", LONG).await?;
    world.ledger()?.complete(&job)?;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("predictions.npy");
    result(&world, &namespace, folder.path(), 0, &[])?;
    let expected = std::fs::read(jobs::digits_folder().join("expected.npy"))?;
    ensure!(std::fs::read(&file)? == expected, "the result is not what scikit-learn predicts");
    result(&world, &namespace, folder.path(), 0, &["--check-only"])?;
    let mut bytes = expected;
    *bytes.last_mut().context("a result has bytes")? ^= 1;
    std::fs::write(&file, bytes)?;
    let words = result(&world, &namespace, folder.path(), 1, &["--check-only"])?;
    ensure!(words.contains("REFUSED"), "{words}");

    // Anybody's machine gives the digest that the status says.
    let fair = job.status.context("a job that is over has a status")?;
    let digest = fair.outputs[0].digest.as_deref().context("an output has a digest")?;
    let [example, scratch] =
        [jobs::digits_folder(), folder.path().join("scratch")].map(|path| path.display().to_string());
    let words = world.orion_exits(0, &["run", &example, "--dir", &scratch, "--scratch", &scratch])?;
    ensure!(words.contains(digest), "the status says {digest}: {words}");

    // Whoever writes a status can neither name a file nor say what was computed.
    let mut extra = fair.outputs.clone();
    extra.extend(fair.outputs.iter().cloned().map(|output| OutputStatus { name: "extra".into(), ..output }));
    let mut inputs = fair.inputs.clone();
    inputs.reverse();
    for (status, expected) in [
        (json!({"outputs": extra}), "lists the outputs"),
        (json!({"outputs": fair.outputs, "inputs": inputs}), "inputs differs"),
    ] {
        let patch = Patch::Merge(json!({"status": status}));
        namespace
            .jobs
            .patch_status("digits-knn", &PatchParams::default(), &patch)
            .await
            .context("changing a status")?;
        let words = result(&world, &namespace, folder.path(), 1, &[])?;
        ensure!(words.contains(expected), "{words}");
    }
    let climbs = json!({"status": {"outputs": [{"name": "../predictions", "digest": fair.outputs[0].digest,
        "sizeBytes": 1, "type": "uint8", "shape": [1]}]}});
    let climbs = namespace.jobs.patch_status("digits-knn", &PatchParams::default(), &Patch::Merge(climbs)).await;
    ensure!(climbs.is_err(), "an output was named like a path");
    namespace.passed();
    Ok(())
}

fn result(world: &World, namespace: &Namespace, folder: &Path, code: i32, more: &[&str]) -> Result<String> {
    let (folder, key) = (folder.to_str().context("a path")?, world.log_key());
    let key = key.to_str().context("a path")?;
    let arguments = ["result", "digits-knn", "-n", &namespace.name, "--dir", folder, "--key", key];
    world.orion_exits(code, &[&arguments, more].concat())
}

#[tokio::test]
async fn an_export_verifies_and_one_flipped_byte_or_another_key_does_not() -> Result<()> {
    let (_ground, world) = shared().await?;
    let folder = tempfile::tempdir()?;
    let (good, bad, other) = (folder.path().join("good"), folder.path().join("bad"), folder.path().join("other.vkey"));
    world.export(&good)?;
    let verify = |code: i32, file: &Path, key: &Path| {
        let (file, key) = (file.to_str().context("a path")?, key.to_str().context("a path")?);
        world.orion_exits(code, &["ledger", "verify", "log", file, "--key", key])
    };
    verify(0, &good, &world.log_key())?;
    let bytes = std::fs::read(&good)?;
    // The header, the checkpoint, the first leaf's length, and the leaves from end to end.
    let places = [0, 30, 300].into_iter().chain((1..8).map(|part| bytes.len() * part / 8)).chain([bytes.len() - 1]);
    for place in places {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        std::fs::write(&bad, changed)?;
        verify(1, &bad, &world.log_key()).with_context(|| format!("byte {place} of {} flipped", bytes.len()))?;
    }
    std::fs::write(&bad, &bytes[..bytes.len() / 2])?;
    verify(1, &bad, &world.log_key()).context("cut in half")?;
    let stranger = VerifierKey::new(&world.genesis()?.chain(), SecretKey::from_seed(&[7; 32]).public());
    std::fs::write(&other, stranger.to_string())?;
    verify(1, &good, &other)?;
    Ok(())
}
