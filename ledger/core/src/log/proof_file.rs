//! Proofs as files (c2sp.org/tlog-proof, `.tlog-proof`): that an entry is in a log, with the checkpoint under which it is.
//! Enough to verify with no network, given the entry and a [trust policy](super::trust).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_protocol::merkle::Sha256;

use super::note::{MAX_NOTE_BYTES, Note, NoteError};
use super::tile::number;
use crate::checkpoint::Checkpoint;
use crate::proof::included;

/// The first line.
pub const MAGIC: &str = "c2sp.org/tlog-proof@v1";
/// No path is longer: a log has at most 2^64 - 1 leaves.
pub const MAX_PATH: usize = 64;
/// No extra data is longer, in bytes of base64.
pub const MAX_EXTRA_BYTES: usize = 16 * 1024;
/// No file is longer, in bytes.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + MAX_EXTRA_BYTES + 8 * 1024;

/// Why bytes are no proof.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofFileError {
    /// Over the bound.
    #[error("{0} bytes long, at most {MAX_PROOF_BYTES} are allowed")]
    TooLong(usize),
    /// Not a proof of this version.
    #[error("the first line is not {MAGIC}")]
    Magic,
    /// A line that is not what must stand there.
    #[error("line {line}: expected {want}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What must stand there.
        want: &'static str,
    },
    /// The checkpoint is no note.
    #[error("cannot read the checkpoint")]
    Note(#[source] NoteError),
}

/// That an entry is in a log, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Whatever the maker put in; nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The entry's index in the log, from 0.
    pub index: u64,
    /// The inclusion path, lowest sibling first.
    pub path: Vec<[u8; 32]>,
    /// The signed checkpoint.
    pub note: Note,
}

impl ProofFile {
    /// Reads a file. Each proof has one form.
    pub fn parse(file: &[u8]) -> Result<ProofFile, ProofFileError> {
        if file.len() > MAX_PROOF_BYTES {
            return Err(ProofFileError::TooLong(file.len()));
        }
        let mut lines = Lines { rest: file, line: 0 };
        if lines.next() != Some(MAGIC) {
            return Err(ProofFileError::Magic);
        }
        let mut line = lines.next();
        let extra = match line.and_then(|line| line.strip_prefix("extra ")) {
            Some(text) => {
                let extra = if text.len() > MAX_EXTRA_BYTES { None } else { BASE64.decode(text).ok() };
                let extra = extra
                    .ok_or(ProofFileError::Line { line: lines.line, want: "extra and at most 16 KiB of base64" })?;
                line = lines.next();
                Some(extra)
            }
            None => None,
        };
        let index = line.and_then(|line| line.strip_prefix("index ")).and_then(number);
        let index = index.ok_or(ProofFileError::Line { line: lines.line, want: "index and a number" })?;
        let path = lines.hashes(MAX_PATH).map_err(|(line, want)| ProofFileError::Line { line, want })?;
        let note = Note::parse(lines.rest).map_err(ProofFileError::Note)?;
        Ok(ProofFile { extra, index, path, note })
    }

    /// Whether `entry` is where the proof says, in the log at `checkpoint`, which the caller has judged.
    pub fn holds(&self, entry: &[u8], checkpoint: &Checkpoint) -> bool {
        included(Sha256::leaf(entry), self.index, checkpoint.size, &self.path, &checkpoint.root.0)
    }
}

impl std::fmt::Display for ProofFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ProofFile { extra, index, path, note } = self;
        writeln!(f, "{MAGIC}")?;
        if let Some(extra) = extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {index}")?;
        write_hashes(f, path)?;
        write!(f, "\n{note}")
    }
}

/// A hash a line.
pub(super) fn write_hashes(f: &mut std::fmt::Formatter<'_>, hashes: &[[u8; 32]]) -> std::fmt::Result {
    hashes.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))
}

/// Lines of text before a note.
pub(super) struct Lines<'f> {
    /// What was not read yet.
    pub(super) rest: &'f [u8],
    /// The line that was read last, from 1.
    pub(super) line: usize,
}

impl<'f> Lines<'f> {
    /// The next line without its newline; `None` where there is no newline or no UTF-8.
    pub(super) fn next(&mut self) -> Option<&'f str> {
        self.line += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        std::str::from_utf8(line).ok()
    }

    /// At most `max` hashes and the empty line after them; otherwise the line that is wrong, and what must stand there.
    pub(super) fn hashes(&mut self, max: usize) -> Result<Vec<[u8; 32]>, (usize, &'static str)> {
        let mut hashes = Vec::new();
        loop {
            match self.next() {
                Some("") => return Ok(hashes),
                Some(_) if hashes.len() == max => return Err((self.line, "an empty line after so many hashes")),
                line => {
                    let hash = line.and_then(|line| BASE64.decode(line).ok()).and_then(|hash| hash.try_into().ok());
                    hashes.push(hash.ok_or((self.line, "32 bytes of base64, or an empty line"))?);
                }
            }
        }
    }
}
