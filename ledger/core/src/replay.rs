//! The machine driven by leaves that already exist: each block's transactions are taken out of its leaves, applied again,
//! and every leaf that comes out, receipts and seal included, must be the one that went in, byte for byte.

use orion_protocol::ledger::api::{JobView, SealRef};
use orion_protocol::ledger::leaf::{Leaf, LeafBody};
use orion_protocol::{CborError, ChainId, JobId};

use crate::admission::{Admission, Admitted, Unorderable};
use crate::chain::{BlockError, Chain};
use crate::recall::Record;

/// What is wrong, and with which leaf.
#[derive(Debug, thiserror::Error)]
#[error("leaf {leaf}")]
pub struct ReplayError {
    /// Index in the log, from 0.
    pub leaf: u64,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a leaf.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not the canonical bytes of a leaf.
    #[error("cannot be read")]
    Unreadable(#[source] CborError),
    /// Not where it says it is.
    #[error("says block {height} place {index}, but stands at block {at_height} place {at_index}")]
    Misplaced {
        /// What it says.
        height: u64,
        /// What it says.
        index: u64,
        /// Where it is.
        at_height: u64,
        /// Where it is.
        at_index: u64,
    },
    /// The log does not start with a genesis, or holds another one.
    #[error("the log must hold one genesis, and first")]
    Genesis,
    /// The genesis is another chain's.
    #[error("the genesis starts {have}, expected {want}")]
    OtherChain {
        /// The chain of this genesis.
        have: ChainId,
        /// The chain that was asked for.
        want: ChainId,
    },
    /// A transaction that cannot have been ordered.
    #[error("holds a transaction that cannot be ordered")]
    Unorderable(#[source] Unorderable),
    /// Replay makes another leaf.
    #[error("{0}")]
    Differs(String),
    /// Replay makes no block of it.
    #[error("the block cannot be made again")]
    Block(#[source] BlockError),
    /// The log ends within a block.
    #[error("the log ends without the seal of the last block")]
    NoSeal,
}

/// A block whose seal has not come yet.
#[derive(Clone, Default)]
struct Pending {
    leaves: Vec<Vec<u8>>,
    txs: Vec<Admitted>,
}

/// Replays a log, leaf by leaf.
#[derive(Clone)]
pub struct Replay {
    want: ChainId,
    chain: Option<(Chain, Admission)>,
    pending: Pending,
    /// Leaves in sealed blocks.
    base: u64,
    genesis: Option<Vec<u8>>,
}

impl Replay {
    /// For the log of `chain`.
    pub fn new(chain: ChainId) -> Replay {
        Replay { want: chain, chain: None, pending: Pending::default(), base: 0, genesis: None }
    }

    /// Goes on after the last seal of `chain`. It does not know the ids of the leaves before, nor those that were taken out:
    /// whoever skips leaves compares [`Replay::take_records`] with what it keeps, and finds an id that was used twice.
    pub fn resume(chain: Chain) -> Replay {
        let (want, base) = (chain.id().clone(), chain.seal_ref().size);
        let admission = Admission::new(chain.genesis());
        Replay { want, chain: Some((chain, admission)), pending: Pending::default(), base, genesis: None }
    }

    /// Takes the next leaf; at a seal, gives it once the whole block was made again and compared.
    pub fn leaf(&mut self, bytes: &[u8]) -> Result<Option<SealRef>, ReplayError> {
        let at = self.base + self.pending.leaves.len() as u64;
        let time_ms = self.take(bytes).map_err(|fault| ReplayError { leaf: at, fault })?;
        time_ms.map(|time_ms| self.block(time_ms)).transpose()
    }

    /// The chain after the last seal; `None` before the first.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref().map(|(chain, _)| chain)
    }

    /// Takes out what is known of jobs that ended: see [`Chain::shed`].
    pub fn shed(&mut self) -> Vec<(JobId, JobView)> {
        self.chain.as_mut().map(|(chain, _)| chain.shed()).unwrap_or_default()
    }

    /// Takes out what came of transactions: see [`Chain::take_records`].
    pub fn take_records(&mut self) -> Vec<Record> {
        self.chain.as_mut().map(|(chain, _)| chain.take_records()).unwrap_or_default()
    }

    /// Ends the log; gives the chain as it was after the last seal.
    pub fn finish(self) -> Result<Chain, ReplayError> {
        match self.chain {
            Some((chain, _)) if self.pending.leaves.is_empty() => Ok(chain),
            _ => Err(ReplayError { leaf: self.base + self.pending.leaves.len() as u64, fault: Fault::NoSeal }),
        }
    }

    /// Reads a leaf into the pending block; gives the block's time when it is the seal.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<u64>, Fault> {
        let Leaf { height, index, body } = Leaf::from_bytes(bytes).map_err(Fault::Unreadable)?;
        let at_height = self.chain.as_ref().map_or(0, |(chain, _)| chain.seal_ref().height + 1);
        let at_index = self.pending.leaves.len() as u64;
        if (height, index) != (at_height, at_index) {
            return Err(Fault::Misplaced { height, index, at_height, at_index });
        }
        let first = self.chain.is_none() && self.genesis.is_none();
        if first != matches!(body, LeafBody::Genesis(_)) {
            return Err(Fault::Genesis);
        }
        let time_ms = match body {
            LeafBody::Genesis(genesis) => {
                let have = ChainId::of_genesis(&genesis);
                if have != self.want {
                    return Err(Fault::OtherChain { have, want: self.want.clone() });
                }
                self.genesis = Some(genesis.into());
                None
            }
            LeafBody::Transaction(signed, _) => {
                let Some((chain, admission)) = &self.chain else {
                    return Err(Fault::Differs("block 0 holds a transaction".into()));
                };
                let tx = admission.check(signed).map_err(Fault::Unorderable)?;
                // By the state before the block, as it was when this was ordered.
                chain.orderable(&tx).map_err(Fault::Unorderable)?;
                self.pending.txs.push(tx);
                None
            }
            // The machine expires, matures and lapses by itself; the comparison finds what it did not do.
            LeafBody::Expire(..) | LeafBody::Mature(..) | LeafBody::Lapse(..) => None,
            LeafBody::Seal(seal) => Some(seal.time_ms),
        };
        self.pending.leaves.push(bytes.to_vec());
        Ok(time_ms)
    }

    /// Makes the pending block again.
    fn block(&mut self, time_ms: u64) -> Result<SealRef, ReplayError> {
        let Pending { leaves, txs } = std::mem::take(&mut self.pending);
        let last = self.base + leaves.len() as u64 - 1;
        let at_seal = |error| ReplayError { leaf: last, fault: Fault::Block(error) };
        let block = match (&mut self.chain, self.genesis.take()) {
            (Some((chain, _)), _) => chain.remake_block(time_ms, &txs).map_err(at_seal)?,
            (none, genesis) => {
                let genesis = genesis.ok_or(ReplayError { leaf: self.base, fault: Fault::Genesis })?;
                let (chain, block) = Chain::start(&genesis, time_ms).map_err(at_seal)?;
                let admission = Admission::new(chain.genesis());
                *none = Some((chain, admission));
                block
            }
        };
        for (at, have) in leaves.iter().enumerate() {
            if block.leaves.get(at) != Some(have) {
                let fault = Fault::Differs(difference(have, block.leaves.get(at)));
                return Err(ReplayError { leaf: self.base + at as u64, fault });
            }
        }
        if block.leaves.len() > leaves.len() {
            let fault = Fault::Differs("a leaf is missing from the block that this seal ends".into());
            return Err(ReplayError { leaf: last, fault });
        }
        self.base += leaves.len() as u64;
        Ok(block.seal)
    }
}

/// Says in words how a leaf differs from the one that replay makes.
fn difference(have: &[u8], want: Option<&Vec<u8>>) -> String {
    let read = |bytes: &[u8]| Leaf::from_bytes(bytes).map(|leaf| leaf.body).ok();
    match (read(have), want.and_then(|want| read(want))) {
        (Some(LeafBody::Transaction(have, was)), Some(LeafBody::Transaction(want, is))) if have == want => {
            if was.code == is.code {
                format!(
                    "its receipt's transfers are not those that follow ({} and {})",
                    was.transfers.len(),
                    is.transfers.len()
                )
            } else {
                format!("its receipt says {}, the rules say {}", was.code, is.code)
            }
        }
        (Some(LeafBody::Seal(have)), Some(LeafBody::Seal(want))) => {
            let field = if have.previous != want.previous {
                "hash of the seal before"
            } else if have.state == want.state {
                "totals"
            } else {
                "state hash"
            };
            format!("the seal's {field} is not what follows from the log")
        }
        (Some(LeafBody::Expire(job, _)), Some(LeafBody::Expire(due, _))) if job == due => {
            format!("the receipt of job {job}'s expiry is not what follows")
        }
        (Some(LeafBody::Mature(job, _)), Some(LeafBody::Mature(due, _))) if job == due => {
            format!("the receipt of job {job}'s maturity is not what follows")
        }
        (Some(have), Some(want)) => format!("is a {}, expected a {}", kind(&have), kind(&want)),
        (Some(have), None) => format!("is a {} that leaves no leaf", kind(&have)),
        (None, _) => "cannot be read".into(),
    }
}

fn kind(body: &LeafBody) -> &'static str {
    match body {
        LeafBody::Genesis(_) => "genesis",
        LeafBody::Transaction(..) => "transaction",
        LeafBody::Expire(..) => "expiry",
        LeafBody::Mature(..) => "maturity",
        LeafBody::Lapse(..) => "lapse",
        LeafBody::Seal(_) => "seal",
    }
}
