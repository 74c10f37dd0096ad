//! Volumes that are lost, old or damaged, and clocks that are wrong, as processes: what a ledger refuses to go on from, and how
//! its log comes back whole.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use orion_ledger::clock;
use orion_ledger::node::Past;
use orion_ledger::store::{Kept, Store};
use orion_ledger_core::{VerifierKey, verify};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::Submitted;
use orion_protocol::ledger::tx::*;
use orion_protocol::{JobId, Signed, bytes::hex};
use support::local::{close, open_at};
use support::world::{self, Keys};
use support::{Client, Home, Ledger};

fn deposit(number: u64, amount: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    Transaction::Deposit(Deposit { consumer, amount }).sign(&chain, &keys.issuer, 0, id)
}

fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

fn submit(client: Client, numbers: std::ops::Range<u64>) -> Vec<Submitted> {
    numbers.map(|number| client.submit(&deposit(number, 1 + number))).collect()
}

/// The log under a checkpoint over all that was answered.
fn export(client: Client) -> Vec<u8> {
    let export = client.get("/v1/export").body;
    assert_eq!(verify::log(export.as_slice(), &vkey()).unwrap().seal, client.head().seal);
    export
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A ledger whose volume was set back: it, and what was lost with the newer one.
struct SetBack {
    home: Home,
    answers: Vec<Submitted>,
    /// Of the log as it was before, and when the volume was lost.
    old: Vec<u8>,
    lost: Vec<u8>,
    /// A second home with the newer volume.
    mirror: Home,
}

fn set_back() -> SetBack {
    let home = Home::new();
    fs::create_dir(home.mark()).unwrap();
    let ledger = home.start();
    let mut answers = submit(ledger.client(), 0..3);
    let old = export(ledger.client());
    assert_eq!(ledger.stop(), Some(0));
    let kept = Home::new();
    copy(&home.data(), &kept.data());

    let ledger = home.start();
    answers.extend(submit(ledger.client(), 3..8));
    let lost = export(ledger.client());
    ledger.kill();
    let mirror = Home::new();
    copy(&home.data(), &mirror.data());
    fs::remove_dir_all(home.data()).unwrap();
    copy(&kept.data(), &home.data());
    SetBack { home, answers, old, lost, mirror }
}

fn refused(home: &Home) {
    let said = home.start_refused();
    assert!(said.contains("it is older than that") && said.contains("orion-ledger import --data DIR"), "{said}");
}

/// The ledger has every answer that it ever gave, and goes on.
fn whole(home: &Home, answers: &[Submitted]) -> Ledger {
    let ledger = home.start();
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(ledger.client().submit(&deposit(number, 1 + number)), *answer);
    }
    submit(ledger.client(), 100..101);
    export(ledger.client());
    ledger
}

#[test]
fn restoring_an_old_volume_is_refused_until_the_missing_entries_are_back() {
    let SetBack { home, answers, old, lost, mirror: _ } = set_back();
    let file = home.data().with_extension("export");
    let import = || home.offline("import", &["--from", file.to_str().unwrap()]);
    refused(&home);

    // A log of the same key that is another one: what was answered and is lost has other bytes there.
    let other = Home::new();
    let ledger = other.start();
    submit(ledger.client(), 50..70);
    fs::write(&file, export(ledger.client())).unwrap();
    ledger.kill();
    let (good, said) = import();
    assert!(!good && said.contains("are two logs"), "{said}");
    // An export that is too short, one that is cut off, and one of which a byte was changed.
    fs::write(&file, &old).unwrap();
    let (good, said) = import();
    assert!(good && said.contains("8 leaves were there, 8 are now"), "{said}");
    refused(&home);
    let mut changed = lost.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [&lost[..lost.len() - 1], &changed] {
        fs::write(&file, damaged).unwrap();
        let (good, said) = import();
        assert!(!good && said.contains("the source was refused; nothing was imported"), "{said}");
        refused(&home);
    }
    let (good, said) = home.offline("import", &["--from", "/nonexistent"]);
    assert!(!good && said.contains("cannot open /nonexistent"), "{said}");

    fs::write(&file, &lost).unwrap();
    let (good, said) = import();
    assert!(good && said.contains("8 leaves were there, 18 are now"), "{said}");
    let ledger = whole(&home, &answers);
    let (good, said) = import();
    assert!(!good && said.contains("already open"), "{said}");
    assert_eq!(ledger.stop(), Some(0));
    let (good, said) = import();
    assert!(!good && said.contains("brings nothing that is missing"), "{said}");
    let (good, said) = home.offline("audit", &[]);
    assert!(good && said.contains("10 blocks of 20 leaves replay from the genesis; 20 leaves are published"), "{said}");
}

#[test]
fn missing_entries_come_back_from_whoever_serves_the_log() {
    let SetBack { home, answers, old: _, lost: _, mirror } = set_back();
    refused(&home);
    let served = mirror.start();
    let url = format!("http://{}/", served.address);
    let (good, said) = home.offline("import", &["--from", &url]);
    assert!(good && said.contains("18 are now"), "{said}");
    let names: Vec<_> = fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == ".fetched"), "{names:?}");
    served.kill();
    let (good, said) = home.offline("import", &["--from", &url]);
    assert!(!good && said.contains("cannot fetch") && said.contains("/checkpoint"), "{said}");
    whole(&home, &answers);
}

#[test]
fn a_backup_of_a_stopped_ledger_fills_an_empty_volume() {
    let home = Home::new();
    let file = home.data().with_extension("backup");
    let to = file.to_str().unwrap();
    let (good, said) = home.offline("backup", &["--to", to]);
    assert!(!good && said.contains("cannot use the data directory") && !home.data().exists(), "{said}");
    fs::create_dir(home.mark()).unwrap();
    let ledger = home.start();
    let answers = submit(ledger.client(), 0..5);
    let export = export(ledger.client());
    let (good, said) = home.offline("backup", &["--to", to]);
    assert!(!good && said.contains("already open"), "{said}");
    ledger.kill();
    let (good, said) = home.offline("backup", &["--to", to]);
    assert!(good && said.contains("12 leaves are in"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), export);

    fs::write(home.begun(), "").unwrap();
    fs::remove_dir_all(home.data()).unwrap();
    let mut other = Keys::new().genesis();
    other.policy.price += 1;
    let ours = fs::read(home.genesis()).unwrap();
    fs::write(home.genesis(), hex(&other.to_bytes())).unwrap();
    let (good, said) = home.offline("import", &["--from", to]);
    assert!(!good && said.contains("the source was refused"), "{said}");
    fs::write(home.genesis(), ours).unwrap();
    let (good, said) = home.offline("import", &["--from", to]);
    assert!(good && said.contains("0 leaves were there, 12 are now"), "{said}");
    whole(&home, &answers);
}

#[test]
fn an_audit_finds_what_a_start_need_not_look_at() {
    let home = Home::new();
    let ledger = home.start();
    submit(ledger.client(), 0..140);
    export(ledger.client());
    assert_eq!(ledger.stop(), Some(0));
    let good = |said: &str| said.contains("leaves replay from the genesis");
    let (passed, said) = home.offline("audit", &[]);
    assert!(passed && good(&said), "{said}");

    let bundle = home.data().join("tile/entries/000");
    let intact = fs::read(&bundle).unwrap();
    let mut changed = intact.clone();
    changed[5000] ^= 1;
    fs::write(&bundle, changed).unwrap();
    home.start().kill();
    let (passed, said) = home.offline("audit", &[]);
    assert!(!passed && said.contains("tile/entries/000 is not what the log says"), "{said}");
    fs::write(&bundle, intact).unwrap();

    let store = Store::open(&home.data()).unwrap();
    let mut seal = store.snapshot().unwrap().head().unwrap().unwrap();
    store.add(&Kept { ended: vec![(JobId([9; 32]), vec![1])], records: Vec::new() }).unwrap();
    (seal.size, seal.height) = (seal.size + 1, seal.height + 1);
    store.commit(&[b"no leaf".to_vec()], &seal, &Kept::default()).unwrap();
    drop(store);
    let (passed, said) = home.offline("audit", &[]);
    assert!(!passed && said.contains("the stored log does not replay"), "{said}");
}

/// A home whose last block is at this time.
fn last_block_at(time_ms: u64) -> Home {
    let home = Home::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (node, ended) = open_at(&runtime, &home.data(), Past::Unknown, Arc::new(move || time_ms)).unwrap();
    close(&runtime, node, ended);
    home
}

#[test]
fn a_clock_far_past_the_last_block_halts_the_start_and_one_set_back_a_year_does_no_harm() {
    const HOUR: u64 = 3_600_000;
    let now = clock::wall()();
    let home = last_block_at(now - 743 * HOUR);
    submit(home.start().client(), 0..1);
    let home = last_block_at(now - 365 * 24 * HOUR);
    let said = home.start_refused();
    assert!(said.contains("the last block is 8761 hours old") && said.contains("--longest-pause-hours 8761"), "{said}");
    let ledger = home.start_with(&["--longest-pause-hours", "8761"]);
    assert!(submit(ledger.client(), 0..1)[0].seal.time_ms >= now);
    ledger.kill();
    // There is a block of today now.
    home.start().kill();

    let next_year = now + 365 * 24 * HOUR;
    let home = last_block_at(next_year);
    let times: Vec<u64> = submit(home.start().client(), 0..3).iter().map(|answer| answer.seal.time_ms).collect();
    assert_eq!(times, [1, 2, 3].map(|past| next_year + past));
}
