//! Policies that issuers publish: which ones are taken, which jobs may name them, and what they pay.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_ledger_core::reward::Reward;
use orion_ledger_core::{Chain, Replay, verify};
use orion_protocol::ids::Account;
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::{Paid, Policies};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, cbor};
use support::{Ballot, Keys, POLICY, START_MS, Work, World, key, spec, spec_under};

const SPLIT: Split = Split { workers: 850_000, validators: 120_000, treasury: 30_000 };
/// Splits whatever is locked for a job.
const POOL: Policy = Policy { fee_ppm: 0, mode: Mode::Pool(SPLIT), ..POLICY };
/// Pays a third of the price for audits.
const CHEAP_AUDITS: Policy = Policy { price: 1_000_003, validator_ppm: Some(333_333), ..POLICY };

fn publish_tx(policy: &Policy) -> Transaction {
    Transaction::PublishPolicy(PublishPolicy { policy: policy.to_bytes().into() })
}

fn publish(world: &mut World, policy: &Policy) -> Code {
    let issuer = world.signers.keys.issuer.clone();
    world.approved(&publish_tx(policy), &[issuer]).code
}

fn set_default(world: &mut World, policy: Digest) -> Code {
    let issuer = world.signers.keys.issuer.clone();
    world.approved(&Transaction::Params(Params { policy }), &[issuer]).code
}

/// Shards 0 to `good` of the task, computed by alice and accepted; of the next one every unit is a lie. Nothing is paid yet.
fn judged(world: &mut World, task: &TaskSpec, good: u32) {
    assert_eq!(world.open_escrow(task), Code::Ok);
    let alice = key(11).public();
    let work: Vec<Work> = (0..task.units.shards().min(good + 1))
        .map(|shard| {
            let (first, units) = task.units.shard(shard).unwrap();
            let lies: Vec<u64> = (first..first + units).filter(|_| shard >= good).collect();
            world.signers.work(task, shard, 1, alice, &lies)
        })
        .collect();
    let all: Vec<&Work> = work.iter().collect();
    let closed = world.close_round(task, &all);
    assert_eq!(world.judge(task, &closed, &all, &Ballot::default()), Code::Ok);
}

fn paid(world: &World, task: &TaskSpec) -> Paid {
    world.chain.jobs()[&task.job].paid
}

#[test]
fn a_policy_out_of_bounds_is_refused_with_a_code_that_says_which() {
    let mut world = World::new();
    let pool = |workers, validators, treasury| Policy {
        fee_ppm: 0,
        mode: Mode::Pool(Split { workers, validators, treasury }),
        ..POLICY
    };
    let wrong = [
        (Policy { price: Policy::MAX_PRICE + 1, ..POLICY }, Code::PolicyPrice, "price"),
        (Policy { fee_ppm: MILLION + 1, ..POLICY }, Code::PolicyShares, "feePpm"),
        (Policy { validator_ppm: Some(MILLION + 1), ..POLICY }, Code::PolicyShares, "validatorPpm"),
        (Policy { vesting_ms: Policy::MAX_VESTING_MS + 1, ..POLICY }, Code::PolicyTimes, "vestingMs"),
        (Policy { escrow_ms: 0, ..POLICY }, Code::PolicyTimes, "escrowMs"),
        (Policy { escrow_ms: Policy::MAX_ESCROW_MS + 1, ..POLICY }, Code::PolicyTimes, "escrowMs"),
        (pool(850_000, 120_000, 30_001), Code::PolicyShares, "splitPpm"),
        (pool(850_000, 120_000, 29_999), Code::PolicyShares, "splitPpm"),
        (pool(u32::MAX, u32::MAX, u32::MAX), Code::PolicyShares, "splitPpm"),
        (Policy { fee_ppm: 1, ..POOL }, Code::PolicyShares, "feePpm"),
        (Policy { validator_ppm: Some(MILLION), ..POOL }, Code::PolicyShares, "validatorPpm"),
    ];
    let before = world.chain.policies();
    for (policy, code, field) in wrong {
        let fields: Vec<&str> = policy.out_of_bounds().iter().map(|found| found.field).collect();
        assert_eq!(fields, [field]);
        assert_eq!(publish(&mut world, &policy), code, "{policy:?}");
    }
    let everything = Policy {
        price: u64::MAX,
        fee_ppm: u32::MAX,
        vesting_ms: u64::MAX,
        escrow_ms: u64::MAX,
        validator_ppm: Some(u32::MAX),
        mode: Mode::Pool(Split { workers: 0, validators: 0, treasury: 0 }),
    };
    let fields: Vec<&str> = everything.out_of_bounds().iter().map(|found| found.field).collect();
    let all = ["price", "feePpm", "vestingMs", "escrowMs", "validatorPpm", "splitPpm", "feePpm", "validatorPpm"];
    assert_eq!(fields, all, "each is told");
    assert_eq!(world.chain.policies(), before);
    let most = Policy {
        price: Policy::MAX_PRICE,
        fee_ppm: MILLION,
        vesting_ms: Policy::MAX_VESTING_MS,
        escrow_ms: Policy::MAX_ESCROW_MS,
        validator_ppm: Some(MILLION),
        mode: Mode::PerWork,
    };
    for policy in [most, POOL, pool(0, 0, MILLION), Policy { price: 0, fee_ppm: 0, validator_ppm: Some(0), ..POLICY }] {
        assert_eq!((policy.out_of_bounds(), publish(&mut world, &policy)), (Vec::new(), Code::Ok));
    }
}

const MILLION: u32 = orion_protocol::ledger::policy::MILLION;

#[test]
fn bytes_that_are_no_policy_are_refused() {
    let mut world = World::new();
    let issuer = world.signers.keys.issuer.clone();
    let good = POOL.to_bytes();
    let mut longer = good.clone();
    longer.push(0);
    let mut unknown = cbor::to_vec(&POLICY);
    // One field more, which no policy has.
    unknown[0] += 1;
    unknown.extend([0x18, 0x63, 0x01]);
    for policy in [Vec::new(), longer, unknown, vec![0; Policy::MAX_BYTES + 1], good[..good.len() - 1].to_vec()] {
        let tx = Transaction::PublishPolicy(PublishPolicy { policy: policy.into() });
        assert_eq!(world.approved(&tx, std::slice::from_ref(&issuer)).code, Code::PolicyBytes);
    }
    let tx = Transaction::PublishPolicy(PublishPolicy { policy: good.into() });
    assert_eq!(world.approved(&tx, &[issuer]).code, Code::Ok);
}

#[test]
fn policies_and_parameters_are_the_issuers_words_and_as_many_as_it_takes() {
    let mut keys = vec![Keys::new().issuer.public(), key(31).public(), key(32).public()];
    keys.sort_unstable();
    let issuers = Some(Issuers { threshold: 2, keys });
    let mut world = World::bare_of(&Genesis { issuers, ..Keys::new().genesis() });
    let [issuer, operator] = [&world.signers.keys.issuer, &world.signers.keys.operator].map(Clone::clone);
    let params = Transaction::Params(Params { policy: POLICY.digest() });
    for tx in [publish_tx(&POOL), params] {
        assert_eq!(world.send(&tx), Code::OutOfBounds, "the operator's, in its epoch");
        let id = world.id();
        let bare = tx.sign(&world.signers.chain, &issuer, 0, id);
        assert_eq!(world.block(vec![bare])[0].code, Code::NotEnoughApprovals);
        assert_eq!(world.approved(&tx, std::slice::from_ref(&issuer)).code, Code::NotEnoughApprovals);
        assert_eq!(world.approved(&tx, &[issuer.clone(), operator.clone()]).code, Code::BadApproval);
        assert_eq!(world.chain.policies(), Policies { default: POLICY.digest(), policies: vec![POLICY] });
    }
    assert_eq!(world.approved(&publish_tx(&POOL), &[issuer.clone(), key(32)]).code, Code::Ok);
    assert_eq!(world.chain.policy(&POOL.digest()), Some(&POOL));
}

#[test]
fn a_job_names_any_published_policy_and_no_other() {
    let mut world = World::new();
    let task = spec_under(&CHEAP_AUDITS, 1, 4, 4, 2);
    assert_eq!(world.open_escrow(&task), Code::UnknownPolicy);
    assert_eq!(set_default(&mut world, CHEAP_AUDITS.digest()), Code::UnknownPolicy);
    assert_eq!(publish(&mut world, &CHEAP_AUDITS), Code::Ok);
    let other_price = TaskSpec { price: POLICY.price, ..task.clone() };
    let other_fee = TaskSpec { fee_ppm: 0, ..task.clone() };
    for wrong in [other_price, other_fee] {
        assert_eq!(world.open_escrow(&wrong), Code::UnknownPolicy, "price and fee are the policy's");
    }
    assert_eq!(world.open_escrow(&task), Code::Ok);
    assert_eq!(world.chain.policies().default, POLICY.digest());
    assert_eq!(set_default(&mut world, CHEAP_AUDITS.digest()), Code::Ok);
    assert_eq!(publish(&mut world, &CHEAP_AUDITS), Code::Ok, "again changes nothing");
    let policies = world.chain.policies();
    assert_eq!((policies.default, policies.policies.len()), (CHEAP_AUDITS.digest(), 2));
    assert_eq!(world.open_escrow(&spec(2, 4, 4, 2)), Code::Ok, "the genesis' can still be named");
}

#[test]
fn audits_are_paid_at_the_part_of_the_price_that_the_policy_says() {
    let mut world = World::new();
    assert_eq!(publish(&mut world, &CHEAP_AUDITS), Code::Ok);
    let task = spec_under(&CHEAP_AUDITS, 1, 6, 3, 2);
    judged(&mut world, &task, 2);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    // 6 items of 10 operations; 2 units audited in each of 2 shards.
    let (workers, validators) = (60 * 1_000_003 / 1_000_000, 40 * 1_000_003 * 333_333 / 1_000_000_000_000_u64);
    let fee = (workers + validators) * 20_000 / 1_000_000;
    assert_eq!((workers, validators, fee), (60, 13, 1));
    assert_eq!(paid(&world, &task), Paid { workers, validators, fee, refunded: 0 });
    let job = &world.chain.jobs()[&task.job];
    assert_eq!(Reward::of(job, &CHEAP_AUDITS).unwrap().agrees(), Some(true));
    assert_eq!(Reward::of(job, &POLICY).unwrap().agrees(), Some(false), "by another policy it is wrong");
    // T of all work, four attempts' audits of 2 units in 2 shards at their part, and the fee.
    let audits = 4 * 2 * 2 * 10 * 1_000_003 * 333_333 / 1_000_000_000_000_u64;
    assert_eq!(job.escrowed, 60 + audits + (60 + audits) * 20_000 / 1_000_000);
}

#[test]
fn a_pool_is_spent_to_the_last_micro_credit_on_whatever_was_accepted() {
    let mut world = World::new();
    assert_eq!(publish(&mut world, &POOL), Code::Ok);
    let task = spec_under(&POOL, 1, 77, 11, 2);
    judged(&mut world, &task, 3);
    assert_eq!(world.send(&Transaction::TopUp(TopUp { job: task.job, amount: 63 })), Code::Ok);
    let pool = world.balance(&Account::Escrow(task.job));
    assert_eq!(pool, 770 + 63, "its work, and what was added");
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    // floor(833 x 0.12) and floor(833 x 0.03); the rest is the workers'.
    assert_eq!(paid(&world, &task), Paid { workers: 833 - 99 - 24, validators: 99, fee: 24, refunded: 0 });
    assert_eq!(Reward::of(&world.chain.jobs()[&task.job], &POOL).unwrap().agrees(), Some(true));
    assert_eq!(world.balance(&Account::Treasury), 24);
}

#[test]
fn a_pool_of_a_job_with_nothing_accepted_goes_back() {
    let mut world = World::new();
    assert_eq!(publish(&mut world, &POOL), Code::Ok);
    let task = spec_under(&POOL, 1, 8, 4, 2);
    judged(&mut world, &task, 0);
    assert!(!world.chain.jobs()[&task.job].validators.is_empty(), "votes were upheld");
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(paid(&world, &task), Paid { workers: 0, validators: 0, fee: 0, refunded: 80 });
}

#[test]
fn the_validators_part_of_a_pool_goes_back_when_nobody_earned_it() {
    let mut world = World::new();
    assert_eq!(publish(&mut world, &POOL), Code::Ok);
    let task = spec_under(&POOL, 1, 100, 100, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    // Nobody votes, so the platform's word decides, unpaid.
    let silent = [12, 13].map(|number| key(number).public()).into();
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot { silent, ..Ballot::default() }), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(paid(&world, &task), Paid { workers: 850, validators: 0, fee: 30, refunded: 120 });
}

#[test]
fn a_chain_may_start_with_a_pool_whose_parts_are_the_whole() {
    let start = |policy| Chain::start(&Keys::new().genesis_under(policy).to_bytes(), START_MS).is_ok();
    assert!(start(POOL));
    assert!(!start(Policy { mode: Mode::Pool(Split { treasury: 30_001, ..SPLIT }), ..POOL }));
    assert!(!start(Policy { fee_ppm: 1, ..POOL }));
    assert!(!start(Policy { validator_ppm: Some(MILLION + 1), ..POLICY }));
}

#[test]
fn a_price_that_fits_no_amount_is_refused_when_the_escrow_is_opened() {
    let mut world = World::new();
    let dear = Policy { price: Policy::MAX_PRICE, validator_ppm: Some(MILLION), ..POLICY };
    let pool = Policy { price: Policy::MAX_PRICE, ..POOL };
    for (number, policy) in [(1, dear), (2, pool)] {
        assert_eq!(publish(&mut world, &policy), Code::Ok);
        let mut task = spec_under(&policy, number, 1, 1, 1);
        task.units.work_per_item = orion_protocol::task::MAX_WORK;
        assert_eq!(world.open_escrow(&task), Code::Overflow);
        task.units.work_per_item = 1 << 40;
        assert_eq!(world.open_escrow(&task), Code::InsufficientCredits);
    }
}

#[test]
fn a_snapshot_holds_what_was_published_and_goes_on() {
    let mut world = World::new();
    let genesis = Keys::new().genesis();
    let before = world.chain.snapshot();
    for policy in [POOL, CHEAP_AUDITS] {
        assert_eq!(publish(&mut world, &policy), Code::Ok);
    }
    assert_eq!(set_default(&mut world, POOL.digest()), Code::Ok);
    let task = spec_under(&POOL, 1, 8, 4, 2);
    judged(&mut world, &task, 2);
    let (snapshot, leaves) = (world.chain.snapshot(), world.log.len());
    let restored = Chain::restore(&genesis, &snapshot, &world.chain.seal_ref()).unwrap();
    assert_eq!(restored.policies(), world.chain.policies());
    assert_eq!(restored.snapshot(), snapshot);
    assert_ne!(before, snapshot);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    let mut replay = Replay::resume(restored);
    for leaf in &world.log[leaves..] {
        replay.leaf(leaf).unwrap();
    }
    let end = replay.finish().unwrap();
    assert_eq!(end.snapshot(), world.chain.snapshot());
    assert_eq!(world.replayed().snapshot(), world.chain.snapshot());
    let (export, key) = world.export();
    assert_eq!(verify::chain(export.as_slice(), &key).unwrap().1.policies(), world.chain.policies());
}
