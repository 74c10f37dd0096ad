//! A Python with packages: a virtual environment in the cache, made once for each list of exact versions. pip compares what it fetches with the
//! digests of the package index; nothing is built from source.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Steps;
use crate::settings::Settings;
use crate::{files, process};

/// The interpreter of an environment with these packages.
pub fn ensure(settings: &Settings, requirements: &Path) -> Result<PathBuf> {
    let list = std::fs::read(requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let version = process::output(Command::new("python3").arg("--version"))?;
    let mut key = files::hash_parts([version.as_bytes(), &list]);
    key.truncate(16);
    let folder = settings.cache.join("python").join(key);
    let (python, done) = (folder.join("bin/python"), folder.join("complete"));
    let _lock = files::lock(&settings.cache.join("python.lock"))?;
    if !done.exists() {
        files::remove(&folder)?;
        let mut steps = Steps::new("python", 1);
        steps.run("packages", |step| {
            process::run_long(Command::new("python3").args(["-m", "venv"]).arg(&folder), step)?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--requirement"]).arg(requirements);
            process::run_long(&mut pip, step)
        })?;
        steps.finish();
        files::write(&done, "")?;
    }
    Ok(python)
}
