//! Start, find, check and remove a cluster by name.
//!
//! All that a cluster is lies in its state folder and in processes marked with that folder. So a killed run is
//! recognised by the next `up`, and `down` leaves nothing: see [`leftovers`].

pub mod external;

mod addresses;
mod control_plane;
mod daemons;
mod kubectl;
mod leftovers;
mod node;
mod pki;
mod processes;
mod record;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use crate::files;
use crate::mode::Mode;
use crate::process::{self, Owner};
use crate::settings::Settings;
use crate::tools::{self, Set, Tools, debian};
pub use processes::free_ports;
use record::Record;

/// Longest name of a cluster: link, cgroup and node names are made from it.
const NAME_LENGTH_MAX: usize = 32;

/// What to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the cluster: a DNS label.
    pub name: String,
    /// Its kind.
    pub mode: Mode,
    /// For [`Mode::Cluster`], the N of its addresses (198.18.N.2), 1 to 99; the lowest free one if not given.
    pub number: Option<u8>,
}

/// A cluster that answers.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub mode: Mode,
    /// The N of its addresses, where it has a node of ours.
    pub number: Option<u8>,
    /// Its folder: logs, keys, volumes. Goes with the cluster.
    pub state_dir: PathBuf,
    /// Its kubeconfig, complete in itself.
    pub kubeconfig: PathBuf,
    /// The programs that its mode needs.
    pub tools: Tools,
}

/// How a cluster is.
#[derive(Debug)]
pub enum Status {
    /// There is nothing of that name.
    Absent,
    /// All its programs run and its API answers.
    Healthy(Box<Cluster>),
    /// Something of it is there, but it does not work; `up` starts it anew, `down` removes it.
    Broken(String),
}

/// Starts the cluster, or finds it healthy and does nothing. What a killed run left behind is removed first.
pub fn up(settings: &Settings, config: &Config) -> Result<Cluster> {
    check_name(&config.name)?;
    if config.mode == Mode::Cluster {
        debian::ensure(settings, debian::NODE)?;
    }
    let tools = tools::ensure(settings, set_for(&config.mode))?;
    let state = state_dir(settings, &config.name)?;
    let _lock = files::lock(&state.with_extension("lock"))?;
    if let Some(record) = Record::read(&state)? {
        match health(&record, &state, &tools) {
            Ok(()) if record.mode == config.mode => return found(record, &state, tools),
            Ok(()) => bail!(
                "cluster {} runs in mode {}; remove it first (cluster down --name {})",
                config.name,
                record.mode,
                config.name
            ),
            Err(error) => eprintln!("clearing what is left of cluster {}: {error:#}", config.name),
        }
    }
    let number = record::pick_number(settings, config)?;
    leftovers::clear(&state, number)?;
    files::make_folder(&state)?;
    let record = Record { name: config.name.clone(), mode: config.mode.clone(), number };
    record.write(&state)?;
    if let Err(error) = start(&record, &state, &tools) {
        // Its logs stay for whoever looks into it; nothing else does.
        leftovers::stop(&state, number).ok();
        return Err(error.context(format!("logs are in {}", state.join("logs").display())));
    }
    Ok(cluster(record, &state, tools))
}

/// Removes a cluster with all that belongs to it. Removing what is not there succeeds.
pub fn down(settings: &Settings, name: &str) -> Result<()> {
    check_name(name)?;
    let state = state_dir(settings, name)?;
    let _lock = files::lock(&state.with_extension("lock"))?;
    let record = Record::read(&state)?;
    if let Some(Record { mode: Mode::External { engine, distribution }, .. }) = record {
        let kubeconfig = state.join("kubeconfig");
        let external = external::External { engine, distribution, name, kubeconfig: &kubeconfig };
        process::run(&mut external.delete().command())?;
    }
    leftovers::clear(&state, record.and_then(|record| record.number))
}

/// Says how the cluster is. Builds nothing that is missing but the programs of its mode.
pub fn status(settings: &Settings, name: &str) -> Result<Status> {
    check_name(name)?;
    let state = state_dir(settings, name)?;
    let Some(record) = Record::read(&state)? else {
        let left = Owner::new(&state).processes()?;
        return Ok(if left.is_empty() {
            Status::Absent
        } else {
            Status::Broken("its state folder is gone".to_owned())
        });
    };
    let tools = tools::ensure(settings, set_for(&record.mode))?;
    Ok(match health(&record, &state, &tools) {
        Ok(()) => Status::Healthy(Box::new(cluster(record, &state, tools))),
        Err(error) => Status::Broken(format!("{error:#}")),
    })
}

impl Cluster {
    /// kubectl against this cluster.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        Ok(kubectl::command(self.tools.path("kubectl")?, &self.state_dir, arguments))
    }

    /// helm against this cluster, with caches of its own.
    pub fn helm(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = kubectl::command(self.tools.path("helm")?, &self.state_dir, arguments);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.state_dir.join("helm").join(folder));
        }
        Ok(command)
    }

    /// Applies manifests (YAML or JSON, server side) under the field manager `xtask`.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=xtask", "--filename=-"];
        kubectl::output_with_input(&mut self.kubectl(&arguments)?, manifests).map(drop)
    }

    /// Starts any program beside the cluster: it logs to `logs/<name>.log` in the state folder and ends with `down`.
    ///
    /// The caller should keep the child and `wait` for it once it has ended.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Child> {
        Owner::new(&self.state_dir).spawn(name, command)
    }

    /// Path of the log of a daemon or of a program started by [`Cluster::spawn`].
    pub fn log(&self, name: &str) -> PathBuf {
        Owner::new(&self.state_dir).log(name)
    }

    /// Brings an archive of images into the cluster's container runtime. Fails where there are no pods.
    pub fn load_images(&self, archive: &Path) -> Result<()> {
        match &self.mode {
            Mode::Cluster => node::import_images(&self.state_dir, &self.tools, archive),
            Mode::External { engine, distribution } => {
                let (engine, distribution) = (*engine, *distribution);
                let name = &self.name;
                let external = external::External { engine, distribution, name, kubeconfig: &self.kubeconfig };
                process::run(&mut external.load(archive).command())
            }
            Mode::Context(name) => {
                bail!("images cannot be put into context {name}: push them to a registry it can reach")
            }
            Mode::Processes => bail!("plain processes have no pods and need no images"),
        }
    }

    /// References of the images that the node holds already; none where we cannot look.
    pub fn loaded_images(&self) -> Result<BTreeSet<String>> {
        match self.mode {
            Mode::Cluster => node::list_images(&self.state_dir, &self.tools),
            _ => Ok(BTreeSet::new()),
        }
    }
}

fn start(record: &Record, state: &Path, tools: &Tools) -> Result<()> {
    let kubeconfig = state.join("kubeconfig");
    match &record.mode {
        Mode::Processes => processes::start(state, tools),
        Mode::Cluster => {
            let number = record.number.context("a cluster with a node has a number")?;
            node::start(&record.name, number, state, tools)
        }
        Mode::External { engine, distribution } => {
            let (engine, distribution) = (*engine, *distribution);
            external::External { engine, distribution, name: &record.name, kubeconfig: &kubeconfig }.up()
        }
        Mode::Context(name) => {
            let mut view = tools.command("kubectl")?;
            view.args(["config", "view", "--raw", "--minify", "--flatten", "--context", name]);
            let found = process::output(&mut view).with_context(|| format!("find the kube context {name}"))?;
            files::write_private(&kubeconfig, found)?;
            api_answers(state, tools)
        }
    }
}

/// A healthy cluster that was there already: only used-up volumes are made usable again.
fn found(record: Record, state: &Path, tools: Tools) -> Result<Cluster> {
    eprintln!("cluster {} is up already ({})", record.name, record.mode);
    if record.mode == Mode::Cluster {
        node::refresh(state, &tools)?;
    }
    Ok(cluster(record, state, tools))
}

fn health(record: &Record, state: &Path, tools: &Tools) -> Result<()> {
    let needed: &[&str] = match record.mode {
        Mode::Processes => processes::PROGRAMS,
        Mode::Cluster => node::PROGRAMS,
        Mode::External { .. } | Mode::Context(_) => &[],
    };
    if !needed.is_empty() {
        let running = Owner::new(state).programs()?;
        let dead: Vec<_> = needed.iter().filter(|name| !running.contains(**name)).copied().collect();
        if !dead.is_empty() {
            bail!("not running: {}", dead.join(", "));
        }
    }
    api_answers(state, tools)
}

fn api_answers(state: &Path, tools: &Tools) -> Result<()> {
    let arguments = ["get", "--raw", "/readyz", "--request-timeout=5s"];
    process::run(&mut kubectl::command(tools.path("kubectl")?, state, &arguments)).context("ask the API server")
}

fn cluster(record: Record, state: &Path, tools: Tools) -> Cluster {
    let Record { name, mode, number } = record;
    Cluster { name, mode, number, state_dir: state.to_owned(), kubeconfig: state.join("kubeconfig"), tools }
}

fn set_for(mode: &Mode) -> Set {
    match mode {
        Mode::Context(_) | Mode::External { .. } => Set::Client,
        Mode::Processes => Set::Processes,
        Mode::Cluster => Set::Cluster,
    }
}

fn state_dir(settings: &Settings, name: &str) -> Result<PathBuf> {
    files::make_folder(&settings.state_root)?;
    // One spelling for the mark of processes, whatever links lead here.
    let root = settings.state_root.canonicalize().with_context(|| format!("find {}", settings.state_root.display()))?;
    Ok(root.join(name))
}

fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = !name.is_empty()
        && name.len() <= NAME_LENGTH_MAX
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !good {
        bail!(
            "{name:?} cannot name a cluster; use up to {NAME_LENGTH_MAX} lower-case letters, digits and inner dashes"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["orion", "a", "provider-2"] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a.b", &"x".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
