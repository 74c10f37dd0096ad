//! What strangers say to ledger, witness and verifier: every reader on any bytes. What is read has one form, and nobody but the log
//! itself can make it a fork.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orion_fuzz::{Counting, bounded};
use orion_ledger_core::log::fork::{Evidence, Shown};
use orion_ledger_core::log::note::{KeyType, Note, NoteKey};
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::receipt::read_unit;
use orion_ledger_core::log::tile::{Resource, entries, write_entry};
use orion_ledger_core::log::trust::Trust;
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer, SIZE_TYPE};
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::PublicKey;
use orion_protocol::ledger::leaf::Leaf;

#[global_allocator]
static COUNTING: Counting = Counting;

fuzz_target!(|data: &[u8]| bounded(data.len(), || {
    let own = NoteKey::new("orion.dev/orion-00", KeyType::Ed25519, PublicKey([1; 32])).expect("a name");
    let own = VerifierKey::of(own).expect("a log's key");
    notes(data, &own);
    words(data);
    bundle(data);
    if let Ok(leaf) = Leaf::from_bytes(data) {
        assert_eq!(leaf.to_bytes(), data);
    }
    let _ = read_unit(data);
    if let Ok(evidence) = Evidence::parse(data) {
        assert_eq!(evidence.to_bytes(), data);
        assert!(!matches!(evidence.judge(&own), Ok(Shown::Fork { .. })));
    }
}));

/// A note, and what holds one.
fn notes(data: &[u8], own: &VerifierKey) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        assert!(Checkpoint::of_note(&note, own).is_err());
        if let Ok(checkpoint) = Checkpoint::from_text(note.text()) {
            assert_eq!(checkpoint.text(), note.text());
        }
    }
    if let Ok(proof) = ProofFile::parse(data) {
        assert_eq!(proof.to_string().as_bytes(), data);
        if let Ok(checkpoint) = Checkpoint::from_text(proof.note.text()) {
            let _ = proof.holds(b"entry", &checkpoint);
        }
    }
    if let Ok(request) = AddCheckpoint::parse(data) {
        assert_eq!(request.to_string().as_bytes(), data);
        assert!(request.judge(std::slice::from_ref(own), None).is_err());
    }
    for (status, kind) in [(200, ""), (409, SIZE_TYPE)] {
        if let Ok(answer) = Answer::parse(status, kind, data) {
            assert_eq!(answer.body().as_bytes(), data);
        }
    }
}

/// Text without signatures.
fn words(data: &[u8]) {
    if let Ok(trust) = Trust::parse(data) {
        let note =
            Note::new("orion.dev/orion-00\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".into()).expect("text");
        assert!(trust.judge(&note).is_ok_and(|judged| !judged.accepted()));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(resource) = Resource::parse(text) {
        assert_eq!(resource.path(), text);
    }
    if let Ok(key) = NoteKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
}

/// The first byte says how many entries there should be.
fn bundle(data: &[u8]) {
    let Some((width, bundle)) = data.split_first() else { return };
    if let Ok(entries) = entries(bundle, u16::from(*width)) {
        let mut again = Vec::new();
        for entry in entries {
            write_entry(&mut again, entry).expect("as it was read");
        }
        assert_eq!(again, bundle);
    }
}
