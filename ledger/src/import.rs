//! Brings a log into a store: all of it, or what is missing after an old volume was restored. The source is believed for
//! nothing but what the log's key signed: its leaves must hash to its checkpoint, begin with what the store has, and follow
//! from each other by the rules. Until all of the first two is known, nothing is written.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use orion_ledger_core::export::{ExportError, Reader};
use orion_ledger_core::log::note::Note;
use orion_ledger_core::{Checkpoint, Replay, ReplayError, VerifierKey, VerifyError, verify};
use orion_protocol::Digest;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::merkle::{Sha256, Tree};

use crate::node::encoded;
use crate::publisher::Published;
use crate::store::{Kept, Store, StoreError};

/// Leaves that are written at a time, about.
const WRITE_AT_ONCE: usize = 4096;

/// Why nothing, or not all, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("cannot open {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a log that the key signed.
    #[error("the source was refused; nothing was imported")]
    Source(#[source] VerifyError),
    /// Two logs.
    #[error(
        "the source and this store are two logs: after {0} leaves their roots differ. Nothing was imported; keep both, one of \
         them is a fork"
    )]
    Contradicts(u64),
    /// Nothing to gain.
    #[error("the source has {source_size} leaves and this store {own}: it brings nothing that is missing")]
    Shorter {
        /// Leaves in the store.
        own: u64,
        /// Leaves in the source.
        source_size: u64,
    },
    /// Its leaves do not follow from each other.
    #[error("the source's log does not replay")]
    Replay(#[source] ReplayError),
    /// It was another one when it was read again.
    #[error("the source changed while it was read")]
    Changed(#[source] Option<ExportError>),
    /// The store.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
}

/// What an import came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Leaves that the store had.
    pub before: u64,
    /// Leaves that it has now, all of them under the source's checkpoint.
    pub size: u64,
}

/// Imports the export at `path` into the store in `directory`, which no ledger may have open.
pub fn import(directory: &Path, genesis: &Genesis, path: &Path) -> Result<Imported, ImportError> {
    let store = Store::open(directory)?;
    let key = VerifierKey::new(&genesis.chain(), genesis.checkpoint);
    let head = store.snapshot()?.head()?;
    let (note, checkpoint) = check(&store, head.as_ref(), open(path)?, &key)?;
    let before = head.map_or(0, |head| head.size);
    // It was signed with the log's key, so it counts as if this store had; and before the first leaf, so that nobody goes on with a
    // part of it when this is cut off.
    if store.snapshot()?.claimed()?.is_none_or(|(claimed, _)| claimed <= checkpoint.size) {
        store.claim(checkpoint.size, &checkpoint.root)?;
    }
    let (mut reader, _) = Reader::start(open(path)?).map_err(changed)?;
    let mut appending =
        Appending { store: &store, before, blocks: Vec::new(), leaves: Vec::new(), kept: Kept::default() };
    let mut replay = Replay::new(genesis.chain());
    for _ in 0..checkpoint.size {
        let leaf = reader.leaf().map_err(changed)?;
        let seal = replay.leaf(&leaf).map_err(ImportError::Replay)?;
        appending.leaves.push(leaf);
        if let Some(seal) = seal {
            appending.block(seal, &mut replay)?;
        }
    }
    let chain = replay.finish().map_err(ImportError::Replay)?;
    let Checkpoint { origin: _, size, root } = checkpoint;
    let end = chain.seal_ref();
    if (end.size, end.root) != (size, root) {
        return Err(ImportError::Changed(None));
    }
    appending.flush()?;
    store.publish(&Published { size, root, note: note.to_string() })?;
    Ok(Imported { before, size })
}

fn open(path: &Path) -> Result<BufReader<File>, ImportError> {
    let opened = File::open(path).map_err(|source| ImportError::Open { path: path.to_owned(), source });
    opened.map(BufReader::new)
}

fn changed(error: ExportError) -> ImportError {
    ImportError::Changed(Some(error))
}

/// Whether the source is signed by the key, and one log with the store.
fn check(
    store: &Store,
    head: Option<&SealRef>,
    export: BufReader<File>,
    key: &VerifierKey,
) -> Result<(Note, Checkpoint), ImportError> {
    let mut tree = Tree::<Sha256>::default();
    let (mut at, mut same) = (0, true);
    let source = verify::leaves(export, key, |leaf| {
        tree.push(Sha256::leaf(leaf));
        at += 1;
        if let Some(head) = head.filter(|head| head.size == at) {
            same = Digest(tree.root()) == head.root;
        }
        Ok(())
    });
    let (note, checkpoint) = source.map_err(ImportError::Source)?;
    let own = head.map_or(0, |head| head.size);
    if checkpoint.size < own {
        let seal = store.snapshot()?.seal_of(checkpoint.size)?;
        if seal.is_none_or(|seal| seal.root != checkpoint.root) {
            return Err(ImportError::Contradicts(checkpoint.size));
        }
        return Err(ImportError::Shorter { own, source_size: checkpoint.size });
    }
    if same { Ok((note, checkpoint)) } else { Err(ImportError::Contradicts(own)) }
}

/// Blocks on their way into the store.
struct Appending<'s> {
    store: &'s Store,
    /// Leaves that the store has already.
    before: u64,
    blocks: Vec<(Vec<Vec<u8>>, SealRef)>,
    /// Of the block that has no seal yet.
    leaves: Vec<Vec<u8>>,
    kept: Kept,
}

impl Appending<'_> {
    fn block(&mut self, seal: SealRef, replay: &mut Replay) -> Result<(), ImportError> {
        let leaves = std::mem::take(&mut self.leaves);
        let (ended, records) = (encoded(replay.shed()), replay.take_records());
        if seal.size <= self.before {
            return Ok(());
        }
        self.kept.ended.extend(ended);
        self.kept.records.extend(records);
        self.blocks.push((leaves, seal));
        let waiting: usize = self.blocks.iter().map(|(leaves, _)| leaves.len()).sum();
        if waiting >= WRITE_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        let (blocks, kept) = (std::mem::take(&mut self.blocks), std::mem::take(&mut self.kept));
        Ok(self.store.append(blocks.iter().map(|(leaves, seal)| (leaves.as_slice(), seal)), &kept)?)
    }
}
