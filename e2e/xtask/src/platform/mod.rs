//! Orion itself on a cluster: by Helm where there are pods, as plain processes where there are none.

mod chart;
pub mod processes;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::images::ImageRefs;
use crate::mode::Mode;
use crate::programs::Programs;

/// Namespace of the platform.
pub const NAMESPACE: &str = "orion-system";

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

/// Installs the platform, or finds it, and waits until it is ready. `images` are used where there are pods.
pub fn install(cluster: &Cluster, programs: &Programs, images: &ImageRefs) -> Result<Platform> {
    match cluster.mode {
        Mode::Processes => processes::install(cluster, programs, &processes::demo_providers(programs)),
        _ => chart::install(cluster, programs, images),
    }
}

impl Platform {
    /// `orion` against this platform.
    pub fn orion(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.orion);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).envs(self.environment.iter().cloned());
        command
    }
}
