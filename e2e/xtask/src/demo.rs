//! `make demo`: from nothing to a checked and paid result, with every step shown.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cluster::{self, Cluster, Config};
use crate::mode::{self, Mode};
use crate::platform::{self, Platform};
use crate::progress::seconds;
use crate::settings::Settings;
use crate::{images, process, programs};

/// Name of the demo's cluster.
pub const CLUSTER: &str = "orion";
const EXAMPLE: &str = "examples/digits-knn";
const JOB: &str = "digits-knn";

/// Runs the demo.
pub fn run(settings: &Settings) -> Result<()> {
    let started = Instant::now();
    let choice = mode::choose(settings)?;
    header(&choice.mode, &choice.reason);
    let programs = programs::build(settings)?;
    let cluster = cluster::up(settings, &Config { name: CLUSTER.to_owned(), mode: choice.mode, number: None })?;
    let images = match cluster.mode {
        Mode::Processes => images::ImageRefs::new(),
        _ => images::build_and_load(settings, &cluster, &programs.all())?,
    };
    let platform = platform::install(&cluster, &programs, &images, platform::PROVIDERS, &[])?;
    let example = programs.root.join(EXAMPLE);
    submit(&cluster, &example)?;
    process::show(&mut platform.orion(&["watch", JOB, "-n", "default", "--timeout", "300"]))?;
    let results = cluster.state_dir.join("results");
    fetch(&cluster, &platform, &example, &results)?;
    closing(&cluster, &platform, &results);
    println!("demo: {} in all", seconds(started.elapsed()));
    Ok(())
}

fn header(mode: &Mode, reason: &str) {
    println!("Orion's demo: a Kubernetes, the platform on it, one job from `kubectl apply` to paid.");
    println!("needs 8 GB of disk and 3 GB of memory; a first run builds everything, about 25 minutes on 2 cores");
    println!("mode {mode}: {reason}");
    if matches!(mode, Mode::Processes) {
        println!("no pods in this mode: the same API server, broker and programs run as processes on loopback");
    }
}

/// Applies the example anew: a job of the same name from an earlier demo goes first.
fn submit(cluster: &Cluster, example: &Path) -> Result<()> {
    let folder = example.to_str().context("the path of the example")?;
    let delete = ["delete", "-n", "default", "-f", folder, "--ignore-not-found", "--wait", "--timeout=60s"];
    process::run(&mut cluster.kubectl(&delete)?)?;
    println!("$ kubectl apply -f {EXAMPLE}/");
    process::show(&mut cluster.kubectl(&["apply", "-n", "default", "-f", folder])?)
}

fn fetch(cluster: &Cluster, platform: &Platform, example: &Path, results: &Path) -> Result<()> {
    let key = platform.log_key.to_str().context("the path of the key")?;
    let folder = results.to_str().context("the path of the results")?;
    println!("$ orion result {JOB}");
    process::show(&mut platform.orion(&["result", JOB, "-n", "default", "--dir", folder, "--key", key]))?;
    accuracy(&results.join("predictions.npy"), example)?;
    let cost = "jsonpath={.status.cost.total} ORION paid of {.status.cost.escrowed} escrowed, {.status.cost.refunded} refunded";
    let cost = process::output(&mut cluster.kubectl(&["get", "oj", JOB, "-n", "default", "-o", cost])?)?;
    println!("cost: {cost}");
    let export = results.join("ledger.export");
    let export = export.to_str().context("the path of the export")?;
    process::run(&mut platform.orion(&["ledger", "export", export]))?;
    println!("$ orion ledger verify log ledger.export --key orion.vkey");
    let verified = process::output(&mut platform.orion(&["ledger", "verify", "log", export, "--key", key]))?;
    println!("{}", verified.lines().last().unwrap_or_default());
    Ok(())
}

/// Compares the predictions with the labels and with what scikit-learn predicts.
fn accuracy(predictions: &Path, example: &Path) -> Result<()> {
    let data = |path: &Path| -> Result<Vec<u8>> {
        let file = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        // One byte a row: the header is what comes before.
        let start = file.len().checked_sub(1797).context("1,797 rows of one byte were expected")?;
        Ok(file[start..].to_vec())
    };
    let (ours, labels, theirs) =
        (data(predictions)?, data(&example.join("labels.npy"))?, data(&example.join("expected.npy"))?);
    let right = ours.iter().zip(&labels).filter(|(a, b)| a == b).count();
    let same = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    println!("accuracy: {right} of 1797 digits; equal to scikit-learn in {same} of 1797 rows");
    ensure!(same == ours.len(), "the predictions differ from scikit-learn's");
    Ok(())
}

fn closing(cluster: &Cluster, platform: &Platform, results: &Path) {
    println!();
    println!("the cluster stays; results are in {}", results.display());
    println!("  export KUBECONFIG={}", cluster.kubeconfig.display());
    for (name, value) in &platform.environment {
        println!("  export {name}={value}");
    }
    println!("  kubectl get orionjobs,shards,validationrounds");
    println!("  kubectl get providers -n {} -o wide", platform::NAMESPACE);
    println!("  kubectl describe orionjob {JOB}");
    println!("  make clean-cluster");
}
