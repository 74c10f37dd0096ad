//! `cargo xtask e2e`: the scenarios of package orion-e2e against a fresh cluster, in pods wherever they can be made, with a
//! third provider that lies, and workers that compile what no scan of a kernel would let pass. The cluster goes at the end, however
//! that comes; after a failure its logs are kept.

mod logs;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Cluster, Config};
use crate::images::{self, Image, ImageRefs};
use crate::mode::{self, Mode};
use crate::platform::{self, PROVIDERS, Provider, Witness};
use crate::process;
use crate::programs::{self, Programs};
use crate::progress::seconds;
use crate::settings::Settings;

/// Name of the scenarios' cluster.
const CLUSTER: &str = "orion-e2e";
/// Tells the scenarios where the cluster's state folder is.
const STATE: &str = "ORION_E2E_STATE";
/// Tells the scenarios the cluster's mode.
const MODE: &str = "ORION_E2E_MODE";
/// Tells the scenarios where the programs are.
const PROGRAMS: &str = "ORION_E2E_PROGRAMS";
/// Within this a round ends, its scenarios built from nothing on a slow machine.
const ROUND_ENDS: Duration = Duration::from_mins(45);
/// The provider that lies.
const MALLORY: Provider = Provider { name: "mallory", program: "orion-liar" };

/// Stands between one witness and the log, in the liar's image.
const TAMPER: &str = "orion-tamper";
/// Two read the log itself, one by way of whoever may tamper with it; two are enough.
const WITNESSES: &[Witness] = &[
    Witness { name: "a", log: None },
    Witness { name: "b", log: None },
    Witness { name: "c", log: Some("http://orion-tamper:8080") },
];

/// What workers compute with here: the executor, but attacks in native code get past the scan of their text.
const EXECUTOR: &str = "orion-naive-executor";

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
    let mode = choose(settings)?;
    let programs = programs::build(settings)?.with_executor(EXECUTOR);
    if !options.keep {
        cluster::down(settings, CLUSTER)?;
    }
    let outcome = on_cluster(settings, mode, options, &programs);
    if outcome.is_err() {
        logs::keep(settings, CLUSTER)?;
    }
    if !options.keep {
        cluster::down(settings, CLUSTER)?;
    }
    outcome
}

/// The demo's choice, where the scenarios can do what they do: stop processes and listen to the broker.
fn choose(settings: &Settings) -> Result<Mode> {
    let choice = mode::choose(settings)?;
    println!("mode {}: {}", choice.mode, choice.reason);
    match choice.mode {
        Mode::Cluster | Mode::Processes => Ok(choice.mode),
        Mode::External { .. } => {
            println!("the scenarios cannot reach processes and Services there: plain processes, no pods");
            Ok(Mode::Processes)
        }
        Mode::Context(name) => bail!("the scenarios kill and lie: not in context {name}; unset ORION_CONTEXT"),
    }
}

fn on_cluster(settings: &Settings, mode: Mode, options: &Options, programs: &Programs) -> Result<()> {
    let cluster = cluster::up(settings, &Config { name: CLUSTER.to_owned(), mode, number: None })?;
    if !options.keep {
        // Before there is an operator, which would act on the objects.
        platform::install_crds(&cluster, programs)?;
        test(&cluster, programs, "crds", options)?;
    }
    let images = build_images(settings, &cluster, programs)?;
    platform::install(&cluster, programs, &images, &[PROVIDERS, &[MALLORY]].concat(), WITNESSES)?;
    for round in 1..=options.repeat {
        let started = Instant::now();
        test(&cluster, programs, "scenarios", options)
            .with_context(|| format!("round {round} of {}", options.repeat))?;
        println!("e2e: round {round} of {} passed in {}", options.repeat, seconds(started.elapsed()));
    }
    Ok(())
}

/// What is shipped, and the liar's image.
fn build_images(settings: &Settings, cluster: &Cluster, programs: &Programs) -> Result<ImageRefs> {
    if !cluster.mode.has_pods() {
        return Ok(ImageRefs::new());
    }
    let mut images = images::shipped();
    images.push(liar(&programs.root));
    let mut binaries = programs.all();
    for program in [MALLORY.program, TAMPER] {
        binaries.insert(program.to_owned(), programs.path(program));
    }
    images::build_and_load_these(settings, cluster, &images, &binaries)
}

fn liar(root: &Path) -> Image {
    Image { name: "liar".to_owned(), containerfile: root.join("e2e/images/liar/Containerfile") }
}

/// Runs a test target of orion-e2e against the cluster.
fn test(cluster: &Cluster, programs: &Programs, target: &str, options: &Options) -> Result<()> {
    let mut command = process::cargo();
    // The whole workspace, of which only one test is run: with one package, dependencies would be compiled again with
    // other features.
    command.current_dir(&programs.root).args(["test", "--workspace", "--locked", "--test", target, "--"]);
    command.arg("--test-threads=3").args(&options.filter);
    command.env(STATE, &cluster.state_dir).env(MODE, cluster.mode.to_string()).env(PROGRAMS, programs.path(""));
    process::show_within(&mut command, ROUND_ENDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(image: &Image) -> String {
        std::fs::read_to_string(&image.containerfile).unwrap()
    }

    #[test]
    fn what_is_for_tests_is_in_no_shipped_image() {
        for image in images::shipped() {
            for name in [MALLORY.program, TAMPER, EXECUTOR] {
                assert!(!text(&image).contains(name), "{}", image.name);
            }
        }
    }

    #[test]
    fn the_liars_image_is_the_workers_but_for_its_agent() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let worker = images::shipped().into_iter().find(|image| image.name == "worker").unwrap();
        let lines = |text: &str| -> Vec<String> {
            let steps = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("COPY"));
            steps.map(str::to_owned).collect()
        };
        assert_eq!(lines(&text(&liar(&root))), lines(&text(&worker)));
    }
}
