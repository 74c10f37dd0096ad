//! Signed notes and key texts: one form each, and never two signed logs that contradict each other.

mod support;

use orion_ledger_core::checkpoint::{Checkpoint, CheckpointError, Signer, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::ledger::SealRef;
use support::{Keys, key};

fn signer() -> Signer {
    let keys = Keys::new();
    Signer::new(&keys.genesis().chain(), keys.checkpoint, None)
}

fn seal(size: u64, root: u8) -> SealRef {
    SealRef { height: size, size, root: Digest([root; 32]), time_ms: 1 }
}

#[test]
fn a_signed_checkpoint_is_read_back_and_every_changed_byte_is_refused() {
    let mut signer = signer();
    let note = signer.sign(&seal(7, 1)).unwrap();
    let vkey = signer.key().clone();
    let checkpoint = Checkpoint::open(note.as_bytes(), &vkey).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root, checkpoint.origin.as_str()), (7, Digest([1; 32]), vkey.name()));
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(Checkpoint::open(&bytes, &vkey).is_err(), "byte {at} bit {bit}");
        }
    }
    for wrong in [format!("{note}\n"), note.trim_end().to_owned(), note.replace("\n7\n", "\n07\n"), String::new()] {
        assert!(Checkpoint::open(wrong.as_bytes(), &vkey).is_err(), "{wrong:?}");
    }
}

#[test]
fn another_key_or_another_log_is_refused() {
    let note = signer().sign(&seal(7, 1)).unwrap();
    let chain = Keys::new().genesis().chain();
    let other_key = VerifierKey::new(&chain, key(9).public());
    assert_eq!(Checkpoint::open(note.as_bytes(), &other_key), Err(CheckpointError::Signature));
    let mut genesis = Keys::new().genesis();
    genesis.nonce = Digest::ZERO;
    let other_log = VerifierKey::new(&genesis.chain(), genesis.checkpoint);
    assert!(matches!(Checkpoint::open(note.as_bytes(), &other_log), Err(CheckpointError::Origin { .. })));
}

#[test]
fn the_key_text_is_that_of_signed_notes_and_has_one_form() {
    let text = signer().key().to_string();
    // name + first 4 bytes of SHA-256(name || 0x0A || 0x01 || key) + base64(0x01 || key), computed apart with Python.
    assert_eq!(text, include_str!("checkpoint-key.txt").trim_end());
    let parsed = VerifierKey::parse(&text).unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(parsed.chain().unwrap(), Keys::new().genesis().chain());
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(VerifierKey::parse(&changed).is_err(), "{changed}");
    }
    for wrong in ["", "+", "a+b", "a b+00000000+AA==", &text.replace("orion.dev", "orion dev")] {
        assert!(VerifierKey::parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_signer_signs_larger_or_the_same_and_nothing_that_contradicts() {
    let mut signer = signer();
    let first = signer.sign(&seal(7, 1)).unwrap();
    assert_eq!(signer.sign(&seal(7, 1)).unwrap(), first);
    assert_eq!(signer.sign(&seal(7, 2)), Err(CheckpointError::Fork { size: 7, signed: 7 }));
    assert_eq!(signer.sign(&seal(6, 1)), Err(CheckpointError::Fork { size: 6, signed: 7 }));
    assert!(signer.sign(&seal(8, 2)).is_ok());

    let last = Checkpoint::open(first.as_bytes(), signer.key()).unwrap();
    let keys = Keys::new();
    let mut again = Signer::new(&keys.genesis().chain(), keys.checkpoint, Some(&last));
    assert!(again.sign(&seal(6, 1)).is_err());
    assert_eq!(again.sign(&seal(7, 1)).unwrap(), first);
}
