//! Signs and publishes checkpoints, apart from the engine: a thread of its own, at most once an interval and only when the log
//! grew. Nobody's transaction waits for it.
//!
//! The order is what keeps the log from ever having two roots of one size: `{size, root}` is durable in the volume, and in the
//! mark outside of it, before the signature exists, and the signature leaves the process only after it is stored, and all
//! tiles under it. Without its mark the ledger publishes nothing new, and goes on answering.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use orion_ledger_core::Signer;
use orion_protocol::Digest;
use orion_protocol::ledger::api::SealRef;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::error::Elapsed;

use crate::mark::{Held, Mark, MarkError};
use crate::metrics::Metrics;
use crate::node::{Ended, NodeError};
use crate::store::{Store, StoreError};
use crate::tiles::Tiles;

/// A checkpoint for which there was no mark is tried again after this time, or after the interval.
const AGAIN: Duration = Duration::from_secs(1);

/// A signed checkpoint, as strangers may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Leaves that it covers.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The note: the log's signature, and perhaps others' under it.
    pub note: String,
}

/// How checkpoints are published.
pub struct Publishing {
    /// At most one in this time.
    pub interval: Duration,
    /// What is moved before anything is signed.
    pub mark: Option<Box<dyn Mark>>,
}

/// What Prometheus sees of it.
#[derive(Default)]
pub struct Gauges {
    size: Gauge<u64, AtomicU64>,
    mark_errors: Counter,
}

impl Gauges {
    /// Lists them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("published_size", "Leaves under the newest published checkpoint", self.size.clone());
        let help = "Checkpoints that were put off because the mark was not moved";
        registry.register("mark_errors", help, self.mark_errors.clone());
    }
}

/// The newest published checkpoint, and where it is stored.
#[derive(Clone)]
pub struct Board {
    store: Arc<Store>,
    newest: watch::Sender<Option<Arc<Published>>>,
}

impl Board {
    pub(crate) fn new(store: Arc<Store>, newest: Option<Published>) -> Board {
        Board { store, newest: watch::Sender::new(newest.map(Arc::new)) }
    }

    /// Stores and shows a checkpoint, unless one of a larger size is there already. The same one may come again with more
    /// signatures.
    pub fn publish(&self, published: Published) -> Result<(), StoreError> {
        self.store.publish(&published)?;
        let published = Arc::new(published);
        self.newest.send_if_modified(|newest| {
            let larger = newest.as_ref().is_some_and(|newest| newest.size > published.size);
            if !larger {
                *newest = Some(published);
            }
            !larger
        });
        Ok(())
    }

    /// The newest one, now and as it changes; `None` while there is none.
    pub fn newest(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.newest.subscribe()
    }
}

pub(crate) struct Publisher {
    pub(crate) interval: Duration,
    pub(crate) mark: Option<Held>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: Board,
    pub(crate) store: Arc<Store>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) signer: Signer,
    /// The last seal that was committed. Closed when no block will follow.
    pub(crate) seals: watch::Receiver<SealRef>,
}

/// Starts the publisher's thread. What is committed when the seals end is still published.
pub(crate) fn spawn(mut publisher: Publisher) -> Result<Ended, NodeError> {
    let runtime = Handle::current();
    let (end, ended) = oneshot::channel();
    let run = move || {
        let result = publisher.run(&runtime);
        if let Err(error) = &result {
            tracing::error!(error = error as &dyn std::error::Error, "the publisher stops");
        }
        // Lets go of the store before anybody hears of the end.
        drop(publisher);
        let _ = end.send(result);
    };
    let thread = std::thread::Builder::new().name("ledger-publisher".into()).spawn(run);
    thread.map_err(|source| StoreError::Directory { path: "thread".into(), source })?;
    Ok(ended)
}

impl Publisher {
    fn run(&mut self, runtime: &Handle) -> Result<(), NodeError> {
        let mut published = self.board.newest().borrow().as_ref().map_or(0, |newest| newest.size);
        self.metrics.published.size.set(published);
        self.mend_mark();
        loop {
            let seal = *self.seals.borrow_and_update();
            if seal.size <= published {
                if runtime.block_on(self.seals.changed()).is_err() {
                    return Ok(());
                }
            } else if self.publish(&seal)? {
                published = seal.size;
                self.metrics.published.size.set(published);
                self.metrics.published_at(seal.time_ms);
                // Either way the last seal is looked at next.
                let _ = self.pause(runtime, self.interval);
            } else if self.pause(runtime, self.interval.max(AGAIN)).is_ok() {
                return Ok(());
            }
        }
    }

    /// Tells a mark that knows less than the volume, as after an upgrade or the mark's own loss. Where that fails, the next checkpoint
    /// moves it.
    fn mend_mark(&mut self) {
        let newest = self.board.newest().borrow().clone();
        let (Some(mark), Some(newest)) = (&mut self.mark, newest) else { return };
        if mark.signed().is_some_and(|(size, _)| size >= newest.size) {
            return;
        }
        tracing::warn!(
            size = newest.size,
            "the mark knew less than the volume; if it was not lost, is it the right one?"
        );
        if let Err(error) = mark.advance(newest.size, &newest.root) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the mark was not moved");
        }
    }

    /// Lets this time pass; `Ok` when the seals end sooner.
    fn pause(&mut self, runtime: &Handle, time: Duration) -> Result<(), Elapsed> {
        let seals = &mut self.seals;
        let ended = async { while seals.changed().await.is_ok() {} };
        runtime.block_on(async { tokio::time::timeout(time, ended).await })
    }

    /// Says whether it could, which takes the mark.
    fn publish(&mut self, seal: &SealRef) -> Result<bool, NodeError> {
        self.store.claim(seal.size, &seal.root)?;
        if !self.move_mark(seal)? {
            self.metrics.published.mark_errors.inc();
            return Ok(false);
        }
        let note = self.signer.sign(seal).map_err(NodeError::Checkpoint)?;
        self.tiles.extend(seal.size).map_err(NodeError::Tiles)?;
        self.board.publish(Published { size: seal.size, root: seal.root, note })?;
        Ok(true)
    }

    fn move_mark(&mut self, seal: &SealRef) -> Result<bool, NodeError> {
        let Some(mark) = &mut self.mark else { return Ok(true) };
        let error = match mark.advance(seal.size, &seal.root) {
            Ok(()) => return Ok(true),
            Err(MarkError::Moved) => match mark.read() {
                Ok(signed) => return signed.map_or(Ok(false), |signed| self.is_ours(signed).map(|()| false)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "no new checkpoint: the mark was not moved");
        Ok(false)
    }

    /// Whether a mark that was moved says what this log says: this very process may have moved it without hearing of it, or
    /// somebody changed what else is kept beside it.
    fn is_ours(&self, (size, root): (u64, Digest)) -> Result<(), NodeError> {
        let snapshot = self.store.snapshot()?;
        let own = snapshot.size()?;
        if size > own {
            return Err(NodeError::Behind { own, marked: size });
        }
        let ours = snapshot.seal_of(size)?.is_some_and(|seal| seal.root == root);
        if ours { Ok(()) } else { Err(NodeError::Forked(size)) }
    }
}
