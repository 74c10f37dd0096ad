//! Blocks: an ordered list of admitted transactions becomes leaves with receipts and one seal. The seam is that of ABCI:
//! [`Chain::check_tx`] before ordering, [`Chain::finalize_block`] after; whatever engine orders, this code judges.
//!
//! A chain never goes back. After an error of `finalize_block` its state is unknown: drop it and replay the log.

use std::borrow::Borrow;

use minicbor::bytes::ByteVec;
use orion_protocol::ledger::api::{JobView, SealRef, Submitted};
use orion_protocol::ledger::leaf::{Code, LeafBody, Seal};
use orion_protocol::ledger::tx::Issuers;
use orion_protocol::ledger::{Genesis, Policy, Transaction};
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{CborError, Digest, JobId};

use crate::admission::{Admitted, Unorderable};
use crate::block::Draft;
pub use crate::block::{Block, BlockError};
use crate::due::Due;
use crate::recall::{Fate, Recall, Record, Seen};
use crate::rules;
use crate::snapshot::{self, SnapshotError};
use crate::state::{State, paid, refused};

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

/// What becomes of an envelope that is refused for its epoch once more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// It gets its first receipt and no leaf: whoever holds an old envelope cannot make the log grow with it.
    Answered,
    /// It has a leaf in a log that exists, and gets it again: such leaves change nothing, and logs that were written when
    /// each repetition left one stay valid.
    Recorded,
}

/// State and log of one chain, after some seal.
#[derive(Clone)]
pub struct Chain {
    pub(crate) state: State,
    pub(crate) tree: Tree<Sha256>,
    /// The last one.
    pub(crate) seal: SealRef,
    /// SHA3-256 of the last seal leaf.
    pub(crate) previous: Digest,
    pub(crate) state_hash: Digest,
}

impl Chain {
    /// Starts a chain: block 0 holds the genesis and a seal.
    pub fn start(genesis: &[u8], time_ms: u64) -> Result<(Chain, Block), BlockError> {
        let parsed = Genesis::from_bytes(genesis).map_err(BlockError::Genesis)?;
        check_genesis(&parsed).map_err(BlockError::Genesis)?;
        let mut chain = Chain {
            state: State::new(parsed),
            tree: Tree::default(),
            // Nobody sees this one: block 0 is sealed below.
            seal: SealRef { height: 0, size: 0, root: Digest::ZERO, time_ms: 0 },
            previous: Digest::ZERO,
            state_hash: Digest::ZERO,
        };
        let mut draft = Draft::new(0, 0);
        draft.push(LeafBody::Genesis(ByteVec::from(genesis.to_vec())))?;
        let block = chain.end_block(draft, time_ms)?;
        Ok((chain, block))
    }

    /// Goes on from a snapshot that was taken after the seal `want`.
    pub fn restore(genesis: &Genesis, snapshot: &[u8], want: &SealRef) -> Result<Chain, SnapshotError> {
        snapshot::restore(genesis.clone(), snapshot, want)
    }

    /// The chain as bytes: the same for all chains with the same log.
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::take(self)
    }

    /// Whether the sender may have it ordered in the next block: the operator and the issuers anything, a registered provider
    /// what is about its own credits and key; a key that was replaced nothing. The rules have the last word on what comes of it.
    pub fn orderable(&self, admitted: &Admitted) -> Result<(), Unorderable> {
        let State { keys, issuers, providers, epoch, .. } = &self.state;
        let signer = admitted.envelope.signer;
        if keys.is_revoked(&signer) {
            return Err(Unorderable::UnknownSigner(signer));
        }
        let own = match admitted.transaction {
            Transaction::Approved(_)
            | Transaction::Reserve(_)
            | Transaction::Release(_)
            | Transaction::Stake(_)
            | Transaction::Unstake => providers.contains_key(&signer),
            _ => false,
        };
        let operator = [keys.operator_at(*epoch), keys.next_operator()].contains(&Some(signer));
        if operator || issuers.has(&signer) || own { Ok(()) } else { Err(Unorderable::UnknownSigner(signer)) }
    }

    /// Whether a transaction still needs to be ordered, by what the chain itself remembers.
    pub fn check_tx(&self, admitted: &Admitted) -> Standing {
        self.standing(admitted, None)
    }

    /// As [`Chain::check_tx`], with what is kept about the transaction elsewhere.
    pub fn check_recalled(&self, admitted: &Admitted, recall: &Recall) -> Standing {
        self.standing(admitted, Some(recall))
    }

    fn standing(&self, admitted: &Admitted, recall: Option<&Recall>) -> Standing {
        let Some(seen) = self.state.memory.seen(admitted, recall, self.state.epoch) else { return Standing::New };
        let (Seen::Same(fate) | Seen::Clash(fate)) = &seen;
        let submitted = submitted(fate.clone(), self.seal);
        match seen {
            Seen::Same(_) => Standing::Known(submitted),
            Seen::Clash(_) => Standing::Clash(submitted),
        }
    }

    /// Makes the next block: does what is due, applies `txs` in order, seals. A transaction that was there before, in
    /// this block too, leaves no leaf. With nothing to record there is no block.
    pub fn finalize_block(&mut self, time_ms: u64, txs: &[Admitted]) -> Result<Block, BlockError> {
        self.make_block(time_ms, txs.iter().map(|tx| (tx, None)), Repeats::Answered)
    }

    /// As [`Chain::finalize_block`], with what is kept about each transaction elsewhere.
    pub fn finalize_recalled(
        &mut self,
        time_ms: u64,
        txs: &[(impl Borrow<Admitted>, Recall)],
    ) -> Result<Block, BlockError> {
        self.make_block(time_ms, txs.iter().map(|(tx, recall)| (tx.borrow(), Some(recall))), Repeats::Answered)
    }

    /// Makes a block again from the transactions that its leaves hold.
    pub(crate) fn remake_block(&mut self, time_ms: u64, txs: &[Admitted]) -> Result<Block, BlockError> {
        self.make_block(time_ms, txs.iter().map(|tx| (tx, None)), Repeats::Recorded)
    }

    fn make_block<'t>(
        &mut self,
        time_ms: u64,
        txs: impl Iterator<Item = (&'t Admitted, Option<&'t Recall>)>,
        repeats: Repeats,
    ) -> Result<Block, BlockError> {
        let last = self.seal;
        if time_ms <= last.time_ms {
            return Err(BlockError::Time { have: time_ms, last: last.time_ms });
        }
        let txs: Vec<_> = txs.collect();
        for (tx, _) in &txs {
            self.orderable(tx).map_err(BlockError::Unorderable)?;
        }
        let mut draft = Draft::new(last.height + 1, self.tree.size());
        self.do_what_is_due(&mut draft, time_ms)?;
        let mut fates = Vec::new();
        for (tx, recall) in txs {
            fates.push(self.deliver(&mut draft, tx, recall, time_ms, repeats)?);
        }
        let block = if draft.leaves.is_empty() {
            Block { leaves: Vec::new(), seal: last, outcomes: Vec::new() }
        } else {
            self.end_block(draft, time_ms)?
        };
        let outcomes = fates.into_iter().map(|fate| submitted(fate, block.seal)).collect();
        Ok(Block { outcomes, ..block })
    }

    /// What the ledger does by itself, before any transaction.
    fn do_what_is_due(&mut self, draft: &mut Draft, time_ms: u64) -> Result<(), BlockError> {
        for due in self.state.due.past(time_ms) {
            match due {
                Due::Escrow(job) => {
                    let receipts = rules::expire(&mut self.state, job, time_ms);
                    for receipt in receipts.map_err(|code| BlockError::Expire { job, code })? {
                        draft.push(LeafBody::Expire(job, receipt))?;
                    }
                }
                Due::Lapse(id) => {
                    let transfers = rules::lapse(&mut self.state, id);
                    let transfers = transfers.map_err(|code| BlockError::Lapse { id, code })?;
                    draft.push(LeafBody::Lapse(id, paid(transfers)))?;
                }
                Due::Mature(job, page) => {
                    let transfers = rules::mature(&mut self.state, job, page);
                    let transfers = transfers.map_err(|code| BlockError::Mature { job, page, code })?;
                    draft.push(LeafBody::Mature(job, paid(transfers)))?;
                }
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        draft: &mut Draft,
        tx: &Admitted,
        recall: Option<&Recall>,
        time_ms: u64,
        repeats: Repeats,
    ) -> Result<Fate, BlockError> {
        match self.state.memory.seen(tx, recall, self.state.epoch) {
            Some(Seen::Same(fate)) if repeats == Repeats::Recorded && fate.receipt.code == Code::StaleEpoch => {}
            Some(Seen::Same(fate) | Seen::Clash(fate)) => return Ok(fate),
            None => {}
        }
        let receipt = match rules::apply(&mut self.state, &tx.envelope, &tx.transaction, time_ms) {
            Ok(transfers) => paid(transfers),
            Err(code) => refused(code),
        };
        let leaf = draft.push(LeafBody::Transaction(tx.signed.clone(), receipt.clone()))?;
        let fate = Fate { leaf, receipt, seal: None };
        self.state.memory.remember(tx, fate.clone());
        Ok(fate)
    }

    fn end_block(&mut self, mut draft: Draft, time_ms: u64) -> Result<Block, BlockError> {
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
        self.seal = seal;
        self.state.sealed(seal);
        Ok(Block { leaves: draft.leaves, seal, outcomes: Vec::new() })
    }

    /// Takes out what is known of jobs that ended in sealed blocks, and gives it: rounds and verdicts are most of what a
    /// chain holds, and no rule asks for them once a job is closed or expired. Whoever answers questions keeps the views;
    /// whoever checks a whole log does not call this.
    pub fn shed(&mut self) -> Vec<(JobId, JobView)> {
        self.state.shed().into_iter().map(|(id, job)| (id, job.view())).collect()
    }

    /// Takes out what came of transactions in sealed blocks. From then on the chain knows of them only by the [`Recall`]
    /// that comes with them: whoever takes these keeps them. Whoever does not can call this never.
    pub fn take_records(&mut self) -> Vec<Record> {
        self.state.memory.take()
    }

    /// Goes over every identity of money again, slowly; the error says which does not hold.
    pub fn audit(&self) -> Result<(), String> {
        let book = &self.state.book;
        if !book.balances_out() || !book.sums_hold() {
            return Err(format!("the books do not balance: {:?}", book.totals()));
        }
        if !self.state.vests_hold() {
            return Err("what vests is not what the settlements' pages say".into());
        }
        if !self.state.reserves_hold() {
            return Err("what is held back is not what the reserves say".into());
        }
        if !self.state.unbondings_hold() {
            return Err("what is unbonding is not what was taken back from stakes".into());
        }
        crate::report::check_jobs(self)
    }
}

fn submitted(fate: Fate, seal: SealRef) -> Submitted {
    let Fate { leaf, receipt, seal: own } = fate;
    Submitted { leaf, receipt, seal: own.unwrap_or(seal) }
}

fn check_genesis(genesis: &Genesis) -> Result<(), CborError> {
    let refuse = |why: &str| Err(CborError::OutOfBounds { what: "genesis", why: why.into() });
    let policy = &genesis.policy;
    if policy.vesting_ms > Policy::MAX_VESTING_MS {
        return refuse("policy: vesting_ms must be at most 365 days");
    }
    if policy.escrow_ms == 0 || policy.fee_ppm > 1_000_000 {
        return refuse("policy: escrow_ms must be at least 1 and fee_ppm at most 1000000");
    }
    if let Some(found) = policy.out_of_bounds().into_iter().find(|found| found.code == Code::PolicyShares) {
        return refuse(&format!("policy: {}: {}", found.field, found.words));
    }
    let issuers = genesis.issuers.clone().unwrap_or_else(|| Issuers::alone(genesis.issuer));
    if let Err(why) = issuers.check() {
        return refuse(&why);
    }
    if !issuers.has(&genesis.issuer) {
        return refuse("the issuer is not among the issuers");
    }
    if let Err(why) = genesis.bonds.unwrap_or_default().check() {
        return refuse(&why);
    }
    let mut keys = issuers.keys;
    keys.extend([genesis.operator, genesis.platform, genesis.checkpoint]);
    let named = keys.len();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() == named { Ok(()) } else { refuse("one key has two roles") }
}
