//! Debian base layers, made once by mmdebstrap and cached under the hash of what is in them.
//!
//! No mirror is named here: mmdebstrap uses its default for the release.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Layer;
use super::containerfile::Base;
use crate::progress::{Step, megabytes};
use crate::settings::Settings;
use crate::{files, process};

/// Never of use in a container.
const EXCLUDED: &[&str] = &["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Bumped when the way a base is made changes.
const RECIPE_VERSION: &str = "1";

/// The release of this host when it is a Debian: binaries built here need a C library no older than the host's.
pub fn suite() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    codename(&release)
}

fn codename(release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME")).flatten()
}

/// Returns the layer of a base, making it when the cache does not hold it.
pub fn ensure(settings: &Settings, base: &Base, step: &Step) -> Result<Layer> {
    let folder = settings.cache.join("bases");
    let _lock = files::lock(&folder.join("lock"))?;
    let key = key(base);
    let record = folder.join(format!("{key}.json"));
    if let Ok(bytes) = fs::read(&record) {
        let layer: Layer = serde_json::from_slice(&bytes).with_context(|| format!("read {}", record.display()))?;
        if layer.path.exists() {
            return Ok(layer);
        }
    }
    let layer = make(base, &folder, &key, step)?;
    files::write(&record, serde_json::to_vec(&layer)?)?;
    eprintln!("    base {}: {} packed, {} unpacked", key, megabytes(layer.size), megabytes(layer.size_unpacked));
    Ok(layer)
}

fn make(base: &Base, folder: &Path, key: &str, step: &Step) -> Result<Layer> {
    let scratch = tempfile::tempdir_in(folder).context("make a temporary folder")?;
    let tar = scratch.path().join("base.tar");
    let mut command = Command::new("nice");
    command.args(arguments(base)).arg(&tar);
    process::run_long(&mut command, step)?;
    step.note("compress");
    let packed = scratch.path().join("base.tar.zst");
    process::run_long(Command::new("nice").args(["zstd", "-q", "-3", "-T0", "-o"]).arg(&packed).arg(&tar), step)?;
    let layer = Layer::zstd(&packed, &tar)?;
    let target = folder.join(format!("{key}.tar.zst"));
    fs::rename(&packed, &target).with_context(|| format!("place {}", target.display()))?;
    Ok(Layer { path: target, ..layer })
}

fn arguments(base: &Base) -> Vec<String> {
    let mut words: Vec<String> = ["mmdebstrap", "--variant=essential", "--format=tar"].map(str::to_owned).to_vec();
    words.extend(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    if !base.packages.is_empty() {
        words.push(format!("--include={}", base.packages.join(",")));
    }
    for path in &base.removed {
        // The shell that runs the hook expands the pattern below the new root, "$1".
        words.push(format!("--customize-hook=rm -rf \"$1\"{path}"));
    }
    words.push(base.suite.clone());
    words
}

fn key(base: &Base) -> String {
    let words = arguments(base);
    let mut parts = vec![RECIPE_VERSION.as_bytes(), std::env::consts::ARCH.as_bytes()];
    parts.extend(words.iter().map(String::as_bytes));
    let mut hash = files::hash_parts(parts);
    hash.truncate(16);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_debian_host_has_a_suite() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(codename("ID=\"debian\"\nVERSION_CODENAME=\"trixie\"\n").as_deref(), Some("trixie"));
        assert_eq!(codename("ID=fedora\n"), None);
    }

    #[test]
    fn the_key_follows_the_packages() {
        let base = |packages: &[&str]| Base {
            suite: "bookworm".to_owned(),
            packages: packages.iter().map(ToString::to_string).collect(),
            removed: Vec::new(),
        };
        assert_eq!(key(&base(&["a"])), key(&base(&["a"])));
        assert_ne!(key(&base(&["a"])), key(&base(&["b"])));
    }
}
