//! The witness as a process beside a ledger as a process: what it cosigned survives SIGKILL, and no size ever has two roots.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use orion_ledger_core::Checkpoint;
use orion_ledger_core::log::fork::{Claim, Evidence, Shown};
use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::prove::{Hashes, consistency};
use orion_ledger_core::log::tile::{Resource, Tile, parse_hashes};
use orion_ledger_core::log::trust::Trust;
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer, Refusal};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::tx::{Consumer, Deposit, Envelope, Transaction};
use orion_protocol::{Digest, JobId, Signed};
use support::eye::{evidence, judged, pass, send, signer, status, try_send, until, vkey};
use support::site::{Log, Sent, Site};
use support::world::{self, Keys, Random, World, seed};
use support::{Client, Home};

fn deposit(id: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, id, 0);
    Transaction::Deposit(Deposit { consumer, amount: 1 }).sign(&chain, &keys.issuer, 0, id)
}

/// A log's tiles, as anybody reads them.
struct Tiles(Client);

impl Hashes for Tiles {
    type Error = String;

    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, String> {
        let path = Resource::Hashes(tile).path();
        let answer = self.0.get(&format!("/{path}"));
        parse_hashes(&answer.body, tile.width).ok_or_else(|| format!("{path}: {}", answer.status))
    }
}

/// The ledger's newest checkpoint, of at least `size` leaves.
fn newest(ledger: Client, size: u64) -> (Note, Checkpoint) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let note = ledger.get("/checkpoint").body;
        if let Ok(checkpoint) = Checkpoint::open(&note, &vkey())
            && checkpoint.size >= size
        {
            return (Note::parse(&note).unwrap(), checkpoint);
        }
        assert!(Instant::now() < deadline, "there is no checkpoint of {size} leaves");
        pass(Duration::from_millis(5));
    }
}

/// The request by which the ledger would ask for a cosignature of its newest checkpoint.
fn request(ledger: Client, old: u64, size: u64) -> (AddCheckpoint, Checkpoint) {
    let (note, checkpoint) = newest(ledger, size);
    let proof = consistency(old, checkpoint.size, &Tiles(ledger)).unwrap();
    (AddCheckpoint { old, proof, note }, checkpoint)
}

#[test]
fn a_real_ledger_is_cosigned_and_a_byte_changed_on_the_way_is_refused() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let submitted: Vec<_> = (0..20).map(|id| client.submit(&deposit(id))).collect();
    let witness = home.witness(&format!("http://{}", ledger.address));
    let (first, checkpoint) = request(client, 0, submitted[19].seal.size);
    let answer = send(witness.client(), &first);
    assert!(judged(&first.note, &answer).accepted());
    let more = client.submit(&deposit(20));
    let (second, newer) = request(client, checkpoint.size, more.seal.size);
    let answer = send(witness.client(), &second);
    // The policy line is made of what the command prints.
    let policy = format!("log {}\nwitness me {} http://{}\nquorum me\n", vkey(), home.witness_key(), witness.address);
    let mut note = second.note.clone();
    let Answer::Cosigned(lines) = answer else { panic!("{answer:?}") };
    note.add(lines[0].clone()).unwrap();
    assert!(Trust::parse(policy.as_bytes()).unwrap().judge(&note).unwrap().accepted());
    assert_eq!(home.witness_key(), signer().key().to_string());
    // Its copy has all of it.
    let mirror = consistency(checkpoint.size, newer.size, &Tiles(witness.client())).unwrap();
    assert_eq!(mirror, second.proof);
    assert_eq!(witness.stop(), Some(0));

    // The same directory, with somebody between: what is new is changed on the way.
    let proxy = Site::new(Log::of(&[]));
    let size = client.submit(&deposit(21)).seal.size;
    let (third, third_size) = request(client, newer.size, size);
    proxy.change(move |path, _| {
        let answer = client.get(&format!("/{path}"));
        match (answer.status, answer.body) {
            (200, mut body) => {
                if path.starts_with("tile/entries/") {
                    *body.last_mut().unwrap() ^= 1;
                }
                Sent::File(body)
            }
            (status, _) => Sent::Status(status),
        }
    });
    let witness = home.witness(&proxy.url());
    let answer = send(witness.client(), &third);
    assert!(matches!(answer, Answer::Refused(Refusal::Inconsistent, _)), "{answer:?}");
    let kept = evidence(witness.client());
    assert!(matches!(kept.claim(), Claim::Tile { leaf, .. } if leaf.index == third_size.size - 1));
    witness.kill();
    // Without whoever stood between, and after SIGKILL: it still refuses.
    let witness = home.witness(&format!("http://{}", ledger.address));
    assert_eq!(evidence(witness.client()), kept);
    assert!(matches!(send(witness.client(), &third), Answer::Refused(Refusal::Inconsistent, _)));
    assert_eq!(status(witness.client())["cosigned"]["size"], newer.size);
}

#[test]
fn a_ledger_that_lost_its_volume_gets_it_back_from_a_witness() {
    let home = Home::new();
    std::fs::create_dir(home.mark()).unwrap();
    let ledger = home.start();
    let client = ledger.client();
    let answers: Vec<_> = (0..5).map(|id| client.submit(&deposit(id))).collect();
    let witness = home.witness(&format!("http://{}", ledger.address));
    let (first, cosigned) = request(client, 0, answers[4].seal.size);
    assert!(judged(&first.note, &send(witness.client(), &first)).accepted());
    // What comes after that is followed, and not cosigned.
    let last = client.submit(&deposit(5));
    newest(client, last.seal.size);
    until(witness.client(), |status| status["replayed"] == last.seal.size);
    ledger.kill();
    std::fs::write(home.begun(), "").unwrap();
    std::fs::remove_dir_all(home.data()).unwrap();
    let refused = home.start_refused();
    assert!(refused.contains("orion-ledger import") || refused.contains("restore it"), "{refused}");
    for (prefix, size) in [("", cosigned.size), ("/followed", last.seal.size)] {
        let from = format!("http://{}{prefix}", witness.address);
        let (good, said) = home.offline("import", &["--from", &from]);
        assert!(good && said.contains(&format!("{size} are now")), "{said}");
    }
    let ledger = home.start();
    assert_eq!(ledger.client().submit(&deposit(5)), last);
    assert_eq!(ledger.client().submit(&deposit(0)), answers[0]);
    // The witness goes on with it, as the same log.
    assert_eq!(witness.stop(), Some(0));
    let back = home.witness(&format!("http://{}", ledger.address));
    let (second, newer) = request(ledger.client(), cosigned.size, ledger.client().submit(&deposit(6)).seal.size);
    assert!(judged(&second.note, &send(back.client(), &second)).accepted());
    assert!(newer.size > last.seal.size);
}

#[test]
fn the_commands_in_the_docs_have_these_flags() {
    let docs = include_str!("../../docs/witness.md").replace("\\\n", " ");
    let commands = docs.lines().filter_map(|line| line.strip_prefix("$ orion-ledger "));
    let mut count = 0;
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let help = std::process::Command::new(env!("CARGO_BIN_EXE_orion-ledger")).args([words[0], "--help"]).output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} ")), "{command}: {flag}");
            count += 1;
        }
    }
    assert!(count >= 8, "{count} flags");
}

#[test]
fn what_it_cosigned_is_there_after_sigkill() {
    let seed = seed();
    println!("ORION_SEED={seed}");
    let mut random = Random(seed);
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let url = format!("http://{}", ledger.address);
    let roots: Mutex<BTreeMap<u64, Digest>> = Mutex::default();
    let mut id = 0;
    for kill in 0..10 {
        let witness = home.witness(&url);
        let known = status(witness.client())["cosigned"]["size"].as_u64().unwrap_or(0);
        let acknowledged = roots.lock().unwrap().keys().next_back().copied().unwrap_or(0);
        assert!(known >= acknowledged, "kill {kill}: {acknowledged} was cosigned, {known} is known");
        let (address, pause) = (witness.client(), Duration::from_millis(random.below(150)));
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let submitter = scope.spawn(|| {
                // As fast as it goes, until the witness is gone.
                let mut old = known;
                loop {
                    id += 1;
                    let size = client.submit(&deposit(id)).seal.size;
                    let (request, checkpoint) = request(client, old, size);
                    let Some(answer) = try_send(address, &request) else { return };
                    match answer {
                        Answer::Cosigned(_) => {
                            assert!(judged(&request.note, &answer).accepted());
                            let before = roots.lock().unwrap().insert(checkpoint.size, checkpoint.root);
                            assert!(before.is_none_or(|before| before == checkpoint.root));
                            old = checkpoint.size;
                            let _ = tell.send(());
                        }
                        Answer::Size(size) => old = size,
                        // On a busy machine.
                        Answer::Refused(Refusal::NotYet, _) => {}
                        Answer::Refused(..) => panic!("{answer:?}"),
                    }
                }
            });
            told.recv_timeout(Duration::from_mins(1)).expect("nothing is cosigned");
            pass(pause);
            witness.kill();
            submitter.join().unwrap();
        });
    }
    let roots = roots.into_inner().unwrap();
    println!("{} checkpoints were cosigned between 10 kills", roots.len());
    assert!(roots.len() >= 10);
}

#[test]
fn two_logs_under_one_key_get_one_root_a_size_whatever_is_killed() {
    let seed = seed();
    println!("ORION_SEED={seed}");
    let mut random = Random(seed);
    let (mut one, mut other) = (World::new(), World::new());
    for amount in 1..6 {
        one.deposit(amount);
        other.deposit(amount + 1);
    }
    let logs = [Log::of_world(&one), Log::of_world(&other)];
    let mut cosigned = 0;
    for _ in 0..4 {
        // A witness that knows nothing; both logs are shown to it and sent, while it is killed over and over.
        let home = Home::new();
        let site = Site::new(logs[0].clone());
        let roots: Mutex<BTreeMap<u64, Digest>> = Mutex::default();
        for _ in 0..3 {
            let first = usize::from(random.one_in(2));
            site.show(logs[first].clone());
            let witness = home.witness(&site.url());
            let (address, pause) = (witness.client(), Duration::from_millis(random.below(120)));
            std::thread::scope(|scope| {
                for log in [&logs[first], &logs[1 - first]] {
                    let roots = &roots;
                    scope.spawn(move || {
                        for old in [0, log.size] {
                            let request = log.request(old);
                            if let Some(answer @ Answer::Cosigned(_)) = try_send(address, &request) {
                                let Checkpoint { size, root, .. } = judged(&request.note, &answer).checkpoint;
                                let before = roots.lock().unwrap().insert(size, root);
                                assert!(before.is_none_or(|before| before == root), "{size} leaves have two roots");
                            }
                        }
                    });
                }
                pass(pause);
                site.show(logs[1 - first].clone());
                pass(pause);
                witness.kill();
            });
        }
        cosigned += roots.into_inner().unwrap().len();
        // Whichever side it has followed, the other is a fork.
        let witness = home.witness(&site.url());
        for log in &logs {
            site.show(log.clone());
            until(witness.client(), |status| {
                status["stopped"].is_string() || status["replayed"] == log.size && status["log"]["size"] == log.size
            });
        }
        until(witness.client(), |status| status["stopped"].is_string());
        let kept = Evidence::parse(&witness.client().get("/evidence/1").body).unwrap();
        assert!(matches!(kept.judge(&vkey()), Ok(Shown::Fork { .. })), "{kept:?}");
    }
    println!("{cosigned} of 4 witnesses cosigned a side");
}
