//! Cheap attacks on the service: long bodies, many small ones, envelopes of strangers and of other chains, a clock that is set back.
//! Those on the rules are in `ledger/core/tests/attacks.rs`.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orion_ledger::clock::Clock;
use orion_ledger::node::{Node, Past};
use orion_protocol::ids::{Account, TxId};
use orion_protocol::ledger::api::{AccountView, JobPhase, Submitted};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, JobId, SecretKey, Signed, cbor};
use support::local::{close, open_at};
use support::world::{self, Keys, spec};
use support::{Client, Home};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const YEAR_MS: u64 = 365 * 86_400_000;

fn deposit_by(secret: &SecretKey, number: u64, amount: u64) -> Signed<Envelope> {
    let chain = Keys::new().genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    Transaction::Deposit(Deposit { consumer, amount }).sign(&chain, secret, 0, id)
}

fn balance(client: Client) -> u64 {
    let account = world::consumer(&Keys::new().genesis().chain());
    let answer = client.get(&format!("/v1/accounts/{account}"));
    cbor::from_slice::<AccountView>("account", &answer.body, 1024).unwrap().balance
}

#[test]
fn ten_megabytes_are_turned_away_and_everybody_else_is_served() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let long = vec![0x81; 10 << 20];
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8).map(|_| scope.spawn(|| client.post("/v1/transactions", &long).status)).collect();
        for number in 0..8 {
            assert_eq!(client.submit(&deposit_by(&Keys::new().issuer, number, 1)).receipt.code, Code::Ok);
        }
        for sender in senders {
            assert_eq!(sender.join().unwrap(), 413);
        }
    });
    // Just what an envelope may be long, and one byte more.
    let most = orion_ledger_core::admission::MAX_SIGNED_BYTES;
    assert_eq!(client.post("/v1/transactions", &long[..most]).status, 400);
    assert_eq!(client.post("/v1/transactions", &long[..=most]).status, 413);
    assert_eq!(balance(client), 8);
    assert_eq!(ledger.stop(), Some(0));
}

/// That a queue of good ones is bounded is shown in `node.rs`; a million of these here would be a million times nothing.
#[test]
fn small_entries_of_strangers_take_no_place_in_the_log_or_the_queue() {
    const EACH: u64 = 250;
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let before = client.head().seal;
    std::thread::scope(|scope| {
        for sender in 0..8 {
            scope.spawn(move || {
                for number in 0..EACH {
                    let tx = deposit_by(&world::key(66), sender * EACH + number, 1);
                    let answer = client.post("/v1/transactions", &cbor::to_vec(&tx));
                    let said = String::from_utf8(answer.body).unwrap();
                    assert!(answer.status == 400 && said.contains("may not sign"), "{}: {said}", answer.status);
                }
            });
        }
    });
    assert_eq!(client.head().seal, before, "no leaf, and no block");
    assert_eq!(client.submit(&deposit_by(&Keys::new().issuer, 1, 5)).receipt.code, Code::Ok);
    assert_eq!((client.head().seal.height, balance(client)), (before.height + 1, 5));
}

#[test]
fn an_id_with_other_bytes_and_an_envelope_of_another_chain_change_nothing() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let issuer = Keys::new().issuer;
    let first = client.submit(&deposit_by(&issuer, 1, 5));
    assert_eq!(first.receipt.code, Code::Ok);
    let clash = client.submit(&deposit_by(&issuer, 1, 6));
    assert_eq!((clash.receipt.code, clash.leaf), (Code::ExistsWithDifferentBytes, first.leaf));
    assert_eq!(client.submit(&deposit_by(&issuer, 1, 5)), first);

    let other = Genesis { nonce: Digest::ZERO, ..Keys::new().genesis() }.chain();
    let consumer = Consumer { account: world::consumer(&Keys::new().genesis().chain()) };
    let elsewhere = Transaction::Deposit(Deposit { consumer, amount: 7 });
    let elsewhere = elsewhere.sign(&other, &issuer, 0, TxId([9; 16]));
    let answer = client.post("/v1/transactions", &cbor::to_vec(&elsewhere));
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8(answer.body).unwrap().contains("signature on orion/tx/v1 does not verify"));
    assert_eq!((client.head().seal, balance(client)), (first.seal, 5));
}

fn submit(runtime: &Runtime, node: &Node, tx: Signed<Envelope>) -> Submitted {
    let tx = node.admission().check(tx).unwrap();
    runtime.block_on(node.submit(tx)).unwrap()
}

#[test]
fn a_clock_that_is_set_back_a_year_moves_no_deadline_and_no_block() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let now = Arc::new(AtomicU64::new(world::START_MS));
    let clock: Clock = {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let (node, ended) = open_at(&runtime, directory.path(), Past::Unknown, clock.clone()).unwrap();
    let (keys, chain) = (Keys::new(), Keys::new().genesis().chain());
    let task = spec(1, 4, 4, 2);
    let consumer = Consumer { account: world::consumer(&chain) };
    let mut times = vec![submit(&runtime, &node, deposit_by(&keys.issuer, 0, 1_000)).seal.time_ms];
    for (tx, id) in [
        (Transaction::OpenEpoch(OpenEpoch { epoch: 1, nonce: vec![1; 16].into() }), 1),
        (Transaction::OpenEscrow(OpenEscrow { consumer, task: task.object().into(), budget: 1_000 }), 2),
    ] {
        now.fetch_sub(YEAR_MS, Ordering::SeqCst);
        let submitted = submit(&runtime, &node, tx.sign(&chain, &keys.operator, 1, TxId([id; 16])));
        assert_eq!(submitted.receipt.code, Code::Ok);
        times.push(submitted.seal.time_ms);
    }
    let deadline = runtime.block_on(node.job(task.job)).unwrap().unwrap();
    let deadline: orion_protocol::ledger::api::JobView = cbor::from_slice("job", &deadline, 1 << 20).unwrap();
    assert_eq!(deadline.deadline_ms, times[2] + world::POLICY.escrow_ms);
    close(&runtime, node, ended);

    // Also over a restart: block time goes on from the log's last, and the escrow neither ends early nor later.
    let (node, ended) = open_at(&runtime, directory.path(), Past::Unknown, clock).unwrap();
    times.push(submit(&runtime, &node, deposit_by(&keys.issuer, 1, 1)).seal.time_ms);
    assert!(times.windows(2).all(|two| two[0] < two[1]) && times[3] < times[0] + 1_000, "{times:?}");
    let phase = |time_ms: u64, number| {
        now.store(time_ms, Ordering::SeqCst);
        submit(&runtime, &node, deposit_by(&keys.issuer, number, 1));
        let view = runtime.block_on(node.job(task.job)).unwrap().unwrap();
        cbor::from_slice::<orion_protocol::ledger::api::JobView>("job", &view, 1 << 20).unwrap().phase
    };
    assert_eq!(phase(deadline.deadline_ms, 2), JobPhase::Open, "the deadline itself is in time");
    assert_eq!(phase(deadline.deadline_ms + 1, 3), JobPhase::Expired);
    let escrow = Account::Escrow(task.job).id(&chain);
    let left = runtime.block_on(node.look(|chain| chain.account(escrow).balance)).unwrap();
    assert_eq!(left, 0);
    close(&runtime, node, ended);
}
