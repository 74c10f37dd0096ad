//! A mark in a directory of its own: for ledgers that run without Kubernetes. Its file is replaced as a whole, under a lock.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use orion_protocol::Digest;
use orion_protocol::ledger::mark::Marked;

use super::{Mark, MarkError};

/// The mark, within the directory.
const MARK: &str = "mark";
const LOCK: &str = ".lock";
const UNFINISHED: &str = ".unfinished";

/// A mark in a directory.
pub struct FileMark {
    directory: PathBuf,
}

impl FileMark {
    /// The mark in `directory`, which must exist, and lie elsewhere than `data`.
    pub fn open(directory: &Path, data: &Path) -> Result<FileMark, MarkError> {
        let mark = FileMark { directory: directory.to_owned() };
        let directory = fs::canonicalize(directory).map_err(mark.failed("find the directory of"))?;
        // A data directory that does not exist holds nothing.
        let inside = fs::canonicalize(data).is_ok_and(|data| directory.starts_with(data));
        if inside { Err(MarkError::Inside(data.display().to_string())) } else { Ok(mark) }
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> MarkError {
        let path = self.directory.display().to_string();
        move |source| MarkError::File { doing, path: path.clone(), source }
    }

    fn write(&self, marked: &Marked) -> io::Result<()> {
        let unfinished = self.directory.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(marked.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.directory.join(MARK))?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Mark for FileMark {
    fn read(&self) -> Result<Marked, MarkError> {
        let path = self.directory.join(MARK);
        match fs::read(&path) {
            Ok(text) => {
                Marked::parse(&text).map_err(|source| MarkError::Text { path: path.display().to_string(), source })
            }
            // The directory must be there: one that was not mounted says nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.directory.is_dir() => {
                Ok(Marked { version: "0".into(), signed: None })
            }
            Err(error) => Err(self.failed("read")(error)),
        }
    }

    fn advance(&self, version: &str, size: u64, root: &Digest) -> Result<String, MarkError> {
        let lock = File::create(self.directory.join(LOCK)).map_err(self.failed("lock"))?;
        // Released when the file is closed, also by a crash.
        lock.lock().map_err(self.failed("lock"))?;
        if self.read()?.version != version {
            return Err(MarkError::Moved);
        }
        let next = version.parse::<u64>().map_or(1, |version| version.wrapping_add(1)).to_string();
        let marked = Marked { version: next, signed: Some((size, *root)) };
        self.write(&marked).map_err(self.failed("write"))?;
        Ok(marked.version)
    }
}
