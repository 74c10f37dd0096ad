//! Which kind of cluster a run gets, and why.
//!
//! The current kube context is never used by accident: a cluster of somebody else's must be named by `ORION_CONTEXT`.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process;
use crate::settings::{RequestedMode, Settings};

/// The kind of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// An existing cluster, by its kube context.
    Context(String),
    /// A cluster of kind, k3d or minikube in Docker or Podman.
    External {
        /// The container engine.
        engine: Engine,
        /// What makes the cluster.
        distribution: Distribution,
    },
    /// One node of our own in Linux namespaces.
    Cluster,
    /// API server, etcd, controllers and broker as plain processes; no pods.
    Processes,
}

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Engine {
    Docker,
    Podman,
}

/// A program that makes Kubernetes clusters in containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Distribution {
    Kind,
    K3d,
    Minikube,
}

/// What the machine offers, found once by [`Facts::look`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// A working container engine and a distribution for it.
    pub external: Option<(Engine, Distribution)>,
    /// Why no node of our own can run here; `None` when it can.
    pub no_node: Option<String>,
    /// Whether the only cgroups are version 2, where our node is untried.
    pub cgroup_v2_only: bool,
}

/// The mode and what the person should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// One line: why this one, and what it lacks.
    pub reason: String,
}

/// Chooses by the settings and this machine.
pub fn choose(settings: &Settings) -> Result<Choice> {
    let choice = decide(settings.mode, settings.context.as_deref(), Facts::look)?;
    if matches!(choice.mode, Mode::Context(_)) && settings.repository.is_none() {
        bail!(
            "a cluster of yours pulls its images: set ORION_IMAGES to a repository that it can read and you can push to \
             (host/folder), and have docker or podman here"
        );
    }
    Ok(choice)
}

/// The decision itself. `look` runs only when the answer depends on the machine.
pub fn decide(requested: Option<RequestedMode>, context: Option<&str>, look: impl FnOnce() -> Facts) -> Result<Choice> {
    let choice = |mode, reason: &str| Ok(Choice { mode, reason: reason.to_owned() });
    match (requested, context) {
        (Some(RequestedMode::Context) | None, Some(name)) => {
            choice(Mode::Context(name.to_owned()), "the context named by ORION_CONTEXT")
        }
        (Some(RequestedMode::Context), None) => {
            bail!("ORION_MODE=context needs ORION_CONTEXT, the name of a kube context")
        }
        (Some(RequestedMode::Processes), _) => choice(Mode::Processes, "as asked; no pods in this mode"),
        (Some(RequestedMode::Cluster), _) => {
            let facts = look();
            match facts.no_node {
                Some(why) => bail!("ORION_MODE=cluster cannot work here: {why}"),
                None if facts.cgroup_v2_only => choice(Mode::Cluster, CGROUP_V2_WARNING),
                None => choice(Mode::Cluster, "as asked"),
            }
        }
        (None, None) => Ok(by_machine(look())),
    }
}

const CGROUP_V2_WARNING: &str = "as asked, but this machine has cgroup v2 only, where our own node is untried; if it fails, \
     install docker and kind and leave ORION_MODE unset";

fn by_machine(facts: Facts) -> Choice {
    match facts {
        Facts { external: Some((engine, distribution)), .. } => Choice {
            reason: format!(
                "{distribution} and {engine} are installed (this way is untested by us: only its commands are)"
            ),
            mode: Mode::External { engine, distribution },
        },
        Facts { no_node: Some(why), .. } => Choice {
            mode: Mode::Processes,
            reason: format!("plain processes, no pods: {why}; for pods install docker and kind"),
        },
        Facts { cgroup_v2_only: true, .. } => Choice {
            mode: Mode::Processes,
            reason: "plain processes, no pods: only cgroup v2 here, where our own node is untried; for pods install \
                     docker and kind, or try ORION_MODE=cluster"
                .to_owned(),
        },
        Facts { .. } => {
            Choice { mode: Mode::Cluster, reason: "root on Linux: a one-node cluster of our own".to_owned() }
        }
    }
}

impl Facts {
    /// Looks at this machine.
    pub fn look() -> Self {
        let version_1 = Path::new("/sys/fs/cgroup/memory").is_dir();
        Self {
            external: find_external(),
            no_node: why_no_node().err().map(|error| format!("{error:#}")),
            cgroup_v2_only: !version_1 && Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        }
    }
}

/// The container engine that answers here.
pub fn find_engine() -> Option<Engine> {
    let answers = |name: &str| process::run(Command::new(name).arg("info")).is_ok();
    [Engine::Docker, Engine::Podman].into_iter().find(|engine| answers(&engine.to_string()))
}

fn find_external() -> Option<(Engine, Distribution)> {
    let engine = find_engine()?;
    let all = [Distribution::Kind, Distribution::K3d, Distribution::Minikube];
    let distribution = all.into_iter().find(|distribution| which::which(distribution.to_string()).is_ok())?;
    // k3d speaks to Docker's own socket.
    (engine == Engine::Docker || distribution != Distribution::K3d).then_some((engine, distribution))
}

/// Bits of the capability sets in `/proc/self/status`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;

fn why_no_node() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("a node needs Linux");
    }
    if !process::is_root() {
        bail!("a node needs root");
    }
    let status = fs::read_to_string("/proc/self/status").context("read this process's capabilities")?;
    let held = effective_capabilities(&status).context("read this process's capabilities")?;
    for (name, bit) in [("CAP_NET_ADMIN", CAP_NET_ADMIN), ("CAP_SYS_ADMIN", CAP_SYS_ADMIN)] {
        if held & (1 << bit) == 0 {
            bail!("a node needs the capability {name}");
        }
    }
    process::run(Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]))
        .context("a node needs namespaces of its own")?;
    let cgroups = Path::new("/sys/fs/cgroup");
    if !cgroups.join("memory").is_dir() && !cgroups.join("cgroup.controllers").exists() {
        bail!("a node needs cgroups under /sys/fs/cgroup");
    }
    Ok(())
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

impl Mode {
    /// Whether pods run.
    pub fn has_pods(&self) -> bool {
        *self != Self::Processes
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Kind => "kind",
            Self::K3d => "k3d",
            Self::Minikube => "minikube",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(name) => write!(out, "context {name}"),
            Self::External { engine, distribution } => write!(out, "{distribution} in {engine}"),
            Self::Cluster => out.write_str("cluster"),
            Self::Processes => out.write_str("processes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(requested: Option<RequestedMode>, context: Option<&str>, facts: Facts) -> Mode {
        decide(requested, context, || facts).unwrap().mode
    }

    #[test]
    fn a_context_is_used_only_when_named() {
        let rich = Facts { external: Some((Engine::Docker, Distribution::Kind)), ..Facts::default() };
        assert_eq!(mode(None, Some("prod"), rich.clone()), Mode::Context("prod".to_owned()));
        assert_ne!(mode(None, None, rich), Mode::Context("prod".to_owned()));
        assert!(decide(Some(RequestedMode::Context), None, Facts::default).is_err());
    }

    #[test]
    fn the_machine_decides_in_the_written_order() {
        let external = Some((Engine::Podman, Distribution::Minikube));
        let no_node = Some("a node needs root".to_owned());
        let found = Mode::External { engine: Engine::Podman, distribution: Distribution::Minikube };
        assert_eq!(mode(None, None, Facts { external, ..Facts::default() }), found);
        assert_eq!(mode(None, None, Facts::default()), Mode::Cluster);
        assert_eq!(mode(None, None, Facts { no_node, ..Facts::default() }), Mode::Processes);
        assert_eq!(mode(None, None, Facts { cgroup_v2_only: true, ..Facts::default() }), Mode::Processes);
    }

    #[test]
    fn a_wish_that_cannot_be_met_is_refused_with_its_reason() {
        let facts = || Facts { no_node: Some("a node needs root".to_owned()), ..Facts::default() };
        let error = decide(Some(RequestedMode::Cluster), None, facts).unwrap_err();
        assert_eq!(error.to_string(), "ORION_MODE=cluster cannot work here: a node needs root");
        assert_eq!(mode(Some(RequestedMode::Processes), None, facts()), Mode::Processes);
    }

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        assert_eq!(effective_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
