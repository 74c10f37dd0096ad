//! Files that are written once: complete and durable under a name of their own before they get the right one, and never
//! changed after.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use orion_ledger_core::log::tile::Resource;

use super::TilesError;

/// What is still being written; one at a time.
const UNFINISHED: &str = "tile/.unfinished";

/// The files of a log, below a directory.
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Files {
        Files { directory: directory.to_owned() }
    }

    fn path(&self, resource: &Resource) -> PathBuf {
        self.directory.join(resource.path())
    }

    pub(super) fn has(&self, resource: &Resource) -> bool {
        self.path(resource).is_file()
    }

    pub(super) fn read(&self, resource: &Resource) -> Result<Vec<u8>, TilesError> {
        let path = self.path(resource);
        fs::read(&path).map_err(failed("read", &path))
    }

    /// The error about a file that is not what it was.
    pub(super) fn changed(&self, resource: &Resource) -> TilesError {
        let tiles = self.directory.join("tile").display().to_string();
        TilesError::Changed { path: self.path(resource).display().to_string(), tiles }
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { files: self, directories: BTreeSet::new() }
    }
}

/// Files that are written together. Only [`Batch::sync`] makes their names durable.
pub(super) struct Batch<'f> {
    files: &'f Files,
    directories: BTreeSet<PathBuf>,
}

impl Batch<'_> {
    /// Writes a file, or finds that it is there.
    pub(super) fn write(&mut self, resource: &Resource, bytes: &[u8]) -> Result<(), TilesError> {
        let path = self.files.path(resource);
        match fs::read(&path) {
            Ok(there) if there == bytes => return Ok(()),
            Ok(_) => return Err(self.files.changed(resource)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &path)(error)),
        }
        let root = &self.files.directory;
        let parent = path.parent().unwrap_or(root);
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
        let unfinished = root.join(UNFINISHED);
        let mut file = File::create(&unfinished).map_err(failed("make", &unfinished))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(failed("name", &path))?;
        let above = parent.ancestors().take_while(|above| above.starts_with(root));
        self.directories.extend(above.map(Path::to_owned));
        Ok(())
    }

    /// Makes the names of what was written durable.
    pub(super) fn sync(self) -> Result<(), TilesError> {
        let sync =
            |path: &PathBuf| File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path));
        self.directories.iter().try_for_each(sync)
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TilesError {
    let path = path.display().to_string();
    move |source| TilesError::File { doing, path, source }
}
