//! The ledger as an application of an engine: the chain, the log in the store under it, and the snapshots beside it. While it
//! runs, nothing else adds to any of them.
//!
//! The chain is locked from the first change until the commit is durable: nobody sees what a power cut could take back. A
//! chain whose block could not be committed is dropped under that lock, so that those who waited for it see nothing at all.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use orion_ledger_core::{Admission, Admitted, Block, Chain, Recall, Signer, Standing, Unorderable};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::{Digest, SecretKey};
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, watch};

use crate::clock::{BlockClock, Time};
use crate::engine::{
    Application, CheckTx, Fault, Finalized, Halt, Info, Offer, Prepare, Proposal, SnapshotInfo, Tx, Vote, app_hash,
};
use crate::metrics::Metrics;
use crate::node::{NodeError, Past, encoded};
use crate::publisher::Published;
use crate::snapshots::{self, Snapshots};
use crate::start::{self, Started};
use crate::store::{Kept, Store, StoreError};

/// A block takes no more transactions than this,
pub const MAX_BLOCK_TXS: usize = 1024;
/// and no more bytes: about 20 full CloseRounds, whose signatures take some 100 ms.
pub const MAX_BLOCK_BYTES: usize = 1024 * 1024;

/// The chain as it is on disk; empty while that cannot be told any more.
#[derive(Clone)]
pub struct Books(Arc<RwLock<Option<Chain>>>);

/// The ledger has halted: its last block could not be stored, and nothing is known until it starts again from its store.
#[derive(Debug, thiserror::Error)]
#[error("the ledger has halted: its last block could not be stored")]
pub struct Halted;

impl Books {
    /// Looks at the chain as it is on disk: never at a block that is still being committed, or could not be.
    pub async fn look<T>(&self, at: impl FnOnce(&Chain) -> T) -> Result<T, Halted> {
        self.0.read().await.as_ref().map(at).ok_or(Halted)
    }
}

/// What an application starts from.
pub struct Opening<'a> {
    /// Where its snapshots lie.
    pub directory: &'a Path,
    /// Its log.
    pub store: Arc<Store>,
    /// What the log begins with.
    pub genesis: &'a Genesis,
    /// Signs its checkpoints.
    pub secret: SecretKey,
    /// What is known of the log from elsewhere,
    pub past: Past,
    /// and what was signed last: size and root.
    pub marked: Option<(u64, Digest)>,
    /// What time it is: a log whose last block is too old for it is not gone on with.
    pub time: Time,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
}

/// An application out of its store.
pub struct Opened {
    /// The application.
    pub app: LedgerApp,
    /// Tells the time of its blocks from here on.
    pub(crate) clock: BlockClock,
    /// Signs its checkpoints; knows the last one.
    pub signer: Signer,
    /// The newest checkpoint that was published.
    pub published: Option<Published>,
    /// How many leaves were replayed; in a new chain, how many it begins with.
    pub replayed: u64,
}

/// A transaction with what the store keeps about it.
type Recalled = (Arc<Admitted>, Recall);

/// The ledger, driven by an engine.
pub struct LedgerApp {
    admission: Admission,
    /// Waits for those who look at the chain.
    runtime: Handle,
    books: Books,
    store: Arc<Store>,
    snapshots: Snapshots,
    /// Tells what is committed.
    seals: watch::Sender<SealRef>,
    metrics: Arc<Metrics>,
    /// The proposal that was accepted last, so that it need not be read again when it is decided.
    accepted: Option<(Arc<Proposal>, Vec<Recalled>)>,
    finalized: Option<Pending>,
}

/// A block that waits for its commit.
struct Pending {
    /// Empty until then, whatever happens.
    place: OwnedRwLockWriteGuard<Option<Chain>>,
    chain: Chain,
    block: Block,
}

impl LedgerApp {
    /// Begins a log, or goes on with one; blocks while it replays. Must be called within a tokio runtime, off its async
    /// threads, as all calls that follow.
    ///
    /// # Errors
    ///
    /// A log that does not replay, is another chain's, or contradicts what was signed; a clock that is far past it.
    pub fn open(opening: Opening<'_>) -> Result<Opened, NodeError> {
        let Opening { directory, store, genesis, secret, past, marked, time, metrics } = opening;
        let (want, have) = (genesis.checkpoint, secret.public());
        if want != have {
            return Err(NodeError::CheckpointKey { want, have });
        }
        let snapshot = store.snapshot()?;
        let head = snapshot.head()?;
        // An import that was cut off has claimed more than it brought.
        let signed = snapshot.claimed()?.max(marked).map_or(0, |(size, _)| size);
        let own = head.as_ref().map_or(0, |head| head.size);
        if head.is_none() && past == Past::Begun {
            return Err(NodeError::Lost(directory.display().to_string()));
        }
        if signed > own {
            return Err(NodeError::Behind { own, marked: signed });
        }
        let clock = time.start(head.as_ref().map(|head| head.time_ms))?;
        let Started { chain, signer, published, since } = match head {
            None => start::first(&store, genesis, secret, clock.read().now_ms)?,
            Some(head) => start::again(directory, &store, genesis, secret, head, marked)?,
        };
        metrics.sealed(&chain.seal_ref(), &chain.totals(), chain.epoch());
        let app = LedgerApp {
            admission: Admission::new(genesis),
            runtime: Handle::current(),
            seals: watch::Sender::new(chain.seal_ref()),
            books: Books(Arc::new(RwLock::new(Some(chain)))),
            snapshots: Snapshots::new(directory, store.clone(), since),
            store,
            metrics,
            accepted: None,
            finalized: None,
        };
        Ok(Opened { app, clock, signer, published, replayed: since.leaves })
    }

    /// The chain, to be looked at while blocks go on being made.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The last seal that is durable, now and as it changes.
    pub fn seals(&self) -> watch::Receiver<SealRef> {
        self.seals.subscribe()
    }

    /// Looks at the chain, which is not there to be looked at while a block waits for its commit.
    fn look<T>(&self, at: impl FnOnce(&Chain) -> T) -> Result<T, Halt> {
        if self.finalized.is_some() {
            return Err(Halt::Order("another call before the commit of a block"));
        }
        self.books.0.blocking_read().as_ref().map(at).ok_or(Halt::Failed)
    }

    fn read(&self, tx: &Tx) -> Result<Arc<Admitted>, Unorderable> {
        match tx {
            Tx::Bytes(bytes) => self.admission.read(bytes).map(Arc::new),
            Tx::Checked(tx) => Ok(tx.clone()),
        }
    }

    /// Reads a proposal's transactions, with what is kept about them; the fault is what each node finds.
    fn judge(&self, proposal: &Proposal) -> Result<Result<Vec<Recalled>, Fault>, Halt> {
        let snapshot = self.store.snapshot()?;
        self.look(|chain| {
            if let Err(fault) = follows(proposal, &chain.seal_ref()) {
                return Ok(Err(fault));
            }
            let (mut txs, mut bytes, mut said) = (Vec::new(), 0, BTreeSet::new());
            for (at, tx) in proposal.txs.iter().enumerate() {
                let tx = match self.read(tx) {
                    Ok(tx) => tx,
                    Err(source) => return Ok(Err(Fault::Unorderable { at, source })),
                };
                bytes += tx.len();
                if at >= MAX_BLOCK_TXS || bytes > MAX_BLOCK_BYTES {
                    return Ok(Err(Fault::TooMuch { txs: proposal.txs.len(), bytes }));
                }
                let says = tx.said();
                let recall = snapshot.recall(&says)?;
                match standing(chain, &tx, &recall) {
                    Ok(Standing::New) if said.insert(says) => txs.push((tx, recall)),
                    Ok(_) => return Ok(Err(Fault::Repeated { at })),
                    Err(source) => return Ok(Err(Fault::Unorderable { at, source })),
                }
            }
            Ok(Ok(txs))
        })?
    }
}

/// Whether a transaction still needs to be ordered, and may be, by all that is known at this moment.
pub(crate) fn standing(chain: &Chain, tx: &Admitted, recall: &Recall) -> Result<Standing, Unorderable> {
    match chain.check_recalled(tx, recall) {
        Standing::New => chain.orderable(tx).map(|()| Standing::New),
        known => Ok(known),
    }
}

/// Whether a proposal comes right after this seal.
fn follows(proposal: &Proposal, last: &SealRef) -> Result<(), Fault> {
    let Proposal { height, time_ms, app_hash: state, txs: _ } = proposal;
    if last.height.checked_add(1) != Some(*height) {
        return Err(Fault::Height { have: *height, want: last.height.saturating_add(1) });
    }
    let own = app_hash(last);
    if *state != own {
        return Err(Fault::AppHash { have: *state, own });
    }
    if *time_ms <= last.time_ms {
        return Err(Fault::Time { have: *time_ms, last: last.time_ms });
    }
    Ok(())
}

impl Application for LedgerApp {
    fn info(&self) -> Result<Info, Halt> {
        let head = self.store.snapshot()?.head()?.ok_or_else(|| StoreError::Damaged("there is no seal".into()))?;
        let due_ms = self.look(Chain::next_deadline_ms)?;
        Ok(Info { height: head.height, time_ms: head.time_ms, app_hash: app_hash(&head), due_ms })
    }

    fn check_tx(&self, tx: Tx) -> Result<CheckTx, Halt> {
        let tx = match self.read(&tx) {
            Ok(tx) => tx,
            Err(why) => return Ok(CheckTx::Refused(why)),
        };
        let recall = self.store.snapshot()?.recall(&tx.said())?;
        Ok(match self.look(|chain| standing(chain, &tx, &recall))? {
            Ok(Standing::New) => CheckTx::New(Tx::Checked(tx)),
            Ok(Standing::Known(submitted)) => CheckTx::Known(submitted),
            Ok(Standing::Clash(submitted)) => CheckTx::Clash(submitted),
            Err(why) => CheckTx::Refused(why),
        })
    }

    fn prepare_proposal(&mut self, prepare: Prepare) -> Result<Vec<Tx>, Halt> {
        let Prepare { time_ms: _, max_bytes, txs } = prepare;
        let snapshot = self.store.snapshot()?;
        self.look(|chain| {
            let (mut picked, mut left, mut said) = (Vec::new(), max_bytes.min(MAX_BLOCK_BYTES), BTreeSet::new());
            for tx in txs {
                if picked.len() == MAX_BLOCK_TXS {
                    break;
                }
                let Ok(read) = self.read(&tx) else { continue };
                // Nothing goes ahead of what has no room.
                let Some(rest) = left.checked_sub(read.len()) else { break };
                let says = read.said();
                let recall = snapshot.recall(&says)?;
                if matches!(standing(chain, &read, &recall), Ok(Standing::New)) && said.insert(says) {
                    left = rest;
                    picked.push(tx);
                }
            }
            Ok(picked)
        })?
    }

    fn process_proposal(&mut self, proposal: &Arc<Proposal>) -> Result<Vote, Halt> {
        self.accepted = None;
        Ok(match self.judge(proposal)? {
            Ok(txs) => {
                self.accepted = Some((proposal.clone(), txs));
                Vote::Accept
            }
            Err(fault) => Vote::Reject(fault),
        })
    }

    fn finalize_block(&mut self, decided: &Arc<Proposal>) -> Result<Finalized, Halt> {
        let txs = match self.accepted.take() {
            Some((accepted, txs)) if Arc::ptr_eq(&accepted, decided) => txs,
            _ => self.judge(decided)?.map_err(|fault| Halt::Rejected { height: decided.height, fault })?,
        };
        let mut place = self.runtime.block_on(self.books.0.clone().write_owned());
        let mut chain = place.take().ok_or(Halt::Failed)?;
        let mut block = chain.finalize_recalled(decided.time_ms, &txs).map_err(Halt::Block)?;
        let outcomes = std::mem::take(&mut block.outcomes);
        let app_hash = app_hash(&block.seal);
        self.finalized = Some(Pending { place, chain, block });
        Ok(Finalized { app_hash, outcomes })
    }

    fn commit(&mut self) -> Result<(), Halt> {
        let pending = self.finalized.take().ok_or(Halt::Order("a commit without a block"))?;
        let Pending { mut place, mut chain, block } = pending;
        // There is no block where there was nothing to record.
        if !block.leaves.is_empty() {
            let kept = Kept { ended: encoded(chain.shed()), records: chain.take_records() };
            self.store.commit(&block.leaves, &block.seal, &kept)?;
            self.seals.send_replace(block.seal);
            self.snapshots.committed(&block.leaves, &chain);
            self.metrics.sealed(&block.seal, &chain.totals(), chain.epoch());
        }
        *place = Some(chain);
        Ok(())
    }

    fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>, Halt> {
        Ok(self.snapshots.list()?)
    }

    fn load_snapshot_chunk(&self, snapshot: &SnapshotInfo, chunk: u32) -> Result<Option<Vec<u8>>, Halt> {
        Ok(self.snapshots.chunk(snapshot, chunk)?)
    }

    fn offer_snapshot(&mut self, _snapshot: &SnapshotInfo, _app_hash: &Digest) -> Offer {
        Offer::Reject(snapshots::NO_LEAVES)
    }

    fn apply_snapshot_chunk(&mut self, _index: u32, _chunk: &[u8]) -> Offer {
        Offer::Reject(snapshots::NO_LEAVES)
    }
}
