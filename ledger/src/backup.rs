//! Writes the log of a stopped ledger to a file: an export, as `GET /v1/export` gives it while the ledger runs. Restoring it is
//! an import into an empty directory.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use orion_ledger_core::export;

use crate::publisher::Published;
use crate::store::{Store, StoreError};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file.
    #[error("cannot write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing was signed yet.
    #[error("no checkpoint was published yet: serve the ledger once, with its mark")]
    Unpublished,
    /// The store.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
}

/// Writes the log under its newest checkpoint to a file, which appears whole or not at all; gives its size in leaves.
pub fn backup(directory: &Path, to: &Path) -> Result<u64, BackupError> {
    let store = Store::open_existing(directory)?;
    let snapshot = store.snapshot()?;
    let Published { size, root: _, note } = snapshot.published()?.ok_or(BackupError::Unpublished)?;
    let on_disk = |source| BackupError::File { path: to.to_owned(), source };
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let mut file = BufWriter::new(File::create(&unfinished).map_err(on_disk)?);
    let mut written = export::write_start(&mut file, &note);
    let mut left = size;
    snapshot.leaves(|leaf| {
        if written.is_ok() && left > 0 {
            written = export::write_leaf(&mut file, leaf);
            left -= 1;
        }
        written.is_ok() && left > 0
    })?;
    written.and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_all()).map_err(on_disk)?;
    std::fs::rename(&unfinished, to).map_err(on_disk)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(on_disk)?;
    Ok(size)
}
