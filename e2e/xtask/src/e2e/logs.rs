//! What is kept of a cluster whose scenarios failed: every log in one folder, and the ends of ours on the terminal.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;
use crate::platform::NAMESPACE;
use crate::settings::Settings;

/// How much of each log is shown, in lines.
const SHOWN_LINES: usize = 20;
/// Daemons of a node, besides kube-*: long, and rarely to blame.
const DAEMONS: [&str; 4] = ["etcd", "containerd", "coredns", "node"];

/// Copies the cluster's logs to where they outlive it, and shows their ends.
pub fn keep(settings: &Settings, cluster: &str) -> Result<()> {
    let state = settings.state_root.join(cluster);
    let kept = settings.state_root.join(format!("{cluster}-logs"));
    files::remove(&kept)?;
    files::make_folder(&kept)?;
    let all = [of_programs(&state)?, of_pods(&state)?].concat();
    for (name, log) in &all {
        let bytes = fs::read(log).with_context(|| format!("reading {}", log.display()))?;
        files::write(&kept.join(format!("{name}.log")), &bytes)?;
        if !name.starts_with("kube") && !DAEMONS.contains(&name.as_str()) {
            show_end(name, &String::from_utf8_lossy(&bytes));
        }
    }
    if !all.is_empty() {
        eprintln!("logs are kept in {}", kept.display());
    }
    Ok(())
}

/// Logs of what runs as plain processes.
fn of_programs(state: &Path) -> Result<Vec<(String, PathBuf)>> {
    Ok(entries(&state.join("logs"))?.into_iter().map(|log| (stem(&log), log)).collect())
}

/// Logs of the platform's pods, every run of each container, as the node's kubelet keeps them:
/// `<namespace>_<pod>_<uid>/<container>/<run>.log`.
fn of_pods(state: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for pod in entries(&state.join("pod-logs"))? {
        let name = stem(&pod);
        let mut parts = name.split('_');
        let (Some(NAMESPACE), Some(name)) = (parts.next(), parts.next()) else { continue };
        for container in entries(&pod)? {
            found.extend(entries(&container)?.into_iter().map(|log| (format!("{name}-{}", stem(&log)), log)));
        }
    }
    Ok(found)
}

/// What is in a folder, in order; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let listing = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut paths = listing.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn show_end(name: &str, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("--- end of {name}");
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        eprintln!("{line}");
    }
}
