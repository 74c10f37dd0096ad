//! The cgroups of a node: one folder in every hierarchy, named after the cluster, made before the kubelet starts.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Name of the cluster's cgroup, different for equal names in different state folders.
pub fn name(state: &Path) -> String {
    let hash = crate::files::hash_parts([state.as_os_str().as_encoded_bytes()]);
    let name = state.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    format!("orion-{name}-{}", &hash[..6])
}

/// Makes the cgroup in every hierarchy.
pub fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let folder = hierarchy.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("create the cgroup {}", folder.display()))?;
        // A new cpuset is empty, and nothing can run in an empty one.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(hierarchy.join(file)) {
                fs::write(folder.join(file), value.trim()).with_context(|| format!("set {file} of {name}"))?;
            }
        }
        // On a real node all pods together have the weight of all its CPUs against the rest of the machine; here they
        // would have that of one process.
        let shares = folder.join("cpu.shares");
        if shares.exists() {
            fs::write(&shares, cpu_shares().to_string()).with_context(|| format!("set the CPU shares of {name}"))?;
        }
    }
    Ok(())
}

/// What the kubelet gives to the pods of a node.
fn cpu_shares() -> usize {
    const A_CPU: usize = 1024;
    std::thread::available_parallelism().map_or(A_CPU, |cpus| cpus.get() * A_CPU)
}

/// Kills what still runs in the cgroup and removes it from every hierarchy.
pub fn remove(name: &str) -> Result<()> {
    let folders: Vec<_> = hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(name)).collect();
    wait::until(&format!("the removal of the cgroup {name}"), Duration::from_secs(20), || {
        let mut gone = true;
        for folder in &folders {
            gone &= try_remove(folder)?;
        }
        Ok(gone.then_some(()))
    })
}

/// Removes one tree from its leaves up. False when something in it is still alive.
fn try_remove(folder: &Path) -> Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error).with_context(|| format!("list {}", folder.display())),
    };
    let mut gone = true;
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gone &= try_remove(&entry.path())?;
        }
    }
    let alive = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in alive.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    Ok(gone && (fs::remove_dir(folder).is_ok() || !folder.exists()))
}

/// Where cgroup hierarchies are mounted, version 1 and 2.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("list mounts")?;
    Ok(in_mounts(&mounts))
}

fn in_mounts(mounts: &str) -> Vec<PathBuf> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| matches!(fields.get(2), Some(&("cgroup" | "cgroup2"))))
        .filter_map(|fields| fields.get(1).map(PathBuf::from))
        .filter(|path| path.starts_with("/sys/fs/cgroup"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_is_found_and_nothing_else() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
            cgroup /elsewhere/cpu cgroup rw,cpu 0 0\n";
        assert_eq!(in_mounts(mounts), ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"].map(PathBuf::from));
    }

    #[test]
    fn equal_names_in_different_folders_differ() {
        assert_ne!(name(Path::new("/a/orion")), name(Path::new("/b/orion")));
        assert!(name(Path::new("/a/orion")).starts_with("orion-orion-"));
    }
}
