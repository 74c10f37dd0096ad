//! A running ledger: replayed from its store, compared with what was stored and signed, and then open for transactions and
//! questions. It halts with the reason rather than go on from a log that does not replay.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orion_ledger_core::checkpoint::CheckpointError;
use orion_ledger_core::{Admission, Admitted, BlockError, Chain, ReplayError, Standing, Unorderable, VerifierKey};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobView, SealRef, Submitted};
use orion_protocol::{JobId, SecretKey, cbor};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use crate::app::Halted;
use crate::app::{Books, LedgerApp, Opened, Opening, standing};
use crate::clock::{LongPause, Time};
use crate::engine::Halt;
use crate::engine::embedded::{Embedded, Order};
use crate::history::{self, Subject};
use crate::mark::{Held, MarkError};
use crate::metrics::Metrics;
use crate::publisher::{self, Board, Published, Publisher, Publishing};
use crate::store::{self, Store, StoreError};
use crate::tiles::{Tiles, TilesError};

/// At most so many transactions wait for a block: 64 MiB at their longest.
const MAX_QUEUE: usize = 1024;

/// Why the ledger cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The disk.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
    /// The stored log is not what the rules make of it, or is another chain's.
    #[error("the stored log does not replay; refusing to go on")]
    Replay(#[source] ReplayError),
    /// The stored seal is not the replayed one.
    #[error("the store says {stored:?}, replay gives {replayed:?}; refusing to go on")]
    Head {
        /// What was stored.
        stored: Box<SealRef>,
        /// What replay gives.
        replayed: Box<SealRef>,
    },
    /// The checkpoint key is not the genesis'.
    #[error("the genesis names checkpoint key {want}, the key file holds {have}")]
    CheckpointKey {
        /// In the genesis.
        want: orion_protocol::PublicKey,
        /// Of the key file.
        have: orion_protocol::PublicKey,
    },
    /// The stored checkpoint.
    #[error("the stored checkpoint was refused")]
    Checkpoint(#[source] CheckpointError),
    /// The store is empty, and the log is known to have been begun.
    #[error(
        "the store in {0} is empty, but this chain's log was begun before; restore it: a second log under the same key \
         would contradict every checkpoint of the first"
    )]
    Lost(String),
    /// A checkpoint was signed that the log contradicts.
    #[error("a checkpoint of size {0} was signed, which the log does not have; refusing to sign another")]
    Forked(u64),
    /// The log's files.
    #[error("the tiles failed")]
    Tiles(#[source] TilesError),
    /// The mark outside of the volume.
    #[error(
        "the mark cannot be read, and without it nobody knows whether this volume is an old one; start again when it can"
    )]
    Mark(#[source] MarkError),
    /// More was signed than the log has.
    #[error(
        "this volume's log has {own} leaves, but {marked} were signed: it is older than that. Bring the missing entries back \
         (orion-ledger import --data DIR --genesis FILE --from URL|FILE, from an export, a witness or a mirror), then start"
    )]
    Behind {
        /// Leaves in the store.
        own: u64,
        /// Leaves under the last signed checkpoint.
        marked: u64,
    },
    /// The clock.
    #[error(transparent)]
    LongPause(#[from] LongPause),
    /// A block could not be made.
    #[error("cannot make a block")]
    Block(#[source] BlockError),
    /// The engine had to stop.
    #[error("the engine had to stop")]
    Halt(#[source] Halt),
    /// A thread is gone.
    #[error("the engine or the publisher ended without saying why")]
    Gone,
}

/// A transaction could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("the queue is full")]
    Busy,
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    Stopped,
    /// By the time of its block nobody could order it.
    #[error("the transaction cannot be ordered")]
    Unorderable(#[source] Unorderable),
}

/// What is known of the log from elsewhere than the store, which can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing: an empty store starts the chain.
    Unknown,
    /// It was begun: an empty store has lost it.
    Begun,
}

/// A question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is nobody to ask.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// The disk.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
    /// The question makes no sense.
    #[error("the transaction cannot be ordered")]
    Unorderable(#[source] Unorderable),
}

/// A running ledger.
pub struct Node {
    admission: Admission,
    key: VerifierKey,
    books: Books,
    store: Arc<Store>,
    tiles: Arc<Tiles>,
    board: Board,
    queue: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
    replayed: u64,
}

/// Tells when the ledger has ended: with an error, or because everybody who could submit is gone.
pub type Ended = oneshot::Receiver<Result<(), NodeError>>;

impl Node {
    /// Starts from the store in `directory`; blocks while it replays. Must be called within a tokio runtime, off its
    /// async threads.
    pub fn open(
        directory: &Path,
        past: Past,
        genesis: &Genesis,
        secret: SecretKey,
        time: Time,
        metrics: Arc<Metrics>,
        publishing: Publishing,
    ) -> Result<(Node, Ended), NodeError> {
        let store = Arc::new(Store::open(directory)?);
        let Publishing { interval, mark } = publishing;
        let mark = mark.map(Held::wait).transpose().map_err(NodeError::Mark)?;
        let opened = LedgerApp::open(Opening {
            directory,
            store: store.clone(),
            genesis,
            secret,
            past,
            marked: mark.as_ref().and_then(Held::signed),
            time,
            metrics: metrics.clone(),
        });
        let Opened { app, clock, signer, published, replayed } = opened?;
        let (key, books) = (signer.key().clone(), app.books().clone());
        let tiles = Arc::new(Tiles::open(directory, store.clone()).map_err(NodeError::Tiles)?);
        let board = Board::new(store.clone(), published);
        let (queue, orders) = mpsc::channel(MAX_QUEUE);
        let publisher = Publisher {
            interval,
            mark,
            metrics: metrics.clone(),
            board: board.clone(),
            store: store.clone(),
            tiles: tiles.clone(),
            signer,
            seals: app.seals(),
        };
        let engine = Embedded::new(app, orders, clock, metrics.clone()).map_err(NodeError::Halt)?;
        let ended = both(engine.spawn()?, publisher::spawn(publisher)?);
        let admission = Admission::new(genesis);
        Ok((Node { admission, key, books, store, tiles, board, queue, metrics, replayed }, ended))
    }

    /// What checks envelopes before they are queued.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The key that verifies checkpoints.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The store, for exports.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The log's files.
    pub fn tiles(&self) -> &Arc<Tiles> {
        &self.tiles
    }

    /// The newest published checkpoint.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Waits until all that is committed now is under a published checkpoint, for `limit` at most; gives the newest.
    pub async fn published(&self, limit: Duration) -> Result<Option<Arc<Published>>, Halted> {
        let size = self.look(|chain| chain.seal_ref().size).await?;
        let mut newest = self.board.newest();
        let reached = newest.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size >= size));
        // Whoever cannot wait longer gets what there is.
        let _ = tokio::time::timeout(limit, reached).await;
        Ok(newest.borrow().clone())
    }

    /// How many leaves it replayed at its start; in a new chain, how many it began with.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// How many transactions wait for a block to take them.
    pub fn waiting(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    /// Whether transactions are taken.
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Looks at the chain as it is on disk: never at a block that is still being committed, or could not be.
    pub async fn look<T>(&self, at: impl FnOnce(&Chain) -> T) -> Result<T, Halted> {
        self.books.look(at).await
    }

    /// The canonical bytes of a job's view; `None` when it has no escrow. Of a job that ended, the view lies in the store.
    pub async fn job(&self, job: JobId) -> Result<Option<Vec<u8>>, LookError> {
        let view = self.look(|chain| chain.job(&job)).await?;
        let store = self.store.clone();
        // A long one takes a while.
        let read = move || match view {
            Some(view) => Ok(Some(cbor::to_vec(&view))),
            None => store.snapshot()?.ended(&job),
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(LookError::Halted(Halted)),
        }
    }

    /// A page of the canonical bytes of a history.
    pub(crate) async fn history(&self, subject: Subject, from: u64, limit: usize) -> Result<Vec<u8>, LookError> {
        let store = self.store.clone();
        let read = move || history::page(&store.snapshot()?, subject, from, limit);
        let page = tokio::task::spawn_blocking(read).await.map_err(|_| Halted)??;
        Ok(cbor::to_vec(&page))
    }

    /// Whether a transaction still needs to be ordered, and may be, by all that is known at this moment.
    pub async fn standing(&self, tx: &Admitted) -> Result<Standing, LookError> {
        let (store, said) = (self.store.clone(), tx.said());
        // Read before the look: what is committed in between is found by the engine.
        let recall =
            tokio::task::spawn_blocking(move || store.snapshot()?.recall(&said)).await.map_err(|_| Halted)??;
        self.look(|chain| standing(chain, tx, &recall)).await?.map_err(LookError::Unorderable)
    }

    /// Verifies what a transaction embeds, which may be a hundred signatures, beside the engine rather than on it.
    async fn preverified(&self, tx: Admitted) -> Result<Admitted, SubmitError> {
        let admission = self.admission.clone();
        let verify = move || {
            tx.preverify(&admission);
            tx
        };
        tokio::task::spawn_blocking(verify).await.map_err(|_| SubmitError::Stopped)
    }

    /// Orders a transaction; answers once its block is durable.
    pub async fn submit(&self, tx: Admitted) -> Result<Submitted, SubmitError> {
        let place = self.queue.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => {
                self.metrics.busy.inc();
                SubmitError::Busy
            }
            mpsc::error::TrySendError::Closed(()) => SubmitError::Stopped,
        })?;
        let tx = if tx.transaction().embeds_signatures() { self.preverified(tx).await? } else { tx };
        let (reply, answer) = oneshot::channel();
        place.send(Order { tx: Arc::new(tx), reply });
        answer.await.map_err(|_| SubmitError::Stopped)?.map_err(SubmitError::Unorderable)
    }
}

/// The end of both: of the publisher only when it fails, or after the engine, which it follows.
fn both(mut engine: Ended, mut publisher: Ended) -> Ended {
    let (end, ended) = oneshot::channel();
    Handle::current().spawn(async move {
        let gone = |_| Err(NodeError::Gone);
        let result = tokio::select! {
            biased;
            made = &mut engine => {
                let last = publisher.await.unwrap_or_else(gone);
                made.unwrap_or_else(gone).and(last)
            }
            ended = &mut publisher => match ended.unwrap_or_else(gone) {
                // The seals ended, and with them the engine, who says why.
                Ok(()) => engine.await.unwrap_or_else(gone),
                failed => failed,
            },
        };
        let _ = end.send(result);
    });
    ended
}

/// Views as they are stored and answered.
pub(crate) fn encoded(ended: Vec<(JobId, JobView)>) -> Vec<store::EndedJob> {
    ended.into_iter().map(|(job, view)| (job, cbor::to_vec(&view))).collect()
}
