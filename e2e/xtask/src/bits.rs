//! `cargo xtask bits`: the engine's tests on other OpenCL runtimes than this machine's: the PoCL of another Debian, in a root of its own, and Oclgrind,
//! which simulates a device and tells of races and of accesses beyond a buffer. The bits must be the same everywhere.
//!
//! For root on a Debian; part of `make soak`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::progress::Steps;
use crate::settings::Settings;
use crate::tools::debian;
use crate::{files, process, programs};

/// The other Debian, and what is needed of it: a driver, and what fetches a suite.
const SUITE: &str = "trixie";
const PACKAGES: &str = "pocl-opencl-icd,ocl-icd-libopencl1,python3-minimal";
/// Tests that compare bits with those of the reference or with those that are written down, and those of what every job begins with.
const TESTS: [&str; 10] = [
    "math",
    "floats",
    "shapes",
    "inference",
    "onnx_conformance",
    "examples",
    "kernels",
    "layouts",
    "purity",
    "selftest",
];
/// Examples as `orion run` computes them: their digests are written down beside them.
const EXAMPLES: [&str; 3] = ["a_kernel_gives_the_file", "a_kernel_on_floats_gives", "a_model_gives_the_same_digests"];
/// What a simulator ends in minutes: files of tests, and which of theirs.
const SMALL: [(&str, &[&str]); 8] = [
    ("math", &[]),
    ("floats", &[]),
    ("inference", &[]),
    ("shapes", &[]),
    // One of them has a race on purpose.
    ("kernels", &["--skip", "rows_start_zeroed_and_stores_elsewhere_are_lost"]),
    ("layouts", &[]),
    ("examples", &["--exact", "the_first_items_have_the_references_bits"]),
    ("onnx_conformance", &["--exact", "nodes_give_what_the_suite_expects_and_the_same_bits_everywhere"]),
];
/// A part of the pairs of numbers, and small shapes: more than a vector, and than some tiles.
const FEW_PAIRS: &str = "8192";
const MAX_SIZE: &str = "20";
/// Oclgrind's driver; its package lists it nowhere.
const OCLGRIND: &str = "/usr/lib/oclgrind/liboclgrind-rt-icd.so";
/// Runs a program with another root that has this machine's files where they are here.
const IN_ROOT: &str = "#!/bin/sh\nset -e\nroot=$1\nshift\nfor path in /proc /dev /sys /tmp $ORION_BOUND; do\n  \
                       mkdir -p \"$root$path\"\n  mount --rbind \"$path\" \"$root$path\"\ndone\nexec chroot \"$root\" \"$@\"\n";

/// Runs the tests on each of them.
pub fn run(settings: &Settings) -> Result<()> {
    debian::ensure(settings, debian::BITS)?;
    println!("==> PoCL of {SUITE}");
    on_other_pocl(settings).with_context(|| format!("PoCL of {SUITE}"))?;
    println!("==> Oclgrind");
    on_oclgrind()
}

fn on_other_pocl(settings: &Settings) -> Result<()> {
    let root = root(settings)?;
    let scratch = tempfile::tempdir().context("make a folder")?;
    let script = scratch.path().join("in-root");
    files::write(&script, IN_ROOT)?;
    let bound = [programs::root()?, programs::target()?];
    let bound: Vec<String> = bound.iter().map(|path| path.display().to_string()).collect();
    let runner = format!("unshare --mount --propagation private sh {} {}", script.display(), root.display());
    let variable = format!("CARGO_TARGET_{}_RUNNER", programs::host()?.replace('-', "_").to_uppercase());
    // What the second runs beside itself.
    programs::build(settings)?;
    for mut command in [tests("orion-engine", &TESTS, &[]), tests("orion-cli", &["run"], &EXAMPLES)] {
        command.env("ORION_BOUND", bound.join(" ")).env("POCL_CACHE_DIR", scratch.path().join("cache"));
        process::show(command.env(&variable, &runner))?;
    }
    Ok(())
}

/// The other Debian's root, made once.
fn root(settings: &Settings) -> Result<PathBuf> {
    let root = settings.cache.join("roots").join(SUITE);
    let done = root.join("complete");
    if !done.exists() {
        files::remove(&root)?;
        files::make_folder(&root)?;
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=essential", &format!("--include={PACKAGES}"), SUITE]).arg(&root);
        let mut steps = Steps::new("roots", 1);
        steps.run(SUITE, |step| process::run_long(&mut command, step))?;
        steps.finish();
        files::write(&done, "")?;
    }
    Ok(root)
}

fn on_oclgrind() -> Result<()> {
    let scratch = tempfile::tempdir().context("make a folder")?;
    files::write(&scratch.path().join("oclgrind.icd"), OCLGRIND)?;
    let log = scratch.path().join("log");
    for (file, which) in SMALL {
        let mut command = tests("orion-engine", &[file], which);
        // Of two tests at once one finds zeros now and then: the simulator is not made for two contexts.
        command.arg("--test-threads=1");
        command.env("OCL_ICD_VENDORS", scratch.path()).env("OCLGRIND_DATA_RACES", "1").env("OCLGRIND_LOG", &log);
        command.env("ORION_TEST_PAIRS", FEW_PAIRS).env("ORION_TEST_MAX_SIZE", MAX_SIZE);
        process::show(&mut command)?;
        silent(&log)?;
    }
    Ok(())
}

/// What it writes there are races, and accesses beyond a buffer.
fn silent(log: &Path) -> Result<()> {
    let found = if log.exists() { fs::read_to_string(log).context("read what Oclgrind says")? } else { String::new() };
    ensure!(found.trim().is_empty(), "Oclgrind says:\n{found}");
    Ok(())
}

/// Files of tests and which of theirs, with what they print: it names the driver and the CPU.
fn tests(package: &str, files: &[&str], which: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(["test", "--locked", "--package", package]);
    command.args(files.iter().flat_map(|file| ["--test", file]));
    command.args(["--", "--show-output"]).args(which);
    command
}
