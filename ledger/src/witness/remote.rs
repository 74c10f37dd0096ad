//! The tree under a checkpoint that the log signed, read from the log's tiles. The topmost tiles must hash to the signed root,
//! and each other tile to its hash in the one above, before any of it is used: so a bundle is compared with what the log
//! signed, however long the log is, while one tile a level is in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;

use orion_ledger_core::log::fork::{Claim, Evidence, Leaf};
use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::prove::{Edge, Hashes, TileError, inclusion, prefix};
use orion_ledger_core::log::tile::{FULL, Resource, Tile, entries};
use orion_ledger_core::proof::prefix_roots;
use orion_protocol::Digest;
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use orion_protocol::merkle::{self, Sha256};

use super::fetch::Log;
use super::state::Point;
use crate::fetch::{Bundle, FetchError};

/// Why the log's tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// A file was not had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What was served is not what the log signed; with a leaf that shows it, where there is one.
    #[error("{words}")]
    Contradicts { note: Note, words: String, leaf: Option<Box<Leaf>> },
    /// A tile that was to be there is not in the tree.
    #[error("{0}")]
    Tree(String),
}

impl From<TileError<RemoteError>> for RemoteError {
    fn from(error: TileError<RemoteError>) -> RemoteError {
        match error {
            TileError::Source { source, .. } => source,
            // Neither can be: every tile has its width, and only what is in the tree is asked for.
            other => RemoteError::Tree(other.to_string()),
        }
    }
}

/// The hashes of a tile.
type Hashed = Vec<[u8; 32]>;

/// The tree under one checkpoint.
pub(crate) struct Remote<'l> {
    log: &'l Log,
    pub(crate) point: Point,
    edge: Edge,
    /// The last full tile that was read on each level.
    tiles: RefCell<BTreeMap<u8, (u64, Hashed)>>,
}

/// The log's tiles as they are served, compared with nothing.
struct Unchecked<'l>(&'l Log);

impl Hashes for Unchecked<'_> {
    type Error = RemoteError;

    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, RemoteError> {
        Ok(self.0.tile(tile)?)
    }
}

impl Hashes for Remote<'_> {
    type Error = RemoteError;

    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, RemoteError> {
        let Tile { level, index, width } = tile;
        if width < FULL {
            return Ok(self.edge.partial(level).to_vec());
        }
        if let Some((_, hashes)) = self.tiles.borrow().get(&level).filter(|(at, _)| *at == index) {
            return Ok(hashes.clone());
        }
        let above = Tile::at(self.point.checkpoint.size, level + 1, index / u64::from(FULL));
        let above = above.map(|above| self.hashes(above)).transpose()?.unwrap_or_default();
        let hashes = self.log.tile(tile)?;
        let want = above.get(usize::try_from(index % u64::from(FULL)).unwrap_or(usize::MAX));
        if want != Some(&merkle::root::<Sha256>(&hashes)) {
            return Err(self.contradicting(tile)?);
        }
        self.tiles.borrow_mut().insert(level, (index, hashes.clone()));
        Ok(hashes)
    }
}

impl<'l> Remote<'l> {
    /// The tree under a checkpoint, whose signature was checked.
    pub(crate) fn open(log: &'l Log, point: Point) -> Result<Remote<'l>, RemoteError> {
        let edge = Edge::read(point.checkpoint.size, &Unchecked(log))?;
        let remote = Remote { log, point, edge, tiles: RefCell::default() };
        if remote.edge.root() == remote.point.checkpoint.root.0 {
            return Ok(remote);
        }
        let words = format!("the tiles at the right edge of {} leaves do not hash to the signed root", remote.size());
        Err(remote.shown(words, 0, remote.size().saturating_sub(1))?)
    }

    pub(crate) fn size(&self) -> u64 {
        self.point.checkpoint.size
    }

    /// What the first `old` leaves hash to, and the nodes that show it; 0 < old < size.
    pub(crate) fn start(&self, old: u64) -> Result<(Digest, Vec<[u8; 32]>), RemoteError> {
        let nodes = prefix(old, self.size(), self)?;
        let start = prefix_roots(old, self.size(), &nodes).map_or(Digest::ZERO, |(start, _)| Digest(start));
        Ok((start, nodes))
    }

    /// The inclusion path of a leaf.
    pub(crate) fn path(&self, at: u64) -> Result<Vec<[u8; 32]>, RemoteError> {
        Ok(inclusion(self.size(), at, self)?)
    }

    /// The entries of a bundle, each as its tile says. The index counts bundles.
    pub(crate) fn bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, RemoteError> {
        let Some(tile) = Tile::at(self.size(), 0, index) else { return Ok(Vec::new()) };
        let hashes = self.hashes(tile)?;
        let bundle = self.log.bundle(index, tile.width)?;
        let path = Resource::Entries { index, width: tile.width }.path();
        let (served, rest) = served(&bundle);
        let mut leaves = Vec::with_capacity(hashes.len());
        for (at, (leaf, hash)) in (index * u64::from(FULL)..).zip(served.iter().zip(&hashes)) {
            if Sha256::leaf(leaf) != *hash {
                let words = format!("leaf {at} in {path} is not the one that the log signed");
                return Err(self.wrong_leaf(words, at, leaf)?);
            }
            leaves.push(leaf.to_vec());
        }
        if let Some(rest) = rest {
            let at = (index * u64::from(FULL) + served.len() as u64).min(self.size() - 1);
            let words = format!("{path} is no bundle of {} leaves: what is served from leaf {at} on", bundle.width);
            return Err(self.wrong_leaf(words, at, rest)?);
        }
        Ok(leaves)
    }

    /// A leaf that is not the one that was signed, beside the path that the tiles give it.
    fn wrong_leaf(&self, words: String, at: u64, bytes: &[u8]) -> Result<RemoteError, RemoteError> {
        let bytes = bytes[..bytes.len().min(MAX_LEAF_BYTES)].to_vec();
        let leaf = Leaf { index: at, bytes, path: self.path(at)? };
        let shows = !leaf.is_under(&self.point.checkpoint);
        Ok(self.contradiction(words, shows.then_some(leaf)))
    }

    /// What shows that a full tile is not the one under the tile above.
    fn contradicting(&self, tile: Tile) -> Result<RemoteError, RemoteError> {
        let path = Resource::Hashes(tile).path();
        let words = format!("{path} does not hash to what the log signed");
        // A full tile of level l is over 256^(l+1) leaves, all of them in the tree.
        let leaves = 1_u64.checked_shl(8 * (u32::from(tile.level) + 1)).unwrap_or(u64::MAX);
        let first = tile.index.saturating_mul(leaves);
        self.shown(words, first, first.saturating_add(leaves - 1))
    }

    /// One of two leaves whose bytes and path, both as served, do not lead to the signed root: every hash of a tile is on the
    /// path of its first leaf, or of its last. A tile of one hash is on neither, and then there is no leaf to show.
    fn shown(&self, words: String, first: u64, last: u64) -> Result<RemoteError, RemoteError> {
        for at in [first, last] {
            let bundle = at / u64::from(FULL);
            let Some(Tile { width, .. }) = Tile::at(self.size(), 0, bundle) else { continue };
            let served = self.log.bundle(bundle, width)?;
            let (leaves, _) = self::served(&served);
            let place = usize::try_from(at % u64::from(FULL)).unwrap_or(usize::MAX);
            let Some(bytes) = leaves.get(place) else { continue };
            let path = inclusion(self.size(), at, &Unchecked(self.log))?;
            let leaf = Leaf { index: at, bytes: bytes.to_vec(), path };
            if !leaf.is_under(&self.point.checkpoint) {
                return Ok(self.contradiction(words, Some(leaf)));
            }
        }
        Ok(self.contradiction(words, None))
    }

    fn contradiction(&self, words: String, leaf: Option<Leaf>) -> RemoteError {
        RemoteError::Contradicts { note: self.point.note.clone(), words, leaf: leaf.map(Box::new) }
    }
}

impl RemoteError {
    /// What a witness keeps of it: what was served beside what was signed.
    pub(crate) fn evidence(&self) -> Option<Evidence> {
        let RemoteError::Contradicts { note, words, leaf: Some(leaf) } = self else { return None };
        let claim = Claim::Tile { note: note.clone(), leaf: leaf.as_ref().clone() };
        let words = format!(
            "{words}. Nobody signs tiles: this shows that something else was served to the witness than what the log signed, \
             and not who changed it, the log or somebody between the two"
        );
        Some(Evidence::new(claim, &words))
    }
}

/// The entries that a bundle's bytes begin with, and what follows them where that is no entry, or one too many.
fn served(bundle: &Bundle) -> (Vec<&[u8]>, Option<&[u8]>) {
    let bytes: &[u8] = &bundle.bytes;
    if let Ok(whole) = entries(bytes, bundle.width) {
        return (whole, None);
    }
    let (mut leaves, mut rest) = (Vec::new(), bytes);
    while leaves.len() < usize::from(bundle.width) {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { break };
        let Some((leaf, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
        leaves.push(leaf);
        rest = after;
    }
    (leaves, Some(rest))
}
