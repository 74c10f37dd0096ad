//! Checks all that a stopped ledger has on its disk, whatever its snapshots say: every leaf again from the genesis, every
//! seal, every record and view, every tile, and what was signed. A start checks only what it needs.

use std::path::Path;
use std::sync::Arc;

use orion_ledger_core::checkpoint::CheckpointError;
use orion_ledger_core::{Checkpoint, Replay, ReplayError, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::SealRef;

use crate::node::encoded;
use crate::store::{Kept, Snapshot, Store, StoreError};
use crate::tiles::{Tiles, TilesError};

/// While it replays, what is kept of transactions and jobs is compared so many at a time.
const COMPARE_AT_ONCE: usize = 4096;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is nothing.
    #[error("the store is empty")]
    Empty,
    /// A leaf.
    #[error("the stored log does not replay")]
    Replay(#[source] ReplayError),
    /// A seal.
    #[error("block {height}: the store says {stored:?}, replay gives {replayed:?}")]
    Seal {
        /// Of which block.
        height: u64,
        /// What is stored.
        stored: Box<SealRef>,
        /// What replay gives.
        replayed: Box<SealRef>,
    },
    /// The sums.
    #[error("the books do not balance: {0}")]
    Money(String),
    /// Views and records that are not there, or say something else.
    #[error(
        "{views} views of jobs and {records} records of transactions are missing or not what the log says; without its snapshots the next start makes them again"
    )]
    Kept {
        /// Views.
        views: usize,
        /// Records.
        records: usize,
    },
    /// The published checkpoint.
    #[error("the published checkpoint was refused")]
    Checkpoint(#[source] CheckpointError),
    /// What was signed is not of this log.
    #[error("size {0} was signed with a root that the log does not have there")]
    Signed(u64),
    /// A tile.
    #[error("the tiles are not the log's")]
    Tiles(#[source] TilesError),
    /// The store.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
}

/// What was found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The last seal.
    pub head: SealRef,
    /// Leaves under the published checkpoint; 0 without one.
    pub published: u64,
}

/// Audits the store in `directory`, which no ledger may have open. Tiles that are missing are made.
pub fn audit(directory: &Path, genesis: &Genesis) -> Result<Audited, AuditError> {
    let store = Arc::new(Store::open_existing(directory)?);
    let snapshot = store.snapshot()?;
    let mut signed: Vec<(u64, Digest)> = snapshot.claimed()?.into_iter().collect();
    let published = snapshot.published()?;
    if let Some(published) = &published {
        let key = VerifierKey::new(&genesis.chain(), genesis.checkpoint);
        Checkpoint::open(published.note.as_bytes(), &key).map_err(AuditError::Checkpoint)?;
        signed.push((published.size, published.root));
    }
    let head = replay(&snapshot, genesis, |seal| signed.retain(|signed| *signed != (seal.size, seal.root)))?;
    if let Some((size, _)) = signed.first() {
        return Err(AuditError::Signed(*size));
    }
    let tiles = Tiles::open(directory, store.clone()).map_err(AuditError::Tiles)?;
    tiles.compare(head.size).map_err(AuditError::Tiles)?;
    Ok(Audited { head, published: published.map_or(0, |published| published.size) })
}

/// Replays all leaves; gives each seal to `meet`, once it is the stored one, and the last one back.
fn replay(snapshot: &Snapshot, genesis: &Genesis, mut meet: impl FnMut(&SealRef)) -> Result<SealRef, AuditError> {
    let mut replay = Replay::new(genesis.chain());
    let (mut kept, mut views, mut records, mut done) = (Kept::default(), 0, 0, Ok(()));
    let mut compare = |kept: &mut Kept| -> Result<(), AuditError> {
        let lacking = snapshot.lacks(std::mem::take(kept))?;
        views += lacking.ended.len();
        records += lacking.records.len();
        Ok(())
    };
    snapshot.leaves(|leaf| {
        done = replay.leaf(leaf).map_err(AuditError::Replay).and_then(|seal| {
            let Some(replayed) = seal else { return Ok(()) };
            let (height, stored) = (replayed.height, snapshot.seal(replayed.height)?);
            if stored != replayed {
                return Err(AuditError::Seal { height, stored: Box::new(stored), replayed: Box::new(replayed) });
            }
            meet(&replayed);
            kept.ended.extend(encoded(replay.shed()));
            kept.records.extend(replay.take_records());
            if kept.records.len() < COMPARE_AT_ONCE { Ok(()) } else { compare(&mut kept) }
        });
        done.is_ok()
    })?;
    done?;
    compare(&mut kept)?;
    let stored = snapshot.head()?.ok_or(AuditError::Empty)?;
    let chain = replay.finish().map_err(AuditError::Replay)?;
    let head = chain.seal_ref();
    if stored != head {
        return Err(AuditError::Seal { height: head.height, stored: Box::new(stored), replayed: Box::new(head) });
    }
    chain.audit().map_err(AuditError::Money)?;
    if views + records > 0 { Err(AuditError::Kept { views, records }) } else { Ok(head) }
}
