//! `cargo xtask bench-ledger`: what the ledger does a second and what a log takes, in one run on this machine.
//! `ledger/examples/bench_ledger` measures; this builds what it measures: the ledger in release mode, and as it is shipped.

use std::process::Command;

use anyhow::Result;

use crate::progress::Steps;
use crate::settings::Settings;
use crate::{files, process, programs};

/// Where the table goes.
const TABLE: &str = "docs/benchmarks/ledger.md";
/// A run for trying: seconds of each load, and the entries at which sizes are looked at.
const QUICK: [&str; 6] = ["--seconds", "5", "--entries", "5000", "30000", "50000"];

/// Builds and measures; a quick run writes no table.
pub fn run(settings: &Settings, quick: bool) -> Result<()> {
    let shipped = programs::build(settings)?.path("orion-ledger");
    let (root, target) = (programs::root()?, programs::target()?);
    let mut steps = Steps::new("bench", 1);
    steps.run("the ledger in release mode", |step| {
        let mut command = process::cargo();
        command.current_dir(&root).args(["build", "--release", "--locked", "--package", "orion-ledger"]);
        command.args(["--bin", "orion-ledger", "--example", "bench_ledger"]);
        process::run_long(&mut command, step)
    })?;
    steps.finish();
    let (release, scratch) = (target.join("release"), target.join("bench-ledger"));
    files::make_folder(&scratch)?;
    let mut command = Command::new(release.join("examples/bench_ledger"));
    command.arg("--ledger").arg(release.join("orion-ledger")).arg("--shipped").arg(shipped);
    command.arg("--scratch").arg(scratch);
    if quick {
        command.args(QUICK);
    } else {
        files::make_folder(&root.join("docs/benchmarks"))?;
        command.arg("--markdown").arg(root.join(TABLE));
    }
    process::show(&mut command)
}
