//! What the witness keeps when it refuses: files `evidence/<n>` beside its store, in the format of
//! [`orion_ledger_core::log::fork`]. As long as there is one, the witness cosigns nothing, over restarts too. Only a person
//! takes them away.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use orion_ledger_core::log::fork::{Claim, Evidence, MAX_EVIDENCE_BYTES};

/// The folder within the data directory.
const FOLDER: &str = "evidence";
/// More files are not written: one is enough to stop.
const MAX_FILES: usize = 16;

/// A file of evidence, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filed {
    /// Its name.
    pub(crate) number: u64,
    /// What it claims.
    pub(crate) kind: &'static str,
    /// What the witness said of it.
    pub(crate) words: String,
    /// Its length.
    pub(crate) bytes: u64,
}

/// All of it, and why the witness stopped.
pub(crate) struct Files {
    folder: PathBuf,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    stopped: Option<String>,
    files: Vec<Filed>,
}

impl Files {
    /// Reads what earlier runs kept. A file that cannot be read stops the witness like any other.
    pub(crate) fn open(directory: &Path) -> io::Result<Files> {
        let folder = directory.join(FOLDER);
        fs::create_dir_all(&folder)?;
        File::open(directory)?.sync_all()?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // What was never finished has no number.
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            files.push(filed(&entry.path(), number)?);
        }
        files.sort_by_key(|file| file.number);
        let stopped = files.first().map(|file| file.words.clone());
        Ok(Files { folder, kept: RwLock::new(Kept { stopped, files }) })
    }

    /// Why nothing is cosigned any more; `None` while something may be.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.read().stopped.clone()
    }

    /// What is kept, in order.
    pub(crate) fn list(&self) -> Vec<Filed> {
        self.read().files.clone()
    }

    /// The bytes of a file; `None` where there is none of this number.
    pub(crate) fn file(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let known = self.read().files.iter().any(|file| file.number == number);
        if known { fs::read(self.path(number)).map(Some) } else { Ok(None) }
    }

    /// Stops, and keeps why. It has stopped even where the file cannot be written; what is wrong with the log is then found
    /// again after a restart.
    pub(crate) fn refuse(&self, evidence: &Evidence) {
        let words = evidence.words();
        tracing::error!(why = words, "the witness stops cosigning");
        let mut kept = self.kept.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.stopped.get_or_insert_with(|| words.to_owned());
        if kept.files.len() >= MAX_FILES {
            return;
        }
        let number = kept.files.last().map_or(1, |last| last.number + 1);
        let bytes = evidence.to_bytes();
        match self.write(number, &bytes) {
            Ok(()) => {
                let (kind, words) = (kind(evidence), words.to_owned());
                kept.files.push(Filed { number, kind, words, bytes: bytes.len() as u64 });
                tracing::error!(file = %self.path(number).display(), "the evidence is kept");
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the evidence cannot be kept"),
        }
    }

    /// The file appears whole or not at all, and survives a power cut.
    fn write(&self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.folder.join(".unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path(number))?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn filed(path: &Path, number: u64) -> io::Result<Filed> {
    let bytes = fs::metadata(path)?.len();
    let read = if bytes > MAX_EVIDENCE_BYTES as u64 { None } else { Evidence::parse(&fs::read(path)?).ok() };
    let (kind, words) = match read {
        Some(evidence) => (kind(&evidence), evidence.words().to_owned()),
        None => ("unreadable", format!("{} is kept as evidence and cannot be read", path.display())),
    };
    Ok(Filed { number, kind, words, bytes })
}

fn kind(evidence: &Evidence) -> &'static str {
    match evidence.claim() {
        Claim::Fork { .. } => "fork",
        Claim::Rollback { .. } => "rollback",
        Claim::Replay { .. } => "replay",
        Claim::Tile { .. } => "tile",
    }
}
