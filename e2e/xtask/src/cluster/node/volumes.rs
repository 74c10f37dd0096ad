//! Folders for PersistentVolumes, owned by the user that restricted pods run as.
//!
//! Local volumes get no fsGroup treatment, so the folders belong to uid 65532 from the start. A volume whose claim is
//! gone is emptied and offered again by the next `up`.

use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{BASE, manifests};
use crate::cluster::kubectl;
use crate::tools::Tools;
use crate::{files, process};

/// Number of volumes; a platform and two providers use five.
const COUNT: usize = 16;

/// The user and group of our images.
const USER: u32 = 65_532;

/// Makes the folders; returns each volume's name and its path as the node sees it.
pub fn make(state: &Path) -> Result<Vec<(String, String)>> {
    (1..=COUNT)
        .map(|index| {
            let name = format!("local-{index:02}");
            make_one(state, &name)?;
            let path = format!("{BASE}/volumes/{name}");
            Ok((name, path))
        })
        .collect()
}

fn make_one(state: &Path, name: &str) -> Result<()> {
    let folder = state.join("volumes").join(name);
    files::make_folder(&folder)?;
    chown(&folder, Some(USER), Some(USER)).with_context(|| format!("give {} to uid {USER}", folder.display()))
}

/// Empties and offers again every volume whose claim is gone.
pub fn recycle(state: &Path, tools: &Tools) -> Result<()> {
    let program = tools.path("kubectl")?;
    let listing =
        process::output(&mut kubectl::command(program, state, &["get", "persistentvolumes", "--output=json"]))?;
    let listing: Value = serde_json::from_str(&listing).context("understand the list of volumes")?;
    for (name, node) in released(&listing) {
        process::run(&mut kubectl::command(program, state, &["delete", "persistentvolume", &name]))?;
        files::remove(&state.join("volumes").join(&name))?;
        make_one(state, &name)?;
        let volume = manifests::volume(&node, &name, &format!("{BASE}/volumes/{name}"));
        let mut apply = kubectl::command(program, state, &["apply", "--filename=-"]);
        kubectl::output_with_input(&mut apply, &volume.to_string())?;
    }
    Ok(())
}

/// Name and node of each of our volumes that is in phase Released or Failed.
fn released(listing: &Value) -> Vec<(String, String)> {
    let items = listing["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let free = items.iter().filter(|item| {
        let ours = item["spec"]["storageClassName"] == manifests::STORAGE_CLASS;
        ours && matches!(item["status"]["phase"].as_str(), Some("Released" | "Failed"))
    });
    free.filter_map(|item| {
        let terms = &item["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
        let node = terms[0]["matchExpressions"][0]["values"][0].as_str()?;
        Some((item["metadata"]["name"].as_str()?.to_owned(), node.to_owned()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_released_volumes_are_offered_again() {
        let mut ours = manifests::volume("orion", "local-01", "/x");
        ours["status"]["phase"] = "Released".into();
        let mut bound = manifests::volume("orion", "local-02", "/x");
        bound["status"]["phase"] = "Bound".into();
        let mut foreign = ours.clone();
        foreign["spec"]["storageClassName"] = "other".into();
        let listing = serde_json::json!({"items": [ours, bound, foreign]});
        assert_eq!(released(&listing), [("local-01".to_owned(), "orion".to_owned())]);
    }
}
