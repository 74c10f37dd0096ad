//! The platform's processes: found by what runs as whom, killed, stopped, continued; and removed as a cluster would.

use std::path::Path;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::platform::NAMESPACE;
use xtask::process::Owner;

use crate::World;
use crate::ground::Ground;

/// A part of the platform that there is more than one of, by its name. In pods that is the pod's.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// An operator.
    Operator(&'a str),
    /// A worker or validator.
    Worker(&'a str),
    /// The ledger.
    Ledger,
}

/// A process of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(i32);

impl Part<'_> {
    fn name(&self) -> &str {
        match self {
            Part::Operator(name) | Part::Worker(name) => name,
            Part::Ledger => "orion-ledger-0",
        }
    }

    /// Its program, and the two words of a command line that tell a plain process from others with that program.
    fn program(&self) -> (&'static str, [&str; 2]) {
        match self {
            Part::Operator(name) => ("orion-operator", ["--replica", name]),
            Part::Worker(name) => ("orion-worker", ["--worker", name]),
            Part::Ledger => ("orion-ledger", ["serve", "--listen"]),
        }
    }
}

impl World {
    /// The one process of a part.
    pub async fn process(&self, part: Part<'_>) -> Result<Process> {
        let found = match &self.ground {
            Ground::Pods { .. } => {
                let pod = self.pods().get(part.name()).await.with_context(|| format!("finding {part:?}"))?;
                in_pod(&pod.uid().context("a pod has a uid")?, part)?
            }
            Ground::Processes { state, .. } => plain(state, part)?,
        };
        match found[..] {
            [one] => Ok(one),
            _ => bail!("{} processes are {part:?}", found.len()),
        }
    }

    /// Removes a part as `kubectl delete pod` does; where there are no pods, with the signal that a pod gets first.
    pub async fn delete(&self, part: Part<'_>) -> Result<()> {
        match &self.ground {
            Ground::Pods { .. } => {
                let deleted = self.pods().delete(part.name(), &DeleteParams::default()).await;
                deleted.map(drop).with_context(|| format!("deleting {part:?}"))
            }
            Ground::Processes { .. } => self.process(part).await?.signal(Signal::SIGTERM),
        }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.kube.clone(), NAMESPACE)
    }
}

/// The processes of a plain part: those with the cluster's mark that run its program under its name.
fn plain(state: &Path, part: Part<'_>) -> Result<Vec<Process>> {
    let (program, named) = part.program();
    let named = |pid: i32| command_line(pid).windows(2).any(|pair| pair == named);
    let owned = Owner::new(state).processes()?.into_iter();
    Ok(owned.filter(|owned| owned.program == program && named(owned.pid)).map(|owned| Process(owned.pid)).collect())
}

/// The processes of a pod that run the part's program: this machine sees them, in cgroups named after the pod.
fn in_pod(uid: &str, part: Part<'_>) -> Result<Vec<Process>> {
    let (program, _) = part.program();
    let mark = format!("/pod{uid}/");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("listing processes")? {
        let name = entry.context("listing processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Any process may end while we look.
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let runs = |words: &[String]| words.first().is_some_and(|path| path.rsplit('/').next() == Some(program));
        if cgroups.contains(&mark) && runs(&command_line(pid)) {
            found.push(Process(pid));
        }
    }
    Ok(found)
}

fn command_line(pid: i32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

impl Process {
    /// SIGKILL.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// SIGSTOP.
    pub fn stop(self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn go_on(self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Whether it has not ended.
    pub fn is_there(self) -> bool {
        kill(Pid::from_raw(self.0), None).is_ok()
    }

    fn signal(self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.0), signal).with_context(|| format!("sending {signal} to process {}", self.0))
    }
}
