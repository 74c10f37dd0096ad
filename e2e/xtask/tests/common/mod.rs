//! A cluster that a test owns: its own state folder, the shared cache of tools, removed when dropped.

use xtask::cluster::{self, Cluster, Config};
use xtask::mode::Mode;
use xtask::settings::Settings;

/// A folder for clusters; dropping it removes those that the test named.
pub struct Ground {
    /// Settings that point into the folder.
    pub settings: Settings,
    names: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Ground {
    /// An empty folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::from_env().unwrap();
        folder.path().clone_into(&mut settings.state_root);
        settings.ask = false;
        Self { settings, names: Vec::new(), _folder: folder }
    }

    /// Announces a cluster that will be removed at the end, whoever starts it.
    pub fn will_remove(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }

    /// Starts a cluster, or finds it.
    pub fn up(&mut self, name: &str, mode: Mode) -> Cluster {
        self.will_remove(name);
        cluster::up(&self.settings, &Config { name: name.to_owned(), mode, number: None }).unwrap()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = cluster::down(&self.settings, name) {
                eprintln!("could not remove cluster {name}: {error:#}");
            }
        }
    }
}
