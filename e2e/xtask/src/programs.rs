//! Our own programs, as cargo built them: one profile serves tests, images and the demo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::images::BinaryPaths;
use crate::process;
use crate::progress::Steps;
use crate::settings::Settings;
use crate::tools::debian;

/// The programs that are shipped.
const NAMES: &[&str] = &["orion-operator", "orion-ledger", "orion-worker", "orion-executor", "orion"];

/// Where our programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The checkout.
    pub root: PathBuf,
    folder: PathBuf,
}

/// Builds what is not up to date.
pub fn build(settings: &Settings) -> Result<Programs> {
    let root = root()?;
    if let Some(folder) = &settings.programs {
        return Ok(Programs { root, folder: folder.clone() });
    }
    if cfg!(target_arch = "x86_64") && cfg!(target_os = "linux") {
        debian::ensure(settings, debian::OPENCL)?;
    }
    // The whole workspace: with fewer packages, dependencies would be compiled again with other features.
    let mut command = process::cargo();
    command.current_dir(&root).args(["build", "--workspace", "--locked"]);
    let mut steps = Steps::new("programs", 1);
    steps.run("cargo build", |step| process::run_long(&mut command, step))?;
    steps.finish();
    Ok(Programs { folder: target()?.join("debug"), root })
}

/// The checkout.
fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("finding the checkout")
}

/// Where cargo puts what it builds.
pub fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Ok(root()?.join("target")),
    }
}

impl Programs {
    /// Path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All of them, for images.
    pub fn all(&self) -> BinaryPaths {
        NAMES.iter().map(|name| ((*name).to_owned(), self.path(name))).collect()
    }
}
