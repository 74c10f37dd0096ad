//! Stops and removes all of a cluster, whether a tidy run or a killed one left it.
//!
//! Most of a node lives in namespaces of its own, so killing its processes takes mounts, routes, rules and the pods'
//! namespaces with them. What remains is named after the cluster: its link, its cgroups, its folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::addresses::Addresses;
use super::node::{self, cgroups};
use crate::process::{self, Owner};
use crate::{files, wait};

/// Stops everything and removes the state folder.
pub fn clear(state: &Path, number: Option<u8>) -> Result<()> {
    stop(state, number)?;
    files::remove(state)
}

/// Stops everything; the state folder with its logs stays.
pub fn stop(state: &Path, number: Option<u8>) -> Result<()> {
    let owner = Owner::new(state);
    // A node's first process goes before the others: with it the kernel ends all of the node, and those who started it
    // see it end. Killing them first would leave zombies to whoever adopts them.
    if owner.kill_program(node::FIRST_PROGRAM)? > 0 {
        let ended = || Ok(owner.processes()?.is_empty().then_some(()));
        wait::until("the end of the node", Duration::from_secs(2), ended).ok();
    }
    owner.kill_all()?;
    if let Some(number) = number {
        // The kernel removes it with its namespace, but later; whoever looks now should see it gone.
        let link = Addresses::of(number).link;
        process::run(Command::new("ip").args(["link", "delete", &link])).ok();
        cgroups::remove(&cgroups::name(state))?;
    }
    unmount_below(state)
}

/// A mount that is left under the folder must go first, or removing the folder would empty what is mounted there.
fn unmount_below(folder: &Path) -> Result<()> {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    for target in mounts_below(&mounts, folder).iter().rev() {
        process::run(Command::new("umount").arg(target)).with_context(|| format!("unmount {}", target.display()))?;
    }
    Ok(())
}

/// Mount points under `folder`, in the order in which they were mounted.
fn mounts_below(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let targets = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes a blank in a path as \040.
    targets.map(|target| PathBuf::from(target.replace("\\040", " "))).filter(|path| path.starts_with(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_under_the_folder_are_found() {
        let mountinfo = "20 1 8:1 / / rw - ext4 /dev/root rw\n\
            30 20 0:5 / /state/orion/a rw - tmpfs none rw\n\
            31 20 0:5 / /state/orion\\040two/a rw - tmpfs none rw\n\
            32 30 0:6 / /state/orion/a/b rw - tmpfs none rw\n";
        let found = mounts_below(mountinfo, Path::new("/state/orion"));
        assert_eq!(found, [PathBuf::from("/state/orion/a"), PathBuf::from("/state/orion/a/b")]);
    }
}
