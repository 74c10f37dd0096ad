//! `cargo xtask fuzz`: each reader of what strangers send, under libFuzzer for a while. What it finds is left in `target/fuzz`; what
//! is committed under `fuzz/corpus` is where it begins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::settings::Settings;
use crate::tools::debian;
use crate::{files, process, programs};

/// Seconds a target in CI.
pub const SECONDS: u32 = 60;
/// The targets, and the corpus that each begins with.
const TARGETS: [(&str, &str); 5] =
    [("onnx", "onnx"), ("model", "onnx"), ("npy", "npy"), ("safetensors", "safetensors"), ("ledger", "ledger")];
/// Longest input, in bytes: the example's model and more.
const MAX_BYTES: usize = 64 << 10;
/// What one input may take, in seconds, and the process in MiB.
const MAX_SECONDS: u32 = 20;
const MAX_MIB: u32 = 2048;

/// Fuzzes every target for so many seconds, two at a time.
pub fn run(settings: &Settings, seconds: u32) -> Result<()> {
    let programs = build(settings)?;
    let root = programs::root()?;
    for pair in TARGETS.chunks(2) {
        let names: Vec<&str> = pair.iter().map(|(name, _)| *name).collect();
        println!("fuzz: {} for {seconds} s", names.join(" and "));
        std::thread::scope(|scope| -> Result<()> {
            let fuzz = |(name, corpus): &(&'static str, &str)| {
                let (name, corpus) = (*name, root.join("fuzz/corpus").join(corpus));
                let programs = &programs;
                scope.spawn(move || fuzz_one(programs, name, &corpus, seconds))
            };
            let running: Vec<_> = pair.iter().map(fuzz).collect();
            for one in running {
                println!("fuzz: {}", one.join().map_err(|_| anyhow!("a thread panicked"))??);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Fuzzes one target; says how often it ran.
fn fuzz_one(programs: &Path, name: &str, corpus: &Path, seconds: u32) -> Result<String> {
    let found = found(name)?;
    files::make_folder(&found)?;
    let log = found.with_extension("log");
    let mut command = fuzzer(programs, name);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", found.display())).arg("-print_final_stats=1").args([&found, corpus]);
    let words = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let status = process::nice(&command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(words).status();
    let status = status.with_context(|| format!("start `{}`", process::line(&command)))?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    if !status.success() {
        let last: Vec<&str> = said.lines().rev().take(30).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{name} ended ({status}); the input is in {}; it last said:\n{}", found.display(), last.join("\n"));
    }
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Ok(format!("{name}: {} inputs, none refused in another way than it should be", runs.unwrap_or("?").trim()))
}

/// Adds to the corpus of models what reaches something new in either target: of the conformance suite's node tests, and of what earlier runs
/// found.
pub fn seed(settings: &Settings) -> Result<()> {
    let programs = build(settings)?;
    let root = programs::root()?;
    let suite = programs::target()?.join("tmp/onnx-1.17.0");
    let script = root.join("worker-image/engine/scripts/onnx_suite.py");
    process::show(Command::new("python3").arg(script).arg("fetch").arg(&suite))?;
    let models = tempfile::tempdir().context("make a folder")?;
    gather(&suite.join("data/node"), models.path()).context("gather the suite's models")?;
    for (name, corpus) in TARGETS.iter().filter(|(_, corpus)| *corpus == "onnx") {
        let (corpus, found) = (root.join("fuzz/corpus").join(corpus), found(name)?);
        files::make_folder(&found)?;
        let mut command = fuzzer(&programs, name);
        command.arg("-merge=1").args([corpus.as_path(), models.path(), found.as_path()]);
        process::show(&mut command).with_context(|| format!("{name}: merge"))?;
    }
    Ok(())
}

/// Every test's model as one file, named after the test.
fn gather(tests: &Path, into: &Path) -> std::io::Result<()> {
    for test in fs::read_dir(tests)? {
        let test = test?;
        let mut name = test.file_name();
        name.push(".onnx");
        fs::copy(test.path().join("model.onnx"), into.join(name))?;
    }
    Ok(())
}

/// Compiles all targets; where their programs are.
fn build(settings: &Settings) -> Result<PathBuf> {
    debian::ensure(settings, debian::FUZZ)?;
    // With a platform named, build scripts are compiled without counters.
    let host = programs::host()?;
    let (root, target) = (programs::root()?, programs::target()?.join("fuzz"));
    let mut build = process::cargo();
    build.current_dir(root.join("fuzz")).args(["build", "--release", "--locked", "--target", &host, "--target-dir"]);
    // Its own flags are in the folder's configuration; ones from outside would replace them.
    process::run(&mut process::nice(build.arg(&target).env_remove("RUSTFLAGS")))?;
    Ok(target.join(host).join("release"))
}

/// A target with its bounds.
fn fuzzer(programs: &Path, name: &str) -> Command {
    let mut command = Command::new(programs.join(name));
    command.arg(format!("-max_len={MAX_BYTES}"));
    command.args([format!("-timeout={MAX_SECONDS}"), format!("-rss_limit_mb={MAX_MIB}")]);
    command
}

/// Where what a target finds is left.
fn found(name: &str) -> Result<PathBuf> {
    Ok(programs::target()?.join("fuzz/found").join(name))
}
