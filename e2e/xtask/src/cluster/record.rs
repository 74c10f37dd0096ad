//! What a state folder says about its cluster: `cluster.json`, written before anything starts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Config;
use super::addresses::{self, Addresses};
use crate::files;
use crate::mode::Mode;
use crate::settings::Settings;

/// The content of `cluster.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the cluster.
    pub name: String,
    /// Its kind.
    pub mode: Mode,
    /// The N of its addresses.
    pub number: Option<u8>,
}

impl Record {
    /// Reads a folder's record; `None` when there is none, or none that a finished write left.
    pub fn read(state: &Path) -> Result<Option<Self>> {
        let path = state.join("cluster.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let record =
                    serde_json::from_slice(&bytes).with_context(|| format!("understand {}", path.display()))?;
                Ok(Some(record))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Writes a folder's record.
    pub fn write(&self, state: &Path) -> Result<()> {
        files::write(&state.join("cluster.json"), serde_json::to_vec_pretty(self)?)
    }
}

/// The number for a cluster: as asked, as before, or the lowest that no cluster and no link uses.
pub fn pick_number(settings: &Settings, config: &Config) -> Result<Option<u8>> {
    if config.mode != Mode::Cluster {
        return Ok(None);
    }
    let mut taken = BTreeSet::new();
    let listing = fs::read_dir(&settings.state_root);
    for entry in listing.with_context(|| format!("list {}", settings.state_root.display()))? {
        let Ok(Some(record)) = Record::read(&entry?.path()) else { continue };
        if record.name != config.name {
            taken.extend(record.number);
        } else if let (Some(before), None) = (record.number, config.number) {
            return Ok(Some(before));
        }
    }
    match config.number {
        Some(number) if taken.contains(&number) => bail!("number {number} is taken by another cluster; choose another"),
        Some(number) if !(1..=addresses::NUMBER_MAX).contains(&number) => {
            bail!("number {number} is out of range; choose 1 to {}", addresses::NUMBER_MAX)
        }
        Some(number) => Ok(Some(number)),
        None => {
            let free = |number: &u8| !taken.contains(number) && !Addresses::of(*number).link_exists();
            let number = (1..=addresses::NUMBER_MAX).find(free);
            Ok(Some(number.context("find a free number: all are taken; remove a cluster (cluster down)")?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), None);
        let record = Record { name: "orion".to_owned(), mode: Mode::Context("dev".to_owned()), number: Some(3) };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Some(record));
    }

    #[test]
    fn numbers_of_other_clusters_are_not_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let other = Record { name: "other".to_owned(), mode: Mode::Cluster, number: Some(98) };
        files::make_folder(&root.join("other")).unwrap();
        other.write(&root.join("other")).unwrap();
        let settings = Settings {
            cache: root.clone(),
            state_root: root,
            mode: None,
            context: None,
            repository: None,
            programs: None,
            ask: false,
        };
        let ask = |number| pick_number(&settings, &Config { name: "mine".to_owned(), mode: Mode::Cluster, number });
        assert_ne!(ask(None).unwrap(), Some(98));
        assert!(ask(Some(98)).is_err());
        assert!(ask(Some(0)).is_err());
        assert_eq!(ask(Some(97)).unwrap(), Some(97));
    }
}
