//! Who has seen the log. Every published checkpoint goes to the witnesses of a trust policy, and their cosignatures go under
//! the published note. A checkpoint whose note has the policy's quorum is kept as the witnessed one.
//!
//! All witnesses are asked about one checkpoint at a time, else a busy log would have one cosignature on each of many. The next
//! one is taken when there is a quorum, when none can come since somebody else showed witnesses more, or after a while without.
//! Nothing else waits for witnesses: those that are lost delay what is final, never what is acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orion_ledger_core::VerifierKey;
use orion_ledger_core::log::trust::{Trust, TrustError};
use orion_protocol::ledger::api::{Witnessed, Witnesses as View};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::node::Node;
use crate::publisher::{Board, Published};
use crate::store::{Store, StoreError};
use ask::{Answered, Asking};
use book::Book;
pub use metrics::Metrics;

mod ask;
mod book;
mod metrics;

/// How often it is looked whether a checkpoint has waited long enough.
const TICK: Duration = Duration::from_secs(1);
/// Answers that wait to be looked at.
const QUEUE: usize = 64;

/// Why there is no asking.
#[derive(Debug, thiserror::Error)]
pub enum WitnessesError {
    /// The file.
    #[error("cannot read the trust policy {path}")]
    Read {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What is in it.
    #[error("cannot read the trust policy {path}")]
    Parse {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: TrustError,
    },
    /// It is about other logs.
    #[error("the trust policy does not name this log's key {0}: add the line \"log {0}\"")]
    OtherLog(Box<VerifierKey>),
    /// A witness that cannot be asked.
    #[error("the trust policy has the URL {url:?} for witness {name}: {why}")]
    Url {
        /// The witness.
        name: String,
        /// Its URL.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
}

/// Reads a trust policy.
pub fn read(path: &Path) -> Result<Trust, WitnessesError> {
    let name = || path.display().to_string();
    let file = std::fs::read(path).map_err(|source| WitnessesError::Read { path: name(), source })?;
    Trust::parse(&file).map_err(|source| WitnessesError::Parse { path: name(), source })
}

/// The witnesses of one ledger; dropped, they are asked no more.
pub struct Witnesses {
    view: watch::Receiver<View>,
    /// Everything that asks.
    _tasks: tokio::task::JoinSet<()>,
}

impl Witnesses {
    /// Begins to ask about what `node` publishes. Must be called within a tokio runtime, off its async threads.
    pub fn start(trust: Trust, node: &Node, metrics: Metrics) -> Result<Witnesses, WitnessesError> {
        let (key, board, store) = (node.key(), node.board().clone(), node.store().clone());
        if !trust.logs().iter().any(|log| log.key == *key) {
            return Err(WitnessesError::OtherLog(Box::new(key.clone())));
        }
        let urls = ask::urls(&trust)?;
        let book = Book::new(trust, store.snapshot()?.witnessed()?);
        let (targets, target) = watch::channel(None);
        let (answers, answered) = mpsc::channel(QUEUE);
        let mut tasks = tokio::task::JoinSet::new();
        for (at, url) in urls {
            let (tiles, target, newest) = (node.tiles().clone(), target.clone(), board.newest());
            tasks.spawn(Asking::new(at, url, tiles, target, newest, answers.clone()).run());
        }
        let (show, view) = watch::channel(book.view());
        let secretary = Secretary { book, board, store, targets, show, metrics };
        tasks.spawn(secretary.run(answered));
        Ok(Witnesses { view, _tasks: tasks })
    }

    /// Who has seen the log, as of now.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }
}

/// Keeps the book: says what is asked next, writes down what was answered.
struct Secretary {
    book: Book,
    board: Board,
    store: Arc<Store>,
    targets: watch::Sender<Option<Arc<Published>>>,
    show: watch::Sender<View>,
    metrics: Metrics,
}

impl Secretary {
    async fn run(mut self, mut answered: mpsc::Receiver<Answered>) {
        let mut newest = self.board.newest();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut cosigned = false;
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                answer = answered.recv() => {
                    let Some(answer) = answer else { return };
                    cosigned = self.book.answered(answer);
                    while let Ok(answer) = answered.try_recv() {
                        cosigned |= self.book.answered(answer);
                    }
                }
                _ = tick.tick() => {}
            }
            if cosigned {
                self.keep().await;
            }
            let published = newest.borrow_and_update().clone();
            if let Some(published) = published {
                self.book.published(published.size);
                if let Some(target) = self.book.aim(&published, Instant::now()) {
                    // One that was cosigned before a restart has its quorum already.
                    self.keep().await;
                    self.targets.send_replace(Some(target));
                }
            }
            let view = self.book.view();
            self.metrics.show(&view, self.book.waiting_since().map(|since| since.elapsed()));
            self.show.send_if_modified(|shown| {
                let changed = *shown != view;
                *shown = view;
                changed
            });
        }
    }

    /// Stores and shows the cosignatures on what is asked about, and keeps it as witnessed if it has its quorum.
    async fn keep(&mut self) {
        let Some(published) = self.book.cosigned() else { return };
        let witnessed = self.book.take_witnessed();
        let (board, store) = (self.board.clone(), self.store.clone());
        let write = move || {
            board.publish(published)?;
            witnessed.map_or(Ok(()), |Witnessed { size: _, note, by: _ }| store.witness(&note))
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) | Err(_) => {}
            // The writer meets the same disk, and stops the ledger if it must.
            Ok(Err(error)) => tracing::error!(error = &error as &dyn std::error::Error, "cosignatures were not stored"),
        }
    }
}
