//! Signs and publishes checkpoints, apart from the writer: a thread of its own, at most once an interval and only when the log
//! grew. Nobody's transaction waits for it.
//!
//! The order is what keeps the log from ever having two roots of one size: `{size, root}` is durable before the signature
//! exists, and the signature leaves the process only after it is stored, and all tiles under it.

use std::sync::Arc;
use std::time::Duration;

use orion_ledger_core::Signer;
use orion_protocol::Digest;
use orion_protocol::ledger::api::SealRef;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::node::{Ended, NodeError};
use crate::store::{Store, StoreError};
use crate::tiles::Tiles;

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
#[derive(Clone, Debug)]
pub struct Publishing {
    /// At most one in this time.
    pub interval: Duration,
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
    pub(crate) publishing: Publishing,
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
        loop {
            let seal = *self.seals.borrow_and_update();
            if seal.size > published {
                self.publish(&seal)?;
                published = seal.size;
                self.pause(runtime);
            } else if runtime.block_on(self.seals.changed()).is_err() {
                return Ok(());
            }
        }
    }

    /// Lets an interval pass, or ends with the seals.
    fn pause(&mut self, runtime: &Handle) {
        let Publisher { publishing, seals, .. } = self;
        let ended = async { while seals.changed().await.is_ok() {} };
        // Either way the last seal is looked at next.
        let _ = runtime.block_on(async { tokio::time::timeout(publishing.interval, ended).await });
    }

    fn publish(&mut self, seal: &SealRef) -> Result<(), NodeError> {
        self.store.claim(seal.size, &seal.root)?;
        let note = self.signer.sign(seal).map_err(NodeError::Checkpoint)?;
        self.tiles.extend(seal.size).map_err(NodeError::Tiles)?;
        self.board.publish(Published { size: seal.size, root: seal.root, note })?;
        Ok(())
    }
}
