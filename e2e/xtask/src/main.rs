//! `cargo xtask`: the commands around a local cluster. Each is a thin caller of the library.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use xtask::cluster::{self, Config, Status};
use xtask::settings::Settings;
use xtask::{bench, bench_ledger, bits, codegen, demo, e2e, fuzz, images, mode, test, tools};

/// Tasks around a local Orion.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the programs of a local cluster into the cache; print where they are.
    Tools {
        /// Which of them.
        #[arg(long, value_enum, default_value = "cluster")]
        set: ToolSet,
    },
    /// Start, stop or look at a local cluster.
    #[command(subcommand)]
    Cluster(ClusterTask),
    /// Run the demo: a cluster, the platform, one job from `kubectl apply` to paid.
    Demo,
    /// Run everything that CI runs, or some of: format, lints, generated, chart, tests, fuzz, demo-without-root, demo-with-pods, e2e.
    Test {
        /// The parts to run; all when none is given.
        parts: Vec<String>,
    },
    /// Run the scenarios: kills, liars, deletions, on a cluster of their own.
    E2e {
        /// How often.
        #[arg(long, default_value_t = 1)]
        repeat: u32,
        /// Use the cluster of an earlier run, and leave it.
        #[arg(long)]
        keep: bool,
        /// Only scenarios with this in their names.
        filter: Option<String>,
    },
    /// Run the readers of what strangers send under libFuzzer.
    Fuzz {
        /// How long each of them.
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u32,
        /// Instead, add to the committed corpus what reaches something new of the conformance suite's models and of what was found.
        #[arg(long)]
        seed: bool,
    },
    /// Measure the engine beside onnxruntime, rten and OpenBLAS.
    BenchEngine {
        /// How often each candidate runs.
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// The models to measure; without any, all, and their table is written to docs/benchmarks.
        models: Vec<String>,
    },
    /// Measure the ledger: entries a second, waits, the check of a log, proofs, memory and disk. The table is written to docs/benchmarks.
    BenchLedger {
        /// Some seconds and a small log; writes no table.
        #[arg(long)]
        quick: bool,
    },
    /// Run the engine's tests on other OpenCL runtimes: another PoCL, Oclgrind.
    Bits,
    /// Write what is generated; with --check, only say whether it is up to date.
    Codegen {
        /// Change nothing, fail if something is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Build the container images and load them into a running cluster; print their references.
    Images {
        #[command(flatten)]
        target: Target,
        /// A program, as name=path (orion-operator=target/debug/orion-operator); may be given several times.
        #[arg(long = "binary", value_parser = images::parse_binary)]
        binaries: Vec<(String, std::path::PathBuf)>,
    },
}

#[derive(Subcommand)]
enum ClusterTask {
    /// Start a cluster, or find it running.
    Up {
        #[command(flatten)]
        target: Target,
        /// The N of the node's address 198.18.N.2 (default: the lowest free one).
        #[arg(long)]
        number: Option<u8>,
    },
    /// Remove a cluster and all that belongs to it.
    Down(Target),
    /// Say how a cluster is; exit 1 unless it is healthy.
    Status(Target),
    /// Print the path of a running cluster's kubeconfig.
    Kubeconfig(Target),
}

#[derive(clap::Args)]
struct Target {
    /// Name of the cluster.
    #[arg(long, default_value = "orion")]
    name: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum ToolSet {
    Client,
    Processes,
    Cluster,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    let settings = Settings::from_env()?;
    match task {
        Task::Tools { set } => {
            for (name, path) in tools::ensure(&settings, set.into())?.iter() {
                println!("{name} {}", path.display());
            }
        }
        Task::Cluster(ClusterTask::Up { target, number }) => up(&settings, target.name, number)?,
        Task::Cluster(ClusterTask::Down(target)) => cluster::down(&settings, &target.name)?,
        Task::Cluster(ClusterTask::Status(target)) => return status(&settings, &target.name),
        Task::Cluster(ClusterTask::Kubeconfig(target)) => {
            println!("{}", healthy(&settings, &target.name)?.kubeconfig.display());
        }
        Task::Demo => demo::run(&settings)?,
        Task::Test { parts } => test::run(&settings, &parts)?,
        Task::E2e { repeat, keep, filter } => e2e::run(&settings, &e2e::Options { repeat, keep, filter })?,
        Task::BenchEngine { rounds, models } => bench::run(&settings, &models, rounds)?,
        Task::BenchLedger { quick } => bench_ledger::run(&settings, quick)?,
        Task::Bits => bits::run(&settings)?,
        Task::Fuzz { seed: true, .. } => fuzz::seed(&settings)?,
        Task::Fuzz { seconds, seed: false } => fuzz::run(&settings, seconds)?,
        Task::Codegen { check } => codegen::run(check)?,
        Task::Images { target, binaries } => {
            let cluster = healthy(&settings, &target.name)?;
            let paths = binaries.into_iter().collect();
            for (name, reference) in images::build_and_load(&settings, &cluster, &paths)? {
                println!("{name} {reference}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(settings: &Settings, name: String, number: Option<u8>) -> Result<()> {
    let choice = mode::choose(settings)?;
    eprintln!("mode {}: {}", choice.mode, choice.reason);
    let cluster = cluster::up(settings, &Config { name, mode: choice.mode, number })?;
    println!("export KUBECONFIG={}", cluster.kubeconfig.display());
    Ok(())
}

fn status(settings: &Settings, name: &str) -> Result<ExitCode> {
    Ok(match cluster::status(settings, name)? {
        Status::Healthy(cluster) => {
            println!("{name}: healthy ({})", cluster.mode);
            ExitCode::SUCCESS
        }
        Status::Broken(why) => {
            println!("{name}: broken: {why}");
            ExitCode::FAILURE
        }
        Status::Absent => {
            println!("{name}: absent");
            ExitCode::FAILURE
        }
    })
}

fn healthy(settings: &Settings, name: &str) -> Result<cluster::Cluster> {
    match cluster::status(settings, name)? {
        Status::Healthy(cluster) => Ok(*cluster),
        Status::Broken(why) => bail!("cluster {name} does not work ({why}); cluster up starts it anew"),
        Status::Absent => bail!("there is no cluster {name}; cluster up starts one"),
    }
}

impl From<ToolSet> for tools::Set {
    fn from(set: ToolSet) -> Self {
        match set {
            ToolSet::Client => Self::Client,
            ToolSet::Processes => Self::Processes,
            ToolSet::Cluster => Self::Cluster,
        }
    }
}
