//! The witness's own copy of the log: every leaf is replayed before it is stored, whole blocks at a time, so what is stored is
//! what the rules make of it. It starts again from its own store and snapshots. Memory holds the chain's state and what was not
//! committed yet, never the log.

use std::path::Path;
use std::sync::Arc;

use orion_ledger_core::log::prove::{Edge, TileError};
use orion_ledger_core::{Chain, Replay, ReplayError};
use orion_protocol::Digest;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::merkle::Sha256;

use crate::http::with_sources;
use crate::node::{NodeError, encoded};
use crate::records;
use crate::snapshots::{self, Since, Snapshots};
use crate::start::replay_from;
use crate::store::{Kept, Store, StoreError};
use crate::tiles::{Tiles, TilesError};

/// Blocks are committed together once they have so many leaves, or so many bytes.
const COMMIT_LEAVES: usize = 4096;
const COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// A block of more bytes is not followed: the service makes none, and all of it is in memory until its seal.
const MAX_BLOCK_BYTES: usize = 64 * 1024 * 1024;

/// Why a leaf was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// It does not follow from those before it.
    #[error("leaf {}: {}", .0.index, .0.words)]
    Wrong(Wrong),
    /// It belongs to a block that is too long.
    #[error(
        "the block with leaf {0} is over {MAX_BLOCK_BYTES} bytes long, which no ledger makes and this witness does not follow"
    )]
    Block(u64),
    /// The witness's own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The same.
    #[error("cannot write tiles")]
    Tiles(#[from] TilesError),
}

/// A leaf that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) index: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) words: String,
}

/// The copy.
pub(crate) struct Copy {
    store: Arc<Store>,
    tiles: Arc<Tiles>,
    snapshots: Snapshots,
    replay: Replay,
    edge: Edge,
    committed: u64,
    /// Sealed blocks that are not committed.
    blocks: Vec<(Vec<Vec<u8>>, SealRef)>,
    /// Leaves after the last seal.
    open: Vec<Vec<u8>>,
    sealed_bytes: usize,
    open_bytes: usize,
}

impl Copy {
    /// Goes on where the store ends, or begins.
    pub(crate) fn open(
        directory: &Path,
        store: &Arc<Store>,
        tiles: &Arc<Tiles>,
        genesis: &Genesis,
    ) -> Result<Copy, NodeError> {
        let snapshot = store.snapshot()?;
        let (mut replay, mut since, mut committed) = (Replay::new(genesis.chain()), Since::default(), 0);
        let mut edge = Edge::default();
        if let Some(head) = snapshot.head()? {
            let restored = snapshots::newest(directory, &snapshot, genesis, head.size)?;
            let (mut from, mut bytes) = (0, 0);
            if let Some((chain, length)) = restored {
                (from, bytes) = (chain.seal_ref().size, length);
                replay = Replay::resume(chain);
            }
            since = Since { last: bytes, ..replay_from(store, &snapshot, &mut replay, from, |_| ())? };
            let replayed = replay.chain().map(Chain::seal_ref);
            edge = Edge::read(head.size, tiles.as_ref()).map_err(|error| damaged(&error))?;
            if replayed != Some(head) || edge.root() != head.root.0 {
                let why = format!("its last block ends at leaf {}, and replay does not", head.size);
                return Err(StoreError::Damaged(why).into());
            }
            committed = head.size;
            tracing::info!(size = head.size, replayed = since.leaves, "the witness goes on with its copy");
        }
        let snapshots = Snapshots::new(directory, store.clone(), since);
        let (store, tiles) = (store.clone(), tiles.clone());
        let (blocks, open) = (Vec::new(), Vec::new());
        Ok(Copy { store, tiles, snapshots, replay, edge, committed, blocks, open, sealed_bytes: 0, open_bytes: 0 })
    }

    /// How many leaves were taken.
    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// How many of them are durable, and replayed to their seal.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// What those that were taken hash to.
    pub(crate) fn root(&self) -> Digest {
        Digest(self.edge.root())
    }

    /// Replays the next leaf. After [`TakeError::Wrong`] nothing more may be taken.
    pub(crate) fn take(&mut self, leaf: Vec<u8>) -> Result<(), TakeError> {
        if self.open_bytes + leaf.len() > MAX_BLOCK_BYTES {
            return Err(TakeError::Block(self.size()));
        }
        self.open_bytes += leaf.len();
        let replayed = self.replay.leaf(&leaf);
        self.edge.push(Sha256::leaf(&leaf));
        self.open.push(leaf);
        match replayed {
            Ok(None) => Ok(()),
            Ok(Some(seal)) => {
                self.sealed_bytes += std::mem::take(&mut self.open_bytes);
                self.blocks.push((std::mem::take(&mut self.open), seal));
                let leaves = self.size() - self.committed;
                if leaves >= COMMIT_LEAVES as u64 || self.sealed_bytes >= COMMIT_BYTES { self.commit() } else { Ok(()) }
            }
            Err(ReplayError { leaf, fault }) => Err(self.wrong(leaf, with_sources(&fault))),
        }
    }

    /// The log ends here, by its checkpoint: what was taken becomes durable.
    pub(crate) fn end(&mut self) -> Result<(), TakeError> {
        if !self.open.is_empty() {
            return Err(self.wrong(self.size() - 1, "the checkpoint ends here, within a block".into()));
        }
        self.commit()
    }

    fn commit(&mut self) -> Result<(), TakeError> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let kept = Kept { ended: encoded(self.replay.shed()), records: self.replay.take_records() };
        // The chain forgot the ids of earlier commits: the store knows them.
        let snapshot = self.store.snapshot()?;
        for record in &kept.records {
            let [held, _] = records::find(&snapshot.read, &record.said)?;
            if let Some(held) = held.filter(|held| held.leaf != record.leaf) {
                let words = format!("its transaction has the id of the one in leaf {}", held.leaf);
                return Err(self.wrong(record.leaf, words));
            }
        }
        self.store.append(self.blocks.iter().map(|(leaves, seal)| (leaves.as_slice(), seal)), &kept)?;
        let leaves: Vec<_> = std::mem::take(&mut self.blocks).into_iter().flat_map(|(leaves, _)| leaves).collect();
        self.committed += leaves.len() as u64;
        self.sealed_bytes = 0;
        self.tiles.extend(self.committed)?;
        if let Some(chain) = self.replay.chain() {
            self.snapshots.committed(&leaves, chain);
        }
        Ok(())
    }

    fn wrong(&self, index: u64, words: String) -> TakeError {
        let taken = self.blocks.iter().flat_map(|(leaves, _)| leaves).chain(&self.open);
        let place = usize::try_from(index - self.committed).unwrap_or(usize::MAX);
        let bytes = taken.into_iter().nth(place).cloned().unwrap_or_default();
        TakeError::Wrong(Wrong { index, bytes, words })
    }
}

/// Own tiles that are not what they were.
pub(crate) fn damaged(error: &TileError<TilesError>) -> StoreError {
    StoreError::Damaged(with_sources(error))
}
