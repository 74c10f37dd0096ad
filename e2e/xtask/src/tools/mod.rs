//! Builds the programs of a local cluster from Go modules, once, into a cache outside the tree.
//!
//! Each program lies in a folder named by the hash of everything that goes into it (`go.mod`, `go.sum`, our sources,
//! flags, platform), appears there by a rename, and is never rebuilt. An interrupted run continues where it stopped.
//! Nothing is downloaded but Go modules, whose hashes `go.sum` fixes.

mod catalogue;
pub mod debian;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Steps;
use crate::settings::Settings;
use crate::{files, process};
use catalogue::{Binary, Component, Language};

/// Which programs a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// To use a cluster that somebody else made: kubectl, helm, and the broker for its image.
    Client,
    /// To run the API as plain processes: the above, etcd, API server, controllers.
    Processes,
    /// To run pods: everything.
    Cluster,
}

/// The built programs.
#[derive(Debug, Clone)]
pub struct Tools {
    paths: BTreeMap<&'static str, PathBuf>,
}

impl Tools {
    /// Path of a program. Fails when the set it was asked for does not hold it.
    pub fn path(&self, name: &str) -> Result<&Path> {
        let path = self.paths.get(name).map(PathBuf::as_path);
        path.with_context(|| format!("find {name}: it is not part of this set of tools"))
    }

    /// A command that runs a program.
    pub fn command(&self, name: &str) -> Result<Command> {
        self.path(name).map(Command::new)
    }

    /// The folders of all programs, as a `PATH` prefix.
    pub fn search_path(&self) -> String {
        let mut folders: Vec<_> = self.paths.values().filter_map(|path| path.parent()).collect();
        folders.dedup();
        folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
    }

    /// Name and path of each program.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.paths.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

/// Returns the programs of `set`, building those that the cache does not hold yet.
pub fn ensure(settings: &Settings, set: Set) -> Result<Tools> {
    let mut paths = BTreeMap::new();
    let mut missing = Vec::new();
    for component in catalogue::COMPONENTS {
        let folder = settings.cache.join("tools").join(format!("{}-{}", component.folder, key(component)?));
        for binary in component.binaries.iter().filter(|binary| binary.set <= set) {
            let path = folder.join(binary.name);
            if !path.exists() {
                missing.push(Job { component, binary, path: path.clone() });
            }
            paths.insert(binary.name, path);
        }
    }
    if !missing.is_empty() {
        build(settings, &missing)?;
    }
    Ok(Tools { paths })
}

struct Job {
    component: &'static Component,
    binary: &'static Binary,
    path: PathBuf,
}

fn build(settings: &Settings, jobs: &[Job]) -> Result<()> {
    check_compilers(settings, jobs)?;
    let _lock = files::lock(&settings.cache.join("tools.lock"))?;
    eprintln!("building {} programs once into {} (all: about 13 min on 2 cores)", jobs.len(), settings.cache.display());
    let mut steps = Steps::new("tools", jobs.len());
    for job in jobs {
        steps.run(job.binary.name, |step| {
            // Another run may have built it while this one waited for the lock.
            if job.path.exists() {
                return Ok(());
            }
            let folder = job.path.parent().context("a program needs a folder")?;
            files::make_folder(folder)?;
            let temporary = folder.join(format!(".{}.tmp", job.binary.name));
            process::run_long(&mut compile(job, &temporary), step)?;
            std::fs::rename(&temporary, &job.path).with_context(|| format!("place {}", job.path.display()))
        })?;
    }
    steps.finish();
    Ok(())
}

/// The compiler's command line, run at low priority: a cold build takes minutes and the machine has other work.
fn compile(job: &Job, output: &Path) -> Command {
    let mut command = Command::new("nice");
    command.current_dir(source_folder(job.component));
    match job.component.language {
        Language::C => command.args(["cc", "-Os", "-static", "-o"]).arg(output).arg(job.binary.package),
        Language::Go { cgo, .. } => command
            .args(["go", "build"])
            .args(go_flags(job.component))
            .arg("-o")
            .arg(output)
            .arg(job.binary.package)
            .env("CGO_ENABLED", if cgo { "1" } else { "0" })
            .env("GOWORK", "off")
            .env_remove("GOFLAGS"),
    };
    command
}

fn go_flags(component: &Component) -> Vec<String> {
    let Language::Go { tags, variable, .. } = component.language else { return Vec::new() };
    let mut link = "-s -w".to_owned();
    if let Some(variable) = variable {
        link.push_str(" -X ");
        link.push_str(variable);
    }
    let fixed = ["-mod=readonly", "-trimpath", "-buildvcs=false"].map(str::to_owned);
    fixed.into_iter().chain([format!("-tags={tags}"), format!("-ldflags={link}")]).collect()
}

/// The hash of all that decides what a component's programs are.
fn key(component: &Component) -> Result<String> {
    let folder = source_folder(component);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        names.push(entry?.path());
    }
    names.sort();
    let mut parts = vec![std::env::consts::ARCH.as_bytes().to_vec(), std::env::consts::OS.as_bytes().to_vec()];
    for name in names {
        parts.push(name.file_name().context("a source needs a name")?.as_encoded_bytes().to_vec());
        parts.push(std::fs::read(&name).with_context(|| format!("read {}", name.display()))?);
    }
    parts.extend(go_flags(component).into_iter().map(String::into_bytes));
    let mut hash = files::hash_parts(parts.iter().map(Vec::as_slice));
    hash.truncate(16);
    Ok(hash)
}

fn source_folder(component: &Component) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../components").join(component.folder)
}

fn check_compilers(settings: &Settings, jobs: &[Job]) -> Result<()> {
    if jobs.iter().any(|job| matches!(job.component.language, Language::Go { .. })) && which::which("go").is_err() {
        bail!("building the cluster's programs needs Go 1.26 or newer on the PATH: install it and run this again");
    }
    let needs = |job: &Job| matches!(job.component.language, Language::C | Language::Go { cgo: true, .. });
    if jobs.iter().any(needs) {
        debian::ensure(settings, debian::BUILD)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_sets_are_parts_of_larger_ones() {
        assert!(Set::Client < Set::Processes && Set::Processes < Set::Cluster);
    }

    #[test]
    fn every_component_has_its_sources_and_a_stable_key() {
        for component in catalogue::COMPONENTS {
            let first = key(component).unwrap();
            assert_eq!(first.len(), 16);
            assert_eq!(first, key(component).unwrap(), "{}", component.folder);
        }
    }

    #[test]
    fn kubernetes_is_linked_with_its_version() {
        let kubernetes = catalogue::COMPONENTS.iter().find(|component| component.folder == "kubernetes").unwrap();
        let flags = go_flags(kubernetes).join(" ");
        assert!(flags.contains("gitVersion=v1."), "{flags}");
        let required = std::fs::read_to_string(source_folder(kubernetes).join("go.mod")).unwrap();
        let version = flags.rsplit('=').next().unwrap();
        assert!(required.contains(&format!("k8s.io/kubernetes {version}")), "go.mod and the linked version differ");
    }
}
