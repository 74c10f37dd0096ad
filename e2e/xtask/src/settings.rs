//! What the environment says, read once at the edge: where the cache and the state live, which mode was asked for.
//!
//! Nothing else in this crate reads an `ORION_*` variable.

use std::env;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Settings of one run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder for what is expensive to make and safe to delete: tools, base file systems, image layers.
    pub cache: PathBuf,
    /// Folder that holds one sub-folder for each cluster.
    pub state_root: PathBuf,
    /// `ORION_MODE`, when set.
    pub mode: Option<RequestedMode>,
    /// `ORION_CONTEXT`, when set.
    pub context: Option<String>,
    /// `ORION_IMAGES`, when set: the repository that images for that context are pushed to, as `host/folder`.
    pub repository: Option<String>,
    /// `ORION_PROGRAMS`, when set: a folder with our programs, built elsewhere.
    pub programs: Option<PathBuf>,
    /// Whether questions may be asked: a terminal is there and `ORION_YES=1` is not set.
    pub ask: bool,
}

/// The value of `ORION_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedMode {
    /// An existing cluster, named by `ORION_CONTEXT`.
    Context,
    /// A cluster made here.
    Cluster,
    /// Plain processes on loopback.
    Processes,
}

impl Settings {
    /// Reads the environment. Fails when a variable has a value that means nothing.
    pub fn from_env() -> Result<Self> {
        let mode = match var("ORION_MODE").as_deref() {
            None => None,
            Some("context") => Some(RequestedMode::Context),
            Some("cluster") => Some(RequestedMode::Cluster),
            Some("processes") => Some(RequestedMode::Processes),
            Some(other) => bail!("ORION_MODE={other} is unknown; use context, cluster or processes"),
        };
        let yes = var("ORION_YES").is_some_and(|value| value != "0");
        Ok(Self {
            cache: folder("ORION_CACHE", "XDG_CACHE_HOME", ".cache")?,
            state_root: folder("ORION_STATE", "XDG_STATE_HOME", ".local/state")?,
            mode,
            context: var("ORION_CONTEXT"),
            repository: var("ORION_IMAGES"),
            programs: var("ORION_PROGRAMS").map(PathBuf::from),
            ask: !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        })
    }
}

/// `own` names the folder itself; otherwise it is `orion` in the XDG folder, or in `fallback` under the home folder.
fn folder(own: &str, xdg: &str, fallback: &str) -> Result<PathBuf> {
    let path = if let Some(path) = var(own) {
        PathBuf::from(path)
    } else if let Some(base) = var(xdg) {
        PathBuf::from(base).join("orion")
    } else {
        let home = var("HOME").with_context(|| format!("find a folder to work in: set HOME or {own}"))?;
        PathBuf::from(home).join(fallback).join("orion")
    };
    std::path::absolute(&path).with_context(|| format!("make {} absolute", path.display()))
}

fn var(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
