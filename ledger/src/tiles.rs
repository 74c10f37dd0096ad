//! The log as files that any client of C2SP tlog-tiles reads, below `tile/` in the data directory. Full tiles and full bundles
//! are files, written once; what is not full yet is made from the store when it is asked for, so that nothing is written again
//! at each checkpoint and nothing has to be deleted.
//!
//! The files follow from the store, which has the last word: one that is missing is made again, and one that says something
//! else halts.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use orion_ledger_core::log::prove::{Edge, Hashes, TileError};
use orion_ledger_core::log::tile::{
    EntriesError, FULL, HASH_BYTES, Resource, Tile, full_tiles, parse_hashes, write_entry,
};
use orion_protocol::merkle::{self, Sha256};

use crate::store::{Snapshot, Store, StoreError};
use files::Files;

mod files;

/// Why tiles cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// The disk.
    #[error("cannot {doing} {path}")]
    File {
        /// What was attempted.
        doing: &'static str,
        /// With which file.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what was written.
    #[error(
        "{path} is not what the log says: the disk or somebody changed it. Delete {tiles}, all of it, and start again: it is made anew from the store"
    )]
    Changed {
        /// Which.
        path: String,
        /// The directory of all tiles.
        tiles: String,
    },
    /// The store's leaves are not those that its seal was made over.
    #[error("the stored leaves do not hash to the root that their last seal has")]
    Root,
    /// The store.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
    /// A leaf that fits no bundle.
    #[error("a leaf does not fit a bundle")]
    Entry(#[from] EntriesError),
}

/// The tiles of one log.
pub struct Tiles {
    store: Arc<Store>,
    files: Files,
    /// What is not full yet, and up to where the files are complete and durable.
    edge: RwLock<Edge>,
    /// One grows the log at a time.
    growing: Mutex<()>,
}

impl Tiles {
    /// The tiles beside `store` in `directory`, as far as the last block. Missing files are made, and the right edge is
    /// compared with the last seal.
    pub fn open(directory: &Path, store: Arc<Store>) -> Result<Tiles, TilesError> {
        let files = Files::new(directory);
        let tiles = Tiles { store, files, edge: RwLock::default(), growing: Mutex::default() };
        let snapshot = tiles.store.snapshot()?;
        let Some(head) = snapshot.head()? else { return Ok(tiles) };
        let complete = with_bundles(full_tiles(0, head.size)).all(|resource| tiles.files.has(&resource));
        if !complete {
            tracing::info!(size = head.size, "tiles are missing, and are made from the store");
        }
        let mut edge = if complete { tiles.read_edge(&snapshot, head.size)? } else { tiles.compare(head.size)? };
        if edge.root() != head.root.0 {
            // Says which file it is.
            edge = tiles.compare(head.size)?;
        }
        if edge.root() != head.root.0 {
            return Err(TilesError::Root);
        }
        *tiles.edge.write().unwrap_or_else(PoisonError::into_inner) = edge;
        Ok(tiles)
    }

    /// Grows to `size` leaves, which the store must have. What became full is durable when it returns.
    pub fn extend(&self, size: u64) -> Result<(), TilesError> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let edge = self.edge.read().unwrap_or_else(PoisonError::into_inner).clone();
        if size > edge.size() {
            let edge = self.grow(edge, size)?;
            *self.edge.write().unwrap_or_else(PoisonError::into_inner) = edge;
        }
        Ok(())
    }

    /// Compares every file with the store, and makes those that are missing; gives the edge of the whole.
    pub fn compare(&self, size: u64) -> Result<Edge, TilesError> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        self.grow(Edge::default(), size)
    }

    fn grow(&self, mut edge: Edge, size: u64) -> Result<Edge, TilesError> {
        let full = u64::from(FULL);
        let from = edge.size();
        let mut at = from - from % full;
        let (mut bundle, mut batch, mut done) = (Vec::new(), self.files.batch(), Ok(()));
        let mut add = |at: u64, leaf: &[u8]| -> Result<(), TilesError> {
            write_entry(&mut bundle, leaf)?;
            if at % full == full - 1 {
                batch.write(&Resource::Entries { index: at / full, width: FULL }, &std::mem::take(&mut bundle))?;
            }
            let hash = Sha256::leaf(leaf);
            let tiles = if at < from { Vec::new() } else { edge.push(hash) };
            tiles.iter().try_for_each(|(tile, hashes)| batch.write(&Resource::Hashes(*tile), hashes.as_flattened()))
        };
        self.store.snapshot()?.leaves_from(at, |leaf| {
            done = add(at, leaf);
            at += 1;
            done.is_ok() && at < size
        })?;
        done?;
        if edge.size() != size {
            return Err(StoreError::Damaged(format!("{} leaves stored, tiles of {size} asked for", edge.size())).into());
        }
        batch.sync()?;
        Ok(edge)
    }

    /// The bytes of a file in a log of `size` leaves, of which the tiles must be there; `None` where that log has no such file.
    /// The checkpoint is not among them.
    pub fn read(&self, resource: &Resource, size: u64) -> Result<Option<Vec<u8>>, TilesError> {
        match *resource {
            Resource::Checkpoint => Ok(None),
            Resource::Hashes(tile) => self.hash_tile(tile, size),
            Resource::Entries { index, width } => {
                let there = Tile::at(size, 0, index).is_some_and(|tile| tile.width >= width);
                if !there {
                    return Ok(None);
                }
                if width == FULL { self.files.read(resource).map(Some) } else { self.bundle(index, width).map(Some) }
            }
        }
    }

    fn hash_tile(&self, tile: Tile, size: u64) -> Result<Option<Vec<u8>>, TilesError> {
        let Tile { level, index, width } = tile;
        let on = |size| Tile::at(size, level, index).map_or(0, |there| there.width);
        let edge = self.edge.read().unwrap_or_else(PoisonError::into_inner);
        if on(size.min(edge.size())) < width {
            return Ok(None);
        }
        let bytes = usize::from(width) * HASH_BYTES;
        // The log may have gone on since: what was the edge then is part of a full tile now.
        if on(edge.size()) < FULL {
            return Ok(edge.partial(level).as_flattened().get(..bytes).map(<[u8]>::to_vec));
        }
        drop(edge);
        let mut hashes = self.full(Tile { level, index, width: FULL })?.as_flattened().to_vec();
        hashes.truncate(bytes);
        Ok(Some(hashes))
    }

    /// The first entries of a bundle, from the store.
    fn bundle(&self, index: u64, width: u16) -> Result<Vec<u8>, TilesError> {
        let (mut bundle, mut left, mut done) = (Vec::new(), width, Ok(()));
        self.store.snapshot()?.leaves_from(index * u64::from(FULL), |leaf| {
            done = write_entry(&mut bundle, leaf);
            left -= 1;
            done.is_ok() && left > 0
        })?;
        done?;
        Ok(bundle)
    }

    /// The hashes of a full tile.
    fn full(&self, tile: Tile) -> Result<Vec<[u8; 32]>, TilesError> {
        let resource = Resource::Hashes(tile);
        let bytes = self.files.read(&resource)?;
        parse_hashes(&bytes, FULL).ok_or_else(|| self.files.changed(&resource))
    }

    /// The edge of a log of `size` leaves, from the full tiles under it.
    fn read_edge(&self, snapshot: &Snapshot, size: u64) -> Result<Edge, TilesError> {
        Edge::read(size, &Under { tiles: self, snapshot }).map_err(|error| match error {
            TileError::Source { source, .. } => source,
            TileError::Width { .. } | TileError::OutOfRange { .. } => {
                StoreError::Damaged(format!("there are no {size} leaves to make tiles of")).into()
            }
        })
    }
}

impl Hashes for Tiles {
    type Error = TilesError;

    /// What is not there comes back as too few, which the caller refuses.
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, TilesError> {
        let bytes = self.read(&Resource::Hashes(tile), u64::MAX)?.unwrap_or_default();
        Ok(parse_hashes(&bytes, tile.width).unwrap_or_default())
    }
}

/// The hashes of a tile that is not full, from what is under it.
struct Under<'t> {
    tiles: &'t Tiles,
    snapshot: &'t Snapshot,
}

impl Hashes for Under<'_> {
    type Error = TilesError;

    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, TilesError> {
        let first = tile.index * u64::from(FULL);
        let Some(level) = tile.level.checked_sub(1) else {
            let mut hashes = Vec::new();
            self.snapshot.leaves_from(first, |leaf| {
                hashes.push(Sha256::leaf(leaf));
                hashes.len() < usize::from(tile.width)
            })?;
            return Ok(hashes);
        };
        let under = (first..first + u64::from(tile.width)).map(|index| Tile { level, index, width: FULL });
        under.map(|tile| Ok(merkle::root::<Sha256>(&self.tiles.full(tile)?))).collect()
    }
}

/// Full tiles, each on the lowest level with the bundle that it hashes.
fn with_bundles(tiles: impl Iterator<Item = Tile>) -> impl Iterator<Item = Resource> {
    tiles.flat_map(|tile| {
        let bundle = (tile.level == 0).then_some(Resource::Entries { index: tile.index, width: FULL });
        std::iter::once(Resource::Hashes(tile)).chain(bundle)
    })
}
