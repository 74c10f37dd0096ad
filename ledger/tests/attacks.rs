//! Cheap attacks on the service: long bodies, many small ones, envelopes of strangers and of other chains, clocks that are set.
//! Those on the rules are in `ledger/core/tests/attacks.rs`.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orion_ledger::clock::{MOST_AHEAD_MS, Time};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{Node, Past};
use orion_protocol::ids::{Account, TxId};
use orion_protocol::ledger::api::{AccountView, JobPhase, JobView, Submitted};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, JobId, SecretKey, Signed, cbor};
use support::local::{AT_ONCE, close, open_by};
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

/// A computer's clocks: one that can be set, and one that cannot.
#[derive(Clone)]
struct Clocks {
    wall: Arc<AtomicU64>,
    steady: Arc<AtomicU64>,
}

impl Clocks {
    fn new() -> Clocks {
        Clocks { wall: Arc::new(AtomicU64::new(world::START_MS)), steady: Arc::default() }
    }

    fn time(&self) -> Time {
        let Clocks { wall, steady } = self.clone();
        let (wall, steady) = (move || wall.load(Ordering::SeqCst), move || steady.load(Ordering::SeqCst));
        Time { wall: Arc::new(wall), steady: Arc::new(steady), longest_pause_hours: u64::MAX }
    }

    fn set(&self, wall_ms: u64) {
        self.wall.store(wall_ms, Ordering::SeqCst);
    }

    fn pass(&self, ms: u64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.steady.fetch_add(ms, Ordering::SeqCst);
    }
}

/// The number of a job's escrow, opened after a first deposit and the first epoch, and the times of those blocks. `between` comes
/// before each of the last two.
fn with_escrow(runtime: &Runtime, node: &Node, between: impl Fn()) -> (JobId, Vec<u64>) {
    let (keys, chain) = (Keys::new(), Keys::new().genesis().chain());
    let task = spec(1, 4, 4, 2);
    let consumer = Consumer { account: world::consumer(&chain) };
    let mut times = vec![submit(runtime, node, deposit_by(&keys.issuer, 0, 1_000)).seal.time_ms];
    for (tx, id) in [
        (Transaction::OpenEpoch(OpenEpoch { epoch: 1, nonce: vec![1; 16].into() }), 1),
        (Transaction::OpenEscrow(OpenEscrow { consumer, task: task.object().into(), budget: 1_000 }), 2),
    ] {
        between();
        let submitted = submit(runtime, node, tx.sign(&chain, &keys.operator, 1, TxId([id; 16])));
        assert_eq!(submitted.receipt.code, Code::Ok);
        times.push(submitted.seal.time_ms);
    }
    (task.job, times)
}

fn job(runtime: &Runtime, node: &Node, job: JobId) -> JobView {
    let view = runtime.block_on(node.job(job)).unwrap().unwrap();
    cbor::from_slice("job", &view, 1 << 20).unwrap()
}

/// The time of a block that is made now.
fn block_time(runtime: &Runtime, node: &Node, number: u64) -> u64 {
    submit(runtime, node, deposit_by(&Keys::new().issuer, number, 1)).seal.time_ms
}

#[test]
fn a_clock_that_is_set_back_a_year_moves_no_deadline_and_no_block() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let clocks = Clocks::new();
    let set_back = || _ = clocks.wall.fetch_sub(YEAR_MS, Ordering::SeqCst);
    let (node, ended) = open_by(&runtime, directory.path(), Past::Unknown, clocks.time()).unwrap();
    let (id, mut times) = with_escrow(&runtime, &node, set_back);
    let deadline_ms = job(&runtime, &node, id).deadline_ms;
    assert_eq!(deadline_ms, times[2] + world::POLICY.escrow_ms);
    close(&runtime, node, ended);

    // Also over a restart: block time goes on from the log's last, and the escrow neither ends early nor later.
    let (node, ended) = open_by(&runtime, directory.path(), Past::Unknown, clocks.time()).unwrap();
    times.push(block_time(&runtime, &node, 1));
    assert!(times.windows(2).all(|two| two[0] < two[1]) && times[3] < times[0] + 1_000, "{times:?}");
    clocks.pass(deadline_ms - times[3]);
    clocks.set(deadline_ms);
    assert_eq!(block_time(&runtime, &node, 2), deadline_ms);
    assert_eq!(job(&runtime, &node, id).phase, JobPhase::Open, "the deadline itself is in time");
    clocks.pass(1);
    assert_eq!(block_time(&runtime, &node, 3), deadline_ms + 1);
    assert_eq!(job(&runtime, &node, id).phase, JobPhase::Expired);
    let escrow = Account::Escrow(id).id(&Keys::new().genesis().chain());
    let left = runtime.block_on(node.look(|chain| chain.account(escrow).balance)).unwrap();
    assert_eq!(left, 0);
    close(&runtime, node, ended);
}

#[test]
fn a_clock_that_is_set_forward_while_the_ledger_runs_ends_no_escrow() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let (clocks, metrics) = (Clocks::new(), Arc::new(Metrics::default()));
    let (path, keys, time, seen) = (directory.path().to_owned(), Keys::new(), clocks.time(), metrics.clone());
    let genesis = keys.genesis();
    let open = move || Node::open(&path, Past::Unknown, &genesis, keys.checkpoint, time, seen, AT_ONCE);
    let (node, ended) = runtime.block_on(runtime.spawn_blocking(open)).unwrap().unwrap();
    let (id, times) = with_escrow(&runtime, &node, || clocks.pass(1_000));
    let start = world::START_MS;
    assert_eq!(times[1..], [start + 1_000, start + 2_000]);
    let ahead = |seconds: u64| {
        let (line, text) = (format!("orion_ledger_clock_ahead_seconds {seconds}\n"), metrics.text());
        assert!(text.contains(&line), "{line}{text}");
    };

    // A year ahead, it says nothing any more, and time passes all the same: deadlines come when they should.
    clocks.pass(1_000);
    clocks.set(start + 3_000 + YEAR_MS);
    assert_eq!(block_time(&runtime, &node, 1), start + 3_000);
    ahead(YEAR_MS / 1_000);
    let JobView { deadline_ms, phase, .. } = job(&runtime, &node, id);
    assert_eq!((phase, deadline_ms), (JobPhase::Open, times[2] + world::POLICY.escrow_ms));
    clocks.pass(deadline_ms - start - 3_000);
    assert_eq!(block_time(&runtime, &node, 2), deadline_ms);
    assert_eq!(job(&runtime, &node, id).phase, JobPhase::Open);
    clocks.pass(1);
    let end = deadline_ms + 1;
    assert_eq!(block_time(&runtime, &node, 3), end);
    assert_eq!(job(&runtime, &node, id).phase, JobPhase::Expired);

    // As far as clocks are set where nothing is wrong it is followed, and not a millisecond further, nor once more on top.
    clocks.set(end + MOST_AHEAD_MS + 1);
    assert_eq!(block_time(&runtime, &node, 4), end + 1, "it rises where no time has passed");
    clocks.set(end + MOST_AHEAD_MS);
    assert_eq!(block_time(&runtime, &node, 5), end + MOST_AHEAD_MS);
    ahead(MOST_AHEAD_MS / 1_000);
    clocks.set(end + 2 * MOST_AHEAD_MS);
    assert_eq!(block_time(&runtime, &node, 6), end + MOST_AHEAD_MS + 1);
    // Set right, it is followed again.
    clocks.set(end);
    clocks.pass(2 * MOST_AHEAD_MS);
    assert_eq!(block_time(&runtime, &node, 7), end + 2 * MOST_AHEAD_MS);
    ahead(0);
    // Nobody sends anything, and nothing is due: it is seen all the same.
    clocks.set(end + YEAR_MS);
    let until = Instant::now() + Duration::from_secs(30);
    while metrics.text().contains("orion_ledger_clock_ahead_seconds 0\n") {
        assert!(Instant::now() < until, "an idle ledger does not look at its clock");
        support::pass(Duration::from_millis(50));
    }
    assert_eq!(block_time(&runtime, &node, 8), end + 2 * MOST_AHEAD_MS + 1);
    close(&runtime, node, ended);

    // A start believes it, as far as it is told to.
    let (node, ended) = open_by(&runtime, directory.path(), Past::Unknown, clocks.time()).unwrap();
    assert_eq!(block_time(&runtime, &node, 9), end + YEAR_MS);
    close(&runtime, node, ended);
}
