//! The engine of one: whatever waits in the queue becomes one proposal, is decided, committed, and only then answered. It makes
//! the calls that an engine of several would make, and halts when its application's answers do not agree. A thread of its own,
//! because fsync blocks. While one block is being written the next one gathers, so load makes blocks larger, not slower.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orion_ledger_core::admission::MAX_SIGNED_BYTES;
use orion_ledger_core::{Admitted, Unorderable};
use orion_protocol::ledger::api::Submitted;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{Application, CheckTx, Halt, Info, Prepare, Proposal, Tx, Vote};
use crate::app::{MAX_BLOCK_BYTES, MAX_BLOCK_TXS};
use crate::clock::BlockClock;
use crate::metrics::Metrics;
use crate::node::{Ended, NodeError};
use crate::store::StoreError;

/// The longest that a deadline is waited for before the clock is read again: clocks jump.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A transaction that waits for its block.
pub(crate) struct Order {
    pub(crate) tx: Arc<Admitted>,
    /// Where its fate goes, or why it has none.
    pub(crate) reply: oneshot::Sender<Result<Submitted, Unorderable>>,
}

impl Order {
    fn answer(self, submitted: Submitted, metrics: &Metrics) {
        metrics.answered(self.tx.transaction().kind(), submitted.receipt.code);
        // Whoever asked may have left; the transaction stands.
        let _ = self.reply.send(Ok(submitted));
    }
}

/// Drives one application.
pub(crate) struct Embedded<A> {
    app: A,
    info: Info,
    queue: mpsc::Receiver<Order>,
    /// What had no place in the last block.
    waiting: VecDeque<Order>,
    clock: BlockClock,
    /// Whether the computer's clock was followed when it was last looked at.
    believed: bool,
    metrics: Arc<Metrics>,
}

/// What the engine woke up for.
enum Wake {
    Order(Box<Order>),
    /// Perhaps something is due.
    Time,
    /// Nobody is left who could submit.
    End,
}

impl<A: Application + 'static> Embedded<A> {
    /// Goes on where the application stands.
    pub(crate) fn new(
        app: A,
        queue: mpsc::Receiver<Order>,
        clock: BlockClock,
        metrics: Arc<Metrics>,
    ) -> Result<Embedded<A>, Halt> {
        let info = app.info()?;
        Ok(Embedded { app, info, queue, waiting: VecDeque::new(), clock, believed: true, metrics })
    }

    /// Starts the engine's thread.
    pub(crate) fn spawn(mut self) -> Result<Ended, NodeError> {
        let runtime = Handle::current();
        let (end, ended) = oneshot::channel();
        let run = move || {
            let result = self.run(&runtime).map_err(NodeError::Halt);
            if let Err(error) = &result {
                tracing::error!(error = error as &dyn std::error::Error, "the engine stops");
            }
            // Closes the queue before anybody hears of the end.
            drop(self);
            let _ = end.send(result);
        };
        let thread = std::thread::Builder::new().name("ledger-engine".into()).spawn(run);
        thread.map_err(|source| StoreError::Directory { path: "thread".into(), source })?;
        Ok(ended)
    }

    fn run(&mut self, runtime: &Handle) -> Result<(), Halt> {
        loop {
            let mut orders = Vec::new();
            match self.wake(runtime) {
                Wake::Order(order) => self.gather(*order, &mut orders),
                Wake::Time => {}
                Wake::End => return Ok(()),
            }
            if !orders.is_empty() || self.is_due() {
                self.block(orders)?;
            }
        }
    }

    fn wake(&mut self, runtime: &Handle) -> Wake {
        if let Some(order) = self.waiting.pop_front() {
            return Wake::Order(Box::new(order));
        }
        let now = self.now_ms();
        // A block happens in the first moment *past* what is due. Whatever is due, clocks are looked at now and then.
        let due = self.info.due_ms.map(|due_ms| due_ms.saturating_add(1).saturating_sub(now));
        let wait = due.map_or(LONGEST_WAIT, |due| Duration::from_millis(due).min(LONGEST_WAIT));
        runtime.block_on(async {
            match tokio::time::timeout(wait, self.queue.recv()).await {
                Ok(Some(order)) => Wake::Order(Box::new(order)),
                Ok(None) => Wake::End,
                Err(_) => Wake::Time,
            }
        })
    }

    /// Takes as many as surely have room.
    fn gather(&mut self, first: Order, orders: &mut Vec<Order>) {
        let mut bytes = first.tx.len();
        orders.push(first);
        while bytes + MAX_SIGNED_BYTES <= MAX_BLOCK_BYTES && orders.len() < MAX_BLOCK_TXS {
            let next = self.waiting.pop_front().or_else(|| self.queue.try_recv().ok());
            let Some(order) = next else { break };
            bytes += order.tx.len();
            orders.push(order);
        }
    }

    fn is_due(&mut self) -> bool {
        let now = self.now_ms();
        self.info.due_ms.is_some_and(|due_ms| now > due_ms)
    }

    /// Unix milliseconds, as blocks have them. Says so when it goes by the computer's clock no more.
    fn now_ms(&mut self) -> u64 {
        let reading = self.clock.read();
        let ahead_s = reading.ahead_ms.div_ceil(1000);
        self.metrics.clock_ahead_seconds.set(ahead_s);
        let believed = reading.is_believed();
        match (self.believed, believed) {
            (true, false) => tracing::error!(
                ahead_s,
                "this computer's clock is far ahead of the time that has passed since the ledger started. Blocks go on by the time \
                 that has passed: a clock that was set forward would end every escrow, for ever. Set it right, and do not restart \
                 the ledger before. When it is right, for it was wrong at the start or the machine stood still, restart the ledger: a start \
                 believes the clock, as far as --longest-pause-hours says"
            ),
            (false, true) => tracing::info!("blocks go by this computer's clock again"),
            _ => {}
        }
        self.believed = believed;
        reading.now_ms
    }

    /// Makes, commits and answers one block.
    fn block(&mut self, orders: Vec<Order>) -> Result<(), Halt> {
        let started = Instant::now();
        let Info { height: last, time_ms, app_hash, due_ms: _ } = self.info;
        let time_ms = self.now_ms().max(time_ms.saturating_add(1));
        let txs = orders.iter().map(|order| Tx::Checked(order.tx.clone())).collect();
        let txs = self.app.prepare_proposal(Prepare { time_ms, max_bytes: MAX_BLOCK_BYTES, txs })?;
        let proposal = Arc::new(Proposal { height: last + 1, time_ms, app_hash, txs });
        let outcomes = self.decide(&proposal)?;
        if self.info.height > last {
            self.metrics.block_seconds.observe(started.elapsed().as_secs_f64());
        }
        let mut decided = proposal.txs.iter().zip(outcomes).peekable();
        for order in orders {
            match decided.next_if(|(tx, _)| matches!(tx, Tx::Checked(tx) if Arc::ptr_eq(tx, &order.tx))) {
                Some((_, submitted)) => order.answer(submitted, &self.metrics),
                None => self.left_out(order)?,
            }
        }
        Ok(())
    }

    /// The vote of one, and what follows from it; gives what came of each transaction.
    fn decide(&mut self, proposal: &Arc<Proposal>) -> Result<Vec<Submitted>, Halt> {
        let height = proposal.height;
        let accepted = |vote: Vote| match vote {
            Vote::Accept => Ok(()),
            Vote::Reject(fault) => Err(Halt::Rejected { height, fault }),
        };
        accepted(self.app.process_proposal(proposal)?)?;
        let extension = self.app.extend_vote(height);
        accepted(self.app.verify_vote_extension(height, &extension))?;
        let finalized = self.app.finalize_block(proposal)?;
        self.app.commit()?;
        self.info = self.app.info()?;
        let stored = self.info.app_hash;
        if stored != finalized.app_hash {
            return Err(Halt::Diverged { height, finalized: finalized.app_hash, stored });
        }
        Ok(finalized.outcomes)
    }

    /// Answers what was not proposed: it was there before, or waits for the next block. Who was let into the queue may have
    /// lost that right since, and hears so.
    fn left_out(&mut self, order: Order) -> Result<(), Halt> {
        match self.app.check_tx(Tx::Checked(order.tx.clone()))? {
            CheckTx::New(_) => self.waiting.push_back(order),
            CheckTx::Known(submitted) | CheckTx::Clash(submitted) => order.answer(submitted, &self.metrics),
            CheckTx::Refused(why) => {
                let _ = order.reply.send(Err(why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, Finalized, Offer, SnapshotInfo};
    use super::*;
    use crate::clock::Time;
    use orion_protocol::Digest;

    /// Wants a block at once, and does not say the same twice.
    struct Liar {
        rejects: bool,
    }

    impl Application for Liar {
        fn info(&self) -> Result<Info, Halt> {
            Ok(Info { height: 0, time_ms: 0, app_hash: Digest::ZERO, due_ms: Some(0) })
        }

        fn check_tx(&self, tx: Tx) -> Result<CheckTx, Halt> {
            Ok(CheckTx::New(tx))
        }

        fn prepare_proposal(&mut self, prepare: Prepare) -> Result<Vec<Tx>, Halt> {
            Ok(prepare.txs)
        }

        fn process_proposal(&mut self, proposal: &Arc<Proposal>) -> Result<Vote, Halt> {
            let fault = Fault::Height { have: proposal.height, want: 7 };
            Ok(if self.rejects { Vote::Reject(fault) } else { Vote::Accept })
        }

        fn finalize_block(&mut self, _decided: &Arc<Proposal>) -> Result<Finalized, Halt> {
            Ok(Finalized { app_hash: Digest([1; 32]), outcomes: Vec::new() })
        }

        fn commit(&mut self) -> Result<(), Halt> {
            Ok(())
        }

        fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>, Halt> {
            Ok(Vec::new())
        }

        fn load_snapshot_chunk(&self, _snapshot: &SnapshotInfo, _chunk: u32) -> Result<Option<Vec<u8>>, Halt> {
            Ok(None)
        }

        fn offer_snapshot(&mut self, _snapshot: &SnapshotInfo, _app_hash: &Digest) -> Offer {
            Offer::Reject("there are none")
        }

        fn apply_snapshot_chunk(&mut self, _index: u32, _chunk: &[u8]) -> Offer {
            Offer::Reject("there are none")
        }
    }

    fn halted(app: Liar) -> Result<(), NodeError> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let _entered = runtime.enter();
        let (_submit, queue) = mpsc::channel(1);
        let clock = Time::of_computer(0).start(None).expect("there was no block");
        let engine = Embedded::new(app, queue, clock, Arc::default()).expect("it stands somewhere");
        runtime.block_on(engine.spawn().expect("a thread")).expect("it says why it ended")
    }

    #[test]
    fn an_application_that_rejects_what_it_proposed_is_halted() {
        let halted = halted(Liar { rejects: true });
        assert!(matches!(halted, Err(NodeError::Halt(Halt::Rejected { height: 1, .. }))), "{halted:?}");
    }

    #[test]
    fn an_application_that_stores_another_state_than_it_finalized_is_halted() {
        let halted = halted(Liar { rejects: false });
        assert!(matches!(halted, Err(NodeError::Halt(Halt::Diverged { height: 1, .. }))), "{halted:?}");
    }
}
