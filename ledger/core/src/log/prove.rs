//! Proofs made from hash tiles, and the tiles of a growing log.
//!
//! Nothing here reads a file: [`Hashes`] does, and what it gives is checked for its length only. Whoever reads somebody
//! else's tiles checks the proof that comes out against a signed root, which no wrong tile survives.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;

use orion_protocol::merkle::{self, Scheme as _, Sha256};

use super::tile::{BITS, FULL, Resource, Tile, hashes_on, partial_tiles};

/// Where hashes come from.
pub trait Hashes {
    /// Why they did not.
    type Error;

    /// The hashes of `tile`, as many as it is wide. A full tile may be cut where only the full one is kept.
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, Self::Error>;
}

/// All hashes of a log that is in memory, by the levels of its tiles.
#[derive(Clone, Debug)]
pub struct Levels(Vec<Vec<[u8; 32]>>);

impl Levels {
    /// Of a log with these leaves' hashes.
    pub fn of(leaves: &[[u8; 32]]) -> Levels {
        let mut levels = vec![leaves.to_vec()];
        while let Some(last) = levels.last().filter(|last| last.len() >= usize::from(FULL)) {
            let above = last.chunks_exact(usize::from(FULL)).map(merkle::root::<Sha256>).collect();
            levels.push(above);
        }
        Levels(levels)
    }
}

impl Hashes for Levels {
    type Error = Infallible;

    /// What is not there comes back as too few, which the caller refuses.
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, Infallible> {
        let start = usize::try_from(tile.index).unwrap_or(usize::MAX).saturating_mul(usize::from(FULL));
        let level = self.0.get(usize::from(tile.level)).map_or(&[][..], Vec::as_slice);
        Ok(level.iter().skip(start).take(usize::from(tile.width)).copied().collect())
    }
}

/// Why no proof can be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TileError<E> {
    /// A tile could not be had.
    #[error("cannot read {}", Resource::Hashes(*.tile).path())]
    Source {
        /// The tile.
        tile: Tile,
        /// Why not.
        #[source]
        source: E,
    },
    /// A tile holds too few hashes or too many.
    #[error("{} holds {have} hashes, expected {}", Resource::Hashes(*.tile).path(), .tile.width)]
    Width {
        /// The tile.
        tile: Tile,
        /// How many it holds.
        have: usize,
    },
    /// A leaf or log that is not in the log.
    #[error("{at} is not within a log of {size} leaves")]
    OutOfRange {
        /// The leaf, or the size of the earlier log.
        at: u64,
        /// The size of the log.
        size: u64,
    },
}

/// The full tiles of a growing log, each given once, and the hashes of those that are not full: at most 255 a level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<[u8; 32]>>,
}

impl Edge {
    /// The edge of a log of `size` leaves, from its partial tiles.
    pub fn read<H: Hashes>(size: u64, hashes: &H) -> Result<Edge, TileError<H::Error>> {
        let mut levels = Vec::new();
        for tile in partial_tiles(size) {
            levels.resize(usize::from(tile.level) + 1, Vec::new());
            levels[usize::from(tile.level)] = fetch(hashes, tile)?;
        }
        Ok(Edge { size, levels })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash; gives the tiles that are full with it, lowest level first.
    pub fn push(&mut self, leaf: [u8; 32]) -> Vec<(Tile, Vec<[u8; 32]>)> {
        self.size += 1;
        let (mut full, mut hash, mut level) = (Vec::new(), leaf, 0_u8);
        loop {
            let at = usize::from(level);
            self.levels.resize(self.levels.len().max(at + 1), Vec::new());
            self.levels[at].push(hash);
            if self.levels[at].len() < usize::from(FULL) {
                return full;
            }
            let hashes = std::mem::take(&mut self.levels[at]);
            hash = merkle::root::<Sha256>(&hashes);
            level += 1;
            let index = hashes_on(self.size, level) - 1;
            full.push((Tile { level: level - 1, index, width: FULL }, hashes));
        }
    }

    /// The hashes of the tile at the right edge of `level`; empty when the last one there is full, or none began.
    pub fn partial(&self, level: u8) -> &[[u8; 32]] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> [u8; 32] {
        // A partial tile's full subtrees are already roots of 256^level leaves; what is below stands to its right.
        let parts = self.levels.iter().rev().filter(|hashes| !hashes.is_empty());
        let roots: Vec<[u8; 32]> = parts.flat_map(|hashes| subtrees(hashes)).collect();
        join(&roots)
    }
}

/// Roots of the full subtrees of `hashes`, largest first.
fn subtrees(hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let (mut roots, mut rest) = (Vec::new(), hashes);
    while !rest.is_empty() {
        let (subtree, right) = rest.split_at(1 << rest.len().ilog2());
        roots.push(merkle::root::<Sha256>(subtree));
        rest = right;
    }
    roots
}

/// The root over full subtrees, largest first.
fn join(roots: &[[u8; 32]]) -> [u8; 32] {
    let mut roots = roots.iter().rev();
    let Some(last) = roots.next() else { return Sha256::empty() };
    roots.fold(*last, |right, left| Sha256::node(left, &right))
}

fn fetch<H: Hashes>(hashes: &H, tile: Tile) -> Result<Vec<[u8; 32]>, TileError<H::Error>> {
    let found = hashes.hashes(tile).map_err(|source| TileError::Source { tile, source })?;
    if found.len() == usize::from(tile.width) { Ok(found) } else { Err(TileError::Width { tile, have: found.len() }) }
}

/// The inclusion path of leaf `at` in a log of `size` leaves, lowest sibling first (RFC 6962 2.1.1).
pub fn inclusion<H: Hashes>(size: u64, at: u64, hashes: &H) -> Result<Vec<[u8; 32]>, TileError<H::Error>> {
    if at >= size {
        return Err(TileError::OutOfRange { at, size });
    }
    let mut tree = Reading::new(size, hashes);
    let (mut from, mut to, mut siblings) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + left_of(to - from);
        if at < middle {
            siblings.push(tree.root(middle, to)?);
            to = middle;
        } else {
            siblings.push(tree.root(from, middle)?);
            from = middle;
        }
    }
    siblings.reverse();
    Ok(siblings)
}

/// The proof that a log of `new` leaves starts with one of `old` (RFC 6962 2.1.2); empty where `old` is 0 or `new`.
pub fn consistency<H: Hashes>(old: u64, new: u64, hashes: &H) -> Result<Vec<[u8; 32]>, TileError<H::Error>> {
    if old > new {
        return Err(TileError::OutOfRange { at: old, size: new });
    }
    if old == 0 || old == new { Ok(Vec::new()) } else { subproof(old, new, true, hashes) }
}

/// The nodes that make up both the root over `new` leaves and the one over the first `old` of them, 0 < old < new: as
/// [`consistency`], but with the old root's node also where `old` is one full subtree. So they say what the first `old`
/// leaves hash to, instead of taking somebody's word for it.
pub fn prefix<H: Hashes>(old: u64, new: u64, hashes: &H) -> Result<Vec<[u8; 32]>, TileError<H::Error>> {
    if old == 0 || old >= new {
        return Err(TileError::OutOfRange { at: old, size: new });
    }
    subproof(old, new, false, hashes)
}

/// RFC 6962's SUBPROOF(old, D[new], whole), 0 < old < new.
fn subproof<H: Hashes>(old: u64, new: u64, mut whole: bool, hashes: &H) -> Result<Vec<[u8; 32]>, TileError<H::Error>> {
    let mut tree = Reading::new(new, hashes);
    let (mut from, mut to, mut nodes) = (0, new, Vec::new());
    while to != old {
        let middle = from + left_of(to - from);
        if old <= middle {
            nodes.push(tree.root(middle, to)?);
            to = middle;
        } else {
            nodes.push(tree.root(from, middle)?);
            (from, whole) = (middle, false);
        }
    }
    if !whole {
        nodes.push(tree.root(from, to)?);
    }
    nodes.reverse();
    Ok(nodes)
}

/// The largest power of two below `leaves`, which is at least 2: how many of them the left subtree has.
fn left_of(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// A log being read: every tile once.
struct Reading<'h, H> {
    size: u64,
    hashes: &'h H,
    tiles: BTreeMap<Tile, Vec<[u8; 32]>>,
}

impl<'h, H: Hashes> Reading<'h, H> {
    fn new(size: u64, hashes: &'h H) -> Self {
        Reading { size, hashes, tiles: BTreeMap::new() }
    }

    /// The root over leaves `from..to`: part of the tree, so `from` is a multiple of the largest full subtree in it.
    fn root(&mut self, from: u64, to: u64) -> Result<[u8; 32], TileError<H::Error>> {
        let (mut at, mut roots) = (from, Vec::new());
        while at < to {
            let height = (to - at).ilog2();
            roots.push(self.node(height, at >> height)?);
            at += 1 << height;
        }
        Ok(join(&roots))
    }

    /// The root over the `index`th full subtree of 2^height leaves.
    fn node(&mut self, height: u32, index: u64) -> Result<[u8; 32], TileError<H::Error>> {
        let (level, within) = (height / BITS, height % BITS);
        let first = index << within;
        let out_of_range = TileError::OutOfRange { at: first, size: self.size };
        let tile = u8::try_from(level).ok().and_then(|level| Tile::at(self.size, level, first >> BITS));
        let tile = tile.ok_or(out_of_range)?;
        let hashes = match self.tiles.entry(tile) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(new) => new.insert(fetch(self.hashes, tile)?),
        };
        let at = usize::try_from(first % u64::from(FULL)).unwrap_or(usize::MAX);
        let subtree = hashes.get(at..at + (1 << within));
        subtree.map(merkle::root::<Sha256>).ok_or(TileError::OutOfRange { at: first, size: self.size })
    }
}
