//! `orion-ledger witness`: follows a log over HTTP, replays every leaf of it by the same rules as the ledger, and cosigns the
//! checkpoints that the log sends it (c2sp.org/tlog-witness). One that sees a payment that does not follow, a fork or a
//! rollback stops, keeps the evidence and says why; a log that it cannot reach only delays it.
//!
//! Invariants: nothing is cosigned that was not replayed here; for one size at most one root, ever, over crashes too; after
//! evidence nothing is cosigned until a person takes it away.
//!
//! | part | what |
//! | --- | --- |
//! | `fetch` | the log over HTTP, from threads that may block |
//! | `remote` | the tree under a checkpoint, each tile compared with the one above |
//! | `copy` | the witness's own copy, replayed before it is stored |
//! | `follow` | the loop that goes after the log's checkpoints |
//! | `answer` | `add-checkpoint` |
//! | `shared` | what loop and routes share, and how a checkpoint is compared with the copy |
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
mod shared;
mod state;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use orion_ledger_core::VerifierKey;
use orion_ledger_core::log::note::NoteSigner;
use orion_protocol::ledger::Genesis;
use tokio::sync::{Notify, oneshot, watch};

use crate::clock::Clock;
use crate::fetch::FetchError;
use crate::node::NodeError;
use crate::store::{Store, StoreError};
use crate::tiles::{Tiles, TilesError};

pub use http::{Door, router};

use copy::Copy;
use evidence::Files;
use fetch::Log;
use follow::Follower;
use metrics::Metrics;
use shared::Shared;
use state::State;

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
    /// A store that no witness filled.
    #[error("the data directory holds {0} leaves that no witness has followed: it needs one of its own")]
    Unfollowed(u64),
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
    /// Short files of the copy that are read at a time.
    pub reads: usize,
    /// Bundles of the copy, which may be long, that are read at a time.
    pub bundles: usize,
    /// How long a request for either waits for its turn before it is answered 503.
    pub turn: Duration,
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
            bundles: 8,
            turn: Duration::from_secs(3),
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
        let point = state.followed()?;
        let size = point.as_ref().map_or(0, |point| point.checkpoint.size);
        if size < copy.committed() {
            return Err(WitnessError::Unfollowed(copy.committed()));
        }
        let whole = point.filter(|_| size == copy.committed());
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
