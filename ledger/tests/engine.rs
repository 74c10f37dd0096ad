//! The ledger behind its seam, driven by a script in place of an engine: with other borders of blocks, with proposals that must
//! be rejected, with a crash between two calls. Nodes that are fed the same blocks agree byte for byte.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use orion_ledger::app::{LedgerApp, MAX_BLOCK_TXS, Opened, Opening};
use orion_ledger::clock::Time;
use orion_ledger::engine::{
    Application as _, CheckTx, Fault, Finalized, Halt, Info, Offer, Prepare, Proposal, Tx, Vote, app_hash,
};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::Past;
use orion_ledger::store::Store;
use orion_ledger_core::Chain;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, Signed, cbor};
use support::disk::Disk;
use support::world::{self, Keys, Random, START_MS, World, spec};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A node that a script drives.
struct Scripted {
    app: LedgerApp,
    store: Arc<Store>,
    disk: Disk,
    directory: TempDir,
}

impl Scripted {
    fn new() -> Scripted {
        Scripted::on(Disk::default(), TempDir::new().unwrap())
    }

    fn on(disk: Disk, directory: TempDir) -> Scripted {
        let store = Arc::new(Store::with_backend(disk.clone()).unwrap());
        let (keys, time) = (Keys::new(), Time { wall: Arc::new(|| START_MS), ..Time::of_computer(0) });
        let opened = LedgerApp::open(Opening {
            directory: directory.path(),
            store: store.clone(),
            genesis: &keys.genesis(),
            secret: keys.checkpoint,
            past: Past::Unknown,
            marked: None,
            time,
            metrics: Arc::new(Metrics::default()),
        });
        let Opened { app, .. } = opened.unwrap();
        Scripted { app, store, disk, directory }
    }

    /// As after a kill: nothing but the disk is left.
    fn again(self) -> Scripted {
        let Scripted { app, store, disk, directory } = self;
        drop((app, store));
        Scripted::on(disk, directory)
    }

    fn proposal(&self, time_ms: u64, txs: Vec<Tx>) -> Proposal {
        let Info { height, app_hash, .. } = self.app.info().unwrap();
        Proposal { height: height + 1, time_ms, app_hash, txs }
    }

    /// Decides and commits a block that others decided, too.
    fn decide(&mut self, proposal: &Arc<Proposal>) -> Result<Finalized, Halt> {
        let finalized = self.app.finalize_block(proposal)?;
        self.app.commit()?;
        assert_eq!(self.app.info()?.app_hash, finalized.app_hash);
        Ok(finalized)
    }

    /// A block of its own making.
    fn block(&mut self, time_ms: u64, txs: Vec<Tx>) -> Finalized {
        let txs = self.app.prepare_proposal(Prepare { time_ms, max_bytes: usize::MAX, txs }).unwrap();
        let proposal = Arc::new(self.proposal(time_ms, txs));
        assert!(matches!(self.app.process_proposal(&proposal).unwrap(), Vote::Accept));
        self.decide(&proposal).unwrap()
    }

    fn rejects(&mut self, proposal: Proposal) -> Fault {
        let before = self.log();
        let proposal = Arc::new(proposal);
        let Vote::Reject(_) = self.app.process_proposal(&proposal).unwrap() else { panic!("{proposal:?} is accepted") };
        let Err(Halt::Rejected { height, fault }) = self.decide(&proposal) else { panic!("{proposal:?} is decided") };
        assert_eq!((height, self.log()), (proposal.height, before));
        fault
    }

    fn log(&self) -> Vec<Vec<u8>> {
        let mut log = Vec::new();
        let push = |leaf: &[u8]| {
            log.push(leaf.to_vec());
            true
        };
        self.store.snapshot().unwrap().leaves(push).unwrap();
        log
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

fn bytes(tx: &Signed<Envelope>) -> Tx {
    Tx::Bytes(cbor::to_vec(tx).into())
}

/// A job's whole life, and what is refused on the way.
fn history() -> World {
    let mut world = World::new();
    world.pay(&spec(1, 4, 4, 2));
    assert_eq!(world.deposit(5), Code::Ok);
    assert_eq!(world.open_escrow(&spec(1, 4, 4, 2)), Code::JobExists);
    world
}

/// The transactions of a log, with the time of each block.
fn blocks(world: &World) -> Vec<(u64, Vec<Signed<Envelope>>)> {
    let (mut blocks, mut txs) = (Vec::new(), Vec::new());
    for leaf in &world.log {
        match Leaf::from_bytes(leaf).unwrap().body {
            LeafBody::Transaction(tx, _) => txs.push(tx),
            LeafBody::Seal(seal) => blocks.push((seal.time_ms, std::mem::take(&mut txs))),
            _ => {}
        }
    }
    // Block 0 is nobody's.
    blocks.split_off(1)
}

fn deposits(world: &mut World, numbers: std::ops::Range<u64>) -> Vec<Signed<Envelope>> {
    let consumer = Consumer { account: world.account() };
    let deposit = |amount| {
        let id = world.id();
        world.sign(&Transaction::Deposit(Deposit { consumer: consumer.clone(), amount }), id)
    };
    numbers.map(deposit).collect()
}

#[test]
fn i32_nodes_fed_the_same_blocks_agree_and_one_fed_another_transaction_halts() {
    let _entered = runtime().enter();
    let mut world = history();
    let [mut proposer, mut follower, mut other] = [(); 3].map(|()| Scripted::new());
    for (time_ms, txs) in blocks(&world) {
        let txs: Vec<_> = txs.iter().map(bytes).collect();
        let txs = proposer.app.prepare_proposal(Prepare { time_ms, max_bytes: usize::MAX, txs }).unwrap();
        let proposal = Arc::new(proposer.proposal(time_ms, txs));
        for node in [&mut proposer, &mut follower] {
            assert!(matches!(node.app.process_proposal(&proposal).unwrap(), Vote::Accept));
        }
        // The third one sleeps through the vote, and is told what was decided.
        let nodes = [&mut proposer, &mut follower, &mut other];
        let hashes = nodes.map(|node| node.decide(&proposal).unwrap().app_hash);
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    }
    // Byte for byte what the core makes of them by itself, in the log and in memory.
    for node in [&proposer, &follower, &other] {
        assert_eq!(node.log(), world.log);
        let snapshot = runtime().block_on(node.app.books().look(Chain::snapshot)).unwrap();
        assert_eq!(snapshot, world.chain.snapshot());
    }
    assert_eq!(proposer.app.info().unwrap().app_hash, app_hash(&world.chain.seal_ref()));

    // One transaction of two differs in one micro-credit, in one node.
    let time_ms = world.time_ms + 10;
    let [same, one, another] = &deposits(&mut world, 1..4)[..] else { panic!("three") };
    let block = |node: &Scripted, tx| Arc::new(node.proposal(time_ms, vec![bytes(same), bytes(tx)]));
    let decided = [block(&proposer, one), block(&follower, one), block(&other, another)];
    let nodes = [&mut proposer, &mut follower, &mut other];
    let decide = |(node, block): (&mut Scripted, _)| node.decide(block).unwrap().app_hash;
    let hashes: Vec<_> = nodes.into_iter().zip(&decided).map(decide).collect();
    assert!(hashes[0] == hashes[1] && hashes[0] != hashes[2]);
    // The next proposal says what the others have.
    let next = Arc::new(proposer.proposal(time_ms + 1, Vec::new()));
    let vote = other.app.process_proposal(&next).unwrap();
    assert!(matches!(vote, Vote::Reject(Fault::AppHash { have, own }) if (have, own) == (hashes[0], hashes[2])));
    let halted = other.app.finalize_block(&next);
    assert!(matches!(halted, Err(Halt::Rejected { fault: Fault::AppHash { .. }, .. })), "{halted:?}");
    assert!(matches!(follower.app.process_proposal(&next).unwrap(), Vote::Accept));
}

#[test]
fn where_blocks_end_changes_seals_and_nothing_that_is_paid() {
    let _entered = runtime().enter();
    let seed = world::seed();
    println!("ORION_SEED={seed}");
    let mut random = Random(seed);
    let mut world = World::new();
    let mut txs: Vec<_> = blocks(&world).into_iter().flat_map(|(_, txs)| txs).collect();
    txs.extend(deposits(&mut world, 1..60));
    let mut ends = Vec::new();
    for longest in [1, 4, 16] {
        let (mut node, mut time_ms, mut codes) = (Scripted::new(), START_MS, Vec::new());
        let mut left = txs.iter();
        // Whose envelopes are ordered follows from the block before, so epoch and providers come first.
        let mut size = 1;
        while left.len() > 0 {
            time_ms += 1 + random.below(50);
            let batch = left.by_ref().take(size).map(bytes).collect();
            codes.extend(node.block(time_ms, batch).outcomes.into_iter().map(|outcome| outcome.receipt));
            size = 1 + usize::try_from(random.below(longest)).unwrap();
        }
        assert_eq!(codes.len(), txs.len());
        let node = node.again();
        let totals = runtime().block_on(node.app.books().look(Chain::totals)).unwrap();
        let height = node.app.info().unwrap().height;
        ends.push((codes, totals, height));
    }
    let (codes, totals, _) = &ends[0];
    assert!(ends.iter().all(|(c, t, _)| c == codes && t == totals));
    assert!(ends[0].2 > ends[1].2 && ends[1].2 > ends[2].2, "all borders fell alike");
}

#[test]
fn a_proposal_that_must_not_be_decided_is_rejected_and_leaves_nothing() {
    let _entered = runtime().enter();
    let mut world = World::bare();
    let mut node = Scripted::new();
    for (time_ms, txs) in blocks(&world) {
        node.block(time_ms, txs.iter().map(bytes).collect());
    }
    let known = blocks(&world)[0].1[0].clone();
    let time_ms = world.time_ms + 10;
    let fresh = deposits(&mut world, 1..1200);
    let stranger = {
        let (chain, id) = (world.signers.chain.clone(), world.id());
        let consumer = Consumer { account: world.account() };
        Transaction::Deposit(Deposit { consumer, amount: 1 }).sign(&chain, &world::key(99), 0, id)
    };
    let one = |node: &Scripted| node.proposal(time_ms, vec![bytes(&fresh[0])]);

    let wrong = Proposal { height: 3, ..one(&node) };
    assert!(matches!(node.rejects(wrong), Fault::Height { have: 3, want: 2 }));
    let wrong = Proposal { height: 1, ..one(&node) };
    assert!(matches!(node.rejects(wrong), Fault::Height { have: 1, want: 2 }));
    let wrong = Proposal { app_hash: Digest::ZERO, ..one(&node) };
    assert!(matches!(node.rejects(wrong), Fault::AppHash { have: Digest::ZERO, .. }));
    let wrong = Proposal { time_ms: world.time_ms, ..one(&node) };
    assert!(matches!(node.rejects(wrong), Fault::Time { .. }));
    let mut with = |txs: Vec<Tx>| {
        let proposal = node.proposal(time_ms, txs);
        node.rejects(proposal)
    };
    let (good, repeated) = (bytes(&fresh[0]), bytes(&fresh[0]));
    let mut changed = cbor::to_vec(&fresh[1]);
    *changed.last_mut().unwrap() ^= 1;
    let garbage = Tx::Bytes(changed.into());
    assert!(matches!(with(vec![good.clone(), garbage]), Fault::Unorderable { at: 1, .. }));
    assert!(matches!(with(vec![bytes(&stranger)]), Fault::Unorderable { at: 0, .. }));
    assert!(matches!(with(vec![good.clone(), bytes(&known)]), Fault::Repeated { at: 1 }));
    assert!(matches!(with(vec![good.clone(), repeated]), Fault::Repeated { at: 1 }));
    let many = fresh[..=MAX_BLOCK_TXS].iter().map(bytes).collect();
    assert!(matches!(with(many), Fault::TooMuch { txs, .. } if txs == MAX_BLOCK_TXS + 1));

    // It goes on as if nothing had been; votes carry nothing.
    assert!(node.app.extend_vote(2).is_empty());
    assert!(matches!(node.app.verify_vote_extension(2, &[1]), Vote::Reject(Fault::Extension(1))));
    assert_eq!(node.block(time_ms, vec![good]).outcomes[0].receipt.code, Code::Ok);
}

#[test]
fn what_is_known_cannot_be_ordered_or_has_no_room_is_not_proposed() {
    let _entered = runtime().enter();
    let mut world = World::bare();
    let mut node = Scripted::new();
    let txs: Vec<_> = deposits(&mut world, 1..1200).iter().map(bytes).collect();
    let first = node.block(START_MS + 1, txs[..2].to_vec()).outcomes;
    let known = node.app.check_tx(txs[1].clone()).unwrap();
    assert!(matches!(known, CheckTx::Known(submitted) if submitted == first[1]));
    assert!(matches!(node.app.check_tx(Tx::Bytes((*b"no envelope").into())).unwrap(), CheckTx::Refused(_)));
    let CheckTx::New(checked) = node.app.check_tx(txs[2].clone()).unwrap() else { panic!("it is new") };

    let mut prepare = |txs: &[Tx], max_bytes| {
        let prepare = Prepare { time_ms: START_MS + 2, max_bytes, txs: txs.to_vec() };
        node.app.prepare_proposal(prepare).unwrap()
    };
    let offered = [txs[1].clone(), Tx::Bytes((*b"no envelope").into()), checked, txs[2].clone(), txs[3].clone()];
    assert_eq!(prepare(&offered, usize::MAX).len(), 2);
    let Tx::Bytes(second) = &txs[3] else { panic!("bytes") };
    assert_eq!(prepare(&txs[2..5], second.len() * 2).len(), 2);
    assert_eq!(prepare(&txs[2..5], 1).len(), 0);
    assert_eq!(prepare(&txs, usize::MAX).len(), MAX_BLOCK_TXS);
    // Nothing to do makes no block, and that is no step in height.
    let before = node.app.info().unwrap();
    node.block(START_MS + 2, vec![txs[0].clone()]);
    assert_eq!(node.app.info().unwrap(), before);
}

#[test]
fn i30_a_crash_between_finalize_and_commit_leaves_the_block_before() {
    let _entered = runtime().enter();
    let world = history();
    let [mut node, mut twin] = [(); 2].map(|()| Scripted::new());
    for (time_ms, txs) in blocks(&world) {
        let decided = Arc::new(node.proposal(time_ms, txs.iter().map(bytes).collect()));
        let (before, log) = (node.app.info().unwrap(), node.log());
        let lost = node.app.finalize_block(&decided).unwrap().app_hash;
        node = node.again();
        assert_eq!((node.app.info().unwrap(), node.log()), (before, log));
        // The engine tells it once more, and then what it has.
        let again = node.decide(&decided).unwrap();
        let other = twin.decide(&decided).unwrap();
        assert_eq!((lost, &again.outcomes), (other.app_hash, &other.outcomes));
        assert_eq!(again.app_hash, other.app_hash);
        node = node.again();
        let told = node.app.finalize_block(&decided);
        assert!(matches!(told, Err(Halt::Rejected { fault: Fault::Height { .. }, .. })), "{told:?}");
    }
    assert_eq!((node.log(), twin.log()), (world.log.clone(), world.log));
}

#[test]
fn whoever_waits_for_a_block_that_fails_sees_nothing_of_it() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut world = World::bare();
    let mut node = Scripted::new();
    let txs = deposits(&mut world, 1..3).iter().map(bytes).collect();
    let decided = Arc::new(node.proposal(START_MS + 1, txs));
    node.app.finalize_block(&decided).unwrap();
    let books = node.app.books().clone();
    let mut looked = runtime.spawn(async move { books.look(Chain::seal_ref).await });
    let waits = async { tokio::time::timeout(Duration::from_millis(50), &mut looked).await.is_err() };
    assert!(runtime.block_on(waits), "a block that is being made is not looked at");
    assert!(matches!(node.app.check_tx(decided.txs[0].clone()), Err(Halt::Order(_))));
    assert!(matches!(node.app.finalize_block(&decided), Err(Halt::Order(_))));
    node.disk.fails_after(0);
    assert!(matches!(node.app.commit(), Err(Halt::Store(_))));
    assert!(runtime.block_on(looked).unwrap().is_err(), "nothing is known after a block that failed");
    assert!(matches!(node.app.info(), Err(Halt::Failed | Halt::Store(_))));
    assert!(matches!(node.app.commit(), Err(Halt::Order(_))));
}

#[test]
fn snapshots_are_listed_as_they_are_and_never_taken_from_others() {
    let _entered = runtime().enter();
    let mut world = World::bare();
    let mut node = Scripted::new();
    assert_eq!(node.app.list_snapshots().unwrap(), []);
    let txs: Vec<_> = deposits(&mut world, 0..4200).iter().map(bytes).collect();
    let mut seals = Vec::new();
    for (number, txs) in (1..).zip(txs.chunks(700)) {
        node.block(START_MS + number, txs.to_vec());
        seals.push(*node.app.seals().borrow());
    }
    // It is written by a thread that whoever ends it waits for.
    let mut node = node.again();
    let listed = node.app.list_snapshots().unwrap();
    let [snapshot] = listed[..] else { panic!("{listed:?}") };
    let chunks = (0..snapshot.chunks).map(|chunk| node.app.load_snapshot_chunk(&snapshot, chunk).unwrap().unwrap());
    let state: Vec<u8> = chunks.flatten().collect();
    assert_eq!(Digest::of(&state), snapshot.hash);
    let seal = seals.into_iter().find(|seal| seal.height == snapshot.height).unwrap();
    assert_eq!(Chain::restore(&Keys::new().genesis(), &state, &seal).unwrap().snapshot(), state);
    assert_eq!(node.app.load_snapshot_chunk(&snapshot, snapshot.chunks).unwrap(), None);
    let other = orion_ledger::engine::SnapshotInfo { height: snapshot.height + 1, ..snapshot };
    assert_eq!(node.app.load_snapshot_chunk(&other, 0).unwrap(), None);

    assert!(matches!(node.app.offer_snapshot(&snapshot, &app_hash(&seal)), Offer::Reject(_)));
    assert!(matches!(node.app.apply_snapshot_chunk(0, &state), Offer::Reject(_)));
    for entry in std::fs::read_dir(node.directory.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(node.app.list_snapshots().unwrap(), [], "one whose file is gone is not offered");
}
