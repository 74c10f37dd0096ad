//! I6 to I10: how a pool is divided among weights, and in parts.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;

use orion_ledger_core::contract::{
    Contract, Division, Done, Facts, Parameters, Part, Proposal, Steps, Trap, divide, parts,
};
use orion_protocol::Digest;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::policy::MILLION;
use orion_protocol::ledger::tx::{Mode, Policy, Split};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::contracts::check;
use crate::support::{Ballot, POLICY, Work, World, key, spec_under};

/// Contributions of these weights, by place.
pub fn facts(escrowed: u64, weights: &[u64]) -> Facts {
    let done = |(at, work): (usize, &u64)| Done { id: Digest::of(&at.to_be_bytes()), work: *work };
    Facts { escrowed, workers: weights.iter().enumerate().map(done).collect(), validators: Vec::new() }
}

/// A policy that gives a pool to whoever worked, by weights that are the work times a factor.
struct Scaled {
    pool: u64,
    factor: u64,
}

impl Contract for Scaled {
    fn propose(&self, facts: &Facts, steps: &mut Steps) -> Result<Proposal, Trap> {
        steps.take(facts.workers.len() as u64)?;
        let weight = |one: &Done| one.work.checked_mul(self.factor).ok_or(Trap::Overflow);
        let weights = facts.workers.iter().map(weight).collect::<Result<_, Trap>>()?;
        Ok(Proposal { workers: Part { pool: self.pool, weights }, ..Proposal::default() })
    }
}

fn shares(pool: u64, weights: &[u64]) -> Vec<u64> {
    divide(&Scaled { pool, factor: 1 }, &facts(u64::MAX, weights)).unwrap().workers
}

/// Few and many, equal and odd, nothing and all that fits.
pub fn weights() -> impl Strategy<Value = Vec<u64>> {
    let one = prop_oneof![Just(0), 1..4_u64, 1..1_u64 << 40, Just(u64::MAX), any::<u64>()];
    vec(one, 0..40)
}

#[test]
fn i06_shares_add_up_to_the_pool_are_within_one_of_the_ideal_and_need_a_weight() {
    check(2000, &(any::<u64>(), weights()), |(pool, weights)| {
        let shares = shares(pool, &weights);
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
        prop_assert_eq!(sum, if total == 0 { 0 } else { u128::from(pool) });
        for (share, weight) in shares.iter().zip(&weights) {
            let ideal = (u128::from(pool) * u128::from(*weight)).checked_div(total).unwrap_or(0);
            prop_assert!((ideal..=ideal + 1).contains(&u128::from(*share)));
            prop_assert!(*weight > 0 || *share == 0);
        }
        Ok(())
    });
}

#[test]
fn i07_the_order_in_which_work_came_changes_no_share() {
    const ODD: Policy = Policy { price: 333_333, ..POLICY };
    const SHARDS: u32 = 7;
    let order = Just((0..SHARDS).collect::<Vec<u32>>()).prop_shuffle();
    let paid = |order: &[u32], together: usize| {
        let mut world = World::under(ODD);
        let task = spec_under(&ODD, 1, u64::from(SHARDS) * 5 - 3, 5, 2);
        assert_eq!(world.open_escrow(&task), Code::Ok);
        for shards in order.chunks(together) {
            let number = |shard: u32| key(11 + u8::try_from(shard % 3).unwrap()).public();
            let work: Vec<Work> =
                shards.iter().map(|shard| world.signers.work(&task, *shard, 1, number(*shard), &[])).collect();
            let all: Vec<&Work> = work.iter().collect();
            let closed = world.close_round(&task, &all);
            assert_eq!(world.judge(&task, &closed, &all, &Ballot::default()), Code::Ok);
        }
        assert_eq!(world.settle(&task, 0).code, Code::Ok);
        let job = &world.chain.jobs()[&task.job];
        let amounts = job.settlement.as_ref().unwrap().shares.iter().map(|share| share.amount);
        job.workers.keys().copied().zip(amounts).collect::<BTreeMap<Digest, u64>>()
    };
    let want = paid(&(0..SHARDS).collect::<Vec<_>>(), 7);
    assert!(want.values().max() > want.values().min(), "something is rounded");
    check(12, &(order, 1..4_usize), |(order, together)| {
        prop_assert_eq!(&paid(&order, together), &want);
        Ok(())
    });
}

#[test]
fn i08_weights_in_other_units_divide_alike_until_they_overflow_which_divides_nothing() {
    check(2000, &(any::<u64>(), weights(), 1..1_u64 << 30), |(pool, weights, factor)| {
        let scaled = divide(&Scaled { pool, factor }, &facts(u64::MAX, &weights));
        if weights.iter().all(|weight| weight.checked_mul(factor).is_some()) {
            prop_assert_eq!(scaled.unwrap().workers, shares(pool, &weights));
        } else {
            prop_assert_eq!(scaled, Err(Trap::Overflow));
        }
        Ok(())
    });
}

#[test]
fn i09_a_pool_of_one_more_moves_no_share_by_more_than_one_and_may_take_one_away() {
    check(2000, &(0..u64::MAX, weights()), |(pool, weights)| {
        let (less, more) = (shares(pool, &weights), shares(pool + 1, &weights));
        for (less, more) in less.iter().zip(&more) {
            prop_assert!(less.abs_diff(*more) <= 1);
        }
        Ok(())
    });
    // Largest remainders are not house-monotone, and nothing says so: with one more to share, the third has one less.
    assert_eq!(shares(10, &[6, 6, 2]), [4, 4, 2]);
    assert_eq!(shares(11, &[6, 6, 2]), [5, 5, 1]);
}

#[test]
fn i10_the_parts_of_a_split_add_up_to_the_whole_and_a_split_to_a_million() {
    let split = (0..=MILLION, 0..=MILLION).prop_map(|(a, b)| {
        let (low, high) = (a.min(b), a.max(b));
        Split { workers: low, validators: high - low, treasury: MILLION - high }
    });
    check(2000, &(0..1_u64 << 63, split), |(pool, split)| {
        let (workers, validators, treasury) = parts(pool, split).unwrap();
        prop_assert_eq!(workers.checked_add(validators).and_then(|sum| sum.checked_add(treasury)), Some(pool));
        // Of each its part, rounded down; what rounding leaves is the workers'.
        for (part, ppm) in [(validators, split.validators), (treasury, split.treasury)] {
            prop_assert_eq!(u128::from(part), u128::from(pool) * u128::from(ppm) / 1_000_000);
        }
        prop_assert!(u128::from(workers) >= u128::from(pool) * u128::from(split.workers) / 1_000_000);
        let policy = Policy { fee_ppm: 0, mode: Mode::Pool(split), ..POLICY };
        prop_assert_eq!(policy.out_of_bounds(), Vec::new());
        let mut facts = facts(pool, &[1, 2]);
        facts.validators = facts.workers.clone();
        let Division { workers, validators, treasury } = divide(&Parameters(&policy), &facts).unwrap();
        let sum: u64 = workers.iter().chain(&validators).sum();
        prop_assert_eq!(sum + treasury, pool);
        Ok(())
    });
    check(2000, &any::<[u32; 3]>(), |[workers, validators, treasury]| {
        let split = Split { workers, validators, treasury };
        let whole = u64::from(workers) + u64::from(validators) + u64::from(treasury) == u64::from(MILLION);
        prop_assume!(!whole);
        let policy = Policy { fee_ppm: 0, mode: Mode::Pool(split), ..POLICY };
        let codes: Vec<Code> = policy.out_of_bounds().iter().map(|found| found.code).collect();
        prop_assert_eq!(codes, [Code::PolicyShares]);
        prop_assert!(parts(1_000, split).is_err());
        Ok(())
    });
}
