//! Everything that rules read and write. A rule checks first and writes last: a refusal leaves the state as it was.

use std::collections::BTreeMap;

use orion_protocol::bytes::Name;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobPhase, SealRef};
use orion_protocol::ledger::leaf::{Code, Receipt, Transfer};
use orion_protocol::ledger::tx::{Issuers, Policy};
use orion_protocol::{ChainId, Digest, JobId, PublicKey, draw};

use crate::bonds::{Liable, Unbonding};
use crate::book::{Book, Kind, Move, Place};
use crate::due::{Due, Queue};
use crate::job::{Drawn, Job};
use crate::keys::Keys;
use crate::recall::Memory;

/// A registered provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Who owns it.
    pub owner: Name,
    /// Whether it may audit others.
    pub validates: bool,
}

/// A page of a settlement that vests: not its providers' yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vest {
    /// In block time: the first block past it matures the page.
    pub(crate) until_ms: u64,
    /// What each provider gets then, ascending by key; none of it 0.
    pub(crate) amounts: BTreeMap<PublicKey, u64>,
}

/// What a provider holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) provider: PublicKey,
    pub(crate) amount: u64,
    /// In block time: the first block past it ends the reserve.
    pub(crate) expires_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) chain: ChainId,
    pub(crate) genesis: Genesis,
    /// The policies that jobs may name, by id: the genesis' and all that were published since.
    pub(crate) policies: BTreeMap<Digest, Policy>,
    /// The one of jobs that name none.
    pub(crate) default_policy: Digest,
    pub(crate) epoch: u64,
    /// Who issues now.
    pub(crate) issuers: Issuers,
    pub(crate) providers: BTreeMap<PublicKey, Provider>,
    pub(crate) book: Book,
    pub(crate) memory: Memory,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Jobs that ended and still lie in `jobs`, since they were last shed.
    ended: Vec<JobId>,
    /// What is left of jobs that were shed: no rule asks for more.
    pub(crate) shed: BTreeMap<JobId, JobPhase>,
    /// Pages of settlements that have not matured, by job and page.
    pub(crate) vests: BTreeMap<(JobId, u64), Vest>,
    /// What providers hold back, by reserve.
    pub(crate) reserves: BTreeMap<Digest, Reserved>,
    /// Whose keys do what.
    pub(crate) keys: Keys,
    /// Stakes that were taken back, by [`orion_protocol::ids::unbonding_id`].
    pub(crate) unbondings: BTreeMap<Digest, Unbonding>,
    /// Jobs whose validators can be slashed.
    pub(crate) liable: BTreeMap<JobId, Liable>,
    /// What happens by itself, by time.
    pub(crate) due: Queue,
    /// Rounds closed in the block that is being made; their seed comes with its seal.
    pub(crate) unsealed: Vec<(JobId, usize)>,
}

impl State {
    pub(crate) fn new(genesis: Genesis) -> State {
        let default_policy = genesis.policy.digest();
        State {
            chain: genesis.chain(),
            policies: BTreeMap::from([(default_policy, genesis.policy.clone())]),
            default_policy,
            issuers: genesis.issuers.clone().unwrap_or_else(|| Issuers::alone(genesis.issuer)),
            keys: Keys::new(&genesis),
            genesis,
            epoch: 0,
            providers: BTreeMap::new(),
            book: Book::default(),
            memory: Memory::default(),
            jobs: BTreeMap::new(),
            ended: Vec::new(),
            shed: BTreeMap::new(),
            vests: BTreeMap::new(),
            reserves: BTreeMap::new(),
            unbondings: BTreeMap::new(),
            liable: BTreeMap::new(),
            due: Queue::default(),
            unsealed: Vec::new(),
        }
    }

    /// The policies that were published since the genesis, ascending by id.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().filter(|policy| **policy != self.genesis.policy)
    }

    /// Holds back what was paid to `amounts` from a page until its window has passed.
    pub(crate) fn vest(&mut self, id: JobId, page: u64, until_ms: u64, amounts: BTreeMap<PublicKey, u64>) {
        self.due.insert(until_ms, Due::Mature(id, page));
        self.vests.insert((id, page), Vest { until_ms, amounts });
    }

    /// The moves by which a page matures.
    pub(crate) fn matured(&self, id: JobId, vest: &Vest) -> Vec<Move> {
        let chain = &self.chain;
        let moves = vest.amounts.iter().map(|(key, amount)| Move {
            from: Place::vesting(chain, *key, id),
            to: Place::available(chain, *key),
            amount: *amount,
        });
        moves.collect()
    }

    /// Whether what vests is what the pages say, provider by provider; slow, for audits.
    pub(crate) fn vests_hold(&self) -> bool {
        let mut want: BTreeMap<Place, u64> = BTreeMap::new();
        for ((id, _), vest) in &self.vests {
            for Move { from, amount, .. } in self.matured(*id, vest) {
                let sum = want.entry(from).or_default();
                *sum = sum.saturating_add(amount);
            }
        }
        self.book.of_kind(Kind::Vesting).eq(want)
    }

    /// Holds back credits under a new reserve.
    pub(crate) fn reserve(&mut self, id: Digest, reserved: Reserved) -> Result<(), Code> {
        self.book.hold(Place::available(&self.chain, reserved.provider), reserved.amount)?;
        self.due.insert(reserved.expires_ms, Due::Lapse(id));
        self.reserves.insert(id, reserved);
        Ok(())
    }

    /// Ends a reserve; gives it.
    pub(crate) fn release(&mut self, id: Digest) -> Option<Reserved> {
        let reserved = self.reserves.remove(&id)?;
        self.book.let_go(Place::available(&self.chain, reserved.provider), reserved.amount);
        self.due.remove(reserved.expires_ms, Due::Lapse(id));
        Some(reserved)
    }

    /// Whether what is held back is what the reserves say, and is there; slow, for audits.
    pub(crate) fn reserves_hold(&self) -> bool {
        let mut want: BTreeMap<Place, u64> = BTreeMap::new();
        for Reserved { provider, amount, .. } in self.reserves.values() {
            let sum = want.entry(Place::available(&self.chain, *provider)).or_default();
            *sum = sum.saturating_add(*amount);
        }
        self.book.all_pending().all(|(place, held)| held <= self.book.balance(&place))
            && self.book.all_pending().eq(want)
    }

    /// How far a job is, whether or not it was shed.
    pub(crate) fn phase(&self, id: &JobId) -> Option<JobPhase> {
        self.jobs.get(id).map(|job| job.phase).or_else(|| self.shed.get(id).copied())
    }

    /// Ends a job's escrow: nothing more can happen to it.
    pub(crate) fn end(&mut self, id: JobId, phase: JobPhase) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = phase;
            self.due.remove(job.deadline_ms, Due::Escrow(id));
            self.ended.push(id);
            self.forgive(id);
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
