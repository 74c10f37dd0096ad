//! Just enough of the ustar format: plain files and folders of root's, without times, so that equal content gives equal
//! bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

const BLOCK: usize = 512;

/// A tar file being written.
pub struct Tar<W: Write> {
    out: W,
}

/// Writes a layer: each file at its absolute path, executable, with the folders on the way.
pub fn write_layer(target: &Path, entries: &[(&str, &Path)]) -> Result<()> {
    let file = File::create(target).with_context(|| format!("create {}", target.display()))?;
    let mut tar = Tar::new(BufWriter::new(file));
    let mut folders = BTreeSet::new();
    for (path, source) in entries {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            if folders.insert(&path[..end]) {
                tar.folder(&path[..end])?;
            }
        }
        let mut content = File::open(source).with_context(|| format!("open {}", source.display()))?;
        let size = content.metadata()?.len();
        tar.file(path, 0o755, size, &mut content)?;
    }
    tar.finish()?.flush().with_context(|| format!("write {}", target.display()))
}

impl<W: Write> Tar<W> {
    /// Starts a file.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        let header = header(&format!("{path}/"), 0o755, 0, b'5')?;
        self.out.write_all(&header).with_context(|| format!("write the folder {path}"))
    }

    /// Adds a file with exactly `size` bytes of `content`.
    pub fn file(&mut self, path: &str, mode: u32, size: u64, content: &mut impl Read) -> Result<()> {
        let header = header(path, mode, size, b'0')?;
        let mut write = || -> io::Result<u64> {
            self.out.write_all(&header)?;
            let copied = io::copy(&mut content.take(size), &mut self.out)?;
            let rest = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or(0)) % BLOCK;
            self.out.write_all(&[0; BLOCK][..rest])?;
            Ok(copied)
        };
        let copied = write().with_context(|| format!("write the file {path}"))?;
        if copied != size {
            bail!("write the file {path}: it shrank while it was read");
        }
        Ok(())
    }

    /// Ends the file and returns the writer.
    pub fn finish(mut self) -> Result<W> {
        self.out.write_all(&[0; 2 * BLOCK]).context("end a tar file")?;
        Ok(self.out)
    }
}

fn header(path: &str, mode: u32, size: u64, kind: u8) -> Result<[u8; BLOCK]> {
    // The format's limits: 100 bytes of name and 11 octal digits of size.
    if path.len() > 100 || size >= 1 << 33 {
        bail!("{path} is too long or too large for a tar file");
    }
    let mut block = [0; BLOCK];
    let mut put = |offset: usize, text: &str| block[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(257, "ustar\x0000");
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_tar_reads_what_we_write() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, vec![7; 1_000]).unwrap();
        let target = folder.path().join("layer.tar");
        write_layer(&target, &[("/usr/bin/one", &source), ("/usr/bin/two", &source)]).unwrap();
        let mut list = std::process::Command::new("tar");
        let listing = crate::process::output(list.args(["--list", "--verbose", "--file"]).arg(&target)).unwrap();
        let names: Vec<_> = listing.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(names, ["usr/", "usr/bin/", "usr/bin/one", "usr/bin/two"]);
        assert!(listing.lines().last().unwrap().starts_with("-rwxr-xr-x"), "{listing}");
    }

    #[test]
    fn equal_content_gives_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, "x").unwrap();
        let targets = ["a", "b"].map(|name| folder.path().join(name));
        for target in &targets {
            write_layer(target, &[("/x", &source)]).unwrap();
        }
        let [first, second] = targets.map(|target| std::fs::read(target).unwrap());
        assert_eq!(first, second);
        assert_eq!(first.len() % BLOCK, 0);
    }
}
