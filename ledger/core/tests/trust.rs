//! Trust policies: what the format allows and what not, and whose word makes a checkpoint believed.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fmt::Write as _;

use orion_ledger_core::Checkpoint;
use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::trust::{Fault, JudgeError, MAX_OF_EACH, MAX_TRUST_BYTES, Trust, TrustError, Witnessed};
use orion_protocol::Digest;
use support::key;

const LOG: &str = "orion.dev/orion-0123";
const TIME: u64 = 1_700_000_000;

fn log(number: u8) -> NoteSigner {
    NoteSigner::new(LOG, KeyType::Ed25519, key(number)).unwrap()
}

fn witness(number: u8) -> NoteSigner {
    NoteSigner::new(&format!("witness.example/{number}"), KeyType::Cosignature, key(number)).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: LOG.into(), size: 7, root: Digest([3; 32]) }
}

/// Signed by these logs, cosigned by these witnesses.
fn note(logs: &[u8], witnesses: &[u8]) -> Note {
    let text = checkpoint().text();
    let mut note = Note::new(text.clone()).unwrap();
    for number in logs {
        note.add(log(*number).sign(&text, 0)).unwrap();
    }
    for number in witnesses {
        note.add(witness(*number).sign(&text, TIME + u64::from(*number))).unwrap();
    }
    note
}

/// Two replaying witnesses of three and one append-only witness of two, as the design asks.
fn example() -> String {
    let mut file = format!("# who is believed\nlog {} http://ledger.example\n\n", log(1).key());
    for (name, number) in [("r1", 11), ("r2", 12), ("r3", 13), ("w1", 21), ("w2", 22)] {
        writeln!(file, "witness {name} {}", witness(number).key()).unwrap();
    }
    file + "group replay 2 r1 r2 r3\n\tgroup  public any w1\tw2 \ngroup both all replay public\nquorum both\n"
}

#[test]
fn the_quorum_is_reached_by_whoever_the_groups_say_and_by_nobody_else() {
    let trust = Trust::parse(example().as_bytes()).unwrap();
    assert_eq!(trust.logs()[0].url.as_deref(), Some("http://ledger.example"));
    assert_eq!(trust.witnesses().len(), 5);
    let all = [11, 12, 13, 21, 22];
    for set in 0..32_u32 {
        let some: Vec<u8> = all.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, one)| *one).collect();
        let judged = trust.judge(&note(&[1], &some)).unwrap();
        let replaying = some.iter().filter(|one| **one < 20).count();
        assert_eq!(judged.quorum, replaying >= 2 && some.len() > replaying, "{some:?}");
        assert_eq!(judged.accepted(), judged.quorum);
        let names = ["r1", "r2", "r3", "w1", "w2"];
        let want = some.iter().map(|number| {
            let at = all.iter().position(|one| one == number).unwrap();
            Witnessed { name: names[at].into(), seconds: TIME + u64::from(*number) }
        });
        assert_eq!(judged.witnessed, want.collect::<Vec<_>>());
        assert_eq!((judged.checkpoint, judged.log.unwrap().note_key()), (checkpoint(), log(1).key()));
    }
}

#[test]
fn witnesses_without_the_log_and_strangers_are_not_enough() {
    let trust = Trust::parse(example().as_bytes()).unwrap();
    let judged = trust.judge(&note(&[], &[11, 12, 13, 21, 22])).unwrap();
    assert!(judged.quorum && judged.log.is_none() && !judged.accepted());
    // Another key under the log's name, and strangers as witnesses.
    let judged = trust.judge(&note(&[2], &[31, 32, 33])).unwrap();
    assert!(judged.log.is_none() && judged.witnessed.is_empty() && !judged.quorum);
    // A log's signature is no cosignature, nor the other way round.
    let own = format!("log {}\nwitness w {}\nquorum w\n", log(1).key(), witness(1).key());
    let trust = Trust::parse(own.as_bytes()).unwrap();
    assert!(!trust.judge(&note(&[1], &[])).unwrap().accepted());
    assert!(!trust.judge(&note(&[], &[1])).unwrap().accepted());
    // A log of another name that signs this one's text.
    let other = NoteSigner::new("orion.dev/other", KeyType::Ed25519, key(1)).unwrap();
    let trust = Trust::parse(format!("log {}\nquorum none\n", other.key()).as_bytes()).unwrap();
    let mut note = note(&[], &[]);
    note.add(other.sign(note.text(), 0)).unwrap();
    assert!(!trust.judge(&note).unwrap().accepted());
}

#[test]
fn any_listed_log_is_believed_and_none_asks_for_no_witness() {
    let file = format!("log {}\nlog {}\nquorum none", log(1).key(), log(2).key());
    let trust = Trust::parse(file.as_bytes()).unwrap();
    for logs in [&[1][..], &[2], &[2, 1]] {
        assert!(trust.judge(&note(logs, &[])).unwrap().accepted());
    }
    assert!(!trust.judge(&note(&[3], &[])).unwrap().accepted());
    // No logs: whoever knows the log otherwise still gets the quorum.
    let judged = Trust::parse(b"quorum none\n").unwrap().judge(&note(&[1], &[])).unwrap();
    assert!(judged.quorum && !judged.accepted());
}

#[test]
fn a_known_keys_bad_signature_spoils_the_note() {
    let trust = Trust::parse(example().as_bytes()).unwrap();
    for signer in [log(1), witness(22)] {
        let mut note = note(&[1], &[11, 12, 21]);
        note.add(signer.sign("another text\n", TIME)).unwrap();
        assert_eq!(trust.judge(&note), Err(JudgeError::Signature(signer.key().to_string())));
    }
    let text = Note::new("no checkpoint\n".into()).unwrap();
    assert!(matches!(trust.judge(&text), Err(JudgeError::Text(_))));
}

#[test]
fn a_changed_byte_in_the_note_or_the_file_never_gives_a_quorum_that_was_not_there() {
    let trust = Trust::parse(example().as_bytes()).unwrap();
    let enough = note(&[1], &[11, 13, 22]).to_string();
    for at in 0..enough.len() {
        let mut changed = enough.clone().into_bytes();
        changed[at] ^= 1 << (at % 8);
        let judged = Note::parse(&changed).ok().and_then(|note| trust.judge(&note).ok());
        assert!(!judged.is_some_and(|judged| judged.accepted()), "byte {at}");
    }
    // Too few witnesses; the one byte that matters is the number.
    let few = note(&[1], &[11, 22]);
    let file = example();
    let number = file.find("replay 2").unwrap() + 7;
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone().into_bytes();
            changed[at] ^= 1 << bit;
            if let Ok(trust) = Trust::parse(&changed) {
                let accepted = trust.judge(&few).is_ok_and(|judged| judged.accepted());
                assert!(!accepted || at == number && changed[at] == b'1', "byte {at} bit {bit}");
            }
        }
    }
}

fn fault(file: &str) -> (usize, Fault) {
    let TrustError { line, fault } = Trust::parse(file.as_bytes()).unwrap_err();
    (line, fault)
}

#[test]
fn what_the_format_forbids_is_refused_with_its_line() {
    let (one, two) = (witness(1).key().to_string(), witness(2).key().to_string());
    let (log, renamed) = (log(1).key().to_string(), NoteSigner::new("other", KeyType::Cosignature, key(1)).unwrap());
    let w = format!("witness w {one}\n");
    let form = |text| Fault::Form(text);
    let cases = [
        (String::new(), 1, Fault::NoQuorum),
        ("# quorum none\n".into(), 2, Fault::NoQuorum),
        ("quorum none\nquorum none\n".into(), 2, Fault::QuorumTwice),
        ("quorum\n".into(), 1, form("quorum <name>")),
        ("quorum a b\n".into(), 1, form("quorum <name>")),
        ("quorum w\n".into(), 1, Fault::Undefined("w".into())),
        (format!("quorum w\n{w}"), 1, Fault::Undefined("w".into())),
        ("Quorum none\n".into(), 1, Fault::Word("Quorum".into())),
        ("log\n".into(), 1, form("log <key> [<url>]")),
        (format!("log {log} a b\n"), 1, form("log <key> [<url>]")),
        (format!("log {one}\n"), 1, Fault::KeyType("a log's key (type 1)")),
        (format!("log {log}\nlog {log}\n"), 2, Fault::KeyTwice),
        (format!("witness {one}\n"), 1, form("witness <name> <key> [<url>]")),
        (format!("witness w {log}\n"), 1, Fault::KeyType("a cosigner's key (type 4)")),
        (format!("witness none {one}\n"), 1, Fault::NameTwice("none".into())),
        (format!("{w}witness v {}\n", renamed.key()), 2, Fault::KeyTwice),
        (format!("{w}witness w {two}\n"), 2, Fault::NameTwice("w".into())),
        (format!("{w}group w any w\n"), 2, Fault::NameTwice("w".into())),
        (format!("{w}group g any\n"), 2, form("group <name> <any, all or a number> <member>...")),
        (format!("{w}group g any g\n"), 2, Fault::Undefined("g".into())),
        (format!("{w}group g any none\n"), 2, Fault::Undefined("none".into())),
        (format!("{w}group g all w w\n"), 2, Fault::MemberTwice("w".into())),
        (format!("{w}group g any w\ngroup h any w\n"), 3, Fault::MemberTwice("w".into())),
        (format!("{w}group g 0 w\n"), 2, Fault::Threshold("0".into(), 1)),
        (format!("{w}group g 2 w\n"), 2, Fault::Threshold("2".into(), 1)),
        (format!("{w}group g 01 w\n"), 2, Fault::Threshold("01".into(), 1)),
        (format!("{w}group g most w\n"), 2, Fault::Threshold("most".into(), 1)),
        (format!("{w}quorum w\r\n"), 2, Fault::Control(b'\r')),
        ("# \u{7f}\n".into(), 1, Fault::Control(0x7f)),
    ];
    for (file, line, want) in cases {
        assert_eq!(fault(&file), (line, want), "{file:?}");
    }
    assert!(matches!(fault("log nonsense\n"), (1, Fault::Key(_))));
    assert_eq!(Trust::parse(b"# \xff\nquorum \xff\n"), Err(TrustError { line: 2, fault: Fault::NotUtf8 }));
}

#[test]
fn files_are_bounded_and_as_large_as_the_format_asks_for() {
    let mut file = String::new();
    for number in 0..64 {
        writeln!(
            file,
            "log {}\nwitness w{number} {}\ngroup g{number} any w{number}",
            log(number).key(),
            witness(number).key()
        )
        .unwrap();
    }
    let names: Vec<String> = (0..64).map(|number| format!("g{number}")).collect();
    let trust = Trust::parse(format!("{file}quorum g63\n").as_bytes()).unwrap();
    assert_eq!((trust.logs().len(), trust.witnesses().len()), (MAX_OF_EACH, MAX_OF_EACH));
    assert!(trust.judge(&note(&[63], &[63])).unwrap().accepted());
    let all = format!("{file}group all all {}\nquorum all\n", names.join(" "));
    assert_eq!(fault(&all), (193, Fault::TooMany));
    for line in [format!("log {}\n", log(64).key()), format!("witness x {}\n", witness(64).key())] {
        assert_eq!(fault(&format!("{file}{line}quorum none\n")), (193, Fault::TooMany));
    }
    let long = format!("{}\nquorum none\n", "#".repeat(MAX_TRUST_BYTES));
    assert_eq!(fault(&long), (1, Fault::TooLong(long.len())));
    // A chain of groups, each in the next.
    let mut deep = format!("log {}\nwitness w {}\ngroup g0 all w\n", log(1).key(), witness(2).key());
    for at in 1..64 {
        writeln!(deep, "group g{at} 1 g{}", at - 1).unwrap();
    }
    let trust = Trust::parse(format!("{deep}quorum g63").as_bytes()).unwrap();
    assert!(trust.judge(&note(&[1], &[2])).unwrap().accepted());
    assert!(!trust.judge(&note(&[1], &[])).unwrap().accepted());
}
