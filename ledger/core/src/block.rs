//! What a block is, why one cannot be made, and the leaves of one that is being made.

use orion_protocol::ledger::api::{SealRef, Submitted};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Totals};
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use orion_protocol::{CborError, Digest, JobId};

use crate::admission::Unorderable;

/// Why a block cannot be made. Each but the first three is a bug in the ledger or an overflow of everything.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The genesis is refused.
    #[error("cannot start a chain from this genesis")]
    Genesis(#[source] CborError),
    /// Block time must rise.
    #[error("block time {have} does not come after {last}")]
    Time {
        /// The time asked for.
        have: u64,
        /// The last block's.
        last: u64,
    },
    /// A transaction of somebody who may not have it ordered: see [`crate::Chain::orderable`].
    #[error("a transaction cannot be ordered")]
    Unorderable(#[source] Unorderable),
    /// A leaf is too long for the log.
    #[error("a leaf of {0} bytes does not fit the log")]
    LeafTooLong(usize),
    /// An escrow could not be ended.
    #[error("cannot expire job {job}: {code}")]
    Expire {
        /// The job.
        job: JobId,
        /// Why.
        code: Code,
    },
    /// A page could not mature.
    #[error("cannot mature page {page} of job {job}: {code}")]
    Mature {
        /// The job.
        job: JobId,
        /// The page.
        page: u64,
        /// Why.
        code: Code,
    },
    /// What was taken back from a stake could not be freed.
    #[error("cannot free {id}: {code}")]
    Lapse {
        /// The reserve or stake.
        id: Digest,
        /// Why.
        code: Code,
    },
    /// Deposits are not the sum of all balances.
    #[error("the books do not balance: {0:?}")]
    Unbalanced(Totals),
}

/// A sealed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its leaves' bytes, the seal's last. Empty when there was nothing to record; then there is no block.
    pub leaves: Vec<Vec<u8>>,
    /// The seal: this block's, or the last one where there is no block.
    pub seal: SealRef,
    /// What came of each transaction, in the order given.
    pub outcomes: Vec<Submitted>,
}

/// Leaves of a block that is being made.
pub(crate) struct Draft {
    pub(crate) height: u64,
    base: u64,
    pub(crate) leaves: Vec<Vec<u8>>,
}

impl Draft {
    /// For the block at `height` of a log that ends with leaf `base - 1`.
    pub(crate) fn new(height: u64, base: u64) -> Draft {
        Draft { height, base, leaves: Vec::new() }
    }

    /// Adds a leaf and gives its index in the log.
    pub(crate) fn push(&mut self, body: LeafBody) -> Result<u64, BlockError> {
        let index = self.leaves.len() as u64;
        let bytes = Leaf { height: self.height, index, body }.to_bytes();
        if bytes.len() > MAX_LEAF_BYTES {
            return Err(BlockError::LeafTooLong(bytes.len()));
        }
        self.leaves.push(bytes);
        Ok(self.base + index)
    }
}
