//! Proof files, and what logs and witnesses say to each other: one form each, judged as the specifications say.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_ledger_core::log::note::{KeyType, Note, NoteError, NoteSigner};
use orion_ledger_core::log::proof_file::{MAX_EXTRA_BYTES, MAX_PROOF_BYTES, ProofFile, ProofFileError};
use orion_ledger_core::log::prove::{Edge, Hashes, consistency, inclusion};
use orion_ledger_core::log::tile::Tile;
use orion_ledger_core::log::witness_wire::{
    AddCheckpoint, Answer, AnswerError, MAX_REQUEST_BYTES, Refusal, RequestError, SIZE_TYPE, TEXT_TYPE,
};
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::merkle::{self, Sha256};
use support::key;

const LOG: &str = "orion.dev/orion-0123";

fn log() -> NoteSigner {
    NoteSigner::new(LOG, KeyType::Ed25519, key(1)).unwrap()
}

fn vkey() -> VerifierKey {
    VerifierKey::of(log().key().clone()).unwrap()
}

fn leaves(size: u64) -> Vec<[u8; 32]> {
    (0..size).map(|at| Sha256::leaf(&at.to_be_bytes())).collect()
}

/// A log below 256 leaves: one tile.
struct Small(Vec<[u8; 32]>);

impl Hashes for Small {
    type Error = ();
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, ()> {
        assert_eq!((tile.level, tile.index), (0, 0));
        Ok(self.0[..usize::from(tile.width)].to_vec())
    }
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: LOG.into(), size, root: Digest(merkle::root::<Sha256>(&leaves(size))) }
}

fn signed(checkpoint: &Checkpoint) -> Note {
    let mut note = Note::new(checkpoint.text()).unwrap();
    note.add(log().sign(note.text(), 0)).unwrap();
    note
}

fn proof_file(at: u64, size: u64) -> ProofFile {
    let path = inclusion(size, at, &Small(leaves(size))).unwrap();
    ProofFile { extra: None, index: at, path, note: signed(&checkpoint(size)) }
}

#[test]
fn a_proof_file_is_what_the_specification_says_line_for_line() {
    let proof = ProofFile { extra: Some(b"more".to_vec()), ..proof_file(5, 7) };
    let hashes: Vec<String> = proof.path.iter().map(|hash| BASE64.encode(hash)).collect();
    let want = format!("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 5\n{}\n\n{}", hashes.join("\n"), proof.note);
    assert_eq!((proof.to_string(), proof.path.len()), (want.clone(), 3));
    assert_eq!(ProofFile::parse(want.as_bytes()).unwrap(), proof);
    let alone = proof_file(0, 1);
    let want = format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{}", alone.note);
    assert_eq!((alone.to_string(), ProofFile::parse(want.as_bytes()).unwrap()), (want, alone));
}

#[test]
fn a_proof_holds_for_its_entry_at_its_place_and_no_changed_byte_survives() {
    for (at, size) in [(0, 1), (5, 7), (199, 200)] {
        let proof = proof_file(at, size);
        let (entry, text) = (at.to_be_bytes(), proof.to_string());
        let verified = |bytes: &[u8], entry: &[u8]| {
            ProofFile::parse(bytes).is_ok_and(|proof| {
                Checkpoint::of_note(&proof.note, &vkey()).is_ok_and(|checkpoint| proof.holds(entry, &checkpoint))
            })
        };
        assert!(verified(text.as_bytes(), &entry));
        assert!(!verified(text.as_bytes(), b"another") && !verified(text.as_bytes(), &[]));
        for place in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[place] ^= 1 << bit;
                assert!(!verified(&changed, &entry), "{at} of {size}, byte {place} bit {bit}");
            }
            assert!(ProofFile::parse(&text.as_bytes()[..place]).is_err(), "cut at {place}");
        }
    }
}

#[test]
fn what_is_no_proof_file_is_refused_with_its_line() {
    let (proof, hash) = (proof_file(5, 7), BASE64.encode([1; 32]));
    let note = proof.note.to_string();
    let line = |line, want| ProofFileError::Line { line, want };
    let magic = "c2sp.org/tlog-proof@v1";
    for (text, error) in [
        (String::new(), ProofFileError::Magic),
        (format!("c2sp.org/tlog-proof@v2\nindex 5\n\n{note}"), ProofFileError::Magic),
        (format!("{magic}\n{hash}\n\n{note}"), line(2, "index and a number")),
        (format!("{magic}\nindex 05\n\n{note}"), line(2, "index and a number")),
        (format!("{magic}\nindex -5\n\n{note}"), line(2, "index and a number")),
        (format!("{magic}\nindex 18446744073709551616\n\n{note}"), line(2, "index and a number")),
        (format!("{magic}\nextra a\nindex 5\n\n{note}"), line(2, "extra and at most 16 KiB of base64")),
        (format!("{magic}\nextra aaaa\nextra aaaa\nindex 5\n\n{note}"), line(3, "index and a number")),
        (format!("{magic}\nindex 5\nAAAA\n\n{note}"), line(3, "32 bytes of base64, or an empty line")),
        (format!("{magic}\nindex 5\n{hash}\n{note}"), line(4, "32 bytes of base64, or an empty line")),
        (
            format!("{magic}\nindex 5\n{}\n{note}", format!("{hash}\n").repeat(65)),
            line(67, "an empty line after so many hashes"),
        ),
        (format!("{magic}\nindex 5\n\n"), ProofFileError::Note(NoteError::Parts)),
        (format!("{magic}\nindex 5\n\n\n{note}x"), ProofFileError::Note(NoteError::Parts)),
    ] {
        assert_eq!(ProofFile::parse(text.as_bytes()), Err(error), "{text}");
    }
    let extra = |bytes: usize| format!("{magic}\nextra {}\nindex 5\n\n{note}", "A".repeat(bytes));
    assert_eq!(
        ProofFile::parse(extra(MAX_EXTRA_BYTES).as_bytes()).unwrap().extra.unwrap().len(),
        MAX_EXTRA_BYTES / 4 * 3
    );
    assert!(ProofFile::parse(extra(MAX_EXTRA_BYTES + 4).as_bytes()).is_err());
    let long = vec![b'A'; MAX_PROOF_BYTES + 1];
    assert_eq!(ProofFile::parse(&long), Err(ProofFileError::TooLong(long.len())));
}

#[test]
fn a_proof_with_five_cosigners_stays_below_4_kib_at_a_hundred_million_leaves() {
    let mut proof = ProofFile { extra: None, index: 99_999_999, path: vec![[7; 32]; 27], note: signed(&checkpoint(9)) };
    proof.note = Note::new(proof.note.text().replace("\n9\n", "\n100000000\n")).unwrap();
    let origin = "orion.dev/orion-0123456789abcdef0123456789abcdef";
    proof.note = Note::new(proof.note.text().replace(LOG, origin)).unwrap();
    let log = NoteSigner::new(origin, KeyType::Ed25519, key(1)).unwrap();
    proof.note.add(log.sign(proof.note.text(), 0)).unwrap();
    for number in 0..5 {
        let name = format!("witness-{number}.some-provider.example.com/orion");
        let witness = NoteSigner::new(&name, KeyType::Cosignature, key(10 + number)).unwrap();
        proof.note.add(witness.sign(proof.note.text(), 1_700_000_000)).unwrap();
    }
    let length = proof.to_string().len();
    assert!((2_200..2_400).contains(&length), "{length} bytes");
}

fn request(old: u64, new: u64) -> AddCheckpoint {
    let proof = consistency(old, new, &Small(leaves(new))).unwrap();
    AddCheckpoint { old, proof, note: signed(&checkpoint(new)) }
}

#[test]
fn a_request_has_one_form_and_no_changed_byte_is_cosigned() {
    let last = checkpoint(5);
    let request = request(5, 11);
    let text = request.to_string();
    let hashes: String = request.proof.iter().map(|hash| BASE64.encode(hash) + "\n").collect();
    assert_eq!(text, format!("old 5\n{hashes}\n{}", request.note));
    assert_eq!(AddCheckpoint::parse(text.as_bytes()).unwrap(), request);
    assert_eq!(request.judge(&[vkey()], Some(&last)), Ok(checkpoint(11)));
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1 << bit;
            let cosigned = AddCheckpoint::parse(&changed).is_ok_and(|one| one.judge(&[vkey()], Some(&last)).is_ok());
            assert!(!cosigned, "byte {at} bit {bit}");
        }
        assert!(AddCheckpoint::parse(&text.as_bytes()[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_its_line() {
    let (note, hash) = (signed(&checkpoint(9)), BASE64.encode([1; 32]));
    let line = |line, want| RequestError::Line { line, want };
    for (text, error) in [
        (String::new(), line(1, "old and a number")),
        (format!("old\n\n{note}"), line(1, "old and a number")),
        (format!("old 01\n\n{note}"), line(1, "old and a number")),
        (format!("old  1\n\n{note}"), line(1, "old and a number")),
        (format!("old 1\n{note}"), line(2, "32 bytes of base64, or an empty line")),
        (format!("old 1\n{}\n{note}", format!("{hash}\n").repeat(64)), line(65, "an empty line after so many hashes")),
        (format!("old 1\n\n{}", note.text()), RequestError::Note(NoteError::Parts)),
    ] {
        assert_eq!(AddCheckpoint::parse(text.as_bytes()), Err(error), "{text}");
    }
    let most = format!("old 1\n{}\n{note}", format!("{hash}\n").repeat(63));
    assert_eq!(AddCheckpoint::parse(most.as_bytes()).unwrap().proof.len(), 63);
    let long = vec![b'a'; MAX_REQUEST_BYTES + 1];
    assert_eq!(AddCheckpoint::parse(&long), Err(RequestError::TooLong(long.len())));
}

#[test]
fn requests_are_judged_in_the_specifications_order() {
    let refused = |request: &AddCheckpoint, logs: &[VerifierKey], last: Option<u64>| {
        let last = last.map(checkpoint);
        request.judge(logs, last.as_ref()).map_err(|answer| (answer.status(), answer.body()))
    };
    let check = |request: &AddCheckpoint, last: Option<u64>| refused(request, &[vkey()], last);
    let status = |result: Result<Checkpoint, (u16, String)>| result.unwrap_err().0;

    assert_eq!(check(&request(0, 5), None), Ok(checkpoint(5)));
    assert_eq!(check(&request(5, 5), Some(5)), Ok(checkpoint(5)));
    // Every pair of sizes, as far as one tile goes in steps.
    for (old, new) in (1..40).flat_map(|old| (old..40).map(move |new| (old, new))) {
        assert_eq!(check(&request(old, new), Some(old)), Ok(checkpoint(new)), "{old} to {new}");
    }

    // 404: a log that is not known, whatever else is wrong.
    assert_eq!(status(refused(&AddCheckpoint { old: 9, ..request(0, 5) }, &[], Some(7))), 404);
    // 403: signed by nobody, by another, or badly.
    let unsigned = AddCheckpoint { note: Note::new(checkpoint(5).text()).unwrap(), ..request(0, 5) };
    assert_eq!(status(check(&unsigned, None)), 403);
    let other = VerifierKey::of(NoteSigner::new(LOG, KeyType::Ed25519, key(9)).unwrap().key().clone()).unwrap();
    assert_eq!(status(refused(&request(0, 5), std::slice::from_ref(&other), None)), 403);
    assert_eq!(refused(&request(0, 5), &[other, vkey()], None), Ok(checkpoint(5)));
    let mut bad = request(0, 5);
    bad.note.add(log().sign("another\n", 0)).unwrap();
    assert_eq!(status(check(&bad, None)), 403);
    // 400: no checkpoint; an old size above the new.
    let text = AddCheckpoint { note: Note::new("text\n".into()).unwrap(), ..request(0, 5) };
    assert_eq!(status(check(&text, None)), 400);
    assert_eq!(status(check(&AddCheckpoint { old: 6, ..request(0, 5) }, Some(6))), 400);
    // 409 with the size: the old size is another.
    for (old, last) in [(0, Some(3)), (3, None), (4, Some(3)), (3, Some(5)), (3, Some(8))] {
        let answer = check(&request(old, 5), last).unwrap_err();
        assert_eq!(answer, (409, format!("{}\n", last.unwrap_or(0))), "{old} {last:?}");
    }
    // 409: the same size, another root.
    let mut fork = checkpoint(5);
    fork.root = Digest([1; 32]);
    let fork = AddCheckpoint { old: 5, proof: vec![], note: signed(&fork) };
    let answer = fork.judge(&[vkey()], Some(&checkpoint(5))).unwrap_err();
    assert!(matches!(&answer, Answer::Refused(Refusal::Fork, _)) && answer.content_type() == TEXT_TYPE);
    // 422: the proof does not hold, or there is one where there must be none.
    let longer = |old, new| AddCheckpoint { proof: vec![[0; 32]], ..request(old, new) };
    for (request, last) in [(longer(0, 5), None), (longer(5, 5), Some(5)), (longer(3, 5), Some(3))] {
        assert_eq!(status(check(&request, last)), 422);
    }
    let mut rewritten = checkpoint(5);
    rewritten.root = Digest([1; 32]);
    assert!(request(5, 9).judge(&[vkey()], Some(&rewritten)).is_err_and(|answer| answer.status() == 422));
    // An empty log has one root.
    let empty = |root| AddCheckpoint { old: 0, proof: vec![], note: signed(&Checkpoint { root, ..checkpoint(0) }) };
    assert_eq!(check(&empty(checkpoint(0).root), None), Ok(checkpoint(0)));
    assert_eq!(status(check(&empty(Digest([1; 32])), None)), 422);
    assert_eq!(check(&request(0, 5), Some(0)), Ok(checkpoint(5)));
}

#[test]
fn answers_are_read_back() {
    let witness = NoteSigner::new("witness.example", KeyType::Cosignature, key(5)).unwrap();
    let signature = witness.sign(&checkpoint(5).text(), 7);
    let refusals = [400, 403, 404, 409, 422, 503, 500, 301];
    let answers = [
        Answer::Cosigned(vec![signature.clone()]),
        Answer::Cosigned(vec![signature.clone(), signature]),
        Answer::Size(0),
        Answer::Size(u64::MAX),
    ];
    for answer in &answers {
        let read = Answer::parse(answer.status(), answer.content_type(), answer.body().as_bytes()).unwrap();
        assert_eq!(read, *answer);
    }
    for status in refusals {
        let answer = Answer::parse(status, TEXT_TYPE, b"because\n").unwrap();
        let Answer::Refused(refusal, words) = &answer else { panic!("{answer:?}") };
        assert_eq!((refusal.status(), words.as_str(), answer.status()), (status, "because", status));
        assert!(!matches!(refusal, Refusal::Other(_)) || status == 500 || status == 301);
    }
    let loud = Answer::parse(500, TEXT_TYPE, format!("\u{1b}[2J\u{7}{}", "x".repeat(5000)).as_bytes()).unwrap();
    let Answer::Refused(_, words) = loud else { panic!("{loud:?}") };
    assert!(words.len() == 1024 && words.starts_with(" [2J xx"));
    assert_eq!(answers[2].content_type(), SIZE_TYPE);
    assert_eq!(Answer::parse(409, TEXT_TYPE, b"7\n").unwrap(), Answer::Refused(Refusal::Fork, "7".into()));
    for (status, kind, body, error) in [
        (200, TEXT_TYPE, &b""[..], AnswerError::NotText),
        (200, TEXT_TYPE, b"\xff\n", AnswerError::NotText),
        (409, SIZE_TYPE, b"7", AnswerError::NotText),
        (409, SIZE_TYPE, b"07\n", AnswerError::Size),
        (409, SIZE_TYPE, b"7\n\n", AnswerError::Size),
        (409, SIZE_TYPE, b"\n", AnswerError::Size),
    ] {
        assert_eq!(Answer::parse(status, kind, body), Err(error));
    }
    assert_eq!(Answer::parse(409, "text/x.tlog.size; charset=utf-8", b"7\n"), Ok(Answer::Size(7)));
    assert!(matches!(Answer::parse(200, TEXT_TYPE, b"\n"), Err(AnswerError::Signatures(_))));
    let long = vec![b'a'; 1 << 20];
    assert_eq!(Answer::parse(500, TEXT_TYPE, &long), Err(AnswerError::TooLong(1 << 20)));
    // The edge that a witness keeps says the same as the log's checkpoint.
    let mut edge = Edge::default();
    for leaf in leaves(5) {
        assert_eq!(edge.push(leaf), []);
    }
    assert_eq!(Digest(edge.root()), checkpoint(5).root);
}
