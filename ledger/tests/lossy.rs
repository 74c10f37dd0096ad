//! A disk that loses what was not synced, in parts: whatever was acknowledged is there after each power cut, and nothing that
//! was signed is ever contradicted. One thread, one seed: a failure prints it, `ORION_SEED` runs it again.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orion_ledger::app::{LedgerApp, Opened, Opening};
use orion_ledger::clock::{Clock, Time};
use orion_ledger::engine::{Application as _, CheckTx, Halt, Info, Prepare, Proposal, Tx, Vote};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{NodeError, Past};
use orion_ledger::publisher::Published;
use orion_ledger::store::Store;
use orion_ledger_core::{Admission, Admitted, Signer};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::api::Submitted;
use orion_protocol::ledger::tx::*;
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{Digest, JobId};
use support::disk::Disk;
use support::world::{self, Keys, Random};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Ledgers, each on a disk of its own,
const LIVES: u64 = 30;
/// and how often its power fails.
const CRASHES: u64 = 12;
/// A block takes a dozen changes and syncs, a start some more.
const LONGEST: u64 = 160;

/// One ledger, on one disk, and all that anybody outside knows of it.
struct Life {
    disk: Disk,
    /// Whether the store was ever made: until then it has another name, and is made anew.
    made: bool,
    directory: TempDir,
    keys: Keys,
    admission: Admission,
    clock: Clock,
    sent: u64,
    /// What was acknowledged.
    known: Vec<(Arc<Admitted>, Submitted)>,
    /// Roots that were signed, by size.
    signed: BTreeMap<u64, Digest>,
}

impl Life {
    fn new() -> Life {
        let keys = Keys::new();
        let now = AtomicU64::new(world::START_MS);
        let clock: Clock = Arc::new(move || now.fetch_add(1, Ordering::SeqCst));
        let (admission, directory) = (Admission::new(&keys.genesis()), TempDir::new().unwrap());
        let (known, signed) = (Vec::new(), BTreeMap::new());
        Life { disk: Disk::default(), made: false, directory, keys, admission, clock, sent: 0, known, signed }
    }

    fn open(&mut self) -> Result<(Opened, Arc<Store>), NodeError> {
        let store = Arc::new(Store::with_backend(self.disk.clone())?);
        self.made = true;
        let opened = LedgerApp::open(Opening {
            directory: self.directory.path(),
            store: store.clone(),
            genesis: &self.keys.genesis(),
            secret: self.keys.checkpoint.clone(),
            past: Past::Unknown,
            // All that left the process is known outside, too.
            marked: self.signed.last_key_value().map(|(size, root)| (*size, *root)),
            time: Time { wall: self.clock.clone(), ..Time::of_computer(u64::MAX) },
            metrics: Arc::new(Metrics::default()),
        })?;
        Ok((opened, store))
    }

    fn deposit(&mut self) -> Arc<Admitted> {
        self.sent += 1;
        let chain = self.keys.genesis().chain();
        let consumer = Consumer { account: world::consumer(&chain) };
        let id = TxId::derive("Deposit", &JobId::NONE, self.sent, 0);
        let tx = Transaction::Deposit(Deposit { consumer, amount: self.sent }).sign(&chain, &self.keys.issuer, 0, id);
        Arc::new(self.admission.check(tx).unwrap())
    }

    /// Compares a ledger that has just started with all that is known of it.
    fn check(&self, app: &LedgerApp, store: &Store) {
        for (tx, submitted) in &self.known {
            match app.check_tx(Tx::Checked(tx.clone())).unwrap() {
                CheckTx::Known(stored) => assert_eq!(&stored, submitted),
                other => panic!("acknowledged at leaf {}, now {other:?}", submitted.leaf),
            }
        }
        let (mut tree, mut left) = (Tree::<Sha256>::default(), self.signed.clone());
        let snapshot = store.snapshot().unwrap();
        snapshot
            .leaves(|leaf| {
                tree.push(Sha256::leaf(leaf));
                if let Some(root) = left.remove(&tree.size()) {
                    assert_eq!(Digest(tree.root()), root, "two roots of {} leaves", tree.size());
                }
                true
            })
            .unwrap();
        assert_eq!(left, BTreeMap::new(), "signed and lost");
        let published = snapshot.published().unwrap().map(|published| published.size);
        assert!(published >= self.signed.keys().last().copied(), "what was shown is still known");
    }

    /// Goes on until the power fails; with luck not even that.
    fn run(
        &mut self,
        app: &mut LedgerApp,
        store: &Store,
        signer: &mut Signer,
        random: &mut Random,
    ) -> Result<(), Halt> {
        for _ in 0..random.below(16) {
            let txs: Vec<_> = (0..=random.below(3)).map(|_| self.deposit()).collect();
            let outcomes = block(app, &txs, (self.clock)())?;
            // From here on somebody may have heard of it.
            self.known.extend(txs.into_iter().zip(outcomes));
            if random.one_in(2) {
                let seal = *app.seals().borrow();
                store.claim(seal.size, &seal.root)?;
                let note = signer.sign(&seal).unwrap();
                store.publish(&Published { size: seal.size, root: seal.root, note })?;
                self.signed.insert(seal.size, seal.root);
            }
        }
        Ok(())
    }
}

/// One block, as any engine makes it.
fn block(app: &mut LedgerApp, txs: &[Arc<Admitted>], now_ms: u64) -> Result<Vec<Submitted>, Halt> {
    let Info { height, time_ms, app_hash, .. } = app.info()?;
    let time_ms = now_ms.max(time_ms + 1);
    let txs = txs.iter().cloned().map(Tx::Checked).collect();
    let txs = app.prepare_proposal(Prepare { time_ms, max_bytes: usize::MAX, txs })?;
    let proposal = Arc::new(Proposal { height: height + 1, time_ms, app_hash, txs });
    assert!(matches!(app.process_proposal(&proposal)?, Vote::Accept));
    let finalized = app.finalize_block(&proposal)?;
    app.commit()?;
    Ok(finalized.outcomes)
}

#[test]
fn i30_what_was_acknowledged_survives_lost_and_torn_writes() {
    let seed = world::seed();
    println!("ORION_SEED={seed}");
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut random = Random(seed);
    let (mut cuts, mut while_starting, mut acknowledged, mut signed) = (0, 0, 0, 0);
    for number in 0..LIVES {
        let mut life = Life::new();
        for _ in 0..CRASHES {
            let operations = random.below(LONGEST);
            life.disk.fails_after(operations);
            let ended = match life.open() {
                Ok((Opened { mut app, mut signer, .. }, store)) => {
                    life.check(&app, &store);
                    let halted = life.run(&mut app, &store, &mut signer, &mut random);
                    halted.map_err(NodeError::Halt)
                }
                Err(error) => {
                    while_starting += 1;
                    Err(error)
                }
            };
            if let Err(error) = ended {
                assert!(life.disk.is_dead(), "life {number}, {operations} operations: {error:?}");
            }
            cuts += u64::from(life.disk.is_dead());
            if life.made {
                life.disk.restart(&mut random);
            } else {
                life.disk = Disk::default();
            }
        }
        let (Opened { app, .. }, store) = life.open().unwrap();
        life.check(&app, &store);
        (acknowledged, signed) = (acknowledged + life.known.len(), signed + life.signed.len());
    }
    println!(
        "{cuts} power cuts, {while_starting} of them while it started; {acknowledged} acknowledged, {signed} signed"
    );
    assert!(cuts > LIVES * CRASHES / 2 && while_starting > 0 && acknowledged > 0 && signed > 0, "nothing was tried");
}
