//! Invariants of the log (I25, I26), over the log of a small history: everything is proved from tiles, as a stranger would.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeMap;

use orion_ledger_core::checkpoint::Signer;
use orion_ledger_core::log::prove::{Edge, Hashes, consistency, inclusion};
use orion_ledger_core::log::tile::{Resource, Tile, entries, parse_hashes, partial_tiles, write_entry};
use orion_ledger_core::proof::{consistent, included};
use orion_ledger_core::{Checkpoint, verify};
use orion_protocol::Digest;
use orion_protocol::ledger::SealRef;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::merkle::Sha256;
use support::{Ballot, World, key, spec};

/// A log that passes a tile's border: jobs until it has more than 256 leaves, some of them refused.
fn world() -> World {
    let mut world = World::new();
    let mut number = 0;
    while world.log.len() < 270 {
        number += 1;
        let task = spec(number, 4, 2, 1);
        assert_eq!(world.open_escrow(&task), Code::Ok);
        assert_eq!(world.open_escrow(&task), Code::JobExists);
        let work: Vec<_> = (0..2).map(|shard| world.signers.work(&task, shard, 1, key(12).public(), &[])).collect();
        let work: Vec<_> = work.iter().collect();
        let closed = world.close_round(&task, &work);
        assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
        assert_eq!((world.settle(&task, 0).code, world.close(&task).code), (Code::Ok, Code::Ok));
    }
    world
}

/// The world's log as files.
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of(log: &[Vec<u8>]) -> Files {
        let (mut files, mut edge) = (BTreeMap::new(), Edge::default());
        let mut put = |tile: Tile, hashes: &[[u8; 32]]| files.insert(Resource::Hashes(tile).path(), hashes.concat());
        for (at, leaf) in log.iter().enumerate() {
            for (tile, hashes) in edge.push(Sha256::leaf(leaf)) {
                put(tile, &hashes);
            }
            for tile in partial_tiles(at as u64 + 1) {
                put(tile, edge.partial(tile.level));
            }
        }
        for (index, leaves) in (0..).zip(log.chunks(256)) {
            let width = u16::try_from(leaves.len()).unwrap();
            let mut bundle = Vec::new();
            for leaf in leaves {
                write_entry(&mut bundle, leaf).unwrap();
            }
            files.insert(Resource::Entries { index, width }.path(), bundle);
        }
        Files(files)
    }
}

impl Hashes for Files {
    type Error = String;
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, String> {
        let path = Resource::Hashes(tile).path();
        self.0.get(&path).and_then(|bytes| parse_hashes(bytes, tile.width)).ok_or(path)
    }
}

#[test]
fn i25_sizes_rise_and_every_checkpoint_is_consistent_with_each_earlier_one() {
    let world = world();
    let files = Files::of(&world.log);
    let mut signer = Signer::new(world.chain.id(), world.signers.keys.checkpoint.clone(), None);
    let mut seen: Vec<Checkpoint> = Vec::new();
    for seal in &world.seals {
        let note = signer.sign(seal).unwrap();
        let checkpoint = Checkpoint::open(note.as_bytes(), signer.key()).unwrap();
        for old in &seen {
            assert!(old.size < checkpoint.size);
            let nodes = consistency(old.size, checkpoint.size, &files).unwrap();
            let holds = |old_root: &Digest, new_root: &Digest| {
                consistent(old.size, &old_root.0, checkpoint.size, &new_root.0, &nodes)
            };
            assert!(holds(&old.root, &checkpoint.root), "{} to {}", old.size, checkpoint.size);
            assert!(!holds(&Digest([1; 32]), &checkpoint.root) && !holds(&old.root, &Digest([1; 32])));
        }
        // Nothing smaller, and nothing else of this size, is signed any more.
        for (size, root) in [(seal.size, Digest([1; 32])), (seal.size - 1, seal.root), (0, seal.root)] {
            assert!(signer.sign(&SealRef { size, root, ..*seal }).is_err());
        }
        seen.push(checkpoint);
    }
    assert!(seen.len() > 100 && seen.last().unwrap().size == world.log.len() as u64);
}

#[test]
fn i26_every_transaction_has_one_leaf_and_whatever_is_altered_about_its_proof_fails() {
    let world = world();
    let files = Files::of(&world.log);
    let seal = world.chain.seal_ref();
    let read: Vec<Vec<u8>> = (0..)
        .zip(world.log.chunks(256))
        .flat_map(|(index, leaves)| {
            let width = u16::try_from(leaves.len()).unwrap();
            let bundle = &files.0[&Resource::Entries { index, width }.path()];
            entries(bundle, width).unwrap().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(read, world.log);
    let mut ids = std::collections::BTreeSet::new();
    for (at, leaf) in (0..).zip(&world.log) {
        if let LeafBody::Transaction(signed, _) = Leaf::from_bytes(leaf).unwrap().body {
            let envelope = signed.verify(world.chain.id(), &signed.key()).unwrap();
            assert!(ids.insert((envelope.signer, envelope.id)), "leaf {at} repeats a transaction");
        }
        let (hash, path) = (Sha256::leaf(leaf), inclusion(seal.size, at, &files).unwrap());
        let holds = |hash, at, size, path: &[[u8; 32]], root: &Digest| included(hash, at, size, path, &root.0);
        assert!(holds(hash, at, seal.size, &path, &seal.root));
        let mut changed = leaf.clone();
        changed[leaf.len() / 2] ^= 1;
        assert!(!holds(Sha256::leaf(&changed), at, seal.size, &path, &seal.root), "leaf {at}");
        for other in (0..seal.size).filter(|other| *other != at) {
            assert!(!holds(hash, other, seal.size, &path, &seal.root), "{at} at {other}");
        }
        for node in 0..path.len() {
            let mut changed = path.clone();
            changed[node][node % 32] ^= 1;
            assert!(!holds(hash, at, seal.size, &changed, &seal.root));
            changed.remove(node);
            assert!(!holds(hash, at, seal.size, &changed, &seal.root));
        }
        assert!(!holds(hash, at, seal.size, &path, &Digest([1; 32])));
        // Another size is another tree, where the path has another shape; the sizes next to it may share the shape, so
        // it is the signed size that counts.
        for size in [at, path.len() as u64, seal.size / 2, seal.size * 2] {
            assert!(!holds(hash, at, size, &path, &seal.root), "{at} of {size}");
        }
    }
    assert!(ids.len() > 100);
    let (export, vkey) = world.export();
    assert!(verify::log(export.as_slice(), &vkey).is_ok());
}
