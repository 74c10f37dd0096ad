//! Everything that rules read and write. A rule checks first and writes last: a refusal leaves the state as it was.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::bytes::Name;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobPhase, SealRef};
use orion_protocol::ledger::leaf::{Receipt, Transfer};
use orion_protocol::{ChainId, Digest, JobId, PublicKey, TxId, draw};

use crate::book::Book;
use crate::job::{Drawn, Job};

/// A registered provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Who owns it.
    pub owner: Name,
    /// Whether it may audit others.
    pub validates: bool,
}

/// A transaction that holds its id.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// SHA3-256 of the payload.
    pub(crate) payload: Digest,
    pub(crate) leaf: u64,
    pub(crate) height: u64,
    pub(crate) receipt: Receipt,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) chain: ChainId,
    pub(crate) genesis: Genesis,
    /// Digest of the genesis' policy.
    pub(crate) policy: Digest,
    pub(crate) epoch: u64,
    pub(crate) providers: BTreeMap<PublicKey, Provider>,
    pub(crate) book: Book,
    pub(crate) sent: BTreeMap<(PublicKey, TxId), Sent>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Escrows that are open, by deadline.
    pub(crate) deadlines: BTreeSet<(u64, JobId)>,
    /// Rounds closed in the block that is being made; their seed comes with its seal.
    pub(crate) unsealed: Vec<(JobId, usize)>,
}

impl State {
    pub(crate) fn new(genesis: Genesis) -> State {
        State {
            chain: genesis.chain(),
            policy: genesis.policy.digest(),
            genesis,
            epoch: 0,
            providers: BTreeMap::new(),
            book: Book::default(),
            sent: BTreeMap::new(),
            jobs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unsealed: Vec::new(),
        }
    }

    /// Jobs whose deadline lies before `time_ms`, ascending.
    pub(crate) fn due(&self, time_ms: u64) -> Vec<JobId> {
        let past = self.deadlines.iter().take_while(|(deadline, _)| *deadline < time_ms);
        past.map(|(_, job)| *job).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Ends a job's escrow: nothing more can happen to it.
    pub(crate) fn end(&mut self, id: JobId, phase: JobPhase) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = phase;
            self.deadlines.remove(&(job.deadline_ms, id));
        }
    }

    /// Seeds the draws of the rounds that were closed in the block sealed by `seal`.
    pub(crate) fn sealed(&mut self, seal: SealRef) {
        for (job, at) in std::mem::take(&mut self.unsealed) {
            if let Some(round) = self.jobs.get_mut(&job).and_then(|job| job.rounds.get_mut(at)) {
                let seed = draw::seed(&self.chain, seal.size, &seal.root.0, &round.id);
                round.drawn = Some(Drawn { seal, seed });
            }
        }
    }
}

/// A receipt of something that worked.
pub(crate) fn paid(transfers: Vec<Transfer>) -> Receipt {
    Receipt { code: orion_protocol::ledger::Code::Ok, transfers }
}
