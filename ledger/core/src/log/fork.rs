//! Evidence that a log or its operator did wrong, as one portable file: what a witness keeps when it refuses.
//!
//! ```text
//! "orion-ledger-evidence 1\n"
//! u8: kind
//! u32 big endian: length, then the bytes, of: note A; note B, or nothing; nodes, 32 bytes each
//! u64 big endian: the leaf's index; 0 where there is none
//! u32 big endian: length, then the bytes, of: the leaf; its path, 32 bytes a hash; words, UTF-8
//! ```
//!
//! Kind 1, a fork, proves itself with nothing but the log's key. The other kinds are a witness's word with what it saw, for
//! whoever has the log to check; the words are for people and prove nothing.

use orion_protocol::Digest;
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use orion_protocol::merkle::Sha256;

use super::note::{MAX_NOTE_BYTES, Note, NoteError};
use super::proof_file::MAX_PATH;
use crate::checkpoint::{Checkpoint, CheckpointError, VerifierKey};
use crate::proof::{included, prefix_roots};

/// The first line.
pub const MAGIC: &[u8] = b"orion-ledger-evidence 1\n";
/// No more nodes of a tree are needed, or read.
pub const MAX_NODES: usize = 65;
/// No words are longer, in bytes.
pub const MAX_WORDS_BYTES: usize = 4096;
/// No file is longer, in bytes.
pub const MAX_EVIDENCE_BYTES: usize = 2 * MAX_NOTE_BYTES + MAX_LEAF_BYTES + 16 * 1024;

/// What a file claims, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    claim: Claim,
    words: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The log signed two checkpoints that no one log has.
    Fork {
        /// One of them.
        a: Note,
        /// The other; not the smaller.
        b: Note,
        /// Where the sizes differ: [`prefix`](super::prove::prefix) of the tree under `b`.
        nodes: Vec<[u8; 32]>,
    },
    /// The log showed a checkpoint below one that the witness had cosigned.
    Rollback {
        /// The larger, with the witness's cosignature.
        cosigned: Note,
        /// The smaller, shown later.
        shown: Note,
    },
    /// A leaf does not follow from those before it.
    Replay {
        /// A checkpoint that holds the leaf.
        note: Note,
        /// The leaf.
        leaf: Leaf,
    },
    /// What was served as the log is not what its checkpoint holds.
    Tile {
        /// The checkpoint.
        note: Note,
        /// What was served as one of its leaves, with the path that the tiles give.
        leaf: Leaf,
    },
}

/// A leaf of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its index, from 0.
    pub index: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its inclusion path.
    pub path: Vec<[u8; 32]>,
}

/// What a file shows, given nothing but the log's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The log forked: it signed both, and no log is both.
    Fork {
        /// The smaller checkpoint, or either.
        a: Checkpoint,
        /// The other.
        b: Checkpoint,
        /// What the first leaves of `b`, as many as `a` has, hash to; not `a`'s root.
        start: Digest,
    },
    /// Nothing, without more than the file holds: what is missing.
    Undecided(&'static str),
}

/// Why a file shows nothing at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Baseless {
    /// A checkpoint in it is not the log's.
    #[error("the log did not sign checkpoint {0}")]
    Unsigned(char, #[source] CheckpointError),
    /// The two checkpoints are of one log.
    #[error("the checkpoints agree: one log has both")]
    Agree,
    /// The nodes are not of the tree under the larger checkpoint.
    #[error("the nodes do not hash to the larger checkpoint's root")]
    Nodes,
    /// The sizes do not make the claim.
    #[error("the first checkpoint must not be the larger in a fork, nor the smaller in a rollback")]
    Sizes,
    /// The leaf is not in the log.
    #[error("leaf {0} is not in the log at the checkpoint")]
    NotIncluded(u64),
    /// The leaf is in the log.
    #[error("leaf {0} is what the log holds at the checkpoint")]
    Included(u64),
}

impl Evidence {
    /// A claim, and what the maker says about it; words beyond [`MAX_WORDS_BYTES`] are cut.
    pub fn new(claim: Claim, words: &str) -> Evidence {
        Evidence { claim, words: words[..words.floor_char_boundary(MAX_WORDS_BYTES)].to_owned() }
    }

    /// A fork, the two checkpoints in any order. `nodes`: see [`Claim::Fork`].
    pub fn fork(one: Note, other: Note, nodes: Vec<[u8; 32]>, words: &str) -> Evidence {
        let size = |note: &Note| Checkpoint::from_text(note.text()).map_or(0, |checkpoint| checkpoint.size);
        let (a, b) = if size(&one) > size(&other) { (other, one) } else { (one, other) };
        Evidence::new(Claim::Fork { a, b, nodes }, words)
    }

    /// What happened, by the maker's word.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What the maker says about it.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// What the file shows about the log with this key.
    pub fn judge(&self, key: &VerifierKey) -> Result<Shown, Baseless> {
        let open = |name, note| Checkpoint::of_note(note, key).map_err(|error| Baseless::Unsigned(name, error));
        match &self.claim {
            Claim::Fork { a, b, nodes } => fork(open('A', a)?, open('B', b)?, nodes),
            Claim::Rollback { cosigned, shown } => {
                let (cosigned, shown) = (open('A', cosigned)?, open('B', shown)?);
                if shown.size >= cosigned.size {
                    return Err(Baseless::Sizes);
                }
                Ok(Shown::Undecided("which checkpoint came first is the witness's word"))
            }
            Claim::Replay { note, leaf } => {
                let checkpoint = open('A', note)?;
                if !leaf.is_under(&checkpoint) {
                    return Err(Baseless::NotIncluded(leaf.index));
                }
                Ok(Shown::Undecided("the leaf is the log's; whether it is wrong takes all leaves before it"))
            }
            Claim::Tile { note, leaf } => {
                let checkpoint = open('A', note)?;
                if leaf.is_under(&checkpoint) {
                    return Err(Baseless::Included(leaf.index));
                }
                Ok(Shown::Undecided("nobody signs tiles: who served this is the witness's word"))
            }
        }
    }
}

impl Leaf {
    fn is_under(&self, checkpoint: &Checkpoint) -> bool {
        included(Sha256::leaf(&self.bytes), self.index, checkpoint.size, &self.path, &checkpoint.root.0)
    }
}

/// Two checkpoints that the log signed, the first not the larger.
fn fork(a: Checkpoint, b: Checkpoint, nodes: &[[u8; 32]]) -> Result<Shown, Baseless> {
    if a.size > b.size {
        return Err(Baseless::Sizes);
    }
    let start = if a.size == b.size {
        if nodes.is_empty() { b.root } else { return Err(Baseless::Nodes) }
    } else if nodes.is_empty() {
        return Ok(Shown::Undecided("checkpoints of different sizes take nodes of the larger tree, or both logs"));
    } else {
        let (start, root) = prefix_roots(a.size, b.size, nodes).ok_or(Baseless::Nodes)?;
        if root == b.root.0 { Digest(start) } else { return Err(Baseless::Nodes) }
    };
    if start == a.root { Err(Baseless::Agree) } else { Ok(Shown::Fork { a, b, start }) }
}

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
