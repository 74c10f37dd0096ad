//! `orion-ledger witness`: follows a log over HTTP, replays every leaf of it by the same rules as the ledger, and cosigns the
//! checkpoints that the log sends it (c2sp.org/tlog-witness). One that sees a payment that does not follow, a fork or a
//! rollback stops, keeps the evidence and says why; a log that it cannot reach only delays it.
//!
//! Invariants: nothing is cosigned that was not replayed here; for one size at most one root, ever, over crashes too; after
//! evidence nothing is cosigned until a person takes it away.
//!
//! | part | what |
//! | --- | --- |
//! | `fetch` | the log over HTTP, bounded |
//! | `remote` | the tree under a checkpoint, each tile compared with the one above |
//! | `copy` | the witness's own copy, replayed before it is stored |
//! | `follow` | the loop that goes after the log's checkpoints |
//! | `answer` | `add-checkpoint` |
//! | `state` | what was cosigned and followed, durable |
//! | `evidence` | what is kept of a refusal |
//! | `http` | the routes |

mod answer;
mod copy;
mod evidence;
mod fetch;
mod follow;
mod http;
mod metrics;
mod remote;
mod state;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use orion_ledger_core::log::fork::Evidence;
use orion_ledger_core::log::note::{Checked, Note, NoteSigner};
use orion_ledger_core::log::prove::prefix;
use orion_ledger_core::proof::prefix_roots;
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::ledger::Genesis;
use orion_protocol::merkle::{Scheme as _, Sha256};
use tokio::sync::{Notify, oneshot, watch};

use crate::clock::Clock;
use crate::node::NodeError;
use crate::store::{Store, StoreError};
use crate::tiles::{Tiles, TilesError};

pub use fetch::FetchError;
pub use http::{Door, router};

use copy::{Copy, damaged};
use evidence::Files;
use fetch::Log;
use follow::Follower;
use metrics::Metrics;
use state::{Point, State};

/// Why a witness cannot start, or had to stop as a process. What the log does wrong is none of these.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The log's URL.
    #[error("cannot follow the log")]
    Log(#[source] FetchError),
    /// The disk.
    #[error("the witness's store failed")]
    Store(#[from] StoreError),
    /// The copy on disk does not replay.
    #[error("the witness's copy of the log was refused; take its data directory away, and it copies the log again")]
    Copy(#[source] NodeError),
    /// Tiles.
    #[error("the tiles of the witness's copy failed")]
    Tiles(#[from] TilesError),
    /// The folder of evidence.
    #[error("cannot read the evidence that is kept")]
    Evidence(#[source] std::io::Error),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The key's name.
    #[error("the key has signed as the log: a witness needs a key of its own")]
    LogKey,
    /// What was cosigned is not on disk.
    #[error(
        "{0} leaves were cosigned, and the copy does not have them with that root: the data directory is not whole; restore all \
         of it, or start with an empty one under another key and name"
    )]
    Cosigned(u64),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between two looks at the log's checkpoint.
    pub poll: Duration,
    /// One file of the log.
    pub file: Duration,
    /// How long a request to cosign waits until its checkpoint is replayed.
    pub replay: Duration,
    /// For so long a checkpoint below the one cosigned may be an old copy of somebody between.
    pub stale: Duration,
    /// A file that contradicts the log's signature is asked for so many times before it is evidence.
    pub tries: u32,
    /// Requests to cosign at a time.
    pub requests: usize,
    /// Files of the copy that are read at a time.
    pub reads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            poll: Duration::from_secs(1),
            file: Duration::from_secs(30),
            replay: Duration::from_secs(10),
            stale: Duration::from_secs(10),
            tries: 3,
            requests: 16,
            reads: 8,
        }
    }
}

/// What a witness is told.
pub struct Config {
    /// Where the log is: `/checkpoint` and `/tile/...` below it.
    pub log: String,
    /// The chain, and by it the log's key.
    pub genesis: Genesis,
    /// Who cosigns.
    pub signer: NoteSigner,
    /// What time it is.
    pub clock: Clock,
    /// How long things may take.
    pub limits: Limits,
}

/// A running witness. Dropped, it follows no more, and its store may be opened again.
pub struct Witness {
    shared: Arc<Shared>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Tells when the witness's disk has failed. A witness that refuses goes on saying so.
pub type Ended = oneshot::Receiver<Result<(), WitnessError>>;

/// What the log shows, and whether that could be followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) size: Option<u64>,
    pub(crate) trouble: Option<String>,
}

/// What loop and routes share.
pub(crate) struct Shared {
    pub(crate) key: VerifierKey,
    pub(crate) signer: NoteSigner,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) store: Arc<Store>,
    pub(crate) state: State,
    pub(crate) files: Files,
    /// The checkpoint up to which everything was replayed.
    pub(crate) reached: watch::Sender<Option<Arc<Point>>>,
    /// The checkpoint that was cosigned last.
    pub(crate) cosigned: watch::Sender<Option<Arc<Point>>>,
    /// Somebody waits for the log to be looked at.
    pub(crate) wake: Notify,
    pub(crate) metrics: Metrics,
    seen: Mutex<Seen>,
}

impl Witness {
    /// Opens the copy in `directory` and begins to follow; blocks while the end of its own log is replayed. Must be called
    /// within a tokio runtime, off its async threads.
    pub fn open(directory: &Path, config: Config) -> Result<(Witness, Ended), WitnessError> {
        let Config { log, genesis, signer, clock, limits } = config;
        if signer.key().key() == genesis.checkpoint {
            return Err(WitnessError::LogKey);
        }
        let (end, ends) = watch::channel(false);
        let log = Log::new(&log, limits.file, ends.clone()).map_err(WitnessError::Log)?;
        let store = Arc::new(Store::open(directory)?);
        let files = Files::open(directory).map_err(WitnessError::Evidence)?;
        let state = State::open(store.clone())?;
        let tiles = Arc::new(Tiles::open(directory, store.clone())?);
        let copy = Copy::open(directory, &store, &tiles, &genesis).map_err(WitnessError::Copy)?;
        let followed = state.followed()?;
        let whole = followed.filter(|point| point.checkpoint.size == copy.committed());
        let key = VerifierKey::new(&genesis.chain(), genesis.checkpoint);
        let reached = watch::Sender::new(whole.map(Arc::new));
        let cosigned = watch::Sender::new(state.cosigned()?.map(Arc::new));
        let (wake, metrics, seen) = (Notify::new(), Metrics::default(), Mutex::default());
        let shared =
            Shared { key, signer, clock, limits, tiles, store, state, files, reached, cosigned, wake, metrics, seen };
        let shared = Arc::new(shared);
        shared.compare_cosigned(&copy)?;
        let follower = Follower::new(shared.clone(), log, copy, ends);
        let (tell, ended) = oneshot::channel();
        let run = move || {
            let result = follower.run();
            if let Err(error) = &result {
                tracing::error!(error = error as &dyn std::error::Error, "the witness ends");
            }
            let _ = tell.send(result);
        };
        let thread = std::thread::Builder::new().name("witness-follow".into()).spawn(run);
        let thread = Some(thread.map_err(WitnessError::Thread)?);
        Ok((Witness { shared, end, thread }, ended))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What was cosigned must be what the copy says: a table that is older or newer than the rest would let a size be signed
    /// twice.
    fn compare_cosigned(&self, copy: &Copy) -> Result<(), WitnessError> {
        self.metrics.replayed_size.set(copy.committed());
        self.metrics.stopped.set(u64::from(self.files.stopped().is_some()));
        let Some(cosigned) = self.cosigned.borrow().clone() else { return Ok(()) };
        self.metrics.cosigned_size.set(cosigned.checkpoint.size);
        let Checkpoint { origin: _, size, root } = cosigned.checkpoint;
        let own =
            if size <= copy.committed() { Some(self.root_at(size, copy.committed(), copy.root())?.0) } else { None };
        if own == Some(root) { Ok(()) } else { Err(WitnessError::Cosigned(size)) }
    }

    /// What the first `size` leaves of the copy hash to, and the nodes that show it to whoever has the root of all.
    fn root_at(&self, size: u64, all: u64, root: Digest) -> Result<(Digest, Vec<[u8; 32]>), StoreError> {
        if size == all || size == 0 {
            return Ok((if size == all { root } else { Digest(Sha256::empty()) }, Vec::new()));
        }
        let nodes = prefix(size, all, self.tiles.as_ref()).map_err(|error| damaged(&error))?;
        match prefix_roots(size, all, &nodes) {
            Some((start, whole)) if Digest(whole) == root => Ok((Digest(start), nodes)),
            _ => Err(StoreError::Damaged(format!("the tiles of the copy do not hash to its root at {all} leaves"))),
        }
    }

    /// Compares a checkpoint, which the log signed, with what was replayed, which is not smaller; a difference is a fork.
    pub(crate) fn contradicts(
        &self,
        point: &Point,
        reached: &Point,
        shown: &str,
    ) -> Result<Option<Evidence>, StoreError> {
        let (size, all) = (point.checkpoint.size, reached.checkpoint.size);
        let (own, nodes) = self.root_at(size, all, reached.checkpoint.root)?;
        Ok((own != point.checkpoint.root).then(|| forked(&self.key, point, reached, nodes, shown)))
    }

    /// The note with the log's own signature alone: what others add is bounded by nobody, and proves nothing here.
    pub(crate) fn stripped(&self, note: &Note) -> Note {
        let by_log = |signature: &&_| {
            let mut one = Note::new(note.text().to_owned()).ok()?;
            one.add(orion_ledger_core::log::note::NoteSignature::clone(signature)).ok()?;
            matches!(self.key.note_key().verify(&one), Checked::Good { .. }).then_some(one)
        };
        note.signatures().iter().find_map(|signature| by_log(&signature)).unwrap_or_else(|| note.clone())
    }

    /// Shows a checkpoint that was cosigned, unless a larger one is shown.
    pub(crate) fn show_cosigned(&self, point: Point) {
        self.cosigned.send_if_modified(|shown| {
            let larger = shown.as_ref().is_some_and(|shown| shown.checkpoint.size > point.checkpoint.size);
            if !larger {
                self.metrics.cosigned_size.set(point.checkpoint.size);
                *shown = Some(Arc::new(point));
            }
            !larger
        });
    }

    /// Stops, for good.
    pub(crate) fn refuse(&self, evidence: &Evidence) {
        self.files.refuse(evidence);
        self.metrics.stopped.set(1);
        // Whoever waits for a replay hears of it.
        self.reached.send_modify(|_| ());
    }

    /// What the log showed last.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn saw(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Evidence of two checkpoints of one log that no one log has. `nodes`: see [`orion_ledger_core::log::fork::Claim::Fork`].
fn forked(key: &VerifierKey, one: &Point, other: &Point, nodes: Vec<[u8; 32]>, shown: &str) -> Evidence {
    let say = |point: &Point| format!("{} leaves with root {}", point.checkpoint.size, point.checkpoint.root);
    let words = format!(
        "{} signed two checkpoints that no one log has: of {}, {shown}, and of {}, which was followed before",
        key.name(),
        say(one),
        say(other)
    );
    Evidence::fork(one.note.clone(), other.note.clone(), nodes, &words)
}
