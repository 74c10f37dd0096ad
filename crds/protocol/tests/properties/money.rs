//! Money: shares add up and are fair to within one micro-credit, an escrow covers whatever a job can cost, shards and units
//! cover every item once, amounts are written as they are read.

use std::cmp::Ordering;

use orion_protocol::ledger::Policy;
use orion_protocol::price::{self, MAX_ATTEMPTS};
use orion_protocol::{Reason, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{number, task_spec, unit_table};
use crate::runner::check;

#[test]
fn shares_add_up_to_the_pool_and_are_within_one_of_the_ideal() {
    check(5000, &(number(), vec(number(), 0..40)), |(pool, weights)| {
        let shares = price::split(pool, &weights);
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
        prop_assert_eq!(sum, if total == 0 { 0 } else { pool.into() });
        for (share, weight) in shares.iter().zip(&weights) {
            let floor = (u128::from(pool) * u128::from(*weight)).checked_div(total).unwrap_or(0);
            prop_assert!([floor, floor + 1].contains(&u128::from(*share)));
            prop_assert!(*weight > 0 || *share == 0);
        }
        Ok(())
    });
}

#[test]
fn larger_weights_never_get_less_and_equal_ones_differ_by_one_at_most() {
    check(2000, &(number(), vec(0..50_u64, 2..20)), |(pool, weights)| {
        let shares = price::split(pool, &weights);
        for a in 0..weights.len() {
            for b in a + 1..weights.len() {
                match weights[a].cmp(&weights[b]) {
                    Ordering::Less => prop_assert!(shares[a] <= shares[b]),
                    Ordering::Greater => prop_assert!(shares[a] >= shares[b]),
                    // The earlier one gets what is left.
                    Ordering::Equal => prop_assert!(shares[a] == shares[b] || shares[a] == shares[b] + 1),
                }
            }
        }
        Ok(())
    });
}

#[test]
fn weights_in_other_units_split_alike() {
    check(2000, &(number(), vec(0..1_u64 << 40, 1..20), 1..1_u64 << 20), |(pool, weights, factor)| {
        let scaled: Vec<u64> = weights.iter().map(|weight| weight * factor).collect();
        prop_assert_eq!(price::split(pool, &scaled), price::split(pool, &weights));
        Ok(())
    });
}

#[test]
fn distinct_weights_split_alike_in_any_order() {
    // Distinct remainders, so that the tie rule has nothing to say.
    check(2000, &(number(), proptest::collection::btree_set(1..1_u64 << 40, 1..20)), |(pool, weights)| {
        let weights: Vec<u64> = weights.into_iter().collect();
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let remainders: std::collections::BTreeSet<u128> =
            weights.iter().map(|weight| u128::from(pool) * u128::from(*weight) % total).collect();
        prop_assume!(remainders.len() == weights.len());
        let reversed: Vec<u64> = weights.iter().rev().copied().collect();
        let mut shares = price::split(pool, &reversed);
        shares.reverse();
        prop_assert_eq!(shares, price::split(pool, &weights));
        Ok(())
    });
}

#[test]
fn an_escrow_covers_whatever_the_job_can_cost() {
    let part = proptest::option::of(0..=1_000_000_u32);
    let jobs = (task_spec(), 0..10_000_000_u64, any::<u64>(), any::<u64>(), part);
    check(3000, &jobs, |(task, price, accepted, audited, validator_ppm)| {
        let task = orion_protocol::task::TaskSpec { price, ..task };
        let policy = Policy { validator_ppm, ..Policy::per_work(price, task.fee_ppm, 0, 1) };
        let Ok(escrow) = price::escrow_of(&task, &policy) else { return Ok(()) };
        let units = &task.units;
        // Any part of the work is accepted, any part of the possible audits is paid.
        let accepted = accepted % (units.work() + 1);
        let mut most_audits = 0;
        for shard in 0..units.shards() {
            let (first, count) = units.shard(shard).unwrap();
            most_audits += units.work_of(first, count.min(task.audits_per_shard.into())) * u64::from(MAX_ATTEMPTS);
        }
        let audited = audited % (most_audits + 1);
        let workers = price::price_of(accepted.into(), price).unwrap();
        let validators = price::audits_of(audited.into(), price, validator_ppm).unwrap();
        prop_assert!(validators <= price::price_of(audited.into(), price).unwrap());
        let fee = price::fee_of(workers + validators, task.fee_ppm).unwrap();
        prop_assert!(workers + validators + fee <= escrow);
        Ok(())
    });
}

#[test]
fn shards_cover_every_unit_once_and_units_every_item() {
    check(1000, &unit_table(), |table| {
        prop_assert!(table.check().is_ok());
        let (mut next_unit, mut next_item, mut work) = (0, 0, 0);
        for shard in 0..table.shards() {
            let (first, count) = table.shard(shard).unwrap();
            prop_assert_eq!(first, next_unit);
            prop_assert!(count >= 1 && count <= table.units_per_shard);
            let (start, items) = table.items_of(first, count);
            prop_assert_eq!(start, next_item);
            prop_assert!(items >= 1);
            (next_unit, next_item, work) = (first + count, start + items, work + table.work_of(first, count));
        }
        prop_assert_eq!((next_unit, next_item, work), (table.units(), table.items, table.work()));
        prop_assert_eq!(table.shard(table.shards()), None);
        prop_assert_eq!(table.shard(u32::MAX), None);
        prop_assert_eq!(table.items_of(u64::MAX, u64::MAX), (table.items, 0));
        Ok(())
    });
}

#[test]
fn amounts_are_read_as_they_are_written() {
    check(3000, &(0..=999_999_999_999_999_999_u64), |micro| {
        prop_assert_eq!(price::parse_credits(&price::format_credits(micro)), Some(micro));
        Ok(())
    });
}

#[test]
fn reading_an_amount_never_panics() {
    check(5000, &"[0-9.eE+\\-_ ]{0,30}", |text| {
        if let Some(micro) = price::parse_credits(&text) {
            prop_assert!(micro < 1_000_000_000_000_000_000);
        }
        Ok(())
    });
}

#[test]
fn long_refusals_are_cut_between_characters() {
    check(300, &("\\PC{0,10}", "[a-zäß世🦀]{1000,3000}"), |(start, rest)| {
        let text = format!("{start}{rest}");
        let refusal = Refusal::new(Reason::CompileFailed, text.clone());
        prop_assert!(refusal.check().is_ok());
        prop_assert!(text.starts_with(&refusal.message));
        prop_assert!(refusal.message == text || refusal.message.len() > Refusal::MAX_MESSAGE - 4);
        Ok(())
    });
}
