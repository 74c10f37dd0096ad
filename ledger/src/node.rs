//! A running ledger: replayed from its store, compared with what was stored and signed, and then open for transactions and
//! questions. It halts with the reason rather than go on from a log that does not replay.

use std::path::Path;
use std::sync::Arc;

use orion_ledger_core::checkpoint::CheckpointError;
use orion_ledger_core::{Admission, Admitted, BlockError, Chain, ReplayError, Standing, Unorderable, VerifierKey};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobView, SealRef, Submitted};
use orion_protocol::{JobId, SecretKey, cbor};
use tokio::sync::{RwLock, mpsc, oneshot};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::snapshots::Snapshots;
use crate::start::{self, Started};
use crate::store::{self, Store, StoreError};
use crate::writer::{self, Order, Writer};

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
    /// A block could not be made.
    #[error("cannot make a block")]
    Block(#[source] BlockError),
    /// The writer is gone.
    #[error("the writer ended without saying why")]
    Writer,
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
}

/// What is known of the log from elsewhere than the store, which can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing: an empty store starts the chain.
    Unknown,
    /// It was begun: an empty store has lost it.
    Begun,
}

/// The ledger has halted: its last block could not be stored, and nothing is known until it starts again from its store.
#[derive(Debug, thiserror::Error)]
#[error("the ledger has halted: its last block could not be stored")]
pub struct Halted;

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

/// The chain as it is on disk; empty while that cannot be told any more.
pub(crate) type Books = Arc<RwLock<Option<Chain>>>;

/// A running ledger.
pub struct Node {
    admission: Admission,
    key: VerifierKey,
    books: Books,
    store: Arc<Store>,
    queue: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
    replayed: u64,
}

/// Tells when the writer has ended: with an error, or because everybody who could submit is gone.
pub type Ended = oneshot::Receiver<Result<(), NodeError>>;

impl Node {
    /// Starts from the store in `directory`; blocks while it replays. Must be called within a tokio runtime, off its
    /// async threads.
    pub fn open(
        directory: &Path,
        past: Past,
        genesis: &Genesis,
        secret: SecretKey,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<(Node, Ended), NodeError> {
        let (want, have) = (genesis.checkpoint, secret.public());
        if want != have {
            return Err(NodeError::CheckpointKey { want, have });
        }
        let store = Arc::new(Store::open(directory)?);
        let Started { chain, signer, since } = match store.snapshot()?.head()? {
            None if past == Past::Begun => return Err(NodeError::Lost(directory.display().to_string())),
            None => start::first(&store, genesis, secret, &clock)?,
            Some(head) => start::again(directory, &store, genesis, secret, head)?,
        };
        let key = signer.key().clone();
        metrics.sealed(&chain.seal_ref(), &chain.totals(), chain.epoch());
        let books = Arc::new(RwLock::new(Some(chain)));
        let (queue, orders) = mpsc::channel(MAX_QUEUE);
        let writer = Writer {
            books: books.clone(),
            store: store.clone(),
            snapshots: Snapshots::new(directory, store.clone(), since),
            signer,
            orders,
            clock,
            metrics: metrics.clone(),
        };
        let ended = writer::spawn(writer)?;
        let admission = Admission::new(genesis);
        Ok((Node { admission, key, books, store, queue, metrics, replayed: since.leaves }, ended))
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

    /// How many leaves it replayed at its start; in a new chain, how many it began with.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Whether transactions are taken.
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Looks at the chain as it is on disk: never at a block that is still being committed, or could not be.
    pub async fn look<T>(&self, at: impl FnOnce(&Chain) -> T) -> Result<T, Halted> {
        self.books.read().await.as_ref().map(at).ok_or(Halted)
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

    /// Whether a transaction still needs to be ordered, and may be, by all that is known at this moment.
    pub async fn standing(&self, tx: &Admitted) -> Result<Standing, LookError> {
        let (store, said) = (self.store.clone(), tx.said());
        // Read before the look: what is committed in between is found by the writer.
        let recall =
            tokio::task::spawn_blocking(move || store.snapshot()?.recall(&said)).await.map_err(|_| Halted)??;
        let standing = self.look(|chain| match chain.check_recalled(tx, &recall) {
            Standing::New => chain.orderable(tx).map(|()| Standing::New),
            known => Ok(known),
        });
        standing.await?.map_err(LookError::Unorderable)
    }

    /// Verifies what a transaction embeds, which may be a hundred signatures, beside the writer rather than on it.
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
        place.send(Order { tx, reply });
        answer.await.map_err(|_| SubmitError::Stopped)
    }
}

/// Views as they are stored and answered.
pub(crate) fn encoded(ended: Vec<(JobId, JobView)>) -> Vec<store::EndedJob> {
    ended.into_iter().map(|(job, view)| (job, cbor::to_vec(&view))).collect()
}
