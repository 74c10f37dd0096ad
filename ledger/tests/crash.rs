//! SIGKILL at any moment, under load: what was acknowledged is there afterwards with the same fate, the log verifies, and all
//! checkpoints that anybody was ever shown are of one log. `ORION_CRASH_CYCLES` asks for more kills; `ORION_SEED` repeats their
//! moments, though not what the load does meanwhile.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orion_ledger_core::{Checkpoint, VerifierKey, verify};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::api::Submitted;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{Digest, JobId, cbor};
use support::world::{self, Keys, Random};
use support::{Client, Home};

/// Kills, unless `ORION_CRASH_CYCLES` says how many,
const CYCLES: u64 = 50;
/// of which so many hit one log; then another one begins, or the later kills would wait for ever longer checks.
const CYCLES_A_LOG: u64 = 250;
/// Each sends its next transaction once it has the answer to the last.
const SUBMITTERS: usize = 6;
/// Of all that was acknowledged before the last kill, so many are asked for again after it; at the end, all.
const SAMPLE: usize = 40;
/// A start takes no longer, on a computer that has other things to do.
const START: Duration = Duration::from_secs(5);

/// One log, and all that anybody outside knows of it.
#[derive(Default)]
struct Known {
    /// What was acknowledged, by the number of its deposit.
    submitted: BTreeMap<u64, Submitted>,
    /// Since the last kill.
    last: Vec<u64>,
    /// Checkpoints that somebody saw, by size.
    shown: BTreeMap<u64, Digest>,
    /// How many of those were seen under load.
    seen: usize,
    sent: AtomicU64,
}

fn deposit(number: u64) -> Vec<u8> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    cbor::to_vec(&Transaction::Deposit(Deposit { consumer, amount: 1 + number }).sign(&chain, &keys.issuer, 0, id))
}

fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

/// What came of a deposit, if the ledger lives long enough to say so.
fn submit(client: Client, number: u64) -> Option<Submitted> {
    let answer = client.attempt("POST", "/v1/transactions", &deposit(number)).ok()?;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let submitted: Submitted = cbor::from_slice("submitted", &answer.body, 1 << 20).unwrap();
    assert_eq!(submitted.receipt.code, Code::Ok);
    Some(submitted)
}

impl Known {
    /// Compares a ledger that has just started with all that is known of it.
    fn check(&mut self, client: Client, numbers: &[u64]) {
        for number in numbers {
            assert_eq!(submit(client, *number).as_ref(), self.submitted.get(number), "deposit {number}");
        }
        let export = client.get("/v1/export").body;
        let report = verify::log(export.as_slice(), &vkey()).unwrap();
        assert!(report.seal.size >= client.head().seal.size, "a checkpoint covers all of it");
        assert!(report.totals.consumers >= self.submitted.keys().map(|number| 1 + number).sum());
        let (mut tree, mut left) = (Tree::<Sha256>::default(), self.shown.clone());
        let compare = |leaf: &[u8]| {
            tree.push(Sha256::leaf(leaf));
            if let Some(root) = left.remove(&tree.size()) {
                assert_eq!(Digest(tree.root()), root, "two roots of {} leaves", tree.size());
            }
            Ok(())
        };
        verify::leaves(export.as_slice(), &vkey(), compare).unwrap();
        assert_eq!(left, BTreeMap::new(), "shown and lost");
        self.show(&report.checkpoint);
    }

    fn show(&mut self, checkpoint: &Checkpoint) {
        let first = *self.shown.entry(checkpoint.size).or_insert(checkpoint.root);
        assert_eq!(first, checkpoint.root, "two checkpoints of {} leaves", checkpoint.size);
    }

    /// Submits until the ledger is gone, which `kill` sees to.
    fn load(&mut self, client: Client, kill: impl FnOnce()) {
        let (submitted, shown) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..SUBMITTERS {
                scope.spawn(|| {
                    loop {
                        let number = self.sent.fetch_add(1, Ordering::Relaxed);
                        let Some(fate) = submit(client, number) else { return };
                        submitted.lock().unwrap().push((number, fate));
                    }
                });
            }
            scope.spawn(|| {
                while let Ok(answer) = client.attempt("GET", "/checkpoint", &[]) {
                    match answer.status {
                        200 => shown.lock().unwrap().push(Checkpoint::open(&answer.body, &vkey()).unwrap()),
                        // A log that begins has none yet.
                        status => assert_eq!(status, 503),
                    }
                }
            });
            kill();
        });
        let submitted = submitted.into_inner().unwrap();
        self.last = submitted.iter().map(|(number, _)| *number).collect();
        self.submitted.extend(submitted);
        let shown = shown.into_inner().unwrap();
        let before = self.shown.len();
        for checkpoint in &shown {
            self.show(checkpoint);
        }
        self.seen += self.shown.len() - before;
    }

    /// The last ones, and some of those before.
    fn sample(&self, random: &mut Random) -> Vec<u64> {
        let all: Vec<u64> = self.submitted.keys().copied().collect();
        let mut sample = self.last.clone();
        if !all.is_empty() {
            let any = |_| all[usize::try_from(random.below(all.len() as u64)).unwrap()];
            sample.extend((0..SAMPLE).map(any));
        }
        sample
    }
}

#[test]
fn i30_what_was_acknowledged_under_load_is_there_after_each_sigkill() {
    let given = std::env::var("ORION_CRASH_CYCLES").ok();
    let cycles: u64 = given.map_or(CYCLES, |text| text.parse().unwrap());
    let seed = world::seed();
    println!("ORION_SEED={seed}");
    let mut random = Random(seed);
    let (mut worst, mut acknowledged, mut shown, mut idle) = (Duration::ZERO, 0, 0, 0);
    let mut left = cycles;
    while left > 0 {
        let (home, mut known) = (Home::new(), Known::default());
        for _ in 0..left.min(CYCLES_A_LOG) {
            left -= 1;
            if random.one_in(4) {
                home.start_and_kill(Duration::from_millis(random.below(60)));
            }
            let begun = Instant::now();
            let ledger = home.start();
            worst = worst.max(begun.elapsed());
            let client = ledger.client();
            let sample = known.sample(&mut random);
            known.check(client, &sample);
            let moment = Duration::from_millis(5 + random.below(296));
            known.load(client, || {
                support::pass(moment);
                ledger.kill();
            });
            idle += u64::from(known.last.is_empty());
        }
        let ledger = home.start();
        let all: Vec<u64> = known.submitted.keys().copied().collect();
        known.check(ledger.client(), &all);
        (acknowledged, shown) = (acknowledged + all.len(), shown + known.seen);
    }
    println!("{cycles} kills, {acknowledged} acknowledged, {shown} checkpoints, the slowest start took {worst:?}");
    assert!(
        idle * 10 < cycles * 9 && shown > 0,
        "{idle} of {cycles} kills hit a ledger without load; {shown} checkpoints"
    );
    assert!(worst < START, "a start took {worst:?}");
}

#[test]
fn a_ledger_killed_while_it_makes_its_store_starts_again() {
    for milliseconds in 0..30 {
        let home = Home::new();
        home.start_and_kill(Duration::from_millis(milliseconds));
        let ledger = home.start();
        assert!(submit(ledger.client(), 1).is_some(), "killed after {milliseconds} ms");
    }
}
