//! The one writer: whatever waits in the queue becomes one block, is committed, and only then answered. A thread of its own,
//! because fsync blocks. While one block is being written the next one gathers, so load makes blocks larger, not slower.
//!
//! The chain is locked from the first change until the commit is durable: nobody sees what a power cut could take back. A
//! chain whose block could not be committed is dropped under that lock, so that those who waited for it see nothing at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orion_ledger_core::{Admitted, Chain, Recall};
use orion_protocol::ledger::api::{SealRef, Submitted};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::node::{self, Books, Ended, NodeError};
use crate::snapshots::Snapshots;
use crate::store::{Kept, Store, StoreError};

/// A block takes no more transactions than this,
const MAX_BLOCK_TXS: usize = 1024;
/// and none once it has so many bytes: about 20 full CloseRounds, whose signatures take some 100 ms.
const MAX_BLOCK_BYTES: usize = 1024 * 1024;
/// The longest that a deadline is waited for before the clock is read again: clocks jump.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Where the fate of a transaction goes.
type Reply = oneshot::Sender<Submitted>;
/// A transaction with what the store keeps about it.
type Recalled = (Admitted, Recall);

/// A transaction that waits for its block.
pub(crate) struct Order {
    pub(crate) tx: Admitted,
    pub(crate) reply: Reply,
}

pub(crate) struct Writer {
    pub(crate) books: Books,
    pub(crate) store: Arc<Store>,
    pub(crate) snapshots: Snapshots,
    /// Tells the publisher what is committed.
    pub(crate) seals: watch::Sender<SealRef>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
}

/// What the writer woke up for.
enum Wake {
    Order(Box<Order>),
    /// Perhaps a deadline is due.
    Time,
    /// Nobody is left who could submit.
    End,
}

/// Starts the writer's thread.
pub(crate) fn spawn(mut writer: Writer) -> Result<Ended, NodeError> {
    let runtime = Handle::current();
    let (end, ended) = oneshot::channel();
    let run = move || {
        let result = writer.run(&runtime);
        if let Err(error) = &result {
            tracing::error!(error = error as &dyn std::error::Error, "the writer stops");
        }
        // Closes the queue before anybody hears of the end.
        drop(writer);
        let _ = end.send(result);
    };
    let thread = std::thread::Builder::new().name("ledger-writer".into()).spawn(run);
    thread.map_err(|source| StoreError::Directory { path: "thread".into(), source })?;
    Ok(ended)
}

impl Writer {
    fn run(&mut self, runtime: &Handle) -> Result<(), NodeError> {
        loop {
            let mut orders = Vec::new();
            match self.wake(runtime) {
                Wake::Order(order) => self.gather(*order, &mut orders),
                Wake::Time => {}
                Wake::End => return Ok(()),
            }
            if !orders.is_empty() || self.deadline_due() {
                self.block(orders)?;
            }
        }
    }

    fn wake(&mut self, runtime: &Handle) -> Wake {
        let deadline = self.next_deadline_ms();
        let now = (self.clock)();
        let orders = &mut self.orders;
        runtime.block_on(async {
            let order = match deadline {
                None => orders.recv().await,
                Some(deadline) => {
                    // An escrow ends in the first block *past* its deadline.
                    let wait = Duration::from_millis(deadline.saturating_add(1).saturating_sub(now)).min(LONGEST_WAIT);
                    match tokio::time::timeout(wait, orders.recv()).await {
                        Ok(order) => order,
                        Err(_) => return Wake::Time,
                    }
                }
            };
            order.map_or(Wake::End, |order| Wake::Order(Box::new(order)))
        })
    }

    fn gather(&mut self, first: Order, orders: &mut Vec<Order>) {
        let mut bytes = first.tx.len();
        orders.push(first);
        while bytes < MAX_BLOCK_BYTES && orders.len() < MAX_BLOCK_TXS {
            let Ok(order) = self.orders.try_recv() else { break };
            bytes += order.tx.len();
            orders.push(order);
        }
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        self.books.blocking_read().as_ref().and_then(Chain::next_deadline_ms)
    }

    fn deadline_due(&self) -> bool {
        self.next_deadline_ms().is_some_and(|deadline| (self.clock)() > deadline)
    }

    /// Brings along what the store keeps about each transaction; nobody else adds to that.
    fn recalled(&self, orders: Vec<Order>) -> Result<(Vec<Recalled>, Vec<Reply>), NodeError> {
        let snapshot = self.store.snapshot()?;
        let mut txs = Vec::with_capacity(orders.len());
        let mut replies = Vec::with_capacity(orders.len());
        for Order { tx, reply } in orders {
            let recall = snapshot.recall(&tx.said())?;
            txs.push((tx, recall));
            replies.push(reply);
        }
        Ok((txs, replies))
    }

    /// Makes, commits and answers one block.
    fn block(&mut self, orders: Vec<Order>) -> Result<(), NodeError> {
        let started = Instant::now();
        let mut books = self.books.blocking_write();
        // Whatever ends this function early leaves the place empty before the lock goes.
        let mut chain = books.take().ok_or(NodeError::Writer)?;
        // Who was let into the queue may have lost that right since: no answer makes them ask again, and hear why.
        let orders = orders.into_iter().filter(|order| chain.orderable(&order.tx).is_ok()).collect();
        let (txs, replies) = self.recalled(orders)?;
        let time_ms = (self.clock)().max(chain.seal_ref().time_ms.saturating_add(1));
        let block = chain.finalize_recalled(time_ms, &txs).map_err(NodeError::Block)?;
        if !block.leaves.is_empty() {
            let kept = Kept { ended: node::encoded(chain.shed()), records: chain.take_records() };
            self.store.commit(&block.leaves, &block.seal, &kept)?;
            self.seals.send_replace(block.seal);
            self.snapshots.committed(&block.leaves, &chain);
            self.metrics.sealed(&block.seal, &chain.totals(), chain.epoch());
            self.metrics.block_seconds.observe(started.elapsed().as_secs_f64());
        }
        *books = Some(chain);
        drop(books);
        for ((tx, _), (reply, outcome)) in txs.iter().zip(replies.into_iter().zip(block.outcomes)) {
            self.metrics.answered(tx.transaction().kind(), outcome.receipt.code);
            // Whoever asked may have left; the transaction stands.
            let _ = reply.send(outcome);
        }
        Ok(())
    }
}
