//! The same files in a folder, for programs that run without pods: one folder an object, as volumes would mount them.
//! Readable by their owner only.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;

use super::material::Files;

/// Writes `out/<object>/<key>`; each file is replaced as a whole.
pub fn write(out: &Path, objects: &[(String, Files)]) -> anyhow::Result<()> {
    for (object, files) in objects {
        let folder = out.join(object);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        for (key, content) in files {
            let path = folder.join(key);
            replace(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let part = path.with_added_extension("part");
    // A part of a run that was killed; where there is none, that is fine.
    let _ = std::fs::remove_file(&part);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(content)?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_private_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let object =
            |text: &str| vec![("keys".to_owned(), Files::from([("a.key".to_owned(), text.as_bytes().to_vec())]))];
        for text in ["one", "two"] {
            write(dir.path(), &object(text)).unwrap();
            let path = dir.path().join("keys/a.key");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
    }
}
