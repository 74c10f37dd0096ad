//! Random histories: honest and lying workers, lying and silent validators, wrong sequences, stale epochs, deadlines.

#![expect(clippy::unwrap_used, reason = "what a fixture cannot do fails its test")]
#![expect(clippy::cast_possible_truncation, reason = "random numbers with small bounds")]

use std::collections::{BTreeMap, BTreeSet};

use orion_ledger_core::verify;
use orion_protocol::ids::{Account, reserve_id};
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, PublicKey};

use crate::support::{Ballot, Closed, Random, Work, World, key, spec_under};

/// What happens, and what it did so far.
pub struct History {
    pub random: Random,
    pub world: World,
    pub policy: Policy,
    jobs: Vec<TaskSpec>,
    /// Rounds with entries that are not judged.
    open: Vec<(TaskSpec, Closed, Vec<Work>)>,
    attempts: BTreeMap<(u8, u32), u32>,
    /// Accepted and rejected verdicts.
    pub verdicts: [u64; 2],
    reserves: Vec<Digest>,
    /// How often something was held back.
    pub reserved: u64,
}

impl History {
    /// The one with this seed, at its start.
    pub fn new(seed: u64, policy: &Policy) -> History {
        History {
            random: Random(seed),
            world: World::under(policy.clone()),
            policy: policy.clone(),
            jobs: Vec::new(),
            open: Vec::new(),
            attempts: BTreeMap::new(),
            verdicts: [0; 2],
            reserves: Vec::new(),
            reserved: 0,
        }
    }

    /// Every provider gets something of its own to begin with.
    pub fn earn(&mut self) {
        let task = spec_under(&self.policy, 200, 60, 60, 4);
        self.world.pay(&task);
        self.world.time_ms += self.policy.vesting_ms;
        assert_eq!(self.world.deposit(1), Code::Ok);
    }

    pub fn step(&mut self) {
        match self.random.below(14) {
            0 | 1 => self.open_job(),
            2..=4 => self.close_round(),
            5..=7 => self.judge(),
            8 => self.settle(),
            9 => self.close_job(),
            10 => self.odd(),
            11 | 12 => self.purse(),
            _ => self.wait(),
        }
    }

    fn pick_job(&mut self) -> Option<TaskSpec> {
        let count = self.jobs.len() as u64;
        (count > 0).then(|| self.jobs[self.random.below(count) as usize].clone())
    }

    fn provider(&mut self) -> PublicKey {
        key(11 + self.random.below(3) as u8).public()
    }

    fn open_job(&mut self) {
        let number = self.jobs.len() as u8 + 1;
        let (items, per_shard) = (1 + self.random.below(12), 1 + self.random.below(5));
        let task = spec_under(&self.policy, number, items, per_shard, 1 + self.random.below(4) as u32);
        assert_eq!(self.world.open_escrow(&task), Code::Ok);
        self.jobs.push(task);
    }

    fn close_round(&mut self) {
        let Some(task) = self.pick_job() else { return };
        let mut work = Vec::new();
        for shard in 0..task.units.shards() {
            if self.random.one_in(2) {
                continue;
            }
            let attempt = self.attempts.entry((task.job.0[0], shard)).or_insert(0);
            *attempt += 1;
            let attempt = *attempt;
            let (first, count) = task.units.shard(shard).unwrap();
            let lies: Vec<u64> = (first..first + count).filter(|_| self.random.one_in(6)).collect();
            let provider = self.provider();
            work.push(self.world.signers.work(&task, shard, attempt, provider, &lies));
        }
        let entries: Vec<&Work> = work.iter().collect();
        let mut tx = self.world.close_tx(&task, &entries);
        let random = &mut self.random;
        tx.eligible.retain(|_| !random.one_in(5));
        if random.one_in(8) {
            tx.sequence += 1;
        }
        let eligible = tx.eligible.clone();
        if self.world.send(&Transaction::CloseRound(tx)) == Code::Ok {
            let round = self.world.chain.jobs()[&task.job].rounds.last().unwrap();
            let closed = Closed { round: round.id, seed: round.drawn.unwrap().seed, eligible };
            self.open.push((task, closed, work));
        }
    }

    fn judge(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        let (task, closed, work) = &self.open[at];
        let mut some = |n: u64| -> BTreeSet<PublicKey> {
            (11..14).filter(|_| self.random.one_in(n)).map(|number| key(number).public()).collect()
        };
        let ballot = Ballot { liars: some(5), silent: some(4) };
        let mut shards: Vec<ShardVerdict> =
            work.iter().map(|work| self.world.signers.evidence(work, task, closed, &ballot)).collect();
        if self.random.one_in(6) {
            shards[0].referee = None;
            shards[0].votes.pop();
        }
        let tx = self.world.verdict_tx(task, closed, shards);
        if self.world.send(&Transaction::RecordVerdict(tx)) == Code::Ok {
            let (task, closed, work) = self.open.remove(at);
            for work in work {
                self.check_verdict(&task, &closed, &work, &ballot);
            }
        }
    }

    /// A lie is caught if and only if its unit was drawn, and whoever was asked does not tell the same lie.
    fn check_verdict(&mut self, task: &TaskSpec, closed: &Closed, work: &Work, ballot: &Ballot) {
        let rounds = &self.world.chain.jobs()[&task.job].rounds;
        let round = rounds.iter().find(|round| round.id == closed.round).unwrap();
        let entry = round.entries.iter().find(|entry| entry.lease_digest == work.lease).unwrap();
        let verdict = entry.verdict.as_ref().unwrap();
        let voter = |unit: u64| verdict.auditors.iter().find(|auditor| auditor.units.contains(&unit)).unwrap().key;
        let passes = |unit: u64| !work.lies.contains(&unit) || ballot.liars.contains(&voter(unit));
        assert_eq!(verdict.accepted, verdict.drawn.iter().all(|(unit, _)| passes(*unit)));
        self.verdicts[usize::from(!verdict.accepted)] += 1;
    }

    fn settle(&mut self) {
        let Some(task) = self.pick_job() else { return };
        let page = self.random.below(2);
        self.world.settle(&task, page);
    }

    fn close_job(&mut self) {
        let Some(task) = self.pick_job() else { return };
        self.world.close(&task);
    }

    /// Things that must be refused and change nothing.
    fn odd(&mut self) {
        let (before, due_ms) = (self.world.chain.totals(), self.world.chain.next_deadline_ms());
        let Some(task) = self.pick_job() else { return };
        assert_eq!(self.world.open_escrow(&task), Code::JobExists);
        let settle = Transaction::Settle(Settle { job: task.job, page: 0 });
        let id = self.world.id();
        let stale = settle.sign(&self.world.signers.chain, &self.world.signers.keys.operator, 99, id);
        assert_eq!(self.world.block(vec![stale])[0].code, Code::StaleEpoch);
        let id = self.world.id();
        let foreign = settle.sign(&self.world.signers.chain, &self.world.signers.keys.issuer, 1, id);
        assert_eq!(self.world.block(vec![foreign])[0].code, Code::NotAllowed);
        // Unless meanwhile something came due, which blocks do by themselves.
        if due_ms.is_none_or(|due_ms| self.world.time_ms <= due_ms) {
            assert_eq!(self.world.chain.totals(), before);
        }
    }

    /// A provider holds back what it owns, or more than that; gives it up; takes it out.
    fn purse(&mut self) {
        let provider = key(11 + self.random.below(3) as u8);
        let from = Purse::Available(provider.public());
        let balance = self.world.balance(&Account::Available(provider.public()));
        let due_ms = self.world.chain.next_deadline_ms();
        let amount = 1 + self.random.below(balance + balance / 4 + 2);
        let some = self.random.below(2 + self.reserves.len() as u64) as usize;
        let reserve = self.reserves.get(some).copied();
        let (id, chain) = (self.world.id(), self.world.signers.chain.clone());
        let code = match self.random.below(4) {
            0 | 1 => {
                let expires_ms = self.world.time_ms + 11 + self.random.below(30_000);
                let tx = Transaction::Reserve(Reserve { amount, expires_ms });
                let code = self.world.block(vec![tx.sign(&chain, &provider, 0, id)])[0].code;
                if code == Code::Ok {
                    self.reserves.push(reserve_id(&provider.public(), &id));
                    self.reserved += 1;
                }
                code
            }
            2 => {
                let tx = Transaction::Release(Release { reserve: reserve.unwrap_or(Digest::ZERO) });
                self.world.block(vec![tx.sign(&chain, &provider, 0, id)])[0].code
            }
            _ => {
                let tx = Transaction::Withdraw(Withdraw { from, amount, to: Digest::ZERO, reserve });
                self.world.approved(&tx, &[key(3), provider]).code
            }
        };
        let refusals = [Code::InsufficientCredits, Code::NoSuchReserve, Code::ReserveOver];
        assert!(code == Code::Ok || refusals.contains(&code), "{code}");
        // Unless meanwhile something came due: pay matures, reserves lapse.
        let came_due = due_ms.is_some_and(|due_ms| due_ms < self.world.time_ms);
        assert!(code != Code::Ok || amount <= balance || reserve.is_some() || came_due, "more than there is");
    }

    fn wait(&mut self) {
        self.world.time_ms += self.random.below(20_000);
        assert_eq!(self.world.deposit(1 + self.random.below(1000)), Code::Ok);
    }

    /// All identities of money hold, and no slot is paid twice.
    pub fn check(&self) {
        let chain = &self.world.chain;
        chain.audit().unwrap();
        for job in chain.jobs().values() {
            let mut accepted = BTreeSet::new();
            for entry in job.rounds.iter().flat_map(|round| &round.entries) {
                if entry.verdict.as_ref().is_some_and(|verdict| verdict.accepted) {
                    assert!(accepted.insert(entry.lease.shard), "a slot was accepted twice");
                    assert!(job.workers.contains_key(&entry.commitment_digest));
                }
            }
            assert_eq!(job.workers.len(), accepted.len(), "who is paid has an accepted verdict");
            let work: u64 = job.workers.values().map(|one| one.work).sum();
            assert!(work <= job.spec.units.work());
        }
    }

    /// Lets every escrow run out and everything vest, and replays.
    pub fn end(&mut self) {
        self.world.time_ms += self.policy.escrow_ms;
        assert_eq!(self.world.deposit(1), Code::Ok);
        self.world.time_ms += self.policy.vesting_ms;
        assert_eq!(self.world.deposit(1), Code::Ok);
        let chain = &self.world.chain;
        chain.audit().unwrap();
        assert_eq!((chain.totals().escrows, chain.totals().vesting), (0, 0));
        assert!(chain.jobs().values().all(|job| matches!(job.phase, JobPhase::Closed | JobPhase::Expired)));
        let (bytes, vkey) = self.world.export();
        let (_, replayed) = verify::chain(bytes.as_slice(), &vkey).unwrap();
        assert_eq!((replayed.seal_ref(), replayed.totals()), (chain.seal_ref(), chain.totals()));
        for job in chain.jobs().keys() {
            assert_eq!(replayed.job(job), chain.job(job));
        }
    }
}
