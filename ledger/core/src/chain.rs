//! Blocks: an ordered list of admitted transactions becomes leaves with receipts and one seal. The seam is that of ABCI:
//! [`Chain::check_tx`] before ordering, [`Chain::finalize_block`] after; whatever engine orders, this code judges.
//!
//! A chain never goes back. After an error of `finalize_block` its state is unknown: drop it and replay the log.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use orion_protocol::ledger::api::{AccountView, Head, JobView, OpenJobs, SealRef, Submitted};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt, Seal, Totals};
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use orion_protocol::ledger::{Genesis, Transaction};
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{AccountId, CborError, ChainId, Digest, JobId, PublicKey};

use crate::admission::Admitted;
use crate::job::Job;
use crate::rules;
use crate::state::{Provider, Sent, State, paid};

/// Why a block cannot be made. Each but the first two is a bug in the ledger or an overflow of everything.
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

/// What is known of a transaction before it is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its id is free.
    New,
    /// It was ordered before: its fate.
    Known(Submitted),
    /// Its id is held by other bytes. It is never ordered; leaf and seal are the holder's.
    Clash(Submitted),
}

/// State and log of one chain, after some seal.
#[derive(Clone)]
pub struct Chain {
    pub(crate) state: State,
    tree: Tree<Sha256>,
    /// By height; never empty.
    seals: Vec<SealRef>,
    /// SHA3-256 of the last seal leaf.
    previous: Digest,
    state_hash: Digest,
}

impl Chain {
    /// Starts a chain: block 0 holds the genesis and a seal.
    pub fn start(genesis: &[u8], time_ms: u64) -> Result<(Chain, Block), BlockError> {
        let parsed = Genesis::from_bytes(genesis).map_err(BlockError::Genesis)?;
        check_genesis(&parsed).map_err(BlockError::Genesis)?;
        let mut chain = Chain {
            state: State::new(parsed),
            tree: Tree::default(),
            seals: Vec::new(),
            previous: Digest::ZERO,
            state_hash: Digest::ZERO,
        };
        let mut draft = Draft::new(&chain);
        draft.push(LeafBody::Genesis(ByteVec::from(genesis.to_vec())))?;
        let block = chain.seal(draft, time_ms)?;
        Ok((chain, block))
    }

    /// Whether a transaction still needs to be ordered.
    pub fn check_tx(&self, admitted: &Admitted) -> Standing {
        let Some(sent) = self.state.sent.get(&(admitted.envelope.signer, admitted.envelope.id)) else {
            return Standing::New;
        };
        // Every recorded transaction lies in a sealed block.
        let Some(seal) = usize::try_from(sent.height).ok().and_then(|height| self.seals.get(height)) else {
            return Standing::New;
        };
        let submitted = |receipt| Submitted { leaf: sent.leaf, receipt, seal: *seal };
        match clash(sent, admitted) {
            None => Standing::Known(submitted(sent.receipt.clone())),
            Some(code) => Standing::Clash(submitted(Receipt { code, transfers: Vec::new() })),
        }
    }

    /// Makes the next block: expires what is due, applies `txs` in order, seals. A transaction that was there before, in
    /// this block too, leaves no leaf. With nothing to record there is no block.
    pub fn finalize_block(&mut self, time_ms: u64, txs: &[Admitted]) -> Result<Block, BlockError> {
        let last = self.seal_ref();
        if time_ms <= last.time_ms {
            return Err(BlockError::Time { have: time_ms, last: last.time_ms });
        }
        let mut draft = Draft::new(self);
        for job in self.state.due(time_ms) {
            let receipts = rules::expire(&mut self.state, job).map_err(|code| BlockError::Expire { job, code })?;
            for receipt in receipts {
                draft.push(LeafBody::Expire(job, receipt))?;
            }
        }
        let mut fates = Vec::with_capacity(txs.len());
        for tx in txs {
            fates.push(self.deliver(&mut draft, tx, time_ms)?);
        }
        let block = if draft.leaves.is_empty() {
            Block { leaves: Vec::new(), seal: last, outcomes: Vec::new() }
        } else {
            self.seal(draft, time_ms)?
        };
        let seal_of = |height: u64| usize::try_from(height).ok().and_then(|at| self.seals.get(at)).copied();
        let outcomes = fates
            .into_iter()
            .map(|fate| Submitted {
                leaf: fate.leaf,
                receipt: fate.receipt,
                seal: seal_of(fate.height).unwrap_or(block.seal),
            })
            .collect();
        Ok(Block { outcomes, ..block })
    }

    fn deliver(&mut self, draft: &mut Draft, tx: &Admitted, time_ms: u64) -> Result<Fate, BlockError> {
        let key = (tx.envelope.signer, tx.envelope.id);
        if let Some(sent) = self.state.sent.get(&key) {
            let receipt = match clash(sent, tx) {
                None => sent.receipt.clone(),
                Some(code) => Receipt { code, transfers: Vec::new() },
            };
            return Ok(Fate { leaf: sent.leaf, height: sent.height, receipt });
        }
        let receipt = match rules::apply(&mut self.state, &tx.envelope, &tx.transaction, time_ms) {
            Ok(transfers) => paid(transfers),
            Err(code) => Receipt { code, transfers: Vec::new() },
        };
        let leaf = draft.push(LeafBody::Transaction(tx.signed.clone(), receipt.clone()))?;
        let fate = Fate { leaf, height: draft.height, receipt: receipt.clone() };
        // An old leader must not be able to spend ids that its successor needs: a stale epoch leaves the id free.
        if receipt.code != Code::StaleEpoch {
            let payload = Digest::of(&tx.envelope.payload);
            self.state.sent.insert(key, Sent { payload, leaf, height: draft.height, receipt });
        }
        Ok(fate)
    }

    fn seal(&mut self, mut draft: Draft, time_ms: u64) -> Result<Block, BlockError> {
        self.state_hash = self.state.book.seal(&self.state_hash);
        let totals = self.state.book.totals();
        if !self.state.book.balances_out() {
            return Err(BlockError::Unbalanced(totals));
        }
        let height = draft.height;
        let seal = Seal { time_ms, previous: self.previous, state: self.state_hash, totals };
        draft.push(LeafBody::Seal(seal))?;
        for leaf in &draft.leaves {
            self.tree.push(Sha256::leaf(leaf));
        }
        self.previous = draft.leaves.last().map_or(Digest::ZERO, |leaf| Digest::of(leaf));
        let seal = SealRef { height, size: self.tree.size(), root: Digest(self.tree.root()), time_ms };
        self.seals.push(seal);
        self.state.sealed(seal);
        Ok(Block { leaves: draft.leaves, seal, outcomes: Vec::new() })
    }

    /// The chain's id.
    pub fn id(&self) -> &ChainId {
        &self.state.chain
    }

    /// What it started from.
    pub fn genesis(&self) -> &Genesis {
        &self.state.genesis
    }

    /// The last seal.
    pub fn seal_ref(&self) -> SealRef {
        // `start` seals block 0 before anybody sees the chain.
        self.seals.last().copied().unwrap_or(SealRef { height: 0, size: 0, root: Digest::ZERO, time_ms: 0 })
    }

    /// The seals, by height.
    pub fn seals(&self) -> &[SealRef] {
        &self.seals
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// Registered providers.
    pub fn providers(&self) -> &BTreeMap<PublicKey, Provider> {
        &self.state.providers
    }

    /// Sums of all accounts by kind.
    pub fn totals(&self) -> Totals {
        self.state.book.totals()
    }

    /// Every job that ever had an escrow.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.state.jobs
    }

    /// When the next escrow's time is up: a block with a later time ends it.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.state.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Where the log stands.
    pub fn head(&self) -> Head {
        let providers = self.state.providers.iter();
        let providers = providers.map(|(key, provider)| (*key, provider.owner.clone(), provider.validates));
        Head {
            chain: self.id().clone(),
            seal: self.seal_ref(),
            epoch: self.state.epoch,
            providers: providers.collect(),
        }
    }

    /// An account's balance; 0 for one that was never used.
    pub fn account(&self, account: AccountId) -> AccountView {
        AccountView { account, balance: self.state.book.balance_of_id(account) }
    }

    /// A job.
    pub fn job(&self, job: &JobId) -> Option<JobView> {
        self.state.jobs.get(job).map(Job::view)
    }

    /// Jobs whose escrow is open.
    pub fn open_jobs(&self) -> OpenJobs {
        let mut jobs: Vec<JobId> = self.state.deadlines.iter().map(|(_, job)| *job).collect();
        jobs.sort_unstable();
        OpenJobs { jobs }
    }

    /// Goes over every identity of money again, slowly; the error says which does not hold.
    pub fn audit(&self) -> Result<(), String> {
        let book = &self.state.book;
        if !book.balances_out() || !book.sums_hold() {
            return Err(format!("the books do not balance: {:?}", book.totals()));
        }
        crate::report::check_jobs(self)
    }
}

/// A transaction's fate within a block whose seal may still be missing.
struct Fate {
    leaf: u64,
    height: u64,
    receipt: Receipt,
}

/// Leaves of a block that is being made.
struct Draft {
    height: u64,
    base: u64,
    leaves: Vec<Vec<u8>>,
}

impl Draft {
    fn new(chain: &Chain) -> Draft {
        Draft { height: chain.seals.len() as u64, base: chain.tree.size(), leaves: Vec::new() }
    }

    /// Adds a leaf and gives its index in the log.
    fn push(&mut self, body: LeafBody) -> Result<u64, BlockError> {
        let index = self.leaves.len() as u64;
        let bytes = Leaf { height: self.height, index, body }.to_bytes();
        if bytes.len() > MAX_LEAF_BYTES {
            return Err(BlockError::LeafTooLong(bytes.len()));
        }
        self.leaves.push(bytes);
        Ok(self.base + index)
    }
}

/// Why a transaction may not have the id that `sent` holds; `None` when it is the same transaction again.
fn clash(sent: &Sent, tx: &Admitted) -> Option<Code> {
    if sent.payload == Digest::of(&tx.envelope.payload) {
        return None;
    }
    // Two replicas that race for an epoch use the same id with different nonces.
    let epoch = matches!(tx.transaction, Transaction::OpenEpoch(_));
    Some(if epoch { Code::EpochTaken } else { Code::ExistsWithDifferentBytes })
}

fn check_genesis(genesis: &Genesis) -> Result<(), CborError> {
    let refuse = |why: &str| Err(CborError::OutOfBounds { what: "genesis", why: why.into() });
    let policy = &genesis.policy;
    if policy.vesting_ms != 0 {
        return refuse("vesting_ms: only 0 is supported, which matures earnings in the same block");
    }
    if policy.escrow_ms == 0 || policy.fee_ppm > 1_000_000 {
        return refuse("policy: escrow_ms must be at least 1 and fee_ppm at most 1000000");
    }
    let keys = [genesis.operator, genesis.platform, genesis.issuer, genesis.checkpoint];
    let mut distinct = keys.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() == keys.len() { Ok(()) } else { refuse("one key has two roles") }
}
