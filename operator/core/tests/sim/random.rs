//! Random histories: fleets, jobs and faults of every kind, from one seed each. Then the faults stop, and everything must end.

use std::collections::BTreeSet;

use orion_core::WorkerId;
use orion_protocol::ledger::Code;
use orion_protocol::messages::Role;
use orion_protocol::{JobId, Reason};

use crate::event::Fault;
use crate::rng::Rng;
use crate::truth::Habit;
use crate::world::World;

/// Histories of one run, unless `ORION_SIM_SEEDS` says how many.
const HISTORIES: u64 = 16;
/// Faults happen within so many milliseconds.
const TROUBLE_MS: u64 = 60_000;
/// Everything ends within so many after them: a slow process may hold a lease for four minutes, and barred workers wait.
const AFTERMATH_MS: u64 = 30 * 60_000;

const WORKER_HABITS: [Habit; 10] = [
    Habit::Slow,
    Habit::Silent,
    Habit::Lie,
    Habit::Collude,
    Habit::LieOnce,
    Habit::Withhold,
    Habit::Mismatch,
    Habit::Garbage,
    Habit::ClaimFault,
    Habit::Refuse,
];

#[test]
fn whatever_happens_every_job_ends_and_nobody_honest_is_harmed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let given = number("ORION_SIM_SEED");
    // The same histories each time, so that a failure is news; `ORION_SIM_SEED` and `ORION_SIM_SEEDS` explore others.
    let first = given.unwrap_or(1);
    let histories = number("ORION_SIM_SEEDS").unwrap_or(if given.is_some() { 1 } else { HISTORIES });
    for seed in first..first.saturating_add(histories) {
        println!("ORION_SIM_SEED={seed}");
        History::new(seed).run();
    }
}

struct History {
    world: World,
    rng: Rng,
    jobs: Vec<JobId>,
    /// Whether some owner may have been barred from some shard.
    barring: bool,
    deleted: BTreeSet<JobId>,
    faulty: bool,
}

impl History {
    fn new(seed: u64) -> History {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut world = World::new(seed);
        world.delay_ms = [5, 20, 100][usize::try_from(rng.below(3)).unwrap()];
        for owner in &["ann", "bob", "cyd", "dee"][..usize::try_from(rng.within(1, 4)).unwrap()] {
            let count = |n: u64| u32::try_from(n).unwrap();
            world.farm(owner, count(rng.within(1, 3)), count(rng.below(3)));
        }
        if rng.one_in(2) {
            world.process("platform", "p1", Role::Platform, 4);
        }
        if rng.one_in(3) {
            world.provider("ann-too", "ann", true);
            world.process("ann-too", "v0", Role::Validator, 1);
        }
        // A new leader may use an id again that its predecessor used with another budget.
        world.ledger.tolerated.push(("OpenEscrow", Code::ExistsWithDifferentBytes));
        if !rng.one_in(4) {
            world.deposit(1 << 50);
        }
        History { world, rng, jobs: Vec::new(), barring: false, deleted: BTreeSet::new(), faulty: false }
    }

    fn run(mut self) {
        self.world.lead();
        self.apply_jobs();
        for _ in 0..self.rng.below(12) {
            self.plan_fault();
        }
        for _ in 0..self.rng.below(4) {
            let at = self.rng.within(1, 600);
            self.world.kill_at.insert(at);
        }
        for _ in 0..self.rng.below(4) {
            let at = self.rng.within(1, 40);
            self.world.refuse_at.insert(at, Code::BadValidator);
        }
        let calm = self.world.now + TROUBLE_MS;
        self.world.until("the faults are over", 2 * TROUBLE_MS, |world| world.now >= calm);
        self.calm();
        self.world.until_over(AFTERMATH_MS);
        self.check();
    }

    fn apply_jobs(&mut self) {
        for number in 0..u32::try_from(self.rng.within(1, 6)).unwrap() {
            let content = u8::try_from(self.rng.below(3)).unwrap();
            let (units, per_shard) = (self.rng.within(1, 60), self.rng.within(1, 8));
            let mut spec = self.world.job_spec(number, content, units, per_shard);
            spec.audits_per_shard = u32::try_from(self.rng.within(1, 4)).unwrap();
            spec.parallelism = u32::try_from(self.rng.within(1, 8)).unwrap();
            spec.backoff_limit = u32::try_from(self.rng.below(3)).unwrap();
            if self.rng.one_in(6) {
                spec.budget = 1;
            }
            self.jobs.push(self.world.apply(spec));
        }
        if self.rng.one_in(8) {
            self.faulty = true;
            let at = usize::try_from(self.rng.below(self.jobs.len() as u64)).unwrap();
            let workload = self.world.jobs[&self.jobs[at]].spec.workload;
            self.world.faulty.insert(workload);
        }
    }

    fn some<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.rng.below(of.len() as u64)).unwrap()].clone()
    }

    fn plan_fault(&mut self) {
        let ids: Vec<WorkerId> = self.world.actors.keys().cloned().collect();
        let jobs = self.jobs.clone();
        let who = self.some(&ids);
        let after = self.rng.below(TROUBLE_MS);
        let fault = match self.rng.below(12) {
            0..=2 => {
                let back = if self.rng.one_in(3) { None } else { Some(self.rng.below(20_000)) };
                Fault::Crash(who, back)
            }
            3..=6 => {
                let habit = self.some(&WORKER_HABITS);
                if self.world.actors[&who].role == Role::Platform {
                    return;
                }
                self.barring |= !matches!(habit, Habit::Slow | Habit::Silent);
                let early = after / 20;
                return self.world.fault(early, Fault::Habit(who, habit));
            }
            7 => Fault::KillLeader(self.rng.below(10_000)),
            8 => Fault::Usurp(self.rng.below(10_000)),
            9 => {
                let job = self.some(&jobs);
                self.deleted.insert(job);
                return self.world.fault(after / 6, Fault::Delete(job));
            }
            10 => {
                let (job, parallelism) = (self.some(&jobs), u32::try_from(self.rng.within(1, 8)).unwrap());
                return self.world.fault(after / 6, Fault::Change(job, parallelism, 1 << 40));
            }
            _ => Fault::Deposit(1 << 45),
        };
        self.world.fault(after, fault);
    }

    /// Everybody is there and honest, and there is money for everything.
    fn calm(&mut self) {
        self.world.kill_at.clear();
        self.world.refuse_at.clear();
        let ids: Vec<WorkerId> = self.world.actors.keys().cloned().collect();
        for id in ids {
            self.world.suffer(Fault::Habit(id.clone(), Habit::Honest));
            if !self.world.actors[&id].up {
                self.world.suffer(Fault::Crash(id, Some(0)));
            }
        }
        self.world.deposit(1 << 50);
        for job in self.jobs.clone() {
            let parallelism = self.world.jobs[&job].spec.parallelism;
            self.world.suffer(Fault::Change(job, parallelism, 1 << 40));
        }
    }

    fn check(&self) {
        for (id, job) in &self.world.jobs {
            let ending = job.status.as_ref().and_then(|status| status.ending.as_ref()).map(|refusal| refusal.reason);
            let fine = match ending {
                None => true,
                Some(Reason::Deleted) => self.deleted.contains(id),
                Some(Reason::BackoffLimitExceeded) => self.faulty,
                Some(Reason::NoOwnerLeft | Reason::AuditFailed) => self.barring || self.faulty,
                Some(_) => false,
            };
            assert!(fine, "{} ended with {ending:?}", job.spec.uid);
        }
    }
}
