//! Our own programs, as cargo built them: one profile serves tests, images and the demo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::images::BinaryPaths;
use crate::process;
use crate::progress::Steps;
use crate::settings::Settings;
use crate::tools::debian;

/// The programs that are shipped.
const NAMES: &[&str] = &["orion-operator", "orion-ledger", "orion-worker", EXECUTOR, "orion"];
/// What workers compute with.
const EXECUTOR: &str = "orion-executor";

/// Where our programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The checkout.
    pub root: PathBuf,
    folder: PathBuf,
    executor: &'static str,
}

/// Builds what is not up to date.
pub fn build(settings: &Settings) -> Result<Programs> {
    let root = root()?;
    if let Some(folder) = &settings.programs {
        return Ok(Programs { root, folder: folder.clone(), executor: EXECUTOR });
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
    Ok(Programs { folder: target()?.join("debug"), root, executor: EXECUTOR })
}

/// The checkout.
pub fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("finding the checkout")
}

/// The platform that the compiler runs on, as it names it.
pub fn host() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it runs on")
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

    /// The same, but workers compute with a test's own program, which in images has the executor's name.
    #[must_use]
    pub fn with_executor(self, executor: &'static str) -> Programs {
        Programs { executor, ..self }
    }

    /// Path of what workers compute with.
    pub fn executor(&self) -> PathBuf {
        self.path(self.executor)
    }

    /// All of them, for images.
    pub fn all(&self) -> BinaryPaths {
        let path = |name: &str| if name == EXECUTOR { self.executor() } else { self.path(name) };
        NAMES.iter().map(|name| ((*name).to_owned(), path(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_compute_with_the_shipped_executor_unless_a_test_brings_its_own() {
        let shipped = Programs { root: PathBuf::new(), folder: "/programs".into(), executor: EXECUTOR };
        let path = |name: &str| Path::new("/programs").join(name);
        let mut expected: BinaryPaths = NAMES.iter().map(|name| ((*name).to_owned(), path(name))).collect();
        assert_eq!(shipped.all(), expected);
        expected.insert(EXECUTOR.to_owned(), path("naive"));
        assert_eq!(shipped.with_executor("naive").all(), expected);
    }
}
