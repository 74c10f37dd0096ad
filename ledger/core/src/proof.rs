//! Proofs over the log's SHA-256 tree, as RFC 6962 has them: that a leaf is in it, and that a later log holds all of an
//! earlier one.

use orion_protocol::merkle::{Scheme as _, Sha256, root_from_path};

/// Whether the leaf with hash `leaf` is leaf `at` of the `size` under `root`.
pub fn included(leaf: [u8; 32], at: u64, size: u64, path: &[[u8; 32]], root: &[u8; 32]) -> bool {
    root_from_path::<Sha256>(leaf, at, size, path).as_ref() == Some(root)
}

/// Whether the `new_size` leaves under `new_root` start with the `old_size` leaves under `old_root` (RFC 9162 2.1.4.2).
/// An empty log is the start of every log: asking about one is refused.
pub fn consistent(old_size: u64, old_root: &[u8; 32], new_size: u64, new_root: &[u8; 32], path: &[[u8; 32]]) -> bool {
    if old_size == 0 || old_size >= new_size {
        return old_size != 0 && old_size == new_size && old_root == new_root && path.is_empty();
    }
    // A complete old tree is itself the first node of the path.
    let roots = if old_size.is_power_of_two() {
        roots_from(old_size, new_size, old_root, path)
    } else {
        prefix_roots(old_size, new_size, path)
    };
    roots == Some((*old_root, *new_root))
}

/// What the first `old_size` of `new_size` leaves hash to, and what all of them do, when the tree has these nodes: those of
/// [`crate::log::prove::prefix`]. `None` when they are too few or too many, or 0 < old < new does not hold.
pub fn prefix_roots(old_size: u64, new_size: u64, nodes: &[[u8; 32]]) -> Option<([u8; 32], [u8; 32])> {
    let (first, rest) = nodes.split_first()?;
    if old_size == 0 || old_size >= new_size { None } else { roots_from(old_size, new_size, first, rest) }
}

/// Both roots, 0 < old < new, from the largest subtree that ends the old tree and the nodes beside the way up from it.
fn roots_from(old_size: u64, new_size: u64, first: &[u8; 32], nodes: &[[u8; 32]]) -> Option<([u8; 32], [u8; 32])> {
    let (mut old_at, mut new_at) = (old_size - 1, new_size - 1);
    while old_at & 1 == 1 {
        old_at >>= 1;
        new_at >>= 1;
    }
    let (mut old, mut new) = (*first, *first);
    for node in nodes {
        if new_at == 0 {
            return None;
        }
        if old_at & 1 == 1 || old_at == new_at {
            old = Sha256::node(node, &old);
            new = Sha256::node(node, &new);
            while old_at & 1 == 0 && old_at != 0 {
                old_at >>= 1;
                new_at >>= 1;
            }
        } else {
            new = Sha256::node(&new, node);
        }
        old_at >>= 1;
        new_at >>= 1;
    }
    (new_at == 0).then_some((old, new))
}
