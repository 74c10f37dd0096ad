//! The directory in which drivers keep what they compiled of built-in kernels, for all executors that run nothing else. Its size is bounded: models
//! of strangers say which kernels there are.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::tree;

/// Its name among the private directories.
const NAME: &str = "built-in";
/// Larger than this, it is emptied as soon as nobody uses it: a few thousand kernels.
const MAX_BYTES: u64 = 512 << 20;

/// The directory, and how many executors use it now.
#[derive(Clone, Debug)]
pub struct BuiltInCache {
    users: Arc<Mutex<usize>>,
    max_bytes: u64,
}

/// An executor's use of it.
#[derive(Debug)]
pub(super) struct InUse(Arc<Mutex<usize>>);

impl Default for BuiltInCache {
    fn default() -> BuiltInCache {
        BuiltInCache::of(MAX_BYTES)
    }
}

impl BuiltInCache {
    /// Of so many bytes.
    pub fn of(max_bytes: u64) -> BuiltInCache {
        BuiltInCache { users: Arc::default(), max_bytes }
    }

    /// The directory under `scratch`, ready to be used; none while it is too large and others use it.
    pub(super) fn enter(&self, scratch: &Path) -> std::io::Result<Option<(PathBuf, InUse)>> {
        let path = scratch.join(NAME);
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if size(&path)? > self.max_bytes {
            if *users > 0 {
                return Ok(None);
            }
            tree::remove(&path)?;
        }
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            outcome => outcome?,
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        *users += 1;
        Ok(Some((path, InUse(Arc::clone(&self.users)))))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

/// Bytes of all files below; none where there is nothing.
fn size(path: &Path) -> std::io::Result<u64> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    for entry in entries {
        // Drivers rename and remove their own temporary files.
        let Ok(entry) = entry else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        bytes += if kind.is_dir() { size(&entry.path())? } else { entry.metadata().map_or(0, |found| found.len()) };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_is_too_large_is_emptied_when_nobody_uses_it() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = BuiltInCache::of(10);
        let (path, first) = cache.enter(scratch.path()).unwrap().unwrap();
        std::fs::create_dir(path.join("kernel")).unwrap();
        std::fs::write(path.join("kernel/code"), [0; 10]).unwrap();
        let (_, second) = cache.enter(scratch.path()).unwrap().unwrap();
        std::fs::write(path.join("more"), [0; 1]).unwrap();
        assert!(cache.enter(scratch.path()).unwrap().is_none());
        drop(first);
        assert!(cache.enter(scratch.path()).unwrap().is_none());
        drop(second);
        assert!(cache.enter(scratch.path()).unwrap().is_some());
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
    }
}
