//! The node's own promises: it halts on a log that does not replay, never signs twice, bounds its queue, keeps block time
//! rising under any clock.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orion_ledger::clock::{self, Clock};
use orion_ledger::engine::{Fault, Halt};
use orion_ledger::node::{NodeError, Past, SubmitError};
use orion_ledger::publisher::Published;
use orion_ledger::store::{Kept, Store};
use orion_ledger_core::{Chain, Signer, Unorderable};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::tx::*;
use orion_protocol::ledger::{Code, SealRef};
use orion_protocol::{Digest, JobId, PublicKey, SecretKey, Signed};
use support::local::{close, open, open_at};
use support::world::{self, Keys};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn deposit(number: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    Transaction::Deposit(Deposit { consumer, amount: 1 }).sign(&chain, &keys.issuer, 0, id)
}

/// The checkpoint that `secret` would sign over a seal.
fn published(seal: &SealRef, secret: SecretKey) -> Published {
    let note = Signer::new(&Keys::new().genesis().chain(), secret, None).sign(seal).unwrap();
    Published { size: seal.size, root: seal.root, note }
}

/// A store with block 0, and its seal.
fn started(runtime: &Runtime) -> (TempDir, SealRef) {
    let directory = TempDir::new().unwrap();
    let (node, ended) = open(runtime, directory.path(), Past::Unknown).unwrap();
    let seal = runtime.block_on(node.look(Chain::seal_ref)).unwrap();
    close(runtime, node, ended);
    (directory, seal)
}

/// Puts a block of one leaf into the store, behind the rules' back, and starts from it.
fn tampered(leaf: &[u8]) -> NodeError {
    let runtime = Runtime::new().unwrap();
    let (directory, mut seal) = started(&runtime);
    (seal.size, seal.height) = (seal.size + 1, seal.height + 1);
    let store = Store::open(directory.path()).unwrap();
    store.commit(&[leaf.to_vec()], &seal, &Kept::default()).unwrap();
    drop(store);
    match open(&runtime, directory.path(), Past::Unknown) {
        Ok(_) => panic!("it went on from a log that does not replay"),
        Err(error) => error,
    }
}

#[test]
fn a_log_that_does_not_replay_halts_the_start() {
    let error = tampered(b"no leaf");
    assert!(matches!(error, NodeError::Replay(ref error) if error.leaf == 2), "{error}");
}

#[test]
fn a_stored_seal_or_checkpoint_that_the_log_contradicts_halts_the_start() {
    let runtime = Runtime::new().unwrap();
    let rewritten = |change: fn(&mut SealRef), secret: SecretKey, changed_note: fn(&mut SealRef)| {
        let (directory, mut seal) = started(&runtime);
        let mut signed = seal;
        change(&mut seal);
        changed_note(&mut signed);
        // No new leaves: only what is said about them.
        let store = Store::open(directory.path()).unwrap();
        store.commit(&[], &seal, &Kept::default()).unwrap();
        store.publish(&published(&signed, secret)).unwrap();
        drop(store);
        open(&runtime, directory.path(), Past::Unknown).err()
    };
    let same: fn(&mut SealRef) = |_| {};
    let root: fn(&mut SealRef) = |seal| seal.root = Digest::ZERO;
    assert!(matches!(rewritten(root, world::key(4), same), Some(NodeError::Head { .. })));
    assert!(matches!(rewritten(same, world::key(4), root), Some(NodeError::Forked(2))));
    assert!(matches!(rewritten(same, world::key(4), |seal| seal.size = 9), Some(NodeError::Forked(9))));
    assert!(matches!(rewritten(same, world::key(5), same), Some(NodeError::Checkpoint(_))));
    assert!(rewritten(same, world::key(4), same).is_none());
}

#[test]
fn an_empty_store_begins_no_second_log() {
    let runtime = Runtime::new().unwrap();
    let (directory, seal) = started(&runtime);
    let again = open(&runtime, directory.path(), Past::Begun);
    let (node, ended) = again.expect("a log that was begun goes on");
    assert_eq!(runtime.block_on(node.look(Chain::seal_ref)).unwrap(), seal);
    close(&runtime, node, ended);

    let emptied = TempDir::new().unwrap();
    for _ in 0..2 {
        let refused = open(&runtime, emptied.path(), Past::Begun).err();
        assert!(matches!(refused, Some(NodeError::Lost(_))), "{refused:?}");
    }
    let (node, ended) = open(&runtime, emptied.path(), Past::Unknown).expect("a refusal leaves nothing behind");
    close(&runtime, node, ended);
}

#[test]
fn of_several_that_make_a_store_at_once_one_has_it() {
    for _ in 0..8 {
        let directory = TempDir::new().unwrap();
        let open = || Store::open(directory.path());
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
        drop(opened);
        assert_eq!(open().unwrap().snapshot().unwrap().size().unwrap(), 0);
        let files = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(files.eq(["ledger.redb"]), "nothing else is left");
    }
}

#[test]
fn a_block_is_only_added_where_the_log_ends() {
    let runtime = Runtime::new().unwrap();
    let (directory, seal) = started(&runtime);
    let store = Store::open(directory.path()).unwrap();
    assert!(store.commit(&[b"leaf".to_vec()], &seal, &Kept::default()).is_err(), "a leaf more than the seal says");
    assert_eq!(store.snapshot().unwrap().size().unwrap(), seal.size);
}

#[test]
fn block_time_rises_whatever_the_clock_says() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let now = Arc::new(AtomicU64::new(1000));
    let clock: Clock = {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let (node, ended) = open_at(&runtime, directory.path(), Past::Unknown, clock).unwrap();
    let mut times = Vec::new();
    for (number, time) in [(1, 1000), (2, 500), (3, 0), (4, 2000), (5, 300_000)] {
        now.store(time, Ordering::SeqCst);
        let tx = node.admission().check(deposit(number)).unwrap();
        times.push(runtime.block_on(node.submit(tx)).unwrap().seal.time_ms);
    }
    assert_eq!(times, [1001, 1002, 1003, 2000, 300_000]);
    close(&runtime, node, ended);
}

#[test]
fn a_full_queue_turns_away_and_what_was_queued_is_ordered() {
    // A block of 1,024 may be with the engine, and 1,024 fit the queue.
    const TASKS: usize = 2100;
    const SURPLUS: usize = TASKS - 2048;
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    // A clock that stops while somebody holds it stops the engine.
    let hold = Arc::new(Mutex::new(()));
    let clock: Clock = {
        let (hold, wall) = (hold.clone(), clock::wall());
        Arc::new(move || {
            drop(hold.lock().unwrap());
            wall()
        })
    };
    let (node, ended) = open_at(&runtime, directory.path(), Past::Unknown, clock).unwrap();
    let node = Arc::new(node);
    let stalled = hold.lock().unwrap();
    let submit = |number| {
        let (node, tx) = (node.clone(), node.admission().check(deposit(number)).unwrap());
        runtime.spawn(async move { node.submit(tx).await })
    };
    let tasks: Vec<_> = (0..TASKS as u64).map(submit).collect();
    runtime.block_on(async {
        let over = || tasks.iter().filter(|task| task.is_finished()).count() >= SURPLUS;
        let turned_away = async {
            while !over() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), turned_away).await.expect("nobody is turned away");
    });
    assert_eq!(node.waiting(), 1024, "as many as fit");
    drop(stalled);
    let results: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).collect();
    let busy = results.iter().filter(|result| matches!(result, Err(SubmitError::Busy))).count();
    assert!((SURPLUS..=TASKS - 1024).contains(&busy), "{busy} were turned away");
    assert!(results.iter().flatten().all(|submitted| submitted.receipt.code == Code::Ok));
    let deposited = runtime.block_on(node.look(|chain| chain.totals().deposited)).unwrap();
    assert_eq!(deposited, (TASKS - busy) as u64);
    assert_eq!(node.waiting(), 0);
    close(&runtime, Arc::into_inner(node).unwrap(), ended);
}

#[test]
fn whatever_comes_together_is_answered_as_if_it_came_one_by_one() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let (hold, stuck) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
    let clock: Clock = {
        let (hold, stuck, wall) = (hold.clone(), stuck.clone(), clock::wall());
        Arc::new(move || {
            stuck.fetch_add(1, Ordering::SeqCst);
            drop(hold.lock().unwrap());
            stuck.fetch_sub(1, Ordering::SeqCst);
            wall()
        })
    };
    let (node, ended) = open_at(&runtime, directory.path(), Past::Unknown, clock).unwrap();
    let (keys, chain) = (Keys::new(), Keys::new().genesis().chain());
    let sign = |tx: &Transaction, epoch, id: u8| {
        let key = if matches!(tx, Transaction::Deposit(_)) { &keys.issuer } else { &keys.operator };
        node.admission().check(tx.sign(&chain, key, epoch, TxId([id; 16]))).unwrap()
    };
    let epoch = |epoch| Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![1; 16].into() });
    let deposit =
        |amount| Transaction::Deposit(Deposit { consumer: Consumer { account: world::consumer(&chain) }, amount });
    let provider = RegisterProvider { key: world::key(11).public(), owner: world::name("alice"), validates: false };
    let provider = Transaction::RegisterProvider(provider);
    for tx in [sign(&epoch(1), 1, 1), sign(&provider, 2, 9)] {
        runtime.block_on(node.submit(tx)).unwrap();
    }

    let stalled = hold.lock().unwrap();
    let together = [
        sign(&deposit(1), 0, 2),
        sign(&deposit(1), 0, 3),
        sign(&deposit(1), 0, 3),
        sign(&deposit(2), 0, 3),
        sign(&epoch(2), 2, 4),
        // Refused before, and of the epoch that is being opened.
        sign(&provider, 2, 9),
    ];
    let mut fates = Vec::new();
    for tx in together {
        let mut fate = Box::pin(node.submit(tx));
        let waits = async { tokio::time::timeout(Duration::ZERO, &mut fate).await.is_err() };
        assert!(runtime.block_on(waits));
        fates.push(fate);
        // With the first, or before it; so the others come together.
        let deadline = Instant::now() + Duration::from_secs(30);
        while stuck.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline, "the clock is not asked");
            std::thread::yield_now();
        }
    }
    drop(stalled);
    let fates: Vec<_> = fates.into_iter().map(|fate| runtime.block_on(fate).unwrap()).collect();
    let codes: Vec<_> = fates.iter().map(|fate| fate.receipt.code).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::Ok, Code::ExistsWithDifferentBytes, Code::Ok, Code::Ok]);
    assert_eq!(fates[1], fates[2]);
    let heights: Vec<_> = fates.iter().map(|fate| fate.seal.height).collect();
    let block = heights[1];
    assert_eq!(heights[1..], [block, block, block, block, block + 1]);
    close(&runtime, node, ended);
}

#[test]
fn what_nobody_may_order_any_more_is_told_so_and_the_others_are_ordered() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let (node, ended) = open(&runtime, directory.path(), Past::Unknown).unwrap();
    let stranger = SecretKey::from_seed(&[77; 32]);
    let chain = Keys::new().genesis().chain();
    let id = TxId::derive("Close", &JobId::NONE, 1, 0);
    let close_job = Transaction::Close(Close { job: JobId::NONE }).sign(&chain, &stranger, 1, id);
    // As if it had been let into the queue while the key still counted.
    let tx = node.admission().check(close_job).unwrap();
    let refused = runtime.block_on(node.submit(tx));
    let named = |key: &PublicKey| *key == stranger.public();
    assert!(
        matches!(&refused, Err(SubmitError::Unorderable(Unorderable::UnknownSigner(key))) if named(key)),
        "{refused:?}"
    );
    let tx = node.admission().check(deposit(1)).unwrap();
    assert_eq!(runtime.block_on(node.submit(tx)).unwrap().receipt.code, Code::Ok);
    close(&runtime, node, ended);
}

#[test]
fn a_block_that_cannot_be_made_ends_the_ledger_and_answers_nobody() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    // There is no time after block 0's.
    let (node, ended) = open_at(&runtime, directory.path(), Past::Unknown, Arc::new(|| u64::MAX)).unwrap();
    let tx = node.admission().check(deposit(1)).unwrap();
    assert!(matches!(runtime.block_on(node.submit(tx)), Err(SubmitError::Stopped)));
    let ended = runtime.block_on(ended).unwrap();
    let rejected = |fault: &Fault| matches!(fault, Fault::Time { have: u64::MAX, last: u64::MAX });
    assert!(
        matches!(&ended, Err(NodeError::Halt(Halt::Rejected { height: 1, fault })) if rejected(fault)),
        "{ended:?}"
    );
    assert!(!node.is_running());
    let seal = runtime.block_on(node.look(Chain::seal_ref)).unwrap();
    assert_eq!(seal.height, 0, "what is on disk may still be looked at");
}
