//! Signed notes and keys beside another implementation: what crate `signed_note` signs is read and verified here and the
//! other way round, and what one reads as a note the other does.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_ledger_core::log::note::{
    Checked, KeyType, MAX_NOTE_BYTES, MAX_SECONDS, MAX_SIGNATURES, Note, NoteError, NoteKey, NoteSignature, NoteSigner,
};
use orion_ledger_core::{Checkpoint, Signer, VerifierKey};
use orion_protocol::ledger::SealRef;
use orion_protocol::{Digest, PublicKey, Signature};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use support::{Keys, key};

const LOG: &str = "log.example/one";
const TEXT: &str = "log.example/one\n5\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
const TIME: u64 = 1_700_000_000;

fn log() -> NoteSigner {
    NoteSigner::new(LOG, KeyType::Ed25519, key(1)).unwrap()
}

fn witness(number: u8) -> NoteSigner {
    NoteSigner::new(&format!("witness.example/w{number}"), KeyType::Cosignature, key(number)).unwrap()
}

/// Signed by the log, cosigned by witnesses 2 and 3.
fn note() -> Note {
    let mut note = Note::new(TEXT.into()).unwrap();
    note.add(log().sign(TEXT, 0)).unwrap();
    note.add(witness(2).sign(TEXT, TIME)).unwrap();
    note.add(witness(3).sign(TEXT, TIME + 1)).unwrap();
    note
}

fn good(seconds: u64) -> Checked {
    Checked::Good { seconds: Some(seconds) }
}

/// A cosigner's key as the other implementation wants it.
struct Cosigner(NoteKey);

impl signed_note::Verifier for Cosigner {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn key_id(&self) -> u32 {
        let typed = [&[4], self.0.key().as_bytes()].concat();
        signed_note::key_id(self.0.name(), &typed)
    }

    /// The signed bytes, put together apart from the code under test.
    fn verify(&self, text: &[u8], bytes: &[u8]) -> bool {
        let Some((time, signature)) = bytes.split_first_chunk::<8>() else { return false };
        let mut message = b"cosignature/v1\ntime ".to_vec();
        message.extend(u64::from_be_bytes(*time).to_string().bytes());
        message.push(b'\n');
        message.extend(text);
        signature.try_into().is_ok_and(|signature| self.0.key().verifies(&message, &Signature(signature)))
    }
}

fn their_keys() -> VerifierList {
    let log = StandardVerifier::new(&log().key().to_string()).unwrap();
    let witnesses = [2, 3].map(|number| Box::new(Cosigner(witness(number).key().clone())));
    let [two, three] = witnesses;
    VerifierList::new(vec![Box::new(log), two, three])
}

#[test]
fn what_go_signed_is_verified() {
    // The example of golang.org/x/mod/sumdb/note.
    let key = NoteKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let text = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    let note = format!(
        "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    );
    let parsed = Note::parse(note.as_bytes()).unwrap();
    assert_eq!((parsed.text(), parsed.to_string().as_str()), (text, note.as_str()));
    assert_eq!(key.verify(&parsed), Checked::Good { seconds: None });
}

#[test]
fn the_other_implementation_verifies_what_is_signed_here() {
    let theirs = signed_note::Note::from_bytes(note().to_string().as_bytes()).unwrap();
    let (verified, unverified) = theirs.verify(&their_keys()).unwrap();
    assert_eq!((verified.len(), unverified.len()), (3, 0));
    let mut signer = Signer::new(&Keys::new().genesis().chain(), Keys::new().checkpoint, None);
    let seal = SealRef { height: 3, size: 12, root: Digest([9; 32]), time_ms: 1 };
    let checkpoint = signer.sign(&seal).unwrap();
    let theirs = signed_note::Note::from_bytes(checkpoint.as_bytes()).unwrap();
    let key = StandardVerifier::new(&signer.key().to_string()).unwrap();
    assert_eq!(theirs.verify(&VerifierList::new(vec![Box::new(key)])).unwrap().0.len(), 1);
    let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.hash().0), (signer.key().name(), 12, [9; 32]));
    assert_eq!(read.extension(), "");
}

#[test]
fn what_the_other_implementation_signs_is_verified_here() {
    let ours = log();
    let id = ours.key().to_string().split('+').nth(1).unwrap().to_owned();
    let secret = BASE64.encode([&[1], [1; 32].as_slice()].concat());
    let theirs = StandardSigner::new(&format!("PRIVATE+KEY+{LOG}+{id}+{secret}")).unwrap();
    let mut signed = signed_note::Note::new(TEXT.as_bytes(), &[]).unwrap();
    signed.add_sigs(&[&theirs]).unwrap();
    let note = Note::parse(&signed.to_bytes()).unwrap();
    assert_eq!(ours.key().verify(&note), Checked::Good { seconds: None });
    assert_eq!(note.signatures(), [ours.sign(TEXT, 0)]);
}

#[test]
fn both_read_the_same_bytes_as_notes() {
    let note = note().to_string();
    let (mut yes, mut no) = (0, 0);
    let mut check = |bytes: &[u8]| {
        let (ours, theirs) = (Note::parse(bytes), signed_note::Note::from_bytes(bytes));
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {ours:?}", String::from_utf8_lossy(bytes));
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert_eq!((ours.text().as_bytes(), ours.to_string().as_bytes()), (theirs.text(), bytes));
            yes += 1;
        } else {
            no += 1;
        }
    };
    for at in 0..note.len() {
        for byte in [0, 9, 10, 13, 31, 32, b'+', b'=', b'A', 0x7f, 0x80, 0xe2, 0xff] {
            let mut changed = note.clone().into_bytes();
            changed[at] = byte;
            check(&changed);
        }
        let mut shorter = note.clone().into_bytes();
        shorter.remove(at);
        check(&shorter);
        for piece in ["\n", " ", "\u{2003}", "\u{2014}", "\u{85}"] {
            let mut longer = note.clone().into_bytes();
            longer.splice(at..at, piece.bytes());
            check(&longer);
        }
        check(&note.as_bytes()[..at]);
    }
    assert!(yes > 500 && no > 500, "{yes} {no}");
}

#[test]
fn a_changed_byte_anywhere_takes_the_word_of_at_least_one_signer() {
    let note = note().to_string();
    let signers = [log(), witness(2), witness(3)];
    let all_good = |bytes: &[u8]| {
        Note::parse(bytes)
            .is_ok_and(|note| signers.iter().all(|signer| matches!(signer.key().verify(&note), Checked::Good { .. })))
    };
    assert!(all_good(note.as_bytes()));
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1 << bit;
            assert!(!all_good(&changed), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn unknown_keys_are_ignored_and_a_bad_signature_of_a_known_key_spoils_the_note() {
    let mut note = note();
    assert_eq!(witness(2).key().verify(&note), good(TIME));
    assert_eq!(witness(4).key().verify(&note), Checked::Absent);
    // The same name and another key; the same key under another name, and of another type.
    let namesake = NoteSigner::new("witness.example/w2", KeyType::Cosignature, key(9)).unwrap();
    let renamed = NoteSigner::new("witness.example/other", KeyType::Cosignature, key(2)).unwrap();
    let plain = NoteSigner::new("witness.example/w2", KeyType::Ed25519, key(2)).unwrap();
    for stranger in [&namesake, &renamed, &plain] {
        assert_eq!(stranger.key().verify(&note), Checked::Absent);
        note.add(stranger.sign("another text\n", TIME)).unwrap();
        assert_eq!(stranger.key().verify(&note), Checked::Bad);
    }
    // A signature of a type that is not known here, as long as those are.
    let large = BASE64.encode([&[1, 2, 3, 4], vec![7; 5000].as_slice()].concat());
    note.add(NoteSignature::parse(&format!("\u{2014} {LOG} {large}")).unwrap()).unwrap();
    let note = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), 7);
    assert_eq!(
        (log().key().verify(&note), witness(2).key().verify(&note)),
        (Checked::Good { seconds: None }, good(TIME))
    );

    // Two of one key: both count, the latest time is told; a wrong one spoils them wherever it stands.
    let line = |text: &str, seconds: u64| witness(2).sign(text, seconds).to_string();
    let with = |lines: &[String]| Note::parse(format!("{TEXT}\n{}\n", lines.join("\n")).as_bytes()).unwrap();
    let check = |lines: &[String]| witness(2).key().verify(&with(lines));
    assert_eq!(check(&[line(TEXT, 9), line(TEXT, 7)]), good(9));
    assert_eq!(check(&[line(TEXT, 9), line("x\n", 7)]), Checked::Bad);
    assert_eq!(check(&[line("x\n", 9), line(TEXT, 7)]), Checked::Bad);
    // Adding replaces.
    let mut note = with(&[line("x\n", 9), line("y\n", 7)]);
    note.add(witness(2).sign(TEXT, 11)).unwrap();
    assert_eq!((witness(2).key().verify(&note), note.signatures().len()), (good(11), 1));
}

#[test]
fn a_log_is_believed_with_any_number_of_other_signatures_and_never_without_its_own() {
    let vkey = VerifierKey::of(log().key().clone()).unwrap();
    let checkpoint = Checkpoint { origin: LOG.into(), size: 5, root: Digest([1; 32]) };
    assert_eq!(checkpoint.text(), TEXT);
    let open = |note: &Note| Checkpoint::open(note.to_string().as_bytes(), &vkey);
    assert_eq!(open(&note()).unwrap(), checkpoint);
    let mut strangers = Note::new(TEXT.into()).unwrap();
    for number in 0..63 {
        strangers.add(witness(100 + number).sign(TEXT, TIME)).unwrap();
    }
    assert!(open(&strangers).is_err());
    strangers.add(log().sign(TEXT, 0)).unwrap();
    assert_eq!(open(&strangers).unwrap(), checkpoint);
    // A witness's key is no log's, also in the log's name.
    let cosigner = NoteSigner::new(LOG, KeyType::Cosignature, key(1)).unwrap();
    assert_eq!(VerifierKey::of(cosigner.key().clone()), None);
    assert!(VerifierKey::parse(&cosigner.key().to_string()).is_err());
    let mut note = Note::new(TEXT.into()).unwrap();
    note.add(cosigner.sign(TEXT, TIME)).unwrap();
    assert!(open(&note).is_err());
}

#[test]
fn a_checkpoint_has_one_form() {
    let root = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    for wrong in [
        String::new(),
        format!("a\n5\n{root}"),
        format!("\n5\n{root}\n"),
        format!("a\n05\n{root}\n"),
        format!("a\n+5\n{root}\n"),
        format!("a\n-5\n{root}\n"),
        format!("a\n\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        format!("a\n5\n{root}\nextension\n"),
        format!("a\n5\n{root}\n\n"),
        format!("a\n5\n{}\n", root.replace('=', "")),
        format!("a\n5\n{}\n", root.replace("E=", "F=")),
        format!("a\n5\n{}\n", &root[4..]),
    ] {
        assert!(Checkpoint::from_text(&wrong).is_err(), "{wrong:?}");
    }
    let most = format!("a\n18446744073709551615\n{root}\n");
    assert_eq!(Checkpoint::from_text(&most).unwrap().text(), most);
}

#[test]
fn notes_and_their_signatures_are_bounded() {
    let line = witness(2).sign(TEXT, TIME).to_string();
    let lines = |count: usize| format!("{TEXT}\n{}", format!("{line}\n").repeat(count));
    assert_eq!(Note::parse(lines(MAX_SIGNATURES).as_bytes()).unwrap().signatures().len(), MAX_SIGNATURES);
    assert_eq!(Note::parse(lines(MAX_SIGNATURES + 1).as_bytes()), Err(NoteError::TooMany));
    let mut full = Note::new(TEXT.into()).unwrap();
    for number in 0..64 {
        full.add(witness(number + 1).sign(TEXT, TIME)).unwrap();
    }
    let before = full.clone();
    assert_eq!(full.add(witness(99).sign(TEXT, TIME)), Err(NoteError::TooMany));
    assert_eq!(full, before);
    full.add(witness(64).sign(TEXT, TIME + 1)).unwrap();

    let sized = |size: usize| {
        let rest = format!("\n\n{line}\n");
        format!("{}{rest}", "a".repeat(size - rest.len()))
    };
    assert!(Note::parse(sized(MAX_NOTE_BYTES).as_bytes()).is_ok());
    assert_eq!(Note::parse(sized(MAX_NOTE_BYTES + 1).as_bytes()), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
    let text = "a".repeat(MAX_NOTE_BYTES - 1) + "\n";
    let mut note = Note::new(text.clone()).unwrap();
    assert!(matches!(note.add(witness(2).sign(TEXT, TIME)), Err(NoteError::TooLong(_))));
    assert_eq!(Note::new(format!("a{text}")), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
    assert_eq!(Note::new("no newline".into()), Err(NoteError::Parts));
    assert_eq!(Note::new("a\tb\n".into()), Err(NoteError::NotText));
}

#[test]
fn a_cosignature_states_its_time_and_nothing_beyond_the_largest() {
    let note = |seconds: u64| {
        let mut note = Note::new(TEXT.into()).unwrap();
        note.add(witness(2).sign(TEXT, seconds)).unwrap();
        note
    };
    for seconds in [0, 1, TIME, MAX_SECONDS] {
        assert_eq!(witness(2).key().verify(&note(seconds)), good(seconds));
    }
    assert_eq!(witness(2).key().verify(&note(u64::MAX)), good(MAX_SECONDS));
    // One that states more, well signed.
    let seconds = MAX_SECONDS + 1;
    let signature = key(2).sign_bytes(format!("cosignature/v1\ntime {seconds}\n{TEXT}").as_bytes());
    let id = &BASE64.decode(note(0).signatures()[0].to_string().rsplit(' ').next().unwrap()).unwrap()[..4];
    let data = [id, &seconds.to_be_bytes(), &signature.0].concat();
    let late = format!("{TEXT}\n\u{2014} witness.example/w2 {}\n", BASE64.encode(data));
    assert_eq!(witness(2).key().verify(&Note::parse(late.as_bytes()).unwrap()), Checked::Bad);
    // Too short for a time, or for a signature.
    for length in [1, 7, 8, 71, 73] {
        let data = [id, vec![0; length].as_slice()].concat();
        let short = format!("{TEXT}\n\u{2014} witness.example/w2 {}\n", BASE64.encode(data));
        assert_eq!(witness(2).key().verify(&Note::parse(short.as_bytes()).unwrap()), Checked::Bad);
    }
}

#[test]
fn a_key_text_has_one_form_and_every_changed_byte_is_refused() {
    for key in [log().key().clone(), witness(2).key().clone()] {
        let text = key.to_string();
        assert_eq!(NoteKey::parse(&text).unwrap(), key);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                assert!(NoteKey::parse(&changed).is_err(), "{changed}");
            }
        }
    }
    let other_type = BASE64.encode([&[6], [1; 32].as_slice()].concat());
    for wrong in [String::new(), "+".into(), "a+b".into(), "a+00000000+AQ==".into(), format!("a+00000000+{other_type}")]
    {
        assert!(NoteKey::parse(&wrong).is_err(), "{wrong}");
    }
    for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", "a\u{7f}b"] {
        assert!(NoteKey::new(name, KeyType::Ed25519, PublicKey([0; 32])).is_err(), "{name:?}");
    }
}
