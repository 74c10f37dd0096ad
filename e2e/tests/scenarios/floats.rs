//! The example with a kernel on floats: the bits that are written down, as near to 64 bits as its README says.

use anyhow::{Result, ensure};
use orion_e2e::{Example, Namespace};
use orion_protocol::task::KERNEL_SET;

use crate::{LONG, shared};

#[tokio::test]
async fn a_kernel_on_floats_gives_the_bits_that_it_has_everywhere() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "floats", "10").await?;
    let example = Example::american_puts();
    world.apply(&namespace.name, &example.folder)?;
    let job = namespace.succeeded("american-puts", LONG).await?;
    let ledger = world.ledger()?;
    let report = ledger.complete(&job)?;
    ensure!(report.spec.kernel_set == KERNEL_SET, "the task names kernel set {}", report.spec.kernel_set);
    let folder = tempfile::tempdir()?;
    let directory = folder.path().display().to_string();
    world.orion_exits(0, &["result", "american-puts", "-n", &namespace.name, "--dir", &directory])?;
    example.documented(&example.says("check.py", &[folder.path().join("puts.npy")])?)?;
    example.is_the_same_everywhere(&world, &job, &[])?;
    namespace.passed();
    Ok(())
}
