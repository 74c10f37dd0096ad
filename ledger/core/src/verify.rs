//! Checks an export with nothing but the log's key: the checkpoint's signature, the tree, and by replay every signature,
//! draw, verdict, receipt, seal and balance. It trusts no field of the file, and never panics on one.

use std::io::Read;
use std::num::NonZeroUsize;

use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{Digest, PublicKey};

use crate::ahead::Ahead;
use crate::chain::Chain;
use crate::checkpoint::{Checkpoint, CheckpointError, VerifierKey};
use crate::export::{ExportError, Reader};
use crate::log::note::Note;
use crate::replay::{Replay, ReplayError};
use crate::report::Report;

/// What is wrong with an export.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file's form; for the leaf with this index, where one was being read.
    #[error("cannot read the export{}", at(*.leaf))]
    Export {
        /// The leaf that was being read.
        leaf: Option<u64>,
        /// What is wrong.
        #[source]
        source: ExportError,
    },
    /// The checkpoint or the key.
    #[error("the checkpoint was refused")]
    Checkpoint(#[source] CheckpointError),
    /// A leaf does not follow from those before it.
    #[error("the log was refused")]
    Log(#[source] ReplayError),
    /// The genesis names another checkpoint key.
    #[error("leaf 0: the genesis names checkpoint key {have}, expected {want}")]
    OtherKey {
        /// In the genesis.
        have: PublicKey,
        /// The key that was given.
        want: PublicKey,
    },
    /// The leaves do not hash to the signed root.
    #[error("the {size} leaves hash to {have}, the checkpoint says {want}")]
    Root {
        /// How many there are.
        size: u64,
        /// What they hash to.
        have: Digest,
        /// What was signed.
        want: Digest,
    },
    /// A sum does not hold.
    #[error("the books do not balance: {0}")]
    Money(String),
}

fn at(leaf: Option<u64>) -> String {
    leaf.map_or_else(String::new, |leaf| format!(" at leaf {leaf}"))
}

impl VerifyError {
    /// The leaf that is to blame, where one is.
    pub fn leaf(&self) -> Option<u64> {
        match self {
            VerifyError::Export { leaf, .. } => *leaf,
            VerifyError::Log(error) => Some(error.leaf),
            VerifyError::OtherKey { .. } => Some(0),
            VerifyError::Checkpoint(_) | VerifyError::Root { .. } | VerifyError::Money(_) => None,
        }
    }

    /// Whether the file could not be read at all, so that nothing was proven wrong.
    pub fn undecided(&self) -> bool {
        matches!(self, VerifyError::Export { source: ExportError::Read(_), .. })
    }
}

/// Checks an export; gives what it says.
pub fn log(export: impl Read, key: &VerifierKey) -> Result<Report, VerifyError> {
    log_on(NonZeroUsize::MIN, export, key)
}

/// As [`log`], and says the same, with signatures verified on so many threads.
pub fn log_on(threads: NonZeroUsize, export: impl Read, key: &VerifierKey) -> Result<Report, VerifyError> {
    let (checkpoint, chain) = chain_on(threads, export, key)?;
    Ok(Report::new(checkpoint, &chain))
}

/// Checks an export; gives the chain as it was at the checkpoint.
pub fn chain(export: impl Read, key: &VerifierKey) -> Result<(Checkpoint, Chain), VerifyError> {
    chain_on(NonZeroUsize::MIN, export, key)
}

/// As [`chain`], and says the same, with signatures verified on so many threads.
pub fn chain_on(
    threads: NonZeroUsize,
    export: impl Read,
    key: &VerifierKey,
) -> Result<(Checkpoint, Chain), VerifyError> {
    let replay = Replay::new(key.chain().map_err(VerifyError::Checkpoint)?);
    let mut ahead = Ahead::new(replay, threads);
    let read = leaves(export, key, |leaf| ahead.leaf(leaf).map_err(VerifyError::Log));
    // Whatever is wrong with the rest of the file, what came before it is judged first.
    ahead.judge().map_err(VerifyError::Log)?;
    let (_, checkpoint) = read?;
    let chain = ahead.finish().map_err(VerifyError::Log)?;
    let named = chain.genesis().checkpoint;
    if named != key.key() {
        return Err(VerifyError::OtherKey { have: named, want: key.key() });
    }
    chain.audit().map_err(VerifyError::Money)?;
    Ok((checkpoint, chain))
}

/// Checks only that the leaves of an export hash to its checkpoint, and that the key signed that; gives each leaf to `take`, in
/// order, before the tree is compared. Says nothing about what the leaves say.
pub fn leaves(
    export: impl Read,
    key: &VerifierKey,
    mut take: impl FnMut(&[u8]) -> Result<(), VerifyError>,
) -> Result<(Note, Checkpoint), VerifyError> {
    let (mut reader, note) = Reader::start(export).map_err(|source| VerifyError::Export { leaf: None, source })?;
    let note = Note::parse(&note).map_err(|error| VerifyError::Checkpoint(CheckpointError::Note(error)))?;
    let checkpoint = Checkpoint::of_note(&note, key).map_err(VerifyError::Checkpoint)?;
    let mut tree = Tree::<Sha256>::default();
    for at in 0..checkpoint.size {
        let leaf = reader.leaf().map_err(|source| VerifyError::Export { leaf: Some(at), source })?;
        tree.push(Sha256::leaf(&leaf));
        take(&leaf)?;
    }
    reader.end().map_err(|source| VerifyError::Export { leaf: Some(checkpoint.size), source })?;
    let have = Digest(tree.root());
    if have != checkpoint.root {
        return Err(VerifyError::Root { size: checkpoint.size, have, want: checkpoint.root });
    }
    Ok((note, checkpoint))
}
