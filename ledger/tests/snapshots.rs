//! A start from a snapshot is a start from the genesis, only sooner: the same chain, the same answers, the same refusals.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use orion_ledger::node::{Node, NodeError, Past};
use orion_ledger::store::{Kept, Store};
use orion_ledger_core::{Chain, Standing};
use orion_protocol::ledger::Submitted;
use orion_protocol::ledger::tx::*;
use orion_protocol::{JobId, Signed, TxId};
use support::local::{close, open};
use support::world::{self, Keys};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Enough for one snapshot, and not for two.
const DEPOSITS: u64 = 4200;

fn deposit(number: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    Transaction::Deposit(Deposit { consumer, amount: 1 + number }).sign(&chain, &keys.issuer, 0, id)
}

fn submit(runtime: &Runtime, node: Node, numbers: std::ops::Range<u64>) -> (Node, Vec<Submitted>) {
    let node = Arc::new(node);
    let mut submitted = Vec::new();
    for from in numbers.clone().step_by(512) {
        let tasks: Vec<_> = (from..numbers.end.min(from + 512))
            .map(|number| {
                let (node, tx) = (node.clone(), node.admission().check(deposit(number)).unwrap());
                runtime.spawn(async move { node.submit(tx).await.unwrap() })
            })
            .collect();
        submitted.extend(tasks.into_iter().map(|task| runtime.block_on(task).unwrap()));
    }
    (Arc::into_inner(node).unwrap(), submitted)
}

fn snapshots(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of_snapshot = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("snapshot-");
    entries.filter(of_snapshot).collect()
}

/// What a node that starts here says of itself; then it is closed.
fn started(runtime: &Runtime, directory: &Path, known: &Submitted) -> (u64, Vec<u8>) {
    let begun = Instant::now();
    let (node, ended) = open(runtime, directory, Past::Unknown).unwrap();
    println!("{} leaves were replayed in {:?}", node.replayed(), begun.elapsed());
    let tx = node.admission().check(deposit(0)).unwrap();
    assert_eq!(runtime.block_on(node.standing(&tx)).unwrap(), Standing::Known(known.clone()));
    let said = (node.replayed(), runtime.block_on(node.look(Chain::snapshot)).unwrap());
    close(runtime, node, ended);
    said
}

#[test]
fn a_start_from_a_snapshot_gives_what_a_start_from_the_genesis_gives() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let (node, ended) = open(&runtime, directory.path(), Past::Unknown).unwrap();
    let (node, submitted) = submit(&runtime, node, 0..DEPOSITS);
    let seal = runtime.block_on(node.look(Chain::seal_ref)).unwrap();
    close(&runtime, node, ended);
    let [file] = &snapshots(directory.path())[..] else { panic!("one snapshot") };
    let intact = std::fs::read(file).unwrap();

    let (replayed, from_snapshot) = started(&runtime, directory.path(), &submitted[0]);
    assert!(replayed <= seal.size - 4096, "{replayed} of {} leaves", seal.size);
    for damage in [intact[..intact.len() - 1].to_vec(), changed(&intact), Vec::new()] {
        std::fs::write(file, damage).unwrap();
        assert_eq!(started(&runtime, directory.path(), &submitted[0]), (seal.size, from_snapshot.clone()));
    }
    std::fs::remove_file(file).unwrap();
    assert_eq!(started(&runtime, directory.path(), &submitted[0]), (seal.size, from_snapshot.clone()));

    // It goes on from there, and the snapshot still holds.
    std::fs::write(file, &intact).unwrap();
    let (node, ended) = open(&runtime, directory.path(), Past::Unknown).unwrap();
    let (node, _) = submit(&runtime, node, DEPOSITS..DEPOSITS + 10);
    close(&runtime, node, ended);
    let (more, after) = started(&runtime, directory.path(), &submitted[0]);
    // Ten deposits, each of them with a seal at most.
    assert!((replayed + 11..=replayed + 20).contains(&more), "{more} of {replayed} leaves");
    std::fs::remove_file(file).unwrap();
    assert_eq!(started(&runtime, directory.path(), &submitted[0]).1, after);

    // What comes after a snapshot is replayed, and what does not follow halts the start as ever.
    std::fs::write(file, &intact).unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut head = store.snapshot().unwrap().head().unwrap().unwrap();
    (head.size, head.height) = (head.size + 1, head.height + 1);
    store.commit(&[b"no leaf".to_vec()], &head, &Kept::default()).unwrap();
    drop(store);
    let error = open(&runtime, directory.path(), Past::Unknown).err().unwrap();
    assert!(matches!(error, NodeError::Replay(ref error) if error.leaf == head.size - 1), "{error}");
}

fn changed(bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[bytes.len() / 2] ^= 1;
    changed
}

#[test]
fn two_snapshots_are_kept_and_each_is_good_to_start_from() {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let mut first = None;
    // Each start counts from its snapshot on, so each of these makes one more.
    for round in 0..3 {
        let (node, ended) = open(&runtime, directory.path(), Past::Unknown).unwrap();
        let (node, submitted) = submit(&runtime, node, round * DEPOSITS..(round + 1) * DEPOSITS);
        first.get_or_insert(submitted[0].clone());
        close(&runtime, node, ended);
    }
    let first = first.unwrap();
    let files = snapshots(directory.path());
    assert_eq!(files.len(), 2, "{files:?}");
    let size = |path: &PathBuf| path.to_str().unwrap().rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    let newest = files.iter().max_by_key(|path| size(path)).unwrap();
    let (few, want) = started(&runtime, directory.path(), &first);
    std::fs::remove_file(newest).unwrap();
    let (more, have) = started(&runtime, directory.path(), &first);
    assert!(more >= few + 4096 && have == want, "{few} and {more}");
}
