//! Outputs that are not one row an item: entries that items keep, copies that units have, and an item with more entries than there is room for.

use anyhow::{Context, Result, ensure};
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::namespace::reason;
use orion_e2e::{Example, Namespace, World, jobs};

use crate::{LONG, SHORT, shared};

#[tokio::test]
async fn kept_entries_and_copies_of_units_become_files_that_anybody_can_check() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "motifs", "10").await?;
    let example = Example::dna_motifs();
    world.apply(&namespace.name, &example.folder)?;
    let job = namespace.succeeded("dna-motifs", LONG).await?;
    world.ledger()?.complete(&job)?;
    example.is_as_written_down(&job)?;

    let folder = tempfile::tempdir()?;
    result(&world, &namespace, folder.path(), 0, &[])?;
    example.documented(&example.says("check.py", &[folder.path().to_owned()])?)?;
    result(&world, &namespace, folder.path(), 0, &["--check-only"])?;
    let outputs = &job.status.as_ref().context("a job that is over has a status")?.outputs;
    for output in outputs {
        let file = folder.path().join(format!("{}.npy", output.name));
        let good = std::fs::read(&file)?;
        let mut bytes = good.clone();
        *bytes.last_mut().context("a file has bytes")? ^= 1;
        std::fs::write(&file, bytes)?;
        let words = result(&world, &namespace, folder.path(), 1, &["--check-only"])?;
        ensure!(words.contains("REFUSED") && words.contains(&output.name), "{words}");
        std::fs::write(&file, good)?;
    }

    // Anybody's machine gives the digests that the status says.
    let [files, scratch] = [example.folder.as_path(), folder.path()].map(|path| path.display().to_string());
    let words = world.orion_exits(0, &["run", &files, "--dir", &scratch, "--scratch", &scratch])?;
    for output in outputs {
        let digest = output.digest.as_deref().context("an output has a digest")?;
        ensure!(words.contains(digest), "the status says {digest} for {}: {words}", output.name);
    }
    namespace.passed();
    Ok(())
}

fn result(world: &World, namespace: &Namespace, folder: &std::path::Path, code: i32, more: &[&str]) -> Result<String> {
    let (folder, key) = (folder.to_str().context("a path")?, world.log_key());
    let key = key.to_str().context("a path")?;
    let arguments = ["result", "dna-motifs", "-n", &namespace.name, "--dir", folder, "--key", key];
    world.orion_exits(code, &[&arguments, more].concat())
}

/// The example, whose window `item` says that it has more places than there is room for.
fn overflowing(item: u32) -> Result<OrionJob> {
    let mut job = jobs::motifs()?;
    job.spec.backoff_limit_per_shard = 0;
    let kernel = job.spec.workload.kernel.as_mut().context("the job has a kernel")?;
    let source = kernel.source.inline.as_mut().context("its text is in it")?;
    let honest = "counts[item] = (uchar)found;";
    ensure!(source.matches(honest).count() == 1, "the example says {honest} once");
    *source = source.replace(honest, &format!("counts[item] = item == {item} ? 9 : (uchar)found;"));
    Ok(job)
}

#[tokio::test]
async fn an_overflow_is_found_by_the_preflight() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "overflow-early", "10").await?;
    namespace.put(&jobs::motifs_inputs()?).await?;
    namespace.submit(&overflowing(3)?).await?;
    let refused = |job: &OrionJob| reason(job, ConditionType::Accepted).starts_with("False");
    let job = namespace.wait_for("dna-motifs", "a refusal", SHORT, refused).await?;
    let words = reason(&job, ConditionType::Accepted);
    ensure!(words.starts_with("False OutputOverflow: "), "{words}");
    ensure!(words.contains("output places: item 3 has 9 entries, there is room for 8"), "{words}");
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn an_overflow_that_two_owners_see_ends_the_job() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "overflow-late", "10").await?;
    namespace.put(&jobs::motifs_inputs()?).await?;
    // In none of the units that the preflight tries.
    namespace.submit(&overflowing(100)?).await?;
    let failed = |job: &OrionJob| reason(job, ConditionType::Failed).starts_with("True");
    let job = namespace.wait_for("dna-motifs", "a failure", LONG, failed).await?;
    let words = reason(&job, ConditionType::Failed);
    ensure!(words.starts_with("True BackoffLimitExceeded: ") && words.contains("OutputOverflow"), "{words}");
    ensure!(words.contains("item 100 has 9 entries") && words.contains("on the platform"), "{words}");
    namespace.passed();
    Ok(())
}
