//! Everything that rules read and write. A rule checks first and writes last: a refusal leaves the state as it was.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::bytes::Name;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobPhase, SealRef};
use orion_protocol::ledger::leaf::{Code, Receipt, Transfer};
use orion_protocol::{ChainId, Digest, JobId, PublicKey, draw};

use crate::book::Book;
use crate::job::{Drawn, Job};
use crate::recall::Memory;

/// A registered provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Who owns it.
    pub owner: Name,
    /// Whether it may audit others.
    pub validates: bool,
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
    pub(crate) memory: Memory,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Jobs that ended and still lie in `jobs`, since they were last shed.
    ended: Vec<JobId>,
    /// What is left of jobs that were shed: no rule asks for more.
    pub(crate) shed: BTreeMap<JobId, JobPhase>,
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
            memory: Memory::default(),
            jobs: BTreeMap::new(),
            ended: Vec::new(),
            shed: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unsealed: Vec::new(),
        }
    }

    /// Jobs whose deadline lies before `time_ms`, ascending.
    pub(crate) fn due(&self, time_ms: u64) -> Vec<JobId> {
        let past = self.deadlines.iter().take_while(|(deadline, _)| *deadline < time_ms);
        past.map(|(_, job)| *job).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How far a job is, whether or not it was shed.
    pub(crate) fn phase(&self, id: &JobId) -> Option<JobPhase> {
        self.jobs.get(id).map(|job| job.phase).or_else(|| self.shed.get(id).copied())
    }

    /// Ends a job's escrow: nothing more can happen to it.
    pub(crate) fn end(&mut self, id: JobId, phase: JobPhase) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = phase;
            self.deadlines.remove(&(job.deadline_ms, id));
            self.ended.push(id);
        }
    }

    /// Takes out the jobs that ended since this was last called.
    pub(crate) fn shed(&mut self) -> Vec<(JobId, Job)> {
        let ended = std::mem::take(&mut self.ended);
        let jobs: Vec<(JobId, Job)> = ended.into_iter().filter_map(|id| Some((id, self.jobs.remove(&id)?))).collect();
        self.shed.extend(jobs.iter().map(|(id, job)| (*id, job.phase)));
        jobs
    }

    /// Every job that ended with its phase, ascending, whether or not it was shed.
    pub(crate) fn ended_phases(&self) -> Vec<(JobId, JobPhase)> {
        let mut ended = self.shed.clone();
        ended.extend(self.jobs.iter().filter(|(_, job)| !job.is_open()).map(|(id, job)| (*id, job.phase)));
        ended.into_iter().collect()
    }

    /// Seeds the draws of the rounds that were closed in the block sealed by `seal`.
    pub(crate) fn sealed(&mut self, seal: SealRef) {
        self.memory.sealed(seal);
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
    Receipt { code: Code::Ok, transfers }
}

/// A receipt of something that was refused.
pub(crate) fn refused(code: Code) -> Receipt {
    Receipt { code, transfers: Vec::new() }
}
