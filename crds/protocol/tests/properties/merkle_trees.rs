//! Trees of every small size: each path leads to the root, no corrupted one does, and another implementation agrees.

use ct_merkle::RootHash;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use orion_protocol::Digest;
use orion_protocol::merkle::{self, Scheme, Sha3, Sha256, Tree};
use sha2::Digest as _;

const SIZES: std::ops::RangeInclusive<usize> = 1..=70;

fn leaves(count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|at| Sha256::leaf(format!("leaf {at}").as_bytes())).collect()
}

fn every_path_leads_to_the_root<S: Scheme>() {
    for size in SIZES {
        let leaves = leaves(size);
        let root = merkle::root::<S>(&leaves);
        for at in 0..size {
            let path = merkle::path::<S>(&leaves, at);
            assert_eq!(
                merkle::root_from_path::<S>(leaves[at], at as u64, size as u64, &path),
                Some(root),
                "{at} of {size}"
            );
        }
    }
}

#[test]
fn every_path_leads_to_the_root_with_sha3() {
    every_path_leads_to_the_root::<Sha3>();
}

#[test]
fn every_path_leads_to_the_root_with_sha256() {
    every_path_leads_to_the_root::<Sha256>();
}

/// Paths that are wrong in one place.
fn corrupted(path: &[[u8; 32]]) -> Vec<Vec<[u8; 32]>> {
    let mut all = Vec::new();
    for at in 0..path.len() {
        for byte in [0, 13, 31] {
            let mut flipped = path.to_vec();
            flipped[at][byte] ^= 1 << (at % 8);
            all.push(flipped);
        }
        let mut without = path.to_vec();
        without.remove(at);
        all.push(without);
        let mut twice = path.to_vec();
        twice.insert(at, path[at]);
        all.push(twice);
        let mut swapped = path.to_vec();
        swapped.swap(at, 0);
        if swapped != path {
            all.push(swapped);
        }
    }
    all.push([path, &[[0; 32]]].concat());
    all
}

#[test]
fn no_corrupted_path_leads_to_the_root() {
    for size in SIZES {
        let leaves = leaves(size);
        let root = merkle::root::<Sha3>(&leaves);
        let count = size as u64;
        for at in 0..size {
            let path = merkle::path::<Sha3>(&leaves, at);
            let leads =
                |leaf, at, path: &[[u8; 32]]| merkle::root_from_path::<Sha3>(leaf, at, count, path) == Some(root);
            for other in corrupted(&path) {
                assert!(!leads(leaves[at], at as u64, &other), "{at} of {size}");
            }
            let mut leaf = leaves[at];
            leaf[at % 32] ^= 0x80;
            assert!(!leads(leaf, at as u64, &path), "{at} of {size}");
            // The same leaf and path at any other place; beyond the end too.
            for other in (0..count + 2).filter(|other| *other != at as u64) {
                assert!(!leads(leaves[at], other, &path), "{at} of {size} at {other}");
            }
        }
    }
}

#[test]
fn there_is_no_path_to_a_leaf_that_is_not_there() {
    let leaves = leaves(5);
    assert!(merkle::path::<Sha3>(&leaves, 5).is_empty());
    assert!(merkle::path::<Sha3>(&[], 0).is_empty());
    assert_eq!(merkle::root_from_path::<Sha3>(leaves[0], 0, 0, &[]), None);
    assert_eq!(merkle::root_from_path::<Sha3>(leaves[0], u64::MAX, u64::MAX, &[]), None);
    let long = vec![[0; 32]; 100];
    assert_eq!(merkle::root_from_path::<Sha3>(leaves[0], 7, u64::MAX, &long), None);
}

#[test]
fn another_implementation_grows_the_same_sha256_tree() {
    let mut theirs = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let mut ours = Tree::<Sha256>::default();
    let mut leaves = Vec::new();
    for at in 0..70_usize {
        let entry = format!("entry {at}").into_bytes();
        theirs.push(entry.clone());
        ours.push(Sha256::leaf(&entry));
        leaves.push(Sha256::leaf(&entry));
        assert_eq!(ours.size(), theirs.len());
        assert_eq!(ours.root().as_slice(), theirs.root().as_bytes().as_slice());
        for place in 0..=at {
            let path = merkle::path::<Sha256>(&leaves, place).concat();
            assert_eq!(theirs.prove_inclusion(place).as_bytes(), path.as_slice());
        }
    }
}

#[test]
fn another_implementation_verifies_paths_over_sha3() {
    let mut theirs = MemoryBackedTree::<sha3::Sha3_256, Vec<u8>>::new();
    let mut leaves = Vec::new();
    for at in 0..33_u64 {
        let (salt, digest) = (Digest::of(&at.to_le_bytes()), Digest::of(b"a result"));
        let content = [salt.as_bytes(), &at.to_be_bytes(), digest.as_bytes()].concat();
        theirs.push(content.clone());
        leaves.push(Sha3::unit_leaf(&salt, at, &digest));
        assert_eq!(
            leaves[leaves.len() - 1].as_slice(),
            sha3::Sha3_256::digest([&[0], content.as_slice()].concat()).as_slice()
        );
        let root = RootHash::<sha3::Sha3_256>::new(merkle::root::<Sha3>(&leaves).into(), at + 1);
        let path = merkle::path::<Sha3>(&leaves, leaves.len() - 1).concat();
        let proof = ct_merkle::InclusionProof::from_bytes(path);
        assert!(root.verify_inclusion(&content, at, &proof).is_ok());
    }
}

#[test]
fn an_empty_tree_is_the_hash_of_nothing() {
    assert_eq!(Tree::<Sha256>::default().root(), <[u8; 32]>::from(sha2::Sha256::digest([])));
    assert_eq!(merkle::root::<Sha3>(&[]), Digest::of(&[]).0);
}
