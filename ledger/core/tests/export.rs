//! An export is checked from nothing but a key: whatever is changed in it is found, and nothing in it makes the check panic.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_ledger_core::checkpoint::{CheckpointError, Signer, VerifierKey};
use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::{Replay, VerifyError, export, verify};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{Digest, SecretKey};
use support::{Ballot, World, key, spec};

/// A small log in which everything happens once: a dispute, a settlement, a refusal.
fn world() -> World {
    let mut world = World::new();
    let task = spec(1, 2, 2, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    assert_eq!(world.open_escrow(&task), Code::JobExists);
    let bad = world.signers.work(&task, 0, 1, key(11).public(), &[1]);
    let closed = world.close_round(&task, &[&bad]);
    assert_eq!(world.judge(&task, &closed, &[&bad], &Ballot::default()), Code::Ok);
    let good = world.signers.work(&task, 0, 2, key(12).public(), &[]);
    let closed = world.close_round(&task, &[&good]);
    assert_eq!(world.judge(&task, &closed, &[&good], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    world
}

/// The least that has a verdict in it.
fn small_world() -> World {
    let mut world = World::bare();
    for (number, owner) in [(11, "alice"), (12, "bob")] {
        assert_eq!(world.register(number, owner), Code::Ok);
    }
    assert_eq!(world.deposit(1000), Code::Ok);
    let task = spec(1, 2, 2, 1);
    world.pay(&task);
    world
}

/// A checkpoint over any leaves at all, signed with the right key: what a dishonest ledger could sign.
fn signed(world: &World, leaves: &[Vec<u8>], secret: &SecretKey) -> Vec<u8> {
    let mut tree = Tree::<Sha256>::default();
    for leaf in leaves {
        tree.push(Sha256::leaf(leaf));
    }
    let mut seal = world.chain.seal_ref();
    (seal.size, seal.root) = (tree.size(), Digest(tree.root()));
    let mut signer = Signer::new(world.chain.id(), secret.clone(), None);
    let mut bytes = Vec::new();
    export::write(&mut bytes, &signer.sign(&seal).unwrap(), leaves.iter().map(Vec::as_slice)).unwrap();
    bytes
}

#[test]
fn a_true_export_is_verified_and_its_sums_add_up() {
    let world = world();
    let (bytes, vkey) = world.export();
    let (checkpoint, chain) = verify::chain(bytes.as_slice(), &vkey).unwrap();
    assert_eq!(checkpoint.size, world.log.len() as u64);
    assert_eq!((chain.seal_ref(), chain.head()), (world.chain.seal_ref(), world.chain.head()));
    assert_eq!(chain.totals(), world.chain.totals());
    let report = verify::log(bytes.as_slice(), &vkey).unwrap();
    assert!(report.sums.add_up() && report.sums.locked == 0);
    assert_eq!(report.entries, world.log.len() as u64);
}

#[test]
fn a_checkpoint_that_witnesses_cosigned_is_verified_too() {
    let world = world();
    let mut signer = Signer::new(world.chain.id(), world.signers.keys.checkpoint.clone(), None);
    let mut note = Note::parse(signer.sign(&world.chain.seal_ref()).unwrap().as_bytes()).unwrap();
    let export = |note: &Note| {
        let mut bytes = Vec::new();
        export::write(&mut bytes, &note.to_string(), world.log.iter().map(Vec::as_slice)).unwrap();
        bytes
    };
    for number in 0..16 {
        let witness = NoteSigner::new(&format!("witness.example/{number}"), KeyType::Cosignature, key(100 + number));
        note.add(witness.unwrap().sign(note.text(), 7)).unwrap();
    }
    assert!(verify::log(export(&note).as_slice(), signer.key()).is_ok());
    let mut strangers = Note::new(note.text().into()).unwrap();
    strangers.add(note.signatures()[1].clone()).unwrap();
    let refused = verify::log(export(&strangers).as_slice(), signer.key());
    assert!(matches!(refused, Err(VerifyError::Checkpoint(CheckpointError::Signature))));
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let (bytes, vkey) = small_world().export();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(verify::log(changed.as_slice(), &vkey).is_err(), "byte {at}");
    }
}

#[test]
fn a_changed_byte_in_a_leaf_does_not_follow_from_the_log_whatever_the_ledger_signs() {
    let world = world();
    let last = world.log.len() - 1;
    let mut replay = Replay::new(world.chain.id().clone());
    // The state before the block, and where it starts.
    let (mut before, mut start) = (replay.clone(), 0);
    for (leaf, bytes) in world.log.iter().enumerate() {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let mut other = before.clone();
            let log = world.log[start..leaf].iter().chain([&changed]).chain(&world.log[leaf + 1..]);
            let accepted = log.map(|leaf| other.leaf(leaf)).all(|result| result.is_ok()) && other.finish().is_ok();
            // The last block could have been made later; its time is the one thing that nothing else in the log fixes.
            assert!(!accepted || leaf == last && in_time(bytes, at), "leaf {leaf} byte {at}");
        }
        if replay.leaf(bytes).unwrap().is_some() {
            (before, start) = (replay.clone(), leaf + 1);
        }
    }
}

/// Whether a byte of this seal leaf belongs to its block's time.
fn in_time(leaf: &[u8], at: usize) -> bool {
    let LeafBody::Seal(seal) = Leaf::from_bytes(leaf).unwrap().body else { return false };
    let time = [&[0x1b], seal.time_ms.to_be_bytes().as_slice()].concat();
    let from = leaf.windows(time.len()).position(|bytes| bytes == time).unwrap();
    (from + 1..from + time.len()).contains(&at)
}

#[test]
fn dropped_reordered_repeated_and_truncated_entries_are_found_even_if_the_ledger_signs_them() {
    let world = world();
    let vkey = world.export().1;
    let refused = |leaves: &[Vec<u8>], what: String| {
        let bytes = signed(&world, leaves, &world.signers.keys.checkpoint);
        assert!(verify::log(bytes.as_slice(), &vkey).is_err(), "{what}");
    };
    let ends: Vec<bool> =
        world.log.iter().map(|leaf| matches!(Leaf::from_bytes(leaf).unwrap().body, LeafBody::Seal(_))).collect();
    for at in 0..world.log.len() {
        let mut log = world.log.clone();
        log.remove(at);
        refused(&log, format!("dropped {at}"));
        let mut log = world.log.clone();
        log.insert(at, log[at].clone());
        refused(&log, format!("repeated {at}"));
        if at > 0 {
            let mut log = world.log.clone();
            log.swap(at - 1, at);
            refused(&log, format!("swapped {at}"));
            // A log that ends after a whole block is a true log, only shorter.
            if !ends[at - 1] {
                refused(&world.log[..at], format!("cut at {at}"));
            }
        }
    }
    refused(&[], "nothing at all".into());
}

#[test]
fn a_file_cut_off_anywhere_or_with_something_behind_it_is_refused() {
    let (bytes, vkey) = small_world().export();
    for end in 0..bytes.len() {
        assert!(verify::log(&bytes[..end], &vkey).is_err(), "cut at {end}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(verify::log(longer.as_slice(), &vkey).is_err());
}

#[test]
fn another_key_is_refused_also_one_that_signs_a_true_log() {
    let world = world();
    let (bytes, _) = world.export();
    let other = VerifierKey::new(world.chain.id(), key(9).public());
    assert!(matches!(verify::log(bytes.as_slice(), &other), Err(VerifyError::Checkpoint(_))));
    let bytes = signed(&world, &world.log, &key(9));
    assert!(matches!(verify::log(bytes.as_slice(), &other), Err(VerifyError::OtherKey { .. })));
}

#[test]
fn a_false_receipt_is_named_with_its_leaf() {
    let world = world();
    let vkey = world.export().1;
    let refused = |leaf: &[u8]| match Leaf::from_bytes(leaf).unwrap().body {
        LeafBody::Transaction(_, receipt) => receipt.code == Code::JobExists,
        _ => false,
    };
    let at = world.log.iter().position(|leaf| refused(leaf)).unwrap();
    let mut log = world.log.clone();
    let mut leaf = Leaf::from_bytes(&log[at]).unwrap();
    if let LeafBody::Transaction(_, receipt) = &mut leaf.body {
        receipt.code = Code::Ok;
    }
    log[at] = leaf.to_bytes();
    let bytes = signed(&world, &log, &world.signers.keys.checkpoint);
    let error = verify::log(bytes.as_slice(), &vkey).unwrap_err();
    assert_eq!(error.leaf(), Some(at as u64));
    let VerifyError::Log(error) = error else { panic!("{error}") };
    assert_eq!(error.fault.to_string(), "its receipt says Ok, the rules say JobExists");
}

#[test]
fn replay_gives_the_same_chain_block_for_block() {
    let world = world();
    let mut replay = Replay::new(world.chain.id().clone());
    let seals: Vec<_> = world.log.iter().filter_map(|leaf| replay.leaf(leaf).unwrap()).collect();
    assert_eq!(seals, world.seals);
    let chain = replay.finish().unwrap();
    assert_eq!(chain.job(&spec(1, 2, 2, 2).job), world.chain.job(&spec(1, 2, 2, 2).job));
    assert_eq!(chain.totals(), world.chain.totals());
}
