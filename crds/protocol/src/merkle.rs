//! Merkle trees of RFC 6962's shape: over SHA3-256 for a commitment's units, over SHA-256 for the ledger's log.
//!
//! [`Tree`] keeps one hash a full subtree, so appending costs O(log n) and memory too; [`path`] and [`root_from_path`]
//! serve inclusion proofs.

use sha2::Digest as _;

use crate::digest::{Digest, Hasher};

/// How leaves and nodes are hashed.
pub trait Scheme {
    /// SHA(0x01 || left || right).
    fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32];
    /// The hash of no leaves at all.
    fn empty() -> [u8; 32];
}

/// SHA-256, as RFC 6962 and every witness have it.
pub struct Sha256;

impl Sha256 {
    /// SHA-256(0x00 || leaf).
    pub fn leaf(bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
    }
}

impl Scheme for Sha256 {
    fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
        sha2::Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
    }

    fn empty() -> [u8; 32] {
        sha2::Sha256::digest([]).into()
    }
}

/// SHA3-256, for commitments.
pub struct Sha3;

impl Sha3 {
    /// SHA3(0x00 || salt || unit as u64 big endian || digest).
    pub fn unit_leaf(salt: &Digest, unit: u64, digest: &Digest) -> [u8; 32] {
        let mut hasher = Hasher::default();
        hasher.update(&[0]);
        hasher.update(&salt.0);
        hasher.update(&unit.to_be_bytes());
        hasher.update(&digest.0);
        hasher.finish().0
    }
}

impl Scheme for Sha3 {
    fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Hasher::default();
        hasher.update(&[1]);
        hasher.update(left);
        hasher.update(right);
        hasher.finish().0
    }

    fn empty() -> [u8; 32] {
        Digest::of(&[]).0
    }
}

/// The right edge of a growing tree.
pub struct Tree<S> {
    size: u64,
    /// Roots of the full subtrees, largest first; one for each 1 bit of `size`.
    edge: Vec<[u8; 32]>,
    scheme: std::marker::PhantomData<fn() -> S>,
}

impl<S> Clone for Tree<S> {
    fn clone(&self) -> Self {
        Tree { size: self.size, edge: self.edge.clone(), scheme: std::marker::PhantomData }
    }
}

impl<S> Default for Tree<S> {
    fn default() -> Self {
        Tree { size: 0, edge: Vec::new(), scheme: std::marker::PhantomData }
    }
}

impl<S: Scheme> Tree<S> {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the full subtrees, largest first: with the size, all that there is to it.
    pub fn edge(&self) -> &[[u8; 32]] {
        &self.edge
    }

    /// The tree of `size` leaves with this edge; `None` when it has another number of full subtrees.
    pub fn of_edge(size: u64, edge: Vec<[u8; 32]>) -> Option<Tree<S>> {
        let fits = u32::try_from(edge.len()) == Ok(size.count_ones());
        fits.then_some(Tree { size, edge, scheme: std::marker::PhantomData })
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: [u8; 32]) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                node = S::node(&left, &node);
            }
        }
        self.edge.push(node);
        self.size += 1;
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> [u8; 32] {
        let mut edge = self.edge.iter().rev();
        let Some(last) = edge.next() else { return S::empty() };
        edge.fold(*last, |right, left| S::node(left, &right))
    }
}

/// The root over `leaves` (hashes).
pub fn root<S: Scheme>(leaves: &[[u8; 32]]) -> [u8; 32] {
    let mut tree = Tree::<S>::default();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

/// Every level of the tree over `leaves` (hashes), from themselves to the root: for who needs more than one path.
pub fn levels<S: Scheme>(leaves: Vec<[u8; 32]>) -> Vec<Vec<[u8; 32]>> {
    let mut levels = vec![leaves];
    while let Some(below) = levels.last().filter(|level| level.len() > 1) {
        // A node without a sibling goes up as it is: that gives RFC 6962's split at the largest power of two.
        let pairs = below.chunks(2).map(|pair| if let [left, right] = pair { S::node(left, right) } else { pair[0] });
        levels.push(pairs.collect());
    }
    levels
}

/// The root of these levels.
pub fn top<S: Scheme>(levels: &[Vec<[u8; 32]>]) -> [u8; 32] {
    levels.last().and_then(|level| level.first()).copied().unwrap_or_else(S::empty)
}

/// The inclusion path of leaf `at`, lowest sibling first; empty when there is no such leaf.
pub fn path_in(levels: &[Vec<[u8; 32]>], at: usize) -> Vec<[u8; 32]> {
    if levels.first().is_none_or(|leaves| at >= leaves.len()) {
        return Vec::new();
    }
    let siblings = levels.iter().enumerate().map(|(height, level)| level.get((at >> height) ^ 1));
    siblings.flatten().copied().collect()
}

/// As [`path_in`], for one path.
pub fn path<S: Scheme>(leaves: &[[u8; 32]], at: usize) -> Vec<[u8; 32]> {
    path_in(&levels::<S>(leaves.to_vec()), at)
}

/// The root that leaf `at` of `size` has with this path (RFC 9162 section 2.1.3.2); `None` when the path has the wrong length.
pub fn root_from_path<S: Scheme>(leaf: [u8; 32], at: u64, size: u64, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if at >= size {
        return None;
    }
    let (mut node, mut index, mut last) = (leaf, at, size - 1);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if index & 1 == 1 || index == last {
            node = S::node(sibling, &node);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            node = S::node(&node, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}
