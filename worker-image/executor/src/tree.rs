//! Removing a directory that strangers filled: however deep it is, and whatever its folders' modes are. The standard library's way holds a descriptor
//! and some stack a level.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Removes a directory that nobody uses any more, and all that is in it. What resists is left, and the first reason told.
pub(super) fn remove(top: &Path) -> io::Result<()> {
    let mut moved = 0_u64;
    loop {
        open(top)?;
        let mut folders = 0;
        for entry in std::fs::read_dir(top)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
                continue;
            }
            folders += 1;
            let folder = entry.path();
            open(&folder)?;
            // Folders in it come up to the top level: none is ever deeper.
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open(&entry.path())?;
                    moved += 1;
                    std::fs::rename(entry.path(), top.join(format!(".removed-{}-{moved}", std::process::id())))?;
                } else {
                    std::fs::remove_file(entry.path())?;
                }
            }
            std::fs::remove_dir(&folder)?;
        }
        if folders == 0 {
            return std::fs::remove_dir(top);
        }
    }
}

/// Its owner may do everything.
fn open(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_folder_with_closed_ones_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        std::fs::create_dir(&top).unwrap();
        std::fs::write(top.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/", top.join("link")).unwrap();
        // Deeper than any path may be long: each new one is put around those that are there.
        for _ in 0..3000 {
            let around = scratch.path().join("around");
            std::fs::create_dir(&around).unwrap();
            std::fs::write(around.join("beside"), "x").unwrap();
            std::fs::rename(&top, around.join("inner")).unwrap();
            std::fs::rename(&around, &top).unwrap();
        }
        std::fs::set_permissions(top.join("inner/inner"), Permissions::from_mode(0o0)).unwrap();
        remove(&top).unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
