//! The file:
//!
//! ```text
//! "orion-ledger-evidence 1\n"
//! u8: kind
//! u32 big endian: length, then the bytes, of: note A; note B, or nothing; nodes, 32 bytes each
//! u64 big endian: the leaf's index; 0 where there is none
//! u32 big endian: length, then the bytes, of: the leaf; its path, 32 bytes a hash; words, UTF-8
//! ```

use orion_protocol::ledger::tx::MAX_LEAF_BYTES;

use super::super::clean;
use super::super::note::{MAX_NOTE_BYTES, Note, NoteError};
use super::super::proof_file::MAX_PATH;
use super::{Claim, Evidence, Leaf, MAGIC, MAX_EVIDENCE_BYTES, MAX_NODES, MAX_WORDS_BYTES};

/// Why bytes are no evidence file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvidenceError {
    /// Another format, or another version.
    #[error("this is no evidence file, version 1")]
    Magic,
    /// Over the bound.
    #[error("{0} bytes long, at most {MAX_EVIDENCE_BYTES} are allowed")]
    TooLong(usize),
    /// A kind that this version does not know.
    #[error("kind {0} is none of 1 to 4")]
    Kind(u8),
    /// A length is out of its bounds.
    #[error("{what} of {have} bytes, at most {max} are allowed")]
    Length {
        /// What.
        what: &'static str,
        /// Its length in bytes.
        have: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The file ends too early.
    #[error("the file ends within {0}")]
    Truncated(&'static str),
    /// A part that is not what must stand there.
    #[error("{0}")]
    Part(&'static str),
    /// A note that is none.
    #[error("cannot read note {0}")]
    Note(char, #[source] NoteError),
    /// Something follows.
    #[error("something follows the words")]
    Trailing,
}

impl Evidence {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let none = Leaf { index: 0, bytes: Vec::new(), path: Vec::new() };
        let (kind, a, b, nodes, leaf) = match &self.claim {
            Claim::Fork { a, b, nodes } => (1, a, Some(b), nodes.as_slice(), &none),
            Claim::Rollback { cosigned, shown } => (2, cosigned, Some(shown), &[][..], &none),
            Claim::Replay { note, leaf } => (3, note, None, &[][..], leaf),
            Claim::Tile { note, leaf } => (4, note, None, &[][..], leaf),
        };
        let Leaf { index, bytes, path } = leaf;
        let mut file = [MAGIC, &[kind]].concat();
        piece(&mut file, a.to_string().as_bytes());
        piece(&mut file, b.map(Note::to_string).unwrap_or_default().as_bytes());
        piece(&mut file, &nodes.concat());
        file.extend(index.to_be_bytes());
        piece(&mut file, bytes);
        piece(&mut file, &path.concat());
        piece(&mut file, self.words.as_bytes());
        file
    }

    /// Reads a file. Each has one form.
    pub fn parse(file: &[u8]) -> Result<Evidence, EvidenceError> {
        if file.len() > MAX_EVIDENCE_BYTES {
            return Err(EvidenceError::TooLong(file.len()));
        }
        let mut reader = Pieces(file.strip_prefix(MAGIC).ok_or(EvidenceError::Magic)?);
        let [kind] = reader.fixed("the kind")?;
        let a = reader.piece("note A", MAX_NOTE_BYTES)?;
        let a = Note::parse(a).map_err(|error| EvidenceError::Note('A', error))?;
        let b = match reader.piece("note B", MAX_NOTE_BYTES)? {
            [] => None,
            b => Some(Note::parse(b).map_err(|error| EvidenceError::Note('B', error))?),
        };
        let nodes = reader.hashes("the nodes", MAX_NODES)?;
        let index = u64::from_be_bytes(reader.fixed("the leaf's index")?);
        let bytes = reader.piece("the leaf", MAX_LEAF_BYTES)?.to_vec();
        let path = reader.hashes("the path", MAX_PATH)?;
        let words = reader.piece("the words", MAX_WORDS_BYTES)?;
        let words = std::str::from_utf8(words).map_err(|_| EvidenceError::Part("the words are not UTF-8"))?.to_owned();
        if clean(&words, MAX_WORDS_BYTES) != words {
            return Err(EvidenceError::Part("the words hold control characters"));
        }
        if !reader.0.is_empty() {
            return Err(EvidenceError::Trailing);
        }
        let leaf = Leaf { index, bytes, path };
        let has_leaf = leaf.index != 0 || !leaf.bytes.is_empty() || !leaf.path.is_empty();
        let claim = match (kind, b) {
            (1 | 2, None) => return Err(EvidenceError::Part("a fork or rollback without a second note")),
            (1 | 2, _) if has_leaf => return Err(EvidenceError::Part("a fork or rollback with a leaf")),
            (3 | 4, Some(_)) => return Err(EvidenceError::Part("a leaf with a second note")),
            (2..=4, _) if !nodes.is_empty() => return Err(EvidenceError::Part("nodes without a fork")),
            (1, Some(b)) => Claim::Fork { a, b, nodes },
            (2, Some(shown)) => Claim::Rollback { cosigned: a, shown },
            (3, None) => Claim::Replay { note: a, leaf },
            (4, None) => Claim::Tile { note: a, leaf },
            _ => return Err(EvidenceError::Kind(kind)),
        };
        Ok(Evidence { claim, words })
    }
}

/// What is written is bounded far below 2^32 bytes.
fn piece(file: &mut Vec<u8>, bytes: &[u8]) {
    file.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    file.extend(bytes);
}

/// What was not read yet.
struct Pieces<'f>(&'f [u8]);

impl<'f> Pieces<'f> {
    fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], EvidenceError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(EvidenceError::Truncated(what))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn piece(&mut self, what: &'static str, max: usize) -> Result<&'f [u8], EvidenceError> {
        let have = usize::try_from(u32::from_be_bytes(self.fixed(what)?)).unwrap_or(usize::MAX);
        if have > max {
            return Err(EvidenceError::Length { what, have, max });
        }
        let (bytes, rest) = self.0.split_at_checked(have).ok_or(EvidenceError::Truncated(what))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn hashes(&mut self, what: &'static str, max: usize) -> Result<Vec<[u8; 32]>, EvidenceError> {
        let (hashes, rest) = self.piece(what, max * 32)?.as_chunks::<32>();
        if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(EvidenceError::Part("a hash that is not 32 bytes long")) }
    }
}
