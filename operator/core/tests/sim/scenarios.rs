//! Named histories, each about one thing that goes wrong.

use orion_core::{JobSpec, JobStatus, WorkerId};
use orion_protocol::ledger::Code;
use orion_protocol::ledger::tx::{Mode, Policy, Split};
use orion_protocol::messages::Role;
use orion_protocol::statements::LeaseKind;
use orion_protocol::{JobId, Reason};

use crate::event::{Event, Fact, Fault};
use crate::truth::Habit;
use crate::world::{World, key, worker};

const MINUTE: u64 = 60_000;

/// Three owners with two workers and a validator each, and credits.
fn fleet(seed: u64) -> World {
    let mut world = World::new(seed);
    for owner in ["ann", "bob", "cyd"] {
        world.farm(owner, 2, 1);
    }
    world.deposit(1 << 50);
    world.lead();
    world
}

/// The fleet, with one job of eight shards.
fn fleet_with_job(seed: u64) -> (World, JobId) {
    let mut world = fleet(seed);
    let spec = world.job_spec(1, 1, 40, 5);
    let job = world.apply(spec);
    (world, job)
}

impl World {
    fn habit(&mut self, id: &WorkerId, habit: Habit) {
        self.actors.get_mut(id).unwrap().habit = habit;
    }

    fn habit_of_all(&mut self, role: Role, habit: Habit) {
        for actor in self.actors.values_mut().filter(|actor| actor.role == role) {
            actor.habit = habit;
        }
    }

    fn shown(&self, job: &JobId) -> &JobStatus {
        self.jobs[job].status.as_ref().unwrap()
    }

    fn ending(&self, job: &JobId) -> Option<Reason> {
        self.shown(job).ending.as_ref().map(|refusal| refusal.reason)
    }

    fn kill_when(&mut self, what: &str, done: impl Fn(&World) -> bool) {
        self.until(what, 5 * MINUTE, done);
        self.suffer(Fault::KillLeader(3_000));
    }

    /// Accepted and rejected shards.
    fn verdicts(&self, job: &JobId) -> (usize, usize) {
        let rounds = self.ledger.chain.jobs().get(job).into_iter().flat_map(|job| &job.rounds);
        let judged: Vec<bool> = rounds
            .flat_map(|round| &round.entries)
            .filter_map(|entry| Some(entry.verdict.as_ref()?.accepted))
            .collect();
        let accepted = judged.iter().filter(|accepted| **accepted).count();
        (accepted, judged.len() - accepted)
    }
}

#[test]
fn a_job_is_priced_and_paid_by_the_policy_that_it_names() {
    let split = Split { workers: 850_000, validators: 120_000, treasury: 30_000 };
    let mut world = fleet(7);
    let plain = world.genesis.policy.clone();
    let audits = Policy { price: 2_000_000, validator_ppm: Some(250_000), ..plain.clone() };
    let pool = Policy { fee_ppm: 0, mode: Mode::Pool(split), ..plain };
    world.publish(&audits);
    world.publish(&pool);
    let jobs = [(1, audits.clone()), (2, pool.clone())].map(|(number, policy)| {
        let spec = JobSpec { policy, ..world.job_spec(number, 1, 40, 5) };
        world.apply(spec)
    });
    world.kill_when("one is funded", |world| world.ledger.chain.jobs().len() == 2);
    world.until_over(5 * MINUTE);
    let [by_audits, by_pool] = jobs.map(|job| world.ledger.chain.jobs()[&job].clone());
    assert_eq!((by_audits.spec.policy, by_audits.spec.price), (audits.digest(), 2_000_000));
    // 400 operations at 2; 2 of 5 units of 8 shards, 160 operations, at a quarter of that.
    assert_eq!((by_audits.paid.workers, by_audits.paid.validators, by_audits.paid.fee), (800, 80, 17));
    assert_eq!((by_pool.spec.policy, by_pool.escrowed), (pool.digest(), 400));
    assert_eq!((by_pool.paid.workers, by_pool.paid.validators, by_pool.paid.fee), (340, 48, 12));
}

#[test]
fn a_job_runs_to_its_end() {
    let (mut world, job) = fleet_with_job(1);
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
    assert_eq!(world.verdicts(&job), (8, 0));
    assert_eq!(world.leases[&LeaseKind::Work], 8, "nothing is done twice");
    assert_eq!(world.leases[&LeaseKind::Aggregate], 1);
}

#[test]
fn the_leader_dies_between_the_escrow_and_its_receipt() {
    let (mut world, job) = fleet_with_job(2);
    world.kill_when("an escrow is open", |world| world.ledger.count("OpenEscrow", Code::Ok) == 1);
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn the_leader_dies_between_a_round_and_its_receipt() {
    let (mut world, job) = fleet_with_job(3);
    world.kill_when("a round is closed", |world| world.ledger.count("CloseRound", Code::Ok) == 1);
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn a_provider_is_removed_while_its_validator_is_drawn() {
    for owner in ["ann", "bob", "cyd"] {
        let (mut world, job) = fleet_with_job(3);
        world.until("a round is closed", 5 * MINUTE, |world| world.ledger.count("CloseRound", Code::Ok) == 1);
        world
            .removed
            .extend(world.providers.iter().filter(|one| one.owner.as_str() == owner).map(|one| one.name.clone()));
        assert_eq!(world.removed.len(), 1);
        world.suffer(Fault::KillLeader(3_000));
        world.until_over(5 * MINUTE);
        // The simulated ledger refuses a verdict that another draw led to, and no refusal is tolerated.
        assert_eq!(world.ending(&job), None);
    }
}

#[test]
fn a_provider_is_retired_in_the_middle_of_a_job() {
    let (mut world, job) = fleet_with_job(3);
    world.until("a round is closed", 5 * MINUTE, |world| world.ledger.count("CloseRound", Code::Ok) == 1);
    let mut providers = world.providers.clone();
    let gone = providers.iter_mut().find(|one| one.owner.as_str() == "ann").unwrap();
    gone.retired = true;
    let leader = world.leader().unwrap();
    world.tell(leader, &Fact::Providers(providers));
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
    assert_eq!(world.verdicts(&job).1, 0, "honest work is paid, whoever is retired");
}

/// Ann computes. Both of bob's validators are asked about the same: the one that is given up is honest, the other one lies and is sooner.
#[test]
fn a_validator_that_says_two_things_is_told_of_once_and_its_first_word_counts() {
    let mut judged = [0, 0];
    for seed in 0..20 {
        let mut world = World::new(seed);
        for (owner, workers, validators) in [("ann", 2, 0), ("bob", 0, 2), ("cyd", 0, 1)] {
            world.farm(owner, workers, validators);
        }
        for (id, habit) in [
            (worker("bob", "v0"), Habit::CutOff),
            (worker("bob", "v1"), Habit::Lie),
            (worker("cyd", "v0"), Habit::CutOff),
        ] {
            world.habit(&id, habit);
        }
        world.deposit(1 << 50);
        world.lead();
        let spec = world.job_spec(1, 1, 10, 5);
        let job = world.apply(spec);
        world.until_over(5 * MINUTE);
        assert_eq!((world.ending(&job), world.verdicts(&job)), (None, (2, 0)), "it ends as it would have, seed {seed}");
        for (_, found, after) in &world.contradictions {
            let vote = found.first.verify(&world.chain, &found.first.key()).unwrap();
            assert_eq!(world.recorded[&(vote.round, vote.lease, vote.key())], found.first, "seed {seed}");
            judged[usize::from(*after)] += 1;
        }
    }
    println!("contradictions before a verdict and after it: {judged:?}");
    assert!(judged.iter().all(|count| *count > 0), "{judged:?}");
}

#[test]
fn who_says_the_same_twice_contradicts_nobody() {
    let mut twice = 0;
    for seed in 0..10 {
        let mut world = World::new(seed);
        for (owner, workers, validators) in [("ann", 2, 0), ("bob", 0, 2)] {
            world.farm(owner, workers, validators);
        }
        world.habit(&worker("bob", "v0"), Habit::CutOff);
        world.deposit(1 << 50);
        world.lead();
        let spec = world.job_spec(1, 1, 10, 5);
        world.apply(spec);
        world.until_over(5 * MINUTE);
        assert!(world.contradictions.is_empty());
        twice += world.leases[&LeaseKind::Audit].saturating_sub(2);
    }
    assert!(twice > 0, "nobody was asked twice");
}

#[test]
fn who_lists_a_lease_for_ever_does_not_keep_its_shard() {
    let (mut world, job) = fleet_with_job(3);
    let hoarders: Vec<WorkerId> = world.actors.keys().filter(|id| id.provider.as_str() == "ann").cloned().collect();
    assert!(hoarders.len() > 1);
    for id in &hoarders {
        world.habit(id, Habit::Hoard);
    }
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn a_job_of_many_shards_shows_few_at_a_time() {
    let mut world = fleet(6);
    let mut spec = world.job_spec(1, 1, 300, 2);
    spec.parallelism = 6;
    let job = world.apply(spec);
    let accepted = |world: &World| world.jobs[&job].status.as_ref().map_or(0, |status| status.accepted_shards.len());
    world.until("more shards are accepted than are ever shown", 20 * MINUTE, |world| accepted(world) > 80);
    assert!(world.shown(&job).window.len() <= 12, "{:?}", world.shown(&job).window.len());
    world.until_over(20 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn the_leader_dies_between_a_verdict_and_its_receipt() {
    let (mut world, job) = fleet_with_job(4);
    world.kill_when("a verdict is recorded", |world| world.ledger.count("RecordVerdict", Code::Ok) == 1);
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn the_leader_dies_amid_the_pages_of_a_settlement() {
    let mut world = fleet(5);
    world.habit_of_all(Role::Worker, Habit::Honest);
    let mut spec = world.job_spec(1, 1, 240, 1);
    (spec.parallelism, spec.audits_per_shard) = (16, 1);
    let job = world.apply(spec);
    world.kill_when("two pages are paid", |world| world.ledger.count("Settle", Code::Ok) == 2);
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
    assert_eq!(world.ledger.count("Settle", Code::Ok), 3, "480 contributions, 200 a page");
}

#[test]
fn the_leader_dies_while_the_result_is_put_together() {
    let (mut world, job) = fleet_with_job(6);
    world.kill_when("the result is put together", |world| world.leases.contains_key(&LeaseKind::Aggregate));
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn the_leader_dies_before_the_result_is_shown() {
    for (seed, kind) in [(7, "Settle"), (8, "Close")] {
        let (mut world, job) = fleet_with_job(seed);
        world.kill_when("the job is paid", |world| world.ledger.count(kind, Code::Ok) == 1);
        world.until_over(MINUTE);
        assert_eq!(world.ending(&job), None);
        assert_eq!(world.shown(&job).results.len(), 1);
    }
}

#[test]
fn the_leader_dies_between_the_close_and_the_status() {
    let (mut world, job) = fleet_with_job(8);
    world.kill_when("the job is closed", |world| world.ledger.count("Close", Code::Ok) == 1);
    assert_eq!(world.shown(&job).ledger.settlement, None, "nobody has said yet that it is paid");
    let closed = world.ledger.leaves[&job].1;
    world.until_over(MINUTE);
    let place = world.shown(&job).ledger;
    assert!(place.settlement.is_some() && place.seal.is_some_and(|seal| seal.size > closed), "{place:?}");
    assert_eq!(world.ledger.count("Settle", Code::Ok), 1, "it is not paid again");
}

#[test]
fn the_leader_dies_at_any_event() {
    let mut at = 1;
    loop {
        let mut world = fleet(9);
        let mut spec = world.job_spec(1, 1, 4, 2);
        spec.parallelism = 2;
        let job = world.apply(spec);
        world.kill_at.insert(at);
        world.until_over(2 * MINUTE);
        assert_eq!(world.ending(&job), None, "killed at event {at}");
        if !world.kill_at.is_empty() {
            break;
        }
        at += 2;
    }
    assert!(at > 50, "there were only {at} events");
}

#[test]
fn without_validators_the_platform_decides() {
    let (mut world, job) = fleet_with_job(10);
    world.until("a round is closed", MINUTE, |world| world.ledger.count("CloseRound", Code::Ok) == 1);
    for owner in ["ann", "bob", "cyd"] {
        world.suffer(Fault::Crash(worker(owner, "v0"), None));
    }
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn silent_validators_are_passed_over() {
    for habit in [Habit::Silent, Habit::Garbage, Habit::Refuse, Habit::ClaimFault] {
        let (mut world, job) = fleet_with_job(11);
        world.habit_of_all(Role::Validator, habit);
        world.until_over(10 * MINUTE);
        assert_eq!(world.ending(&job), None, "{habit:?}");
        let audits = world.leases[&LeaseKind::Audit];
        assert!(audits < 100, "{habit:?}: {audits} audits were given");
    }
}

#[test]
fn a_worker_that_comes_back_under_its_name_may_try_again() {
    let mut world = World::new(12);
    world.farm("ann", 1, 0);
    world.farm("bob", 0, 1);
    world.deposit(1 << 50);
    world.lead();
    let mut spec = world.job_spec(1, 1, 8, 4);
    spec.parallelism = 1;
    let job = world.apply(spec);
    let ann = worker("ann", "w0");
    world.until("the worker holds a lease", MINUTE, |world| !world.actors[&ann].holding.is_empty());
    world.suffer(Fault::Crash(ann, Some(1_000)));
    world.until_over(2 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn a_worker_that_never_comes_back_is_replaced() {
    let (mut world, job) = fleet_with_job(13);
    let ann = worker("ann", "w0");
    world.until("the worker holds a lease", MINUTE, |world| !world.actors[&ann].holding.is_empty());
    world.suffer(Fault::Crash(ann, None));
    world.until_over(2 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn bad_workers_are_passed_over() {
    let bad = [
        Habit::Silent,
        Habit::Slow,
        Habit::Lie,
        Habit::LieOnce,
        Habit::Withhold,
        Habit::Mismatch,
        Habit::Garbage,
        Habit::ClaimFault,
        Habit::Refuse,
    ];
    for habit in bad {
        let (mut world, job) = fleet_with_job(14);
        for process in ["w0", "w1"] {
            world.habit(&worker("ann", process), habit);
        }
        world.until_over(10 * MINUTE);
        assert_eq!(world.ending(&job), None, "{habit:?}");
        let leases = world.leases[&LeaseKind::Work];
        assert!(leases < 30, "{habit:?}: {leases} leases were given");
        let key = world.actors[&worker("ann", "w0")].secret.public();
        let paid = world.pay().get(&key).map_or(0, |pay| pay.0);
        assert!(paid == 0 || matches!(habit, Habit::Slow | Habit::LieOnce), "{habit:?} was paid {paid}");
    }
}

#[test]
fn lying_validators_harm_nobody() {
    for habit in [Habit::Lie, Habit::Collude, Habit::LieOnce] {
        let (mut world, job) = fleet_with_job(15);
        world.habit(&worker("bob", "v0"), habit);
        world.habit(&worker("cyd", "v0"), habit);
        world.until_over(2 * MINUTE);
        assert_eq!(world.ending(&job), None);
        assert_eq!(world.verdicts(&job), (8, 0));
    }
}

#[test]
fn the_platform_worker_may_come_and_go() {
    let (mut world, job) = fleet_with_job(16);
    for after in [3_000, 4_000, 6_000, 9_000, 16_000, 30_000] {
        world.fault(after, Fault::Crash(worker("platform", "p0"), Some(after / 2)));
    }
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn a_kernel_that_really_faults_fails_the_job() {
    let (mut world, job) = fleet_with_job(17);
    world.faulty.insert(world.jobs[&job].spec.workload);
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), Some(Reason::BackoffLimitExceeded));
}

#[test]
fn a_shard_that_nobody_can_do_fails_the_job() {
    for habit in [Habit::Lie, Habit::Mismatch, Habit::ClaimFault, Habit::Garbage] {
        let (mut world, job) = fleet_with_job(18);
        world.habit_of_all(Role::Worker, habit);
        world.until_over(10 * MINUTE);
        assert_eq!(world.ending(&job), Some(Reason::NoOwnerLeft), "{habit:?}");
    }
}

#[test]
fn a_result_that_cannot_be_put_together_fails_the_job() {
    let (mut world, job) = fleet_with_job(19);
    world.habit(&worker("platform", "p0"), Habit::Withhold);
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), Some(Reason::AggregationFailed));
    assert_eq!(world.leases[&LeaseKind::Aggregate], 3);
}

#[test]
fn a_deleted_job_is_judged_paid_and_closed() {
    for after in (0..8_000).step_by(700) {
        let (mut world, job) = fleet_with_job(20);
        world.fault(after, Fault::Delete(job));
        world.until_over(2 * MINUTE);
        let succeeded = world.verdicts(&job).0 == 8;
        assert!(world.ending(&job) == Some(Reason::Deleted) || succeeded, "deleted after {after} ms");
    }
}

#[test]
fn commitments_of_a_deleted_job_are_paid_by_the_next_leader() {
    for seed in 60..68 {
        let (mut world, job) = fleet_with_job(seed);
        let platform = worker("platform", "p0");
        world.until("there is an escrow", MINUTE, |world| world.ledger.count("OpenEscrow", Code::Ok) == 1);
        world.suffer(Fault::Crash(platform.clone(), None));
        world.until("workers have committed", MINUTE, |world| world.lies.len() >= 3);
        world.suffer(Fault::KillLeader(3_000));
        world.suffer(Fault::Delete(job));
        world.suffer(Fault::Crash(platform, Some(0)));
        let commitments = world.lies.len();
        world.until_over(5 * MINUTE);
        assert_eq!(world.ending(&job), Some(Reason::Deleted));
        let accepted = world.verdicts(&job).0;
        assert!(accepted >= commitments, "{accepted} of {commitments} commitments were accepted");
    }
}

#[test]
fn a_budget_that_is_too_small_may_be_raised() {
    let mut world = fleet(22);
    let mut spec = world.job_spec(1, 1, 40, 5);
    spec.budget = 1;
    let job = world.apply(spec);
    world.fault(20_000, Fault::Change(job, 4, 1 << 40));
    world.until("it says what it waits for", MINUTE, |world| {
        let waiting = world.jobs[&job].status.as_ref().and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason == Reason::BudgetTooSmall)
    });
    world.until_over(MINUTE);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn credits_may_come_later_and_leaders_may_change_meanwhile() {
    let mut world = World::new(23);
    for owner in ["ann", "bob"] {
        world.farm(owner, 2, 1);
    }
    world.lead();
    let spec = world.job_spec(1, 1, 40, 5);
    let job = world.apply(spec);
    world.fault(290_000, Fault::KillLeader(3_000));
    world.fault(300_000, Fault::Deposit(1 << 50));
    world.until("credits are there", 6 * MINUTE, |world| world.ledger.chain.totals().deposited > 0);
    world.until_over(40_000);
    assert_eq!(world.ending(&job), None);
}

#[test]
fn many_jobs_with_the_same_content_end() {
    let mut world = fleet(24);
    let jobs: Vec<JobId> = (0..40)
        .map(|number| {
            let spec = world.job_spec(number, 1, 6, 2);
            world.apply(spec)
        })
        .collect();
    world.until_over(10 * MINUTE);
    assert!(jobs.iter().all(|job| world.ending(job).is_none()));
}

#[test]
fn of_two_leaders_the_older_changes_nothing() {
    for after in [3_000, 3_400, 4_000, 5_000] {
        let (mut world, job) = fleet_with_job(25);
        world.fault(after, Fault::Usurp(20_000));
        world.until_over(2 * MINUTE);
        assert_eq!(world.ending(&job), None);
    }
}

#[test]
fn a_job_without_workers_ends_before_its_deadline() {
    let mut world = World::with_escrow_ms(26, 11 * MINUTE);
    world.farm("ann", 0, 1);
    world.deposit(1 << 50);
    world.lead();
    let spec = world.job_spec(1, 1, 40, 5);
    let job = world.apply(spec);
    world.until_over(12 * MINUTE);
    assert_eq!(world.ending(&job), Some(Reason::DeadlineExceeded));
    assert_eq!(world.ledger.count("Close", Code::Ok), 1, "it is closed before the ledger ends it");
}

#[test]
fn a_job_whose_platform_worker_is_gone_ends_with_its_escrow() {
    for after in [3_200, 4_500, 6_000] {
        let mut world = World::with_escrow_ms(27, 11 * MINUTE);
        world.farm("ann", 1, 1);
        world.farm("bob", 1, 1);
        world.deposit(1 << 50);
        world.lead();
        let mut spec = world.job_spec(1, 1, 400, 5);
        spec.parallelism = 2;
        let job = world.apply(spec);
        world.fault(after, Fault::Crash(worker("platform", "p0"), None));
        world.until_over(15 * MINUTE);
        assert!(world.ending(&job).is_some(), "{after}");
    }
}

#[test]
fn a_leader_that_is_refused_reads_the_ledger_and_goes_on() {
    for at in 1..20 {
        let (mut world, job) = fleet_with_job(28);
        // The first attempt at every shard is refused, so that a leader that reads its rounds again finds verdicts there.
        for process in ["w0", "w1"] {
            world.habit(&worker("ann", process), Habit::Lie);
        }
        for each in 0..3 {
            world.refuse_at.insert(at + each, Code::BadValidator);
        }
        world.until_over(5 * MINUTE);
        assert_eq!(world.ending(&job), None, "refused from transaction {at}");
    }
}

#[test]
fn a_referees_vote_for_an_earlier_leader_does_not_stop_the_next() {
    for seed in 30..42 {
        let mut world = World::new(seed);
        world.farm("ann", 2, 0);
        world.farm("bob", 0, 1);
        world.farm("cyd", 0, 1);
        world.deposit(1 << 50);
        world.lead();
        world.habit(&worker("bob", "v0"), Habit::Lie);
        world.habit(&worker("cyd", "v0"), Habit::Silent);
        let mut spec = world.job_spec(1, 1, 24, 6);
        spec.audits_per_shard = 4;
        let job = world.apply(spec);
        // The liar has voted on all units of some shard, and the referee on all that it lied about.
        world.kill_when("the referee is asked", |world| world.leases.contains_key(&LeaseKind::Referee));
        world.habit(&worker("cyd", "v0"), Habit::Honest);
        world.until_over(5 * MINUTE);
        assert_eq!(world.ending(&job), None);
        assert_eq!(world.verdicts(&job), (4, 0));
    }
}

#[test]
fn a_job_like_one_that_is_being_cleared_away_keeps_its_objects() {
    for seed in 50..56 {
        let mut world = fleet(seed);
        for number in 0..4 {
            let spec = world.job_spec(number, 1, 40, 5);
            let job = world.apply(spec);
            world.until("the job is over", MINUTE, |world| world.jobs[&job].over);
            assert_eq!(world.ending(&job), None);
        }
        world.until("nothing is left over", MINUTE, |world| world.buckets.held.is_empty());
        world.rest();
    }
}

#[test]
fn preflights_leave_a_slot_of_the_platform_to_jobs_that_pay() {
    for seed in 60..64 {
        let mut world = fleet(seed);
        for number in 0..12 {
            let spec = world.job_spec(number, 1, 10, 5);
            world.apply(spec);
        }
        let trials = |world: &World| {
            let platform = world.actors.values().filter(|actor| actor.role == Role::Platform);
            let tasks = platform.flat_map(|actor| actor.queue.iter().chain(actor.holding.values()));
            tasks.filter(|task| task.core.kind == LeaseKind::Preflight).count()
        };
        let slots: u32 =
            world.actors.values().filter(|actor| actor.role == Role::Platform).map(|actor| actor.slots).sum();
        let most = std::cell::Cell::new(0);
        world.until("every job ends", 5 * MINUTE, |world| {
            most.set(most.get().max(trials(world)));
            world.jobs.values().all(|job| job.over)
        });
        assert_eq!(most.get(), slots as usize - 1, "preflights at once, of {slots} slots");
        world.rest();
    }
}

#[test]
fn a_platform_that_fails_is_asked_ever_more_seldom_and_the_job_says_why() {
    let (mut world, job) = fleet_with_job(70);
    world.habit_of_all(Role::Platform, Habit::Refuse);
    world.until("the reason is shown", MINUTE, |world| {
        let shown = world.jobs[&job].status.as_ref();
        shown.and_then(|status| status.waiting.as_ref()).is_some_and(|refusal| refusal.reason == Reason::LeaseRefused)
    });
    let end = world.now + 10 * MINUTE;
    world.until("ten minutes", 11 * MINUTE, |world| world.now >= end);
    let asked = world.leases[&LeaseKind::Preflight];
    assert!((10..20).contains(&asked), "asked {asked} times in ten minutes");
    world.habit_of_all(Role::Platform, Habit::Honest);
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

/// Kernels with floats have a kernel set, as models do; a model alone runs where nothing keeps a user's code from files.
#[test]
fn a_kernel_with_a_kernel_set_is_not_taken_for_a_model() {
    for is_model in [true, false] {
        let mut world = fleet(75);
        for actor in world.actors.values_mut().filter(|actor| actor.role == Role::Worker) {
            actor.confined = false;
        }
        let spec = JobSpec { kernel_set: 1, is_model, ..world.job_spec(1, 1, 40, 5) };
        let job = world.apply(spec);
        if is_model {
            world.until_over(MINUTE);
            assert_eq!(world.ending(&job), None);
            continue;
        }
        world.until("the job says whom it waits for", MINUTE, |world| {
            let shown = world.jobs[&job].status.as_ref();
            shown.and_then(|status| status.waiting.as_ref()).is_some_and(|refusal| {
                refusal.reason == Reason::NoMatchingWorker && refusal.message.contains("Landlock")
            })
        });
        assert!(!world.leases.contains_key(&LeaseKind::Work));
    }
}

#[test]
fn nothing_is_put_together_while_results_are_deleted() {
    let (mut world, job) = fleet_with_job(80);
    let leader = world.leader().unwrap();
    world.tell(leader, &Fact::Clearing(true));
    let stage = |world: &World, stage: &str| world.core().stages()[stage] == 1;
    world.until("all is accepted", 5 * MINUTE, |world| stage(world, "Aggregating"));
    assert_eq!(world.core().results(world.now), None, "one may be stored that nobody names");
    let end = world.now + MINUTE;
    world.until("a minute", 2 * MINUTE, |world| world.now >= end);
    assert!(!world.leases.contains_key(&LeaseKind::Aggregate));
    world.tell(leader, &Fact::Clearing(false));
    world.until("it is put together", MINUTE, |world| {
        world.core().results(world.now).is_some_and(|all| !all.is_empty())
    });
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
}

/// The keys change in the middle of a job, the leader goes some time later, and the next one leads with the new keys.
fn changed_keys(seed: u64, change: impl Fn(&mut World)) -> (World, JobId) {
    let (mut world, job) = fleet_with_job(seed);
    world.until("work is out", 5 * MINUTE, |world| world.leases.contains_key(&LeaseKind::Work));
    let (change_at, kill_at) = (world.now + seed % 7 * 300, world.now + seed % 7 * 300 + seed % 5 * 200);
    world.until("it is later", MINUTE, |world| world.now >= change_at);
    change(&mut world);
    world.until("it is later still", MINUTE, |world| world.now >= kill_at);
    if world.leader().is_some() {
        world.suffer(Fault::KillLeader(3_000));
    } else {
        world.at(3_000, Event::Lead);
    }
    world.until_over(5 * MINUTE);
    assert_eq!(world.ending(&job), None);
    assert_eq!(world.verdicts(&job), (8, 0));
    (world, job)
}

#[test]
fn an_operators_key_is_replaced_in_the_middle_of_a_job() {
    for seed in 70..84 {
        let (mut world, _) = changed_keys(seed, |world| world.rotate_operator(key(100), seed % 2 == 0));
        // And the jobs after it.
        let spec = world.job_spec(2, 2, 10, 5);
        let job = world.apply(spec);
        world.until_over(5 * MINUTE);
        assert_eq!((world.ending(&job), world.verdicts(&job)), (None, (2, 0)));
    }
}

#[test]
fn the_platforms_key_is_replaced_in_the_middle_of_a_job() {
    for seed in 84..98 {
        changed_keys(seed, |world| {
            // Until the leader looks at the keys again, it sends what the worker of before signed.
            world.ledger.tolerated = vec![("CloseRound", Code::BadIngest), ("RecordVerdict", Code::BadVote)];
            world.rotate_platform(&key(101));
        });
    }
}

#[test]
fn a_providers_key_is_replaced_in_the_middle_of_a_job() {
    for seed in 98..112 {
        changed_keys(seed, |world| {
            // Until the leader looks at the keys again, it closes rounds with what the key of before signed, and asks it for votes.
            world.ledger.tolerated = vec![("CloseRound", Code::Revoked), ("CloseRound", Code::BadValidator)];
            world.ledger.tolerated.push(("RecordVerdict", Code::BadVote));
            world.rotate_provider("bob", &key(102));
        });
    }
}

#[test]
fn a_replaced_operator_gives_no_leases_of_jobs_that_came_after_it() {
    let mut world = fleet(112);
    let old = world.operator.clone();
    world.rotate_operator(key(103), false);
    world.suffer(Fault::KillLeader(1_000));
    world.until("the next operator leads", MINUTE, |world| world.leader().is_some());
    let spec = world.job_spec(1, 1, 40, 5);
    let job = world.apply(spec);
    world.until("work is out", 5 * MINUTE, |world| world.leases.contains_key(&LeaseKind::Work));
    // It forges one with an attempt that leaves no room for another, and a worker of ann's answers it, wrongly.
    let liar = worker("ann", "w0");
    world.habit(&liar, Habit::Lie);
    world.forge(&old, job, &liar, 7, u32::MAX);
    world.until_over(5 * MINUTE);
    assert_eq!((world.ending(&job), world.verdicts(&job).0), (None, 8));
}
