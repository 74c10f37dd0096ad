//! `cargo xtask e2e`: the scenarios of package orion-e2e against a fresh cluster of plain processes, with a third provider
//! that lies. The cluster goes at the end, however that comes; after a failure its logs are kept.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Cluster, Config};
use crate::mode::Mode;
use crate::platform::processes::{self, Provider};
use crate::programs::{self, Programs};
use crate::progress::seconds;
use crate::settings::Settings;
use crate::{files, process};

/// Name of the scenarios' cluster.
const CLUSTER: &str = "orion-e2e";
/// Tells the scenarios where the cluster's state folder is.
const STATE: &str = "ORION_E2E_STATE";
/// Tells the scenarios where the programs are.
const PROGRAMS: &str = "ORION_E2E_PROGRAMS";
/// How much of each log is shown after a failure, in lines.
const SHOWN_LINES: usize = 40;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often.
    pub repeat: u32,
    /// Uses the cluster of an earlier run, and leaves it.
    pub keep: bool,
    /// Only scenarios with this in their names.
    pub filter: Option<String>,
}

/// Runs the scenarios.
pub fn run(settings: &Settings, options: &Options) -> Result<()> {
    let programs = programs::build(settings)?;
    if !options.keep {
        cluster::down(settings, CLUSTER)?;
    }
    let outcome = on_cluster(settings, options, &programs);
    if outcome.is_err() {
        keep_logs(settings)?;
    }
    if !options.keep {
        cluster::down(settings, CLUSTER)?;
    }
    outcome
}

fn on_cluster(settings: &Settings, options: &Options, programs: &Programs) -> Result<()> {
    let config = Config { name: CLUSTER.to_owned(), mode: Mode::Processes, number: None };
    let cluster = cluster::up(settings, &config)?;
    let mut providers = processes::demo_providers(programs);
    providers.push(Provider { name: "mallory", program: programs.path("orion-liar") });
    processes::install(&cluster, programs, &providers)?;
    for round in 1..=options.repeat {
        let started = Instant::now();
        scenarios(&cluster, programs, options).with_context(|| format!("round {round} of {}", options.repeat))?;
        println!("e2e: round {round} of {} passed in {}", options.repeat, seconds(started.elapsed()));
    }
    Ok(())
}

fn scenarios(cluster: &Cluster, programs: &Programs, options: &Options) -> Result<()> {
    let mut command = process::cargo();
    // The whole workspace, of which only one test is run: with one package, dependencies would be compiled again with
    // other features.
    command.current_dir(&programs.root).args(["test", "--workspace", "--locked", "--test", "scenarios", "--"]);
    command.arg("--test-threads=2").args(&options.filter);
    command.env(STATE, &cluster.state_dir).env(PROGRAMS, programs.path(""));
    let line = process::line(&command);
    let status = command.status().with_context(|| format!("start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Moves the cluster's logs to where they outlive it, and shows their ends.
fn keep_logs(settings: &Settings) -> Result<()> {
    let logs = settings.state_root.join(CLUSTER).join("logs");
    if !logs.is_dir() {
        return Ok(());
    }
    let kept = settings.state_root.join(format!("{CLUSTER}-logs"));
    files::remove(&kept)?;
    process::run(Command::new("cp").arg("-r").arg(&logs).arg(&kept))?;
    for entry in std::fs::read_dir(&kept).with_context(|| format!("listing {}", kept.display()))? {
        show_end(&entry?.path())?;
    }
    eprintln!("logs are kept in {}", kept.display());
    Ok(())
}

/// The end of a log of ours; those of Kubernetes are long and rarely to blame.
fn show_end(log: &Path) -> Result<()> {
    let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with("kube") || name == "etcd" {
        return Ok(());
    }
    let text = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("--- end of {name}");
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        eprintln!("{line}");
    }
    Ok(())
}
