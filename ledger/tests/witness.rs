//! A witness beside a log that is honest: what it replays, when it cosigns, what it answers, and what it shows of its copy.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::time::{Duration, Instant};

use orion_ledger_core::Checkpoint;
use orion_ledger_core::log::note::{Note, NoteKey};
use orion_ledger_core::log::tile::{FULL, Resource, Tile, full_tiles, partial_tiles};
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer, Refusal, SIZE_TYPE};
use orion_protocol::{Digest, Signature};
use support::eye::{self, judged, limits, open, signer, vkey};
use support::site::{Log, Sent, Site, sign};
use support::world::{World, spec};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A world with a job that was paid, and more leaves than one bundle holds.
fn world(deposits: u64) -> World {
    let mut world = World::new();
    world.pay(&spec(1, 4, 4, 2));
    for _ in 0..deposits {
        world.deposit(1);
    }
    world
}

/// A witness's key as crate `signed_note` wants it; what is signed is put together here once more.
struct Cosigner(NoteKey);

impl signed_note::Verifier for Cosigner {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn key_id(&self) -> u32 {
        signed_note::key_id(self.0.name(), &[&[4], self.0.key().as_bytes()].concat())
    }

    fn verify(&self, text: &[u8], bytes: &[u8]) -> bool {
        let (time, signature) = bytes.split_first_chunk::<8>().unwrap();
        let head = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
        let signature = Signature(signature.try_into().unwrap());
        self.0.key().verifies(&[head.as_bytes(), text].concat(), &signature)
    }
}

#[test]
fn it_replays_and_cosigns_what_the_policy_and_other_peoples_code_accept() {
    let (runtime, directory) = (Runtime::new().unwrap(), TempDir::new().unwrap());
    let mut world = world(300);
    let log = Log::of_world(&world);
    let site = Site::new(log.clone());
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    assert_eq!(eye.client.get("/checkpoint").status, 404, "nothing is cosigned before it is asked for");
    let answer = eye.send(&log.request(0));
    let seen = judged(&log.note(), &answer);
    assert!(seen.accepted(), "{seen:?}");
    let now = (orion_ledger::clock::wall())() / 1000;
    assert!(seen.witnessed[0].seconds.abs_diff(now) < 60, "{seen:?}");

    // The copy's own checkpoint carries both signatures.
    let note = eye.client.get("/checkpoint").body;
    let standard = signed_note::StandardVerifier::new(&vkey().to_string()).unwrap();
    let known: Vec<Box<dyn signed_note::Verifier>> =
        vec![Box::new(standard), Box::new(Cosigner(signer().key().clone()))];
    let theirs = signed_note::Note::from_bytes(&note).unwrap();
    let (good, unknown) = theirs.verify(&signed_note::VerifierList::new(known)).unwrap();
    assert_eq!((good.len(), unknown.len()), (2, 0));
    assert!(eye::trust().judge(&Note::parse(&note).unwrap()).unwrap().accepted());

    // It goes on from there: the same again, and more.
    assert!(judged(&log.note(), &eye.send(&log.request(log.size))).accepted());
    world.pay(&spec(2, 4, 4, 2));
    let more = Log::of_world(&world);
    site.show(more.clone());
    assert!(judged(&more.note(), &eye.send(&more.request(log.size))).accepted());
    let status = eye.status();
    assert_eq!((status["cosigned"]["size"].as_u64(), status["replayed"].as_u64()), (Some(more.size), Some(more.size)));
    assert!(status["stopped"].is_null() && status["log"]["trouble"].is_null(), "{status}");
    let metrics = String::from_utf8(eye.client.get("/metrics").body).unwrap();
    for line in [("cosigned_size", more.size), ("replayed_size", more.size), ("stopped", 0)] {
        assert!(metrics.contains(&format!("orion_ledger_witness_{} {}\n", line.0, line.1)), "{metrics}");
    }

    // Nothing of it is lost with the process, and what was seen is not fetched again.
    eye.close(&runtime);
    let asked = site.asked(&Resource::Entries { index: 0, width: FULL }.path());
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    assert!(judged(&more.note(), &eye.send(&more.request(more.size))).accepted());
    assert_eq!(site.asked(&Resource::Entries { index: 0, width: FULL }.path()), asked);
    eye.close(&runtime);
}

#[test]
fn its_copy_is_the_log_under_the_logs_own_paths() {
    let (runtime, directory) = (Runtime::new().unwrap(), TempDir::new().unwrap());
    let log = Log::of_world(&world(300));
    let site = Site::new(log.clone());
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    eye.until(|status| status["replayed"] == log.size);
    let paths = |prefix: &str| {
        let tiles: Vec<Tile> = full_tiles(0, log.size).chain(partial_tiles(log.size)).collect();
        for tile in tiles {
            let mut resources = vec![Resource::Hashes(tile)];
            if tile.level == 0 {
                resources.push(Resource::Entries { index: tile.index, width: tile.width });
            }
            for path in resources.iter().map(Resource::path) {
                let answer = eye.client.get(&format!("{prefix}/{path}"));
                assert_eq!((answer.status, Some(answer.body)), (200, log.file(&path)), "{prefix}/{path}");
            }
        }
    };
    paths("/followed");
    assert_eq!(eye.client.get("/followed/checkpoint").body, log.note.as_bytes());
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
    paths("");
    assert_eq!(eye.client.get("/tile/0/009").status, 404);
    eye.close(&runtime);
}

#[test]
fn requests_are_answered_as_the_specification_says() {
    let (runtime, directory) = (Runtime::new().unwrap(), TempDir::new().unwrap());
    let world = world(20);
    let sizes: Vec<u64> = world.seals.iter().map(|seal| seal.size).collect();
    let (small, middle) = (sizes[3], sizes[10]);
    let [first, second, all] = [small, middle, world.log.len() as u64].map(|size| Log::first(&world.log, size));
    let site = Site::new(all.clone());
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    let refusal = |request: &AddCheckpoint| match eye.send(request) {
        Answer::Refused(refusal, words) => (refusal, words),
        other => panic!("not refused: {other:?}"),
    };

    assert!(judged(&first.note(), &eye.send(&first.request(0))).accepted());
    // 409 with the size, whatever the log believes.
    for request in [second.request(0), second.request(small - 1), second.request(small + 1), first.request(small - 1)] {
        let answer = eye.client.post("/add-checkpoint", request.to_string().as_bytes());
        assert_eq!((answer.status, answer.header("content-type")), (409, Some(SIZE_TYPE)));
        assert_eq!(answer.body, format!("{small}\n").into_bytes());
    }
    // 400: an old size above the new; and no request at all.
    let backwards = AddCheckpoint { old: middle, proof: Vec::new(), note: first.note() };
    assert_eq!(refusal(&backwards).0, Refusal::BadRequest);
    for body in [&b""[..], b"old 0\n", b"\xff\xff\xff", b"old 0\n\nno note\n", &[b'a'; 4096]] {
        assert_eq!(eye.client.post("/add-checkpoint", body).status, 400);
    }
    // 404: another log, whoever signed.
    let other = Note::parse(first.note.replace("orion.dev/", "other.dev/").as_bytes()).unwrap();
    assert_eq!(refusal(&AddCheckpoint { note: other, ..first.request(0) }).0, Refusal::UnknownLog);
    // 403: signed by nobody whom the log knows.
    let unsigned = first.note.replace("\n\u{2014} orion.dev/", "\n\u{2014} x.orion.dev/");
    let unsigned = Note::parse(unsigned.as_bytes()).unwrap();
    assert_eq!(refusal(&AddCheckpoint { note: unsigned, ..first.request(0) }).0, Refusal::NotSigned);
    // 422: a proof that leads nowhere.
    let mut wrong = second.request(small);
    wrong.proof[0][0] ^= 1;
    assert_eq!(refusal(&wrong).0, Refusal::Inconsistent);
    wrong.proof.clear();
    assert_eq!(refusal(&wrong).0, Refusal::Inconsistent);
    // 422: a checkpoint within a block. Its root is the log's, and no ledger signs it.
    let within = Log::first(&world.log, middle - 1);
    let (why, words) = refusal(&within.request(small));
    assert!(why == Refusal::Inconsistent && words.contains("no block ends"), "{words}");

    // None of that was held against it.
    assert!(judged(&second.note(), &eye.send(&second.request(small))).accepted());
    assert!(judged(&all.note(), &eye.send(&all.request(middle))).accepted());
    assert_eq!(eye.client.get("/evidence").body, b"[]\n");
    eye.close(&runtime);
}

#[test]
fn what_it_cannot_have_yet_is_503_and_no_evidence() {
    let (runtime, directory) = (Runtime::new().unwrap(), TempDir::new().unwrap());
    let log = Log::of_world(&world(300));
    let site = Site::new(log.clone());
    let quick = orion_ledger::witness::Limits {
        file: Duration::from_millis(300),
        replay: Duration::from_millis(500),
        ..limits()
    };
    let bundle = Resource::Entries { index: 0, width: FULL }.path();
    let of_bundle = move |sent: fn() -> Sent| {
        let bundle = bundle.clone();
        move |path: &str, file: Option<Vec<u8>>| match file {
            Some(file) if path != bundle => Sent::File(file),
            Some(_) => sent(),
            None => Sent::Status(404),
        }
    };
    let everything = |sent: fn() -> Sent| move |_: &str, _: Option<Vec<u8>>| sent();
    site.change(of_bundle(|| Sent::Status(404)));
    let eye = open(&runtime, directory.path(), &site.url(), quick).unwrap();
    let refused = |why: &str| {
        // Only what this trouble does is looked at: an answer that tells of it.
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match eye.send(&log.request(0)) {
                Answer::Refused(Refusal::NotYet, words) if words.contains(why) => return,
                Answer::Refused(Refusal::NotYet, words) if Instant::now() < deadline => println!("{words}"),
                other => panic!("{why}: {other:?}"),
            }
        }
    };
    refused("the answer is 404");
    site.change(of_bundle(|| Sent::Endless));
    refused("longer than 16777472 bytes");
    site.change(of_bundle(|| Sent::Silence));
    refused("no answer within");
    site.change(everything(|| Sent::Status(500)));
    refused("checkpoint: the answer is 500");
    site.change(everything(|| Sent::Endless));
    refused("longer than 131072 bytes");
    site.change(everything(|| Sent::Silence));
    refused("no answer within");
    site.change(everything(|| Sent::File(b"<html>somebody else's page</html>\n".to_vec())));
    refused("cannot be read");
    // A checkpoint that the log did not sign is nobody's word.
    let unsigned = sign(7, Digest::ZERO).replace("\n7\n", "\n8\n");
    site.change(move |_, _| Sent::File(unsigned.clone().into_bytes()));
    refused("was refused");
    // One that it did sign, over more leaves than there can be, leads to tiles that are not there.
    let enormous = sign(u64::MAX, Digest::ZERO);
    site.change(move |path, _| match path {
        "checkpoint" => Sent::File(enormous.clone().into_bytes()),
        _ => Sent::Status(404),
    });
    refused("the answer is 404");
    // A tile that holds no hashes says nothing.
    site.change(|path, file| match file {
        Some(file) if path.starts_with("tile/0/") => Sent::File(file[1..].to_vec()),
        Some(file) => Sent::File(file),
        None => Sent::Status(404),
    });
    refused("hashes");
    assert_eq!(eye.client.get("/evidence").body, b"[]\n");
    assert!(eye.status()["stopped"].is_null());
    site.honest();
    eye.until(|status| status["replayed"] == log.size && status["log"]["trouble"].is_null());
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());

    let too_much = vec![b'a'; 200 * 1024];
    assert_eq!(eye.client.post("/add-checkpoint", &too_much).status, 413);
    for path in ["/evidence/1", "/evidence/x", "/nothing"] {
        assert_eq!(eye.client.get(path).status, 404, "{path}");
    }
    assert_eq!((eye.client.get("/livez").status, eye.client.get("/readyz").status), (200, 200));
    eye.close(&runtime);
}

#[test]
fn old_tiles_that_have_become_full_are_read_from_the_full_ones() {
    let (runtime, directory) = (Runtime::new().unwrap(), TempDir::new().unwrap());
    let world = world(300);
    let leaves = world.seals.iter().map(|seal| seal.size).find(|size| *size > 200).unwrap();
    assert!(leaves < 256);
    let (old, all) = (Log::first(&world.log, leaves), Log::of_world(&world));
    let site = Site::new(all.clone());
    // The newest checkpoint is old, and partial files of then are gone.
    let (note, gone) = (old.note.clone(), format!(".p/{leaves}"));
    site.change(move |path, _| match all.file(path) {
        _ if path == "checkpoint" => Sent::File(note.clone().into_bytes()),
        _ if path.ends_with(&gone) => Sent::Status(404),
        Some(file) => Sent::File(file),
        None => Sent::Status(404),
    });
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    assert!(judged(&old.note(), &eye.send(&old.request(0))).accepted());
    eye.close(&runtime);
}

#[test]
fn a_long_log_is_replayed_in_steps_and_again_from_a_snapshot() {
    let (runtime, directory) = (Runtime::new().unwrap(), TempDir::new().unwrap());
    let log = Log::of_world(&deposits(4500));
    let site = Site::new(log.clone());
    // Its end does not come at first, and the witness goes away in the middle.
    let last = partial_tiles(log.size).next().unwrap();
    let missing = Resource::Entries { index: last.index, width: last.width }.path();
    site.change(move |path, file| match file {
        Some(file) if path != missing => Sent::File(file),
        _ => Sent::Status(404),
    });
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    eye.until(|status| status["replayed"].as_u64() > Some(4000));
    assert_eq!(eye.client.get("/followed/checkpoint").status, 404);
    eye.close(&runtime);
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    assert_eq!(eye.client.get("/followed/checkpoint").status, 404);
    site.honest();
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
    eye.close(&runtime);

    let directory = TempDir::new().unwrap();
    let begun = Instant::now();
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    let status = eye.until(|status| status["replayed"] == log.size);
    let took = begun.elapsed();
    println!("{} leaves were fetched, compared, replayed and stored in {took:?}: {} leaves/s", log.size, {
        u128::from(log.size) * 1000 / took.as_millis().max(1)
    });
    assert!(status["stopped"].is_null());
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
    eye.close(&runtime);
    let entries = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(entries.into_iter().any(|name| name.to_str().unwrap().starts_with("snapshot-")), "a snapshot was written");
    let begun = Instant::now();
    let eye = open(&runtime, directory.path(), &site.url(), limits()).unwrap();
    println!("it goes on after {:?}", begun.elapsed());
    assert!(judged(&log.note(), &eye.send(&log.request(log.size))).accepted());
    assert_eq!(Checkpoint::from_text(log.note().text()).unwrap().size, log.size);
    eye.close(&runtime);
}

/// So many deposits, a hundred a block.
fn deposits(count: usize) -> World {
    use orion_protocol::ledger::tx::{Consumer, Deposit, Transaction};
    let mut world = World::new();
    for _ in 0..count.div_ceil(100) {
        let account = world.account();
        let txs = (0..100).map(|_| {
            let id = world.id();
            world.sign(&Transaction::Deposit(Deposit { consumer: Consumer { account }, amount: 1 }), id)
        });
        let txs = txs.collect();
        world.block(txs);
    }
    world
}
