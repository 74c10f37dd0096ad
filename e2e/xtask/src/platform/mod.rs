//! Orion itself on a cluster: by Helm where there are pods, as plain processes where there are none.

mod chart;
pub mod processes;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::images::ImageRefs;
use crate::mode::Mode;
use crate::process;
use crate::programs::Programs;

/// Namespace of the platform.
pub const NAMESPACE: &str = "orion-system";

/// A provider that the install brings along, with an owner of the same name: one worker and one validator.
#[derive(Debug, Clone, Copy)]
pub struct Provider {
    /// Its name.
    pub name: &'static str,
    /// The program of both: the agent, or a test's own. Its image is called like it, without `orion-`.
    pub program: &'static str,
}

/// A witness that the install brings along, where there are pods.
#[derive(Debug, Clone, Copy)]
pub struct Witness {
    /// Its name.
    pub name: &'static str,
    /// Where it reads the log, if not from the ledger.
    pub log: Option<&'static str>,
}

/// The agent of every honest provider.
const AGENT: &str = "orion-worker";

/// The demo's providers.
pub const PROVIDERS: &[Provider] =
    &[Provider { name: "alpha", program: AGENT }, Provider { name: "beta", program: AGENT }];

/// A running platform, from a consumer's side.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The key of the ledger's log, as the install wrote it.
    pub log_key: PathBuf,
    /// Environment that `orion` needs besides KUBECONFIG.
    pub environment: Vec<(String, String)>,
    orion: PathBuf,
    kubeconfig: PathBuf,
}

/// Installs the platform, or finds it, and waits until it is ready. `images` and `witnesses` are used where there are pods.
pub fn install(
    cluster: &Cluster,
    programs: &Programs,
    images: &ImageRefs,
    providers: &[Provider],
    witnesses: &[Witness],
) -> Result<Platform> {
    match cluster.mode {
        Mode::Processes => processes::install(cluster, programs, providers),
        _ => chart::install(cluster, programs, images, providers, witnesses),
    }
}

/// The CRDs alone, as the chart brings them.
pub fn install_crds(cluster: &Cluster, programs: &Programs) -> Result<()> {
    for file in std::fs::read_dir(programs.root.join("charts/orion/crds")).context("listing the CRDs")? {
        let text = std::fs::read_to_string(file?.path()).context("reading a CRD")?;
        cluster.apply(&text)?;
    }
    let established = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"];
    process::run(&mut cluster.kubectl(&established)?)
}

impl Platform {
    /// `orion` against this platform.
    pub fn orion(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.orion);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).envs(self.environment.iter().cloned());
        command
    }
}
