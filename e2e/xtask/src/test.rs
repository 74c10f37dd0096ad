//! `cargo xtask test`: everything that CI runs, in the order in which things break. What a machine cannot do is said, not
//! passed over in silence.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::cluster;
use crate::mode::{self, Mode};
use crate::process;
use crate::programs::{self, Programs};
use crate::progress::seconds;
use crate::settings::Settings;
use crate::tools::{self, Set};
use crate::{codegen, e2e, files, fuzz};

/// An unprivileged user; no account is needed.
const NOBODY: &str = "65534";

/// Within this all tests end, built from nothing on a slow machine.
const TESTS_END: Duration = Duration::from_mins(40);

/// Runs all of it, or the named parts; the first failure ends it.
pub fn run(settings: &Settings, only: &[String]) -> Result<()> {
    let started = Instant::now();
    // Cargo builds this program anew while it runs, and its path would then name nothing.
    let own = tempfile::tempdir().context("making a folder")?;
    let this = own.path().join("xtask");
    std::fs::copy(std::env::current_exe().context("finding this program")?, &this).context("copying this program")?;
    let pods = matches!(mode::choose(settings)?.mode, Mode::Cluster);
    tools::ensure(settings, if pods { Set::Cluster } else { Set::Processes })?;
    let programs = programs::build(settings)?;
    let tests = ["test", "--workspace", "--exclude", "orion-e2e", "--locked", "--no-fail-fast"];
    let on_the_machine: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("format", &|| cargo(&["fmt", "--all", "--check"])),
        ("lints", &|| cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])),
        ("generated", &|| codegen::run(true)),
        ("chart", &|| chart(settings, &programs)),
        ("tests", &|| process::show_within(process::cargo().args(tests), TESTS_END)),
    ];
    let on_clusters: [(&str, &dyn Fn() -> Result<()>); 3] = [
        ("demo-without-root", &|| demo_without_root(settings, &programs, &this)),
        ("demo-with-pods", &|| demo_with_pods(settings, pods, &this)),
        ("e2e", &|| e2e::run(settings, &e2e::Options { repeat: 1, keep: false, filter: None })),
    ];
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| part == name);
    let pass = |name: &str, work: &dyn Fn() -> Result<()>| -> Result<()> {
        if !wanted(name) {
            return Ok(());
        }
        println!("==> {name}");
        let begun = Instant::now();
        work().with_context(|| format!("{name} failed"))?;
        println!("==> {name}: passed in {}", seconds(begun.elapsed()));
        Ok(())
    };
    on_the_machine.iter().try_for_each(|(name, work)| pass(name, work))?;
    // What waits on clusters leaves processors idle: fuzzing takes those.
    thread::scope(|scope| -> Result<()> {
        let fuzzing = scope.spawn(|| pass("fuzz", &|| fuzz::run(settings, fuzz::SECONDS)));
        let outcome = on_clusters.iter().try_for_each(|(name, work)| pass(name, work));
        fuzzing.join().map_err(|_| anyhow!("the thread of fuzz panicked"))??;
        outcome
    })?;
    println!("test: everything passed in {}", seconds(started.elapsed()));
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    process::show(process::cargo().args(arguments))
}

/// What can be said of the chart without a cluster.
fn chart(settings: &Settings, programs: &Programs) -> Result<()> {
    let tools = tools::ensure(settings, Set::Client)?;
    let chart = programs.root.join("charts/orion");
    process::run(tools.command("helm")?.arg("lint").arg("--strict").arg(&chart))?;
    let rendered = process::output(tools.command("helm")?.args(["template", "orion"]).arg(&chart))?;
    let again = process::output(tools.command("helm")?.args(["template", "orion"]).arg(&chart))?;
    if rendered != again {
        bail!("charts/orion renders differently each time");
    }
    Ok(())
}

/// The demo as plain processes, by a user who owns nothing but a home folder.
fn demo_without_root(settings: &Settings, programs: &Programs, this: &Path) -> Result<()> {
    let home = tempfile::tempdir().context("making a home folder")?;
    let copy = |from: &Path, to: &str| {
        let to = home.path().join(to);
        files::make_folder(&to)?;
        process::run(Command::new("cp").arg("-rL").arg(from).arg(&to))
    };
    copy(this, "bin")?;
    for path in programs.all().values() {
        copy(path, "bin")?;
    }
    // What `ensure` looks for, without what only pods need.
    for folder in tool_folders(settings)? {
        copy(&folder, "cache/tools")?;
    }
    process::run(Command::new("chmod").args(["-R", "a+rX"]).arg(home.path()))?;
    let mut command = if process::is_root() {
        process::run(Command::new("chown").args(["-R", NOBODY]).arg(home.path()))?;
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        command.arg(home.path().join("bin/xtask"));
        command
    } else {
        Command::new(home.path().join("bin/xtask"))
    };
    command.env("HOME", home.path()).env("ORION_CACHE", home.path().join("cache"));
    command.env("ORION_STATE", home.path().join("state")).env("ORION_PROGRAMS", home.path().join("bin"));
    command.env("ORION_MODE", "processes").env("ORION_YES", "1").env_remove("ORION_CONTEXT");
    let outcome = process::show(command.arg("demo"));
    let mut own = settings.clone();
    own.state_root = home.path().join("state");
    cluster::down(&own, crate::demo::CLUSTER)?;
    outcome
}

/// Folders of the cache's tools that process mode needs.
fn tool_folders(settings: &Settings) -> Result<std::collections::BTreeSet<std::path::PathBuf>> {
    let tools = tools::ensure(settings, Set::Processes)?;
    Ok(tools.iter().filter_map(|(_, path)| path.parent().map(Path::to_owned)).collect())
}

/// The demo as a newcomer with root sees it, in a state folder of its own; the cluster goes afterwards.
fn demo_with_pods(settings: &Settings, pods: bool, this: &Path) -> Result<()> {
    if !pods {
        println!("this machine cannot make pods: not run");
        return Ok(());
    }
    let state = tempfile::tempdir().context("making a state folder")?;
    let mut own = settings.clone();
    state.path().clone_into(&mut own.state_root);
    let outcome = process::show(
        Command::new(this)
            .arg("demo")
            .env("ORION_STATE", state.path())
            .env("ORION_MODE", "cluster")
            .env_remove("ORION_CONTEXT"),
    );
    cluster::down(&own, crate::demo::CLUSTER)?;
    outcome
}
