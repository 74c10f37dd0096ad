//! Whose an epoch is, as somebody reads it who has nothing of the log but its key.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::opening::{MAX_OPENING_BYTES, MAX_OPENING_PROOF_BYTES};
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::prove::{Levels, inclusion};
use orion_ledger_core::log::{Opening, OpeningError, opening};
use orion_ledger_core::{Checkpoint, Signer, VerifierKey};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::LeafProof;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt};
use orion_protocol::ledger::tx::*;
use orion_protocol::merkle::{self, Sha256};
use orion_protocol::{Digest, Signed, cbor};
use support::{Keys, POLICY, World, key, spec_under};

/// The proof of a leaf under a checkpoint over all of `leaves`, signed by the world's log.
fn proof_in(world: &World, leaves: &[Vec<u8>], at: usize) -> ProofFile {
    let hashes: Vec<[u8; 32]> = leaves.iter().map(|leaf| Sha256::leaf(leaf)).collect();
    let size = leaves.len() as u64;
    let path = inclusion(size, at as u64, &Levels::of(&hashes)).unwrap();
    let origin = world.signers.chain.log_origin();
    let text = Checkpoint { origin: origin.clone(), size, root: Digest(merkle::root::<Sha256>(&hashes)) }.text();
    let log = NoteSigner::new(&origin, KeyType::Ed25519, world.signers.keys.checkpoint.clone()).unwrap();
    let mut note = Note::new(text.clone()).unwrap();
    note.add(log.sign(&text, 0)).unwrap();
    ProofFile { extra: None, index: at as u64, path, note }
}

fn proven(world: &World, at: usize) -> LeafProof {
    LeafProof { leaf: world.log[at].clone().into(), proof: proof_in(world, &world.log, at).to_string() }
}

fn log_key(world: &World) -> VerifierKey {
    VerifierKey::new(&world.signers.chain, world.signers.keys.checkpoint.public())
}

/// A leaf's kind and how it ended.
fn kind(world: &World, at: usize) -> (&'static str, Code) {
    match Leaf::from_bytes(&world.log[at]).unwrap().body {
        LeafBody::Genesis(_) => ("Genesis", Code::Ok),
        LeafBody::Seal(_) => ("Seal", Code::Ok),
        LeafBody::Expire(_, receipt) => ("Expire", receipt.code),
        LeafBody::Mature(_, receipt) => ("Mature", receipt.code),
        LeafBody::Lapse(_, receipt) => ("Lapse", receipt.code),
        LeafBody::Transaction(signed, receipt) => (Transaction::unverified(&signed).unwrap().kind(), receipt.code),
    }
}

/// Where the log has openings, applied or refused.
fn openings(world: &World) -> Vec<usize> {
    (0..world.log.len()).filter(|at| kind(world, *at).0 == "OpenEpoch").collect()
}

/// What the last opening in the log says.
fn last(world: &World) -> Result<Opening, OpeningError> {
    opening(&proven(world, *openings(world).last().unwrap()), &log_key(world))
}

#[test]
fn an_opening_says_whose_the_epoch_is_and_nothing_else_in_the_log_does() {
    let policy = Policy { vesting_ms: 1_000, ..POLICY };
    let mut world = World::under(policy.clone());
    assert_eq!(world.open_epoch(2), Code::Ok);
    assert_eq!(world.open_epoch(1), Code::EpochTaken);
    assert_eq!(world.open_epoch(4), Code::EpochTaken);
    assert_eq!(world.open_escrow(&spec_under(&policy, 1, 4, 4, 1)), Code::Ok, "which will expire");
    // A job of epoch 1 is paid, its pay vests, and some of it is reserved and let go.
    let task = spec_under(&policy, 2, 4, 4, 1);
    world.pay(&task);
    world.time_ms += policy.vesting_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    let (chain, id) = (world.signers.chain.clone(), world.id());
    let reserve = Transaction::Reserve(Reserve { amount: 1, expires_ms: world.time_ms + 1_000 });
    assert_eq!(world.block(vec![reserve.sign(&chain, &key(11), 0, id)])[0].code, Code::Ok);
    world.time_ms += policy.escrow_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    let issuer = Keys::new().issuer;
    let new_platform = Rotate { role: KeyRole::Platform, old: key(2).public(), new: key(51).public(), lost: false };
    assert_eq!(world.approved(&Transaction::Rotate(new_platform), &[issuer]).code, Code::Ok);

    let log = log_key(&world);
    let (mut opened, mut kinds) = (Vec::new(), BTreeSet::new());
    for at in 0..world.log.len() {
        let (kind, code) = kind(&world, at);
        kinds.insert(kind);
        match opening(&proven(&world, at), &log) {
            Ok(Opening { epoch, operator }) => {
                assert_eq!((kind, code, operator), ("OpenEpoch", Code::Ok, key(1).public()));
                opened.push(epoch);
            }
            Err(OpeningError::Kind(leaf, have)) => assert_eq!((leaf, have), (at as u64, kind)),
            Err(OpeningError::Refused(leaf, why)) => {
                assert_eq!((leaf, why, kind), (at as u64, code, "OpenEpoch"));
                assert_ne!(why, Code::Ok);
            }
            Err(OpeningError::TooLong { have, .. }) => assert!(have > MAX_OPENING_BYTES && kind != "OpenEpoch"),
            Err(error) => panic!("leaf {at}, {kind}: {error:?}"),
        }
    }
    assert_eq!(opened, [1, 2]);
    let all = "Approved Close CloseRound Deposit Expire Genesis Lapse Mature OpenEpoch OpenEscrow RecordVerdict \
               RegisterProvider Reserve Seal Settle";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), all);
}

#[test]
fn after_a_rotation_the_next_opening_names_the_new_operator() {
    let mut world = World::new();
    assert_eq!(last(&world).unwrap(), Opening { epoch: 1, operator: key(1).public() });
    let issuer = [Keys::new().issuer];
    for (epoch, old, new, lost) in [(2, 1, 53, false), (3, 53, 54, true)] {
        let next = Rotate { role: KeyRole::Operator, old: key(old).public(), new: key(new).public(), lost };
        assert_eq!(world.approved(&Transaction::Rotate(next), &issuer).code, Code::Ok);
        // A key that was lost comes into no block.
        if !lost {
            assert_eq!(world.open_epoch(epoch), Code::NotAllowed, "by the key before");
            assert!(matches!(last(&world), Err(OpeningError::Refused(_, Code::NotAllowed))));
        }
        world.signers.keys.operator = key(new);
        assert_eq!(world.open_epoch(epoch), Code::Ok);
        assert_eq!(last(&world).unwrap(), Opening { epoch, operator: key(new).public() });
    }
}

#[test]
fn another_logs_key_opens_nothing() {
    let world = World::new();
    let good = proven(&world, openings(&world)[0]);
    assert!(opening(&good, &log_key(&world)).is_ok());
    let checkpoint = Keys::new().checkpoint.public();
    let other_key = VerifierKey::new(&world.signers.chain, key(5).public());
    let other_chain = Genesis { nonce: Digest::of(b"another chain"), ..Keys::new().genesis() }.chain();
    for other in [other_key, VerifierKey::new(&other_chain, checkpoint)] {
        assert!(matches!(opening(&good, &other), Err(OpeningError::Checkpoint(_))), "{other}");
    }
    // Their log has an opening that was signed for our chain.
    let at = openings(&world)[0];
    let mut signer = Signer::new(&other_chain, Keys::new().checkpoint, None);
    let note = signer.sign(&world.chain.seal_ref()).unwrap();
    let theirs = ProofFile { note: Note::parse(note.as_bytes()).unwrap(), ..proof_in(&world, &world.log, at) };
    let theirs = LeafProof { leaf: good.leaf, proof: theirs.to_string() };
    assert!(matches!(opening(&theirs, signer.key()), Err(OpeningError::Transaction(..))));
}

#[test]
fn a_leaf_counts_only_as_its_signer_signed_it_and_in_its_one_form() {
    let world = World::new();
    let chain = &world.signers.chain;
    let payload = cbor::to_vec(&Transaction::OpenEpoch(OpenEpoch { epoch: 2, nonce: vec![7; 16].into() }));
    let envelope = Envelope { signer: key(1).public(), epoch: 2, id: TxId([9; 16]), payload: payload.into() };
    let no_transaction = Envelope { payload: vec![1].into(), ..envelope.clone() };
    let leaf = |signed| {
        let receipt = Receipt { code: Code::Ok, transfers: Vec::new() };
        Leaf { height: 9, index: 0, body: LeafBody::Transaction(signed, receipt) }.to_bytes()
    };
    // Whatever it is, the log has it.
    let check = |leaf: Vec<u8>| {
        let leaves = [world.log.clone(), vec![leaf.clone()]].concat();
        let proof = proof_in(&world, &leaves, world.log.len());
        opening(&LeafProof { leaf: leaf.into(), proof: proof.to_string() }, &log_key(&world))
    };
    let good = leaf(Signed::new(chain, &key(1), &envelope));
    assert_eq!(check(good.clone()).unwrap(), Opening { epoch: 2, operator: key(1).public() });
    let other_chain = Genesis { nonce: Digest::of(b"another chain"), ..Keys::new().genesis() }.chain();
    for bad in [
        Signed::new(&other_chain, &key(1), &envelope),
        Signed::new(chain, &key(2), &envelope),
        Signed::new(chain, &key(1), &no_transaction),
    ] {
        assert!(matches!(check(leaf(bad)), Err(OpeningError::Transaction(at, _)) if at == world.log.len() as u64));
    }
    for bad in [Vec::new(), [&good[..], &[0]].concat(), good[..good.len() - 1].to_vec()] {
        assert!(matches!(check(bad), Err(OpeningError::Leaf(..))));
    }
}

#[test]
fn no_changed_bit_is_overlooked() {
    let world = World::new();
    let (at, log) = (openings(&world)[0], log_key(&world));
    let good = proven(&world, at);
    let said = opening(&good, &log).unwrap();
    for bit in 0..good.leaf.len() * 8 {
        let mut leaf = good.leaf.to_vec();
        leaf[bit / 8] ^= 1 << (bit % 8);
        let bad = LeafProof { leaf: leaf.into(), ..good.clone() };
        assert!(matches!(opening(&bad, &log), Err(OpeningError::NotIncluded { .. })), "bit {bit} of the leaf");
    }
    for bit in 0..good.proof.len() * 8 {
        let mut proof = good.proof.clone().into_bytes();
        proof[bit / 8] ^= 1 << (bit % 8);
        // What is no text comes into no `LeafProof`.
        let Ok(proof) = String::from_utf8(proof) else { continue };
        let bad = LeafProof { proof, ..good.clone() };
        assert!(opening(&bad, &log).is_err(), "bit {bit} of the proof");
    }
    let proof = proof_in(&world, &world.log, at);
    for step in 0..proof.path.len() {
        let mut bad = proof.clone();
        bad.path[step][0] ^= 1;
        let bad = LeafProof { proof: bad.to_string(), ..good.clone() };
        assert!(matches!(opening(&bad, &log), Err(OpeningError::NotIncluded { .. })), "step {step}");
    }
    let elsewhere = ProofFile { index: proof.index + 1, ..proof };
    let elsewhere = LeafProof { proof: elsewhere.to_string(), ..good.clone() };
    assert!(matches!(opening(&elsewhere, &log), Err(OpeningError::NotIncluded { .. })));
    assert_eq!(opening(&good, &log).unwrap(), said);
}

#[test]
fn what_is_too_long_is_not_read() {
    let world = World::new();
    let (at, log) = (openings(&world)[0], log_key(&world));
    let good = proven(&world, at);
    for (more, fits) in [(0, true), (1, false)] {
        let leaf = LeafProof { leaf: vec![0; MAX_OPENING_BYTES + more].into(), ..good.clone() };
        let proof = LeafProof { proof: "x".repeat(MAX_OPENING_PROOF_BYTES + more), ..good.clone() };
        assert_eq!(matches!(opening(&leaf, &log), Err(OpeningError::TooLong { what: "leaf", .. })), !fits);
        assert_eq!(matches!(opening(&proof, &log), Err(OpeningError::TooLong { what: "proof", .. })), !fits);
    }
}

#[test]
fn a_proof_has_room_for_the_cosignatures_of_all_witnesses() {
    let world = World::new();
    let (at, log) = (openings(&world)[0], log_key(&world));
    let mut proof = proof_in(&world, &world.log, at);
    for witness in 0..63 {
        let name = format!("witness-{witness}.transparency.example.org");
        let cosigner = NoteSigner::new(&name, KeyType::Cosignature, key(100 + witness)).unwrap();
        let signature = cosigner.sign(proof.note.text(), 1_700_000_000);
        proof.note.add(signature).unwrap();
    }
    let proof = LeafProof { leaf: world.log[at].clone().into(), proof: proof.to_string() };
    assert_eq!(opening(&proof, &log).unwrap().operator, key(1).public());
}
