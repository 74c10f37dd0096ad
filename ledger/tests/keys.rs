//! What whoever follows the keys asks the service for: whose they are, and the proof of any leaf.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orion_ledger::http::{Limits, Shared, router};
use orion_ledger::mark::{Mark, MarkError};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::Past;
use orion_ledger::publisher::Publishing;
use orion_ledger::serve::{self, serve};
use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::{Opening, OpeningError, opening};
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::api::{KeysView, LeafProof, OperatorKey, Submitted};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::mark::Marked;
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, JobId, SecretKey, cbor};
use support::local::open_with;
use support::world::{self, Keys, approve, key};
use support::{Answer, Client, Home};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Replaces the operator with a key, by the issuer's word.
fn rotate(client: Client, old: &SecretKey, new: u8, lost: bool) -> Code {
    let (issuer, chain) = (Keys::new().issuer, Keys::new().genesis().chain());
    let (role, old, new) = (KeyRole::Operator, old.public(), key(new).public());
    let id = TxId([new.0[0]; 16]);
    let tx = Transaction::Rotate(Rotate { role, old, new, lost });
    let approved = approve(&chain, &issuer, id, &tx, std::slice::from_ref(&issuer));
    client.submit(&Transaction::Approved(approved).sign(&chain, &issuer, 0, id)).receipt.code
}

fn open_epoch(client: Client, by: &SecretKey, epoch: u64) -> Submitted {
    let chain = Keys::new().genesis().chain();
    let opens = Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![7; 16].into() });
    client.submit(&opens.sign(&chain, by, epoch, TxId([epoch.to_le_bytes()[0]; 16])))
}

fn keys(client: Client) -> KeysView {
    let answer = client.get("/v1/keys");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/cbor"));
    cbor::from_slice("keys", &answer.body, 1 << 20).unwrap()
}

#[test]
fn the_keys_are_told_as_the_log_has_them_also_after_a_restart() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let Keys { operator, platform, issuer, checkpoint: _ } = Keys::new();
    let first = OperatorKey { from_epoch: 0, key: operator.public(), lost: false };
    let issuers = Issuers { threshold: 1, keys: vec![issuer.public()] };
    let all = |operators: Vec<OperatorKey>| KeysView {
        operators,
        platform: platform.public(),
        issuers: issuers.clone(),
        replaced: Vec::new(),
    };
    assert_eq!(keys(client), all(vec![first]));
    assert_eq!(open_epoch(client, &operator, 1).receipt.code, Code::Ok);
    assert_eq!(rotate(client, &operator, 53, true), Code::Ok);
    let second = OperatorKey { from_epoch: 2, key: key(53).public(), lost: false };
    let want = all(vec![OperatorKey { lost: true, ..first }, second]);
    assert_eq!(keys(client), want);
    assert_eq!(open_epoch(client, &key(53), 2).receipt.code, Code::Ok);
    assert_eq!(keys(client), want);
    ledger.kill();
    let ledger = home.start();
    assert_eq!(keys(ledger.client()), want);
    assert_eq!(ledger.client().post("/v1/keys", b"").status, 405);
}

fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

fn deposit(client: Client, number: u64) -> Submitted {
    let (issuer, chain) = (Keys::new().issuer, Keys::new().genesis().chain());
    let deposit = Transaction::Deposit(Deposit { consumer: Consumer { account: world::consumer(&chain) }, amount: 1 });
    client.submit(&deposit.sign(&chain, &issuer, 0, TxId::derive("Deposit", &JobId::NONE, number, 0)))
}

/// All leaves, once a published checkpoint covers them: an export waits for it.
fn leaves(client: Client) -> Vec<Vec<u8>> {
    let answer = client.get("/v1/export");
    assert_eq!(answer.status, 200);
    let mut leaves = Vec::new();
    let take = |leaf: &[u8]| {
        leaves.push(leaf.to_vec());
        Ok(())
    };
    orion_ledger_core::verify::leaves(answer.body.as_slice(), &vkey(), take).unwrap();
    leaves
}

fn proof(client: Client, leaf: u64) -> LeafProof {
    let answer = client.get(&format!("/v1/proofs/{leaf}"));
    assert_eq!(answer.status, 200, "leaf {leaf}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("application/cbor"));
    assert!(answer.body.len() < 4 * 1024, "{} bytes", answer.body.len());
    cbor::from_slice("proof", &answer.body, 1 << 20).unwrap()
}

#[test]
fn every_leaf_is_proven_under_the_newest_checkpoint_and_an_opening_says_whose_its_epoch_is() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    assert_eq!(open_epoch(client, &Keys::new().operator, 1).receipt.code, Code::Ok);
    assert_eq!(rotate(client, &Keys::new().operator, 53, false), Code::Ok);
    let opened = open_epoch(client, &key(53), 2).leaf;
    let mut number = 0;
    // One tile that is not full, one that is, and another one.
    for size in [10, 256, 300] {
        while deposit(client, number).seal.size < size {
            number += 1;
        }
        let leaves = leaves(client);
        let last = leaves.len() as u64 - 1;
        for (at, leaf) in (0..).zip(&leaves).filter(|(at, _)| at % 29 < 2 || (254..258).contains(at) || *at == last) {
            let LeafProof { leaf: have, proof } = proof(client, at);
            assert_eq!(have.as_slice(), leaf.as_slice(), "leaf {at}");
            let proof = ProofFile::parse(proof.as_bytes()).unwrap();
            let checkpoint = Checkpoint::of_note(&proof.note, &vkey()).unwrap();
            assert_eq!((proof.index, checkpoint.size), (at, last + 1));
            assert!(proof.holds(leaf, &checkpoint), "leaf {at}");
            // As another implementation sees it.
            let path: Vec<_> = proof.path.iter().map(|hash| tlog_tiles::Hash(*hash)).collect();
            let (root, hash) = (tlog_tiles::Hash(checkpoint.root.0), tlog_tiles::record_hash(leaf));
            tlog_tiles::check_record(&path, checkpoint.size, root, at, hash).unwrap();
        }
        let opening_at = |leaf| opening(&proof(client, leaf), &vkey());
        assert_eq!(opening_at(opened).unwrap(), Opening { epoch: 2, operator: key(53).public() });
        assert!(matches!(opening_at(last), Err(OpeningError::Kind(_, "Seal"))));
    }
}

#[test]
fn what_is_no_leaf_of_the_log_has_no_proof() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let size = deposit(client, 0).seal.size;
    for absent in [size, size + 1, u64::MAX] {
        let answer = client.get(&format!("/v1/proofs/{absent}"));
        assert_eq!((answer.status, answer.body.as_slice()), (404, b"the log has no such leaf".as_slice()), "{absent}");
    }
    for wrong in ["one", "-1", "+1", "01", "1.0", "0x1", "%31x", "18446744073709551616", "1%20"] {
        let answer = client.get(&format!("/v1/proofs/{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.body.len() < 100, "{} bytes", answer.body.len());
    }
    assert!(matches!(client.get(&format!("/v1/proofs/{}", "9".repeat(10_000))).status, 400 | 414 | 431));
    for path in ["/v1/proofs/", "/v1/proofs", "/v1/proofs/0/1"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(client.post("/v1/proofs/0", b"").status, 405);
}

/// A mark that can be moved only when it may.
struct Stuck(Arc<AtomicBool>);

impl Mark for Stuck {
    fn read(&self) -> Result<Marked, MarkError> {
        Ok(Marked { version: "0".into(), signed: None })
    }

    fn advance(&self, version: &str, _: u64, _: &Digest) -> Result<String, MarkError> {
        let stuck = || MarkError::Keeper { path: "memory".into(), why: "it is stuck".into() };
        if self.0.load(Ordering::SeqCst) { Ok(version.to_owned()) } else { Err(stuck()) }
    }
}

fn check_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.body, b"no published checkpoint covers the leaf yet");
}

#[test]
fn a_leaf_that_no_checkpoint_covers_is_proven_later() {
    let (runtime, directory, moves) =
        (Runtime::new().unwrap(), TempDir::new().unwrap(), Arc::new(AtomicBool::new(false)));
    let mark: Box<dyn Mark> = Box::new(Stuck(moves.clone()));
    let publishing = Publishing { interval: Duration::ZERO, mark: Some(mark) };
    let (node, _ended) = open_with(&runtime, directory.path(), Past::Unknown, publishing).unwrap();
    let shared = Shared::new(Arc::new(Metrics::default()), Limits::default());
    shared.ready(node);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let client = Client { address: listener.local_addr().unwrap() };
    runtime.spawn(serve(listener, router(shared), serve::Limits::default(), std::future::pending()));

    // Before the first checkpoint, and after it.
    check_unavailable(&client.get("/v1/proofs/0"));
    moves.store(true, Ordering::SeqCst);
    let first = leaves(client).len() as u64;
    moves.store(false, Ordering::SeqCst);
    let Submitted { leaf, seal, .. } = deposit(client, 0);
    assert_eq!(leaf, first);
    for at in leaf..seal.size {
        check_unavailable(&client.get(&format!("/v1/proofs/{at}")));
    }
    assert_eq!(client.get(&format!("/v1/proofs/{}", seal.size)).status, 404);
    let before = ProofFile::parse(proof(client, 0).proof.as_bytes()).unwrap();
    assert_eq!(Checkpoint::of_note(&before.note, &vkey()).unwrap().size, first);
    moves.store(true, Ordering::SeqCst);
    assert_eq!(leaves(client).len() as u64, seal.size);
    let after = ProofFile::parse(proof(client, leaf).proof.as_bytes()).unwrap();
    assert_eq!(after.note, Note::parse(&client.get("/checkpoint").body).unwrap());
}
