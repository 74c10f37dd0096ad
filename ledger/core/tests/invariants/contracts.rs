//! I33 to I35: what a reward policy can do, and what it cannot. The seam is asked with policies that no chain has, and chains
//! with any that can be published.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use orion_ledger_core::contract::{Contract, Division, Done, Facts, Parameters, Part, Proposal, Steps, Trap, divide};
use orion_ledger_core::reward::Reward;
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::Paid;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::policy::MILLION;
use orion_protocol::ledger::tx::{Mode, Params, Policy, PublishPolicy, Split};
use orion_protocol::{Digest, JobId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::every;
use crate::shares::{facts, weights};
use crate::support::{self, Ballot, POLICY, Work, World, key, spec_under};

/// Tries `test` on `cases` values, and on as many times more as `ORION_LEDGER_HISTORIES` asks for; a failure prints its seed.
pub fn check<S: Strategy>(cases: u32, values: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let asked: Option<u64> = std::env::var("ORION_LEDGER_HISTORIES").ok().and_then(|text| text.parse().ok());
    let times = u32::try_from(asked.map_or(1, |asked| asked / every::MANY)).unwrap().max(1);
    let (cases, seed) = (cases * times, support::seed());
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(values, test) {
        panic!("ORION_SEED={seed} repeats this: {error}");
    }
}

/// A policy that says whatever it was told to, and takes so many steps.
#[derive(Debug)]
struct Says(Proposal, u64);

impl Contract for Says {
    fn propose(&self, _: &Facts, steps: &mut Steps) -> Result<Proposal, Trap> {
        for _ in 0..self.1 {
            steps.take(1)?;
        }
        Ok(self.0.clone())
    }
}

/// A policy that never ends by itself.
struct Endless;

impl Contract for Endless {
    fn propose(&self, _: &Facts, steps: &mut Steps) -> Result<Proposal, Trap> {
        loop {
            steps.take(1)?;
        }
    }
}

/// Any numbers, in bounds or not.
fn any_policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![
        Just(Mode::PerWork),
        any::<[u32; 3]>().prop_map(|[workers, validators, treasury]| Mode::Pool(Split {
            workers,
            validators,
            treasury
        })),
    ];
    (any::<u64>(), any::<u32>(), proptest::option::of(any::<u32>()), mode)
        .prop_map(|(price, fee_ppm, validator_ppm, mode)| Policy { price, fee_ppm, validator_ppm, mode, ..POLICY })
}

/// Any that can be published, at prices that a consumer of the tests can pay.
fn good_policy() -> impl Strategy<Value = Policy> {
    let split = (0..=MILLION, 0..=MILLION).prop_map(|(a, b)| {
        let (low, high) = (a.min(b), a.max(b));
        Mode::Pool(Split { workers: low, validators: high - low, treasury: MILLION - high })
    });
    let window = prop_oneof![Just(0), 1..10_000_u64];
    let per_work = (0..=MILLION, proptest::option::of(0..=MILLION));
    let shape = prop_oneof![
        per_work.prop_map(|(fee_ppm, validator_ppm)| (fee_ppm, validator_ppm, Mode::PerWork)),
        split.prop_map(|split| (0, None, split)),
    ];
    (0..10_000_000_u64, window, 20_000..100_000_u64, shape).prop_map(
        |(price, vesting_ms, escrow_ms, (fee_ppm, validator_ppm, mode))| Policy {
            price,
            fee_ppm,
            vesting_ms,
            escrow_ms,
            validator_ppm,
            mode,
        },
    )
}

#[test]
fn i33_a_policy_of_parameters_takes_a_step_a_contribution_and_an_endless_one_is_stopped() {
    check(1000, &(any_policy(), any::<u64>(), weights(), weights()), |(policy, escrowed, done, audited)| {
        let mut given = facts(escrowed, &done);
        given.validators = facts(0, &audited).workers;
        let contributions = (done.len() + audited.len()) as u64;
        let mut steps = Steps::of(&given);
        let first = Parameters(&policy).propose(&given, &mut steps);
        prop_assert!(steps.taken() <= contributions);
        prop_assert_eq!(&first, &Parameters(&policy).propose(&given, &mut Steps::of(&given)), "the same again");
        let mut steps = Steps::of(&given);
        let trap = Endless.propose(&given, &mut steps);
        let bound = 1024 + 256 * contributions;
        prop_assert_eq!(&trap, &Err(Trap::Steps(bound)));
        prop_assert_eq!((steps.taken(), divide(&Endless, &given)), (bound, Err(Trap::Steps(bound))));
        let enough = Says(Proposal { workers: part(0, &done), validators: part(0, &audited), treasury: 0 }, bound);
        prop_assert!(divide(&enough, &given).is_ok(), "all of them may be taken");
        Ok(())
    });
    assert_eq!(Trap::Steps(1).code(), Code::PolicyTraps);
}

fn part(pool: u64, weights: &[u64]) -> Part {
    Part { pool, weights: weights.to_vec() }
}

#[test]
fn i35_whatever_a_policy_says_no_more_is_paid_than_is_there_and_what_does_not_fit_pays_nothing() {
    let amount = || prop_oneof![Just(0), Just(u64::MAX), 0..1_000_u64, any::<u64>()];
    let group = || (amount(), weights(), any::<bool>());
    check(4000, &(amount(), group(), group(), amount()), |(escrowed, workers, validators, treasury)| {
        // Half of the time one weight is missing, or there is one too many.
        let said = |(pool, weights, right): &(u64, Vec<u64>, bool)| {
            let mut said = part(*pool, weights);
            if !right && said.weights.pop().is_none() {
                said.weights.push(1);
            }
            said
        };
        let given = Facts { validators: facts(0, &validators.1).workers, ..facts(escrowed, &workers.1) };
        let proposal = Proposal { workers: said(&workers), validators: said(&validators), treasury };
        let asked = u128::from(workers.0) + u128::from(validators.0) + u128::from(treasury);
        match divide(&Says(proposal, 0), &given) {
            Ok(division) => {
                prop_assert!(workers.2 && validators.2 && asked <= u128::from(escrowed));
                let Division { workers: to_workers, validators: to_validators, treasury: kept } = division;
                prop_assert_eq!(kept, treasury);
                for (shares, (pool, weights, _)) in [(to_workers, &workers), (to_validators, &validators)] {
                    let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
                    let nobody = weights.iter().all(|weight| *weight == 0);
                    prop_assert_eq!(sum, if nobody { 0 } else { u128::from(*pool) });
                    prop_assert_eq!(shares.len(), weights.len());
                }
            }
            Err(Trap::Weights { have, want }) => prop_assert!(have != want && !(workers.2 && validators.2)),
            Err(Trap::Overflow) => prop_assert!(asked > u128::from(u64::MAX)),
            Err(Trap::Escrow { .. }) => prop_assert!(asked > u128::from(escrowed)),
            Err(Trap::Steps(_)) => prop_assert!(false, "it took none"),
        }
        Ok(())
    });
}

#[test]
fn i35_any_parameters_over_any_work_divide_what_is_there_or_nothing() {
    check(2000, &(any_policy(), any::<u64>(), weights(), weights()), |(policy, escrowed, done, audited)| {
        let given = Facts { validators: facts(0, &audited).workers, ..facts(escrowed, &done) };
        if let Ok(Division { workers, validators, treasury }) = divide(&Parameters(&policy), &given) {
            let paid = workers.iter().chain(&validators).map(|share| u128::from(*share)).sum::<u128>();
            prop_assert!(paid + u128::from(treasury) <= u128::from(escrowed));
            let idle =
                |done: &[Done], shares: &[u64]| done.iter().zip(shares).all(|(one, share)| one.work > 0 || *share == 0);
            prop_assert!(idle(&given.workers, &workers) && idle(&given.validators, &validators));
        }
        Ok(())
    });
}

/// One thing that happens to a chain.
#[derive(Clone, Debug)]
enum Event {
    Publish(Policy),
    /// The policy with this number, counted around, is that of jobs that name none.
    Default(usize),
    /// A job under the policy with this number, counted around; shard 1 is a lie or not.
    Job(usize, bool),
    /// The oldest job that is not settled is.
    Settle,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => good_policy().prop_map(Event::Publish),
        1 => any::<usize>().prop_map(Event::Default),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(policy, lies)| Event::Job(policy, lies)),
        3 => Just(Event::Settle),
    ]
}

/// A chain on which jobs pin policies, with what each pinned.
struct Pinned {
    world: World,
    published: Vec<Policy>,
    jobs: Vec<(JobId, Policy)>,
    settled: usize,
}

impl Pinned {
    fn issue(&mut self, tx: &Transaction) {
        let issuer = self.world.signers.keys.issuer.clone();
        assert_eq!(self.world.approved(tx, &[issuer]).code, Code::Ok);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Publish(policy) => {
                self.issue(&Transaction::PublishPolicy(PublishPolicy { policy: policy.to_bytes().into() }));
                self.published.push(policy);
            }
            Event::Default(number) => {
                let policy = self.published[number % self.published.len()].digest();
                self.issue(&Transaction::Params(Params { policy }));
            }
            Event::Job(number, lies) => self.judged(number, lies),
            Event::Settle => self.settle(),
        }
    }

    fn judged(&mut self, number: usize, lies: bool) {
        let policy = self.published[number % self.published.len()].clone();
        let id = u8::try_from(self.jobs.len() + 1).unwrap();
        let task = spec_under(&policy, id, 11, 4, 2);
        assert_eq!(self.world.open_escrow(&task), Code::Ok);
        assert_eq!(self.world.chain.jobs()[&task.job].deadline_ms, self.world.time_ms + policy.escrow_ms);
        let lies: &[u64] = if lies { &[4, 5, 6, 7] } else { &[] };
        let work: Vec<Work> = (0..3)
            .map(|shard| {
                let provider = key(11 + u8::try_from(shard).unwrap()).public();
                self.world.signers.work(&task, shard, 1, provider, if shard == 1 { lies } else { &[] })
            })
            .collect();
        let all: Vec<&Work> = work.iter().collect();
        let closed = self.world.close_round(&task, &all);
        assert_eq!(self.world.judge(&task, &closed, &all, &Ballot::default()), Code::Ok);
        self.jobs.push((task.job, policy));
    }

    /// By what the job pinned, to the last micro-credit and millisecond.
    fn settle(&mut self) {
        let Some((id, policy)) = self.jobs.get(self.settled).cloned() else { return };
        self.settled += 1;
        let vesting = self.world.chain.totals().vesting;
        let tx = |tx: Transaction, world: &mut World| assert_eq!(world.send(&tx), Code::Ok);
        tx(Transaction::Settle(orion_protocol::ledger::tx::Settle { job: id, page: 0 }), &mut self.world);
        let job = self.world.chain.jobs()[&id].clone();
        assert_eq!(Reward::of(&job, &policy).unwrap().agrees(), Some(true));
        let Paid { workers, validators, fee, refunded } = job.paid;
        assert_eq!(refunded, 0);
        let spent = workers + validators + fee;
        match policy.mode {
            Mode::PerWork => {
                let done: u64 = job.workers.values().map(|one| one.work).sum();
                assert_eq!(u128::from(workers), u128::from(done) * u128::from(policy.price) / 1_000_000);
                assert!(spent <= job.escrowed);
            }
            Mode::Pool(_) => {
                assert_eq!(spent, job.escrowed, "a pool is spent, for somebody worked and somebody checked");
            }
        }
        if policy.vesting_ms == 0 {
            assert!(self.world.chain.totals().vesting <= vesting, "nothing of it vests");
        } else if workers + validators > 0 {
            let until_ms = self.world.chain.seal_ref().time_ms + policy.vesting_ms;
            assert!(self.world.chain.next_deadline_ms().is_some_and(|due| due <= until_ms));
            assert!(self.world.chain.totals().vesting > 0);
        }
        tx(Transaction::Close(orion_protocol::ledger::tx::Close { job: id }), &mut self.world);
    }
}

#[test]
fn i34_i35_a_job_is_paid_by_the_policy_it_pinned_whatever_is_published_later() {
    check(16, &vec(event(), 4..24), |events| {
        let mut world = World::new();
        assert_eq!(world.deposit(1 << 40), Code::Ok);
        let mut pinned = Pinned { world, published: vec![POLICY], jobs: Vec::new(), settled: 0 };
        for event in events {
            pinned.happen(event);
        }
        let known: Vec<Digest> = pinned.published.iter().map(Policy::digest).collect();
        assert!(known.iter().all(|id| pinned.world.chain.policy(id).is_some()), "none is taken back");
        while pinned.settled < pinned.jobs.len() {
            pinned.settle();
        }
        prop_assert_eq!(pinned.world.chain.totals().escrows, 0);
        prop_assert_eq!(pinned.world.replayed().snapshot(), pinned.world.chain.snapshot());
        Ok(())
    });
}
