//! The seam between the ledger and whatever orders its transactions: the calls of ABCI 2.0 by their names, so that an engine of
//! several validators takes the place of `embedded`, the engine of one, without a change on this side. [`crate::app::LedgerApp`] is the
//! application; what it does with a block hangs on nothing but the block and the log before it.
//!
//! What ABCI leaves to its engine's headers is said here in the open: each proposal names the state that it follows. Heights are
//! the log's own: a decided block that leaves nothing in the log has none, and deciding it again leaves nothing again.

use std::sync::Arc;

use orion_ledger_core::{Admitted, BlockError, Unorderable};
use orion_protocol::Digest;
use orion_protocol::cbor::{Part, frame_digest};
use orion_protocol::ledger::api::{SealRef, Submitted};

use crate::store::StoreError;

pub(crate) mod embedded;

/// Where an application stands, by what is durable. Between `finalize_block` and `commit` nobody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The last block.
    pub height: u64,
    /// When that was made, Unix milliseconds.
    pub time_ms: u64,
    /// The state after it: see [`app_hash`].
    pub app_hash: Digest,
    /// The ledger has something to do by itself in the first block past this time, Unix milliseconds. ABCI has no such word:
    /// an engine that makes blocks when nobody asks for one need not look.
    pub due_ms: Option<u64>,
}

/// SHA3(frame("orion/app-hash/v1", size, root)) at a seal: all leaves with their receipts, and by the seal among them the state
/// and the sums of all accounts.
pub fn app_hash(seal: &SealRef) -> Digest {
    frame_digest("orion/app-hash/v1", &[Part::U64(seal.size), Part::Bytes(&seal.root.0)])
}

/// A transaction as an engine carries it.
#[derive(Clone, Debug)]
pub enum Tx {
    /// As it comes from elsewhere: the canonical bytes of a signed envelope, or anything at all.
    Bytes(Arc<[u8]>),
    /// Checked in this process, so that no signature is verified twice.
    Checked(Arc<Admitted>),
}

/// What is known of a transaction that is not ordered.
#[derive(Debug)]
pub enum CheckTx {
    /// It may be proposed.
    New(Tx),
    /// It was ordered before: its fate.
    Known(Submitted),
    /// Its id is held by other bytes, whose place this is: it is never ordered.
    Clash(Submitted),
    /// It can never be ordered, or not as things are.
    Refused(Unorderable),
}

/// What a proposal is to be made of.
#[derive(Debug)]
pub struct Prepare {
    /// The proposal's time, Unix milliseconds.
    pub time_ms: u64,
    /// It may have so many bytes.
    pub max_bytes: usize,
    /// In the order that the engine would have them.
    pub txs: Vec<Tx>,
}

/// A block before it is one: proposed, and once decided, the same.
#[derive(Debug)]
pub struct Proposal {
    /// It is to be this block.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// The state that it follows.
    pub app_hash: Digest,
    /// What it orders.
    pub txs: Vec<Tx>,
}

/// An application's word on a proposal, or on what another one adds to its vote.
#[derive(Debug)]
pub enum Vote {
    /// It may be decided.
    Accept,
    /// It must not.
    Reject(Fault),
}

/// What is wrong with a proposal.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not the next block.
    #[error("it is block {have}, the next one is {want}")]
    Height {
        /// Of the proposal.
        have: u64,
        /// The next.
        want: u64,
    },
    /// It comes before the last block.
    #[error("its time {have} does not come after {last}")]
    Time {
        /// Of the proposal, Unix milliseconds.
        have: u64,
        /// Of the last block, Unix milliseconds.
        last: u64,
    },
    /// Whoever made it has another state.
    #[error("it follows state {have}, this node is at {own}")]
    AppHash {
        /// Of the proposal.
        have: Digest,
        /// Of this node.
        own: Digest,
    },
    /// It is too much for one block.
    #[error("it has {txs} transactions of {bytes} bytes")]
    TooMuch {
        /// Transactions.
        txs: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// It orders what cannot be ordered.
    #[error("its transaction {at} cannot be ordered")]
    Unorderable {
        /// Which, from 0.
        at: usize,
        /// Why.
        #[source]
        source: Unorderable,
    },
    /// It orders what was ordered before, or twice.
    #[error("its transaction {at} was there before")]
    Repeated {
        /// Which, from 0.
        at: usize,
    },
    /// A vote carries what nobody asked for.
    #[error("the vote for it carries {0} bytes, expected none")]
    Extension(usize),
}

/// A block that was decided, as it will be once it is committed.
#[derive(Debug)]
pub struct Finalized {
    /// The state after it.
    pub app_hash: Digest,
    /// What came of each transaction, in their order.
    pub outcomes: Vec<Submitted>,
}

/// A snapshot that others may fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The block after which it was taken.
    pub height: u64,
    /// What its bytes are: 1, the state as `orion_ledger_core::snapshot` has it.
    pub format: u32,
    /// How many chunks it has.
    pub chunks: u32,
    /// SHA3-256 of all of it.
    pub hash: Digest,
}

/// What becomes of a snapshot, or a part of one, that comes from elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is taken.
    Accept,
    /// It is not, for this reason.
    Reject(&'static str),
}

/// Why an application must stop. What it holds in memory is worth nothing after it: drop it and start from the store.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The disk.
    #[error("the ledger's store failed")]
    Store(#[from] StoreError),
    /// A block could not be made.
    #[error("cannot make a block")]
    Block(#[source] BlockError),
    /// A block was decided, or is about to be, that this node must reject.
    #[error("block {height} must be rejected")]
    Rejected {
        /// Its height.
        height: u64,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
    /// What is stored is not what was finalized.
    #[error("block {height} was finalized as {finalized}, stored as {stored}")]
    Diverged {
        /// Its height.
        height: u64,
        /// The state that it should have led to.
        finalized: Digest,
        /// The state that it led to.
        stored: Digest,
    },
    /// The engine makes its calls in another order than ABCI's.
    #[error("the engine asked for {0}")]
    Order(&'static str),
    /// A block failed before.
    #[error("a block failed before, and nothing is known since")]
    Failed,
}

/// What an engine drives. Calls come one after the other: for each height any number of `prepare_proposal` and
/// `process_proposal`, then `finalize_block`, then `commit`.
///
/// # Guarantees
///
/// The same blocks after the same log give the same bytes on every node. Nothing of a block is durable before `commit`
/// returns, all of it after; nobody sees a block between `finalize_block` and that. After a crash in between, [`Info`] tells
/// the block before, and finalizing the same one again gives the same.
///
/// # Errors
///
/// Each [`Halt`] is final.
pub trait Application: Send {
    /// Where it stands, by what is durable. An engine that starts goes on from there, and halts if it knows another state.
    fn info(&self) -> Result<Info, Halt>;

    /// What is known of a transaction that somebody wants ordered. Not between `finalize_block` and `commit`.
    fn check_tx(&self, tx: Tx) -> Result<CheckTx, Halt>;

    /// Picks what may stand in the next proposal, in the order given. What it leaves out is known, cannot be ordered, comes
    /// twice, or has no room: `check_tx` tells.
    fn prepare_proposal(&mut self, prepare: Prepare) -> Result<Vec<Tx>, Halt>;

    /// Whether a proposal may become the next block, by nothing but itself and the log: all nodes say the same.
    fn process_proposal(&mut self, proposal: &Arc<Proposal>) -> Result<Vote, Halt>;

    /// What it adds to its vote for a block: nothing.
    fn extend_vote(&self, _height: u64) -> Vec<u8> {
        Vec::new()
    }

    /// Whether another one's vote may carry these bytes: none may.
    fn verify_vote_extension(&self, _height: u64, extension: &[u8]) -> Vote {
        if extension.is_empty() { Vote::Accept } else { Vote::Reject(Fault::Extension(extension.len())) }
    }

    /// Makes the block that was decided. One that `process_proposal` rejects halts: the others agree on what this node does
    /// not have.
    fn finalize_block(&mut self, decided: &Arc<Proposal>) -> Result<Finalized, Halt>;

    /// Makes it durable, and then visible.
    fn commit(&mut self) -> Result<(), Halt>;

    /// Snapshots that exist, the newest first.
    fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>, Halt>;

    /// A chunk of one, from 0; `None` when there is none.
    fn load_snapshot_chunk(&self, snapshot: &SnapshotInfo, chunk: u32) -> Result<Option<Vec<u8>>, Halt>;

    /// Whether to start from a snapshot that others have, of the block after which the state was `app_hash`.
    ///
    /// The ledger rejects all of them. A snapshot holds the state and none of the leaves before it: a node without those could
    /// not say what came of an earlier transaction, would order it once more where others do not, and could neither serve nor
    /// check the log. A new node replays the log, and may compare its own snapshots with those listed elsewhere.
    fn offer_snapshot(&mut self, snapshot: &SnapshotInfo, app_hash: &Digest) -> Offer;

    /// Takes a chunk of a snapshot that was accepted.
    fn apply_snapshot_chunk(&mut self, index: u32, chunk: &[u8]) -> Offer;
}
