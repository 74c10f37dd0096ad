//! Evidence that a log or its operator did wrong, as one portable file: what a witness keeps when it refuses.
//!
//! Kind 1, a fork, proves itself with nothing but the log's key. The other kinds are a witness's word with what it saw, for
//! whoever has the log to check; the words are for people and prove nothing.

mod file;

pub use file::EvidenceError;

use orion_protocol::Digest;
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use orion_protocol::merkle::{Scheme as _, Sha256};

use super::clean;
use super::note::{MAX_NOTE_BYTES, Note};
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
        /// Where the sizes differ and `a` is not empty: [`prefix`](super::prove::prefix) of the tree under `b`.
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
    /// A claim, and what the maker says about it; words beyond [`MAX_WORDS_BYTES`] are cut, control characters blanked.
    pub fn new(claim: Claim, words: &str) -> Evidence {
        Evidence { claim, words: clean(words, MAX_WORDS_BYTES) }
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
    /// Whether its path leads to the checkpoint's root.
    pub fn is_under(&self, checkpoint: &Checkpoint) -> bool {
        included(Sha256::leaf(&self.bytes), self.index, checkpoint.size, &self.path, &checkpoint.root.0)
    }
}

/// Two checkpoints that the log signed, the first not the larger.
fn fork(a: Checkpoint, b: Checkpoint, nodes: &[[u8; 32]]) -> Result<Shown, Baseless> {
    if a.size > b.size {
        return Err(Baseless::Sizes);
    }
    let start = if a.size == b.size || a.size == 0 {
        let start = if a.size == b.size { b.root } else { Digest(Sha256::empty()) };
        if nodes.is_empty() { start } else { return Err(Baseless::Nodes) }
    } else if nodes.is_empty() {
        return Ok(Shown::Undecided("checkpoints of different sizes take nodes of the larger tree, or both logs"));
    } else {
        let (start, root) = prefix_roots(a.size, b.size, nodes).ok_or(Baseless::Nodes)?;
        if root == b.root.0 { Digest(start) } else { return Err(Baseless::Nodes) }
    };
    if start == a.root { Err(Baseless::Agree) } else { Ok(Shown::Fork { a, b, start }) }
}
