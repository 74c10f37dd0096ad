//! Draws: distinct and within the shard, each place as likely as another; validators without the worker's owner, owners in
//! turn, each order as likely as another.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::draw::{self, Draw};
use orion_protocol::{ChainId, Digest, JobId, PublicKey};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::digest;
use crate::runner::check;

fn draws() -> impl Strategy<Value = Draw> {
    (digest(), any::<u32>(), any::<u32>()).prop_map(|(seed, shard, attempt)| Draw { seed, shard, attempt })
}

/// Keys with one of few owners.
fn eligible() -> impl Strategy<Value = Vec<(PublicKey, &'static str)>> {
    let owner = proptest::sample::select(vec!["ada", "ben", "cy", "di"]);
    vec((any::<[u8; 32]>().prop_map(PublicKey), owner), 0..=64)
}

#[test]
fn drawn_places_are_distinct_in_range_and_as_many_as_there_can_be() {
    check(2000, &(draws(), 0..=200_u64, 0..=32_u32), |(draw, units, audits)| {
        let places = draw.places(units, audits);
        prop_assert_eq!(places.len() as u64, units.min(audits.into()));
        prop_assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len());
        prop_assert!(places.iter().all(|place| *place < units));
        // Fewer audits draw the same units first: raising auditsPerShard only adds.
        let fewer = draw.places(units, audits / 2);
        prop_assert_eq!(&fewer[..], &places[..fewer.len()]);
        Ok(())
    });
}

/// Counts that should be equal: none may be over 6 standard deviations away. The seeds are fixed, so this cannot fail by
/// chance alone.
fn nearly_equal(counts: &BTreeMap<u64, u64>, kinds: u64, total: u64) {
    assert_eq!(counts.len() as u64, kinds);
    let expected = total / kinds;
    for (kind, count) in counts {
        let off = count.abs_diff(expected);
        assert!(off * off < 36 * expected, "{kind} came {count} times, expected {expected}");
    }
}

#[test]
fn each_place_is_drawn_as_often_as_another() {
    for units in [2, 7, 10, 33] {
        let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
        for at in 0..20_000_u32 {
            let draw = Draw { seed: Digest::of(b"places"), shard: at, attempt: 1 };
            let places = draw.places(units, 2);
            *first.entry(places[0]).or_insert(0) += 1;
            *second.entry(places[1]).or_insert(0) += 1;
        }
        nearly_equal(&first, units, 20_000);
        nearly_equal(&second, units, 20_000);
    }
}

#[test]
fn each_order_of_validators_is_drawn_as_often_as_another() {
    let keys: Vec<(PublicKey, &str)> =
        (0..4_u8).map(|at| (PublicKey([at; 32]), ["ada", "ben", "cy", "di"][usize::from(at)])).collect();
    let mut orders = BTreeMap::new();
    for at in 0..24_000_u32 {
        let draw = Draw { seed: Digest::of(b"validators"), shard: 3, attempt: at };
        let order = draw.validators(&keys, "nobody").order;
        let number = order.iter().fold(0, |number, (key, _)| number * 4 + u64::from(key.0[0]));
        *orders.entry(number).or_insert(0) += 1;
    }
    nearly_equal(&orders, 24, 24_000);
}

#[test]
fn validators_are_each_once_without_the_workers_owner_and_owners_in_turn() {
    check(1000, &(draws(), eligible()), |(draw, eligible)| {
        let drawn = draw.validators(&eligible, "ada");
        let want: BTreeSet<_> = eligible.iter().filter(|(_, owner)| *owner != "ada").copied().collect();
        prop_assert_eq!(drawn.order.len(), want.len());
        prop_assert_eq!(&drawn.order.iter().copied().collect::<BTreeSet<_>>(), &want);
        let owners: BTreeSet<&str> = want.iter().map(|(_, owner)| *owner).collect();
        prop_assert_eq!(drawn.owners, owners.len());
        // An owner's next key comes only after every owner that has as many has had a turn.
        let mut had: BTreeMap<&str, usize> = owners.iter().map(|owner| (*owner, 0)).collect();
        for (_, owner) in &drawn.order {
            let turn = had[owner];
            let keys_of = |owner: &str| want.iter().filter(|(_, other)| *other == owner).count();
            prop_assert!(had.iter().all(|(other, turns)| *turns >= turn.min(keys_of(other))));
            *had.get_mut(owner).unwrap() += 1;
        }
        Ok(())
    });
}

#[test]
fn validators_do_not_hang_on_how_the_eligible_are_listed() {
    check(500, &(draws(), eligible()), |(draw, eligible)| {
        let drawn = draw.validators(&eligible, "ben");
        let mut other: Vec<_> = eligible.iter().rev().copied().collect();
        other.extend(eligible.first());
        prop_assert_eq!(draw.validators(&other, "ben"), drawn);
        Ok(())
    });
}

#[test]
fn units_go_to_owners_in_turn_and_then_to_who_comes_next() {
    check(500, &(draws(), eligible()), |(draw, eligible)| {
        let drawn = draw.validators(&eligible, "cy");
        for j in 0..40 {
            let asked: Vec<PublicKey> = drawn.candidates(j).collect();
            prop_assert_eq!(asked.is_empty(), drawn.order.is_empty());
            if let Some(first) = asked.first() {
                prop_assert_eq!(*first, drawn.order[j % drawn.owners].0);
                prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
            }
        }
        Ok(())
    });
}

#[test]
fn whatever_goes_into_a_seed_changes_it() {
    let root = |byte: u8| [byte; 32];
    let chain = |text: &str| ChainId::of_genesis(text.as_bytes());
    let round = |at: u8| draw::round_id(&JobId([1; 32]), &[Digest([at; 32]), Digest([2; 32])]);
    let seeds = [
        draw::seed(&chain("a"), 7, &root(1), &round(1)),
        draw::seed(&chain("b"), 7, &root(1), &round(1)),
        draw::seed(&chain("a"), 8, &root(1), &round(1)),
        draw::seed(&chain("a"), 7, &root(2), &round(1)),
        draw::seed(&chain("a"), 7, &root(1), &round(3)),
        draw::seed(&chain("a"), 7, &root(1), &draw::round_id(&JobId([2; 32]), &[Digest([1; 32]), Digest([2; 32])])),
    ];
    assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), seeds.len());
    let places = |seed, shard, attempt| Draw { seed, shard, attempt }.places(1 << 60, 4);
    let all = [places(seeds[0], 1, 1), places(seeds[1], 1, 1), places(seeds[0], 2, 1), places(seeds[0], 1, 2)];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}
