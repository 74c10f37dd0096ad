//! The table of a job's split: redone here from its own numbers, and the same as what the ledger fixed.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_ledger_core::reward::{Pool, Reward};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::Policy;
use orion_protocol::task::TaskSpec;
use support::{Ballot, POLICY, Random, Work, World, key, spec_under};

/// A price under which hardly anything divides.
const ODD: Policy = Policy { price: 333_333, fee_ppm: 30_001, ..POLICY };

/// A job whose shards were all accepted, but not settled.
fn judged(items: u64, per_shard: u64) -> (World, TaskSpec) {
    let mut world = World::under(ODD);
    let task = spec_under(&ODD, 1, items, per_shard, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let shards = 0..task.units.shards();
    let provider = |shard: u32| key(11 + u8::try_from(shard % 3).unwrap()).public();
    let work: Vec<Work> = shards.map(|shard| world.signers.work(&task, shard, 1, provider(shard), &[])).collect();
    let all: Vec<&Work> = work.iter().collect();
    let closed = world.close_round(&task, &all);
    assert_eq!(world.judge(&task, &closed, &all, &Ballot::default()), Code::Ok);
    (world, task)
}

fn check(pool: &Pool, paid: u64) {
    assert_eq!(u128::from(pool.amount), pool.work * u128::from(ODD.price) / 1_000_000);
    assert!(pool.lines.is_sorted_by_key(|line| line.id));
    let raised = pool.lines.iter().filter(|line| line.raised);
    let least = raised.map(|line| line.remainder).min();
    let most = pool.lines.iter().filter(|line| !line.raised).map(|line| line.remainder).max();
    assert!(least.zip(most).is_none_or(|(least, most)| least >= most), "the largest remainders are raised");
    for line in &pool.lines {
        assert_eq!(line.numerator, u128::from(pool.amount) * u128::from(line.work));
        assert_eq!(u128::from(line.floor) * pool.work + line.remainder, line.numerator);
        assert!(line.remainder < pool.work);
        assert_eq!(line.fixed, Some(line.floor + u64::from(line.raised)));
    }
    let sum: u64 = pool.lines.iter().map(orion_ledger_core::reward::Line::share).sum();
    assert_eq!((sum, paid), (pool.amount, pool.amount));
}

#[test]
fn the_table_of_any_job_is_what_the_ledger_paid() {
    let (mut random, mut raised) = (Random(7), 0);
    for _ in 0..20 {
        let (per_shard, shards) = (1 + random.below(6), 1 + random.below(12));
        let items = (per_shard * shards - random.below(per_shard)).max(1);
        let (mut world, task) = judged(items, per_shard);
        let before = Reward::of(&world.chain.jobs()[&task.job], &ODD).unwrap();
        assert_eq!((before.agrees(), before.pages, before.fixed_fee), (None, None, None));
        assert_eq!(world.settle(&task, 0).code, Code::Ok);
        let job = &world.chain.jobs()[&task.job];
        let after = Reward::of(job, &ODD).unwrap();
        assert_eq!((after.agrees(), after.pages), (Some(true), Some((1, 1))));
        check(&after.computing, job.paid.workers);
        check(&after.checking, job.paid.validators);
        assert_eq!((after.fee, after.fixed_fee), (job.paid.fee, Some(job.paid.fee)));
        assert!(after.computing.lines.iter().all(|line| line.paid));
        raised += after.computing.lines.iter().filter(|line| line.raised).count();
    }
    assert!(raised > 0, "no price divided");
}

#[test]
fn a_share_or_fee_that_does_not_follow_is_seen() {
    let (mut world, task) = judged(12, 5);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let good = Reward::of(&world.chain.jobs()[&task.job], &ODD).unwrap();
    let mut wrong = good.clone();
    wrong.computing.lines[0].fixed = Some(good.computing.lines[0].share() + 1);
    assert_eq!(wrong.agrees(), Some(false));
    let wrong = Reward { fixed_fee: Some(good.fee + 1), ..good.clone() };
    assert_eq!(wrong.agrees(), Some(false));
    let mut wrong = good;
    wrong.checking.amount += 1;
    assert_eq!(wrong.agrees(), Some(false));
}
