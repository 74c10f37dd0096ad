//! `cargo xtask bench-engine`: the engine beside onnxruntime, rten and OpenBLAS, in one run on this machine. `bench/engine.py` measures; this builds
//! what it measures.

use std::process::Command;

use anyhow::Result;

use crate::progress::Steps;
use crate::settings::Settings;
use crate::tools::debian;
use crate::{files, process, programs, python};

/// Where the table goes.
const TABLE: &str = "docs/benchmarks/engine.md";

/// Builds everybody and measures the named models, or all of them.
pub fn run(settings: &Settings, models: &[String], rounds: u32) -> Result<()> {
    debian::ensure(settings, debian::OPENCL)?;
    let (root, target, cache) = (programs::root()?, programs::target()?, settings.cache.join("bench"));
    let bench = root.join("bench");
    let python = python::ensure(settings, &bench.join("requirements.txt"))?;
    let mut steps = Steps::new("bench", 2);
    steps.run("the engine", |step| {
        let mut command = process::cargo();
        command.current_dir(&root).args(["build", "--workspace", "--locked", "--example", "time_model"]);
        process::run_long(&mut command, step)
    })?;
    let rten = target.join("bench-rten");
    steps.run("rten", |step| {
        let mut command = process::cargo();
        command.current_dir(bench.join("rten")).args(["build", "--release", "--locked", "--target-dir"]).arg(&rten);
        process::run_long(&mut command, step)
    })?;
    steps.finish();
    let table = root.join(TABLE);
    files::make_folder(&root.join("docs/benchmarks"))?;
    let mut command = Command::new(&python);
    command.arg(bench.join("engine.py")).arg("--ours").arg(target.join("debug/examples/time_model"));
    command.arg("--rten").arg(rten.join("release/bench-rten")).arg("--cache").arg(cache.join("models"));
    command.args(["--rounds", &rounds.to_string()]);
    if models.is_empty() {
        command.arg("--markdown").arg(table);
    }
    process::show(command.args(models))
}
