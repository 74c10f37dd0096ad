//! Vectors of rounds, seeds and draws, and of money.

use orion_protocol::bytes::hex;
use orion_protocol::draw::{self, Draw};
use orion_protocol::ledger::tx::{Mode, Policy, Split};
use orion_protocol::price;
use orion_protocol::task::{TaskSpec, UnitTable};
use orion_protocol::{Digest, PublicKey};
use serde_json::{Value, json};

use crate::fixtures::{ROUND, SEAL_SIZE, chain, commitment, digest, draw_of, eligible, job, public, round, seed, task};
use crate::json::Json;

fn places(draw: &Draw, units: u64, audits: u32) -> Value {
    json!({"seed": draw.seed.json(), "shard": draw.shard, "attempt": draw.attempt, "units": units, "audits": audits,
           "places": draw.places(units, audits)})
}

fn validators(draw: &Draw, eligible: &[(PublicKey, &str)], worker_owner: &str) -> Value {
    let drawn = draw.validators(eligible, worker_owner);
    let order: Vec<Value> = drawn.order.iter().map(|(key, _)| key.json()).collect();
    let first: Vec<Value> = (0..8).map(|j| drawn.candidates(j).next().map_or(Value::Null, |key| key.json())).collect();
    let eligible: Vec<Value> = eligible.iter().map(|(key, owner)| json!([key.json(), owner])).collect();
    json!({"seed": draw.seed.json(), "shard": draw.shard, "attempt": draw.attempt, "eligible": eligible,
           "worker_owner": worker_owner, "order": order, "owners": drawn.owners, "first_asked": first})
}

pub fn draws() -> Value {
    let commitments: Vec<Digest> = ROUND.iter().map(|shard| commitment(*shard).digest(&chain())).collect();
    let mut reversed = commitments.clone();
    reversed.reverse();
    assert_eq!(draw::round_id(&job(), &reversed), round());

    let big = |attempt| Draw { seed: digest("another seed"), shard: 65_536, attempt };
    let mut all_places: Vec<Value> = ROUND.iter().map(|shard| places(&draw_of(*shard), 4, 2)).collect();
    all_places.extend([
        places(&draw_of(0), 1, 32),
        places(&draw_of(0), 32, 32),
        places(&draw_of(1), 33, 32),
        places(&big(1), 100_000, 32),
        places(&big(u32::MAX), 100_000, 7),
        // Just over half of all numbers are refused here.
        places(&big(2), (1 << 63) + 1, 8),
    ]);

    // 64 keys that are only sorted and hashed, of 5 owners.
    let owners = ["ada", "ben", "cy", "di", "eve"];
    let mut many: Vec<(PublicKey, &str)> =
        (0..64_u8).map(|at| (PublicKey(Digest::of(&[at]).0), owners[usize::from(at) * usize::from(at) % 5])).collect();
    many.sort_unstable();
    let alone = [(public("validator-a"), "ben")];
    let all_validators = [
        validators(&draw_of(0), &eligible(), "ada"),
        validators(&draw_of(2), &eligible(), "nobody"),
        validators(&draw_of(3), &eligible(), "ben"),
        validators(&draw_of(0), &alone, "ada"),
        validators(&draw_of(0), &alone, "ben"),
        validators(&draw_of(0), &[], "ada"),
        validators(&big(1), &many, "cy"),
        validators(&big(2), &many, "ada"),
    ];
    json!({
        "round": {"job": job().json(), "commitments": commitments.json(), "id": round().json()},
        "seed": {"size": SEAL_SIZE, "root": hex(&digest("log root").0), "round": round().json(), "seed": seed().json()},
        "places": all_places,
        "validators": all_validators,
    })
}

fn escrow(table: UnitTable, audits_per_shard: u32, price: u64, fee_ppm: u32) -> Value {
    escrow_under(table, audits_per_shard, &Policy::per_work(price, fee_ppm, 0, 1))
}

fn escrow_under(table: UnitTable, audits_per_shard: u32, policy: &Policy) -> Value {
    let Policy { price, fee_ppm, .. } = *policy;
    let spec = TaskSpec { units: table, audits_per_shard, price, fee_ppm, ..task() };
    json!({"table": table.json(), "audits_per_shard": audits_per_shard, "price": price, "fee_ppm": fee_ppm,
           "validator_ppm": policy.validator_ppm.json(), "pool": policy.mode != Mode::PerWork,
           "shards": table.shards(), "escrow": price::escrow_of(&spec, policy).ok()})
}

pub fn money() -> Value {
    let table = |items, items_per_unit, units_per_shard, work_per_item| UnitTable {
        items,
        items_per_unit,
        units_per_shard,
        work_per_item,
    };
    let splits: [(u64, &[u64]); 9] = [
        (1_000_000, &[3, 3, 1]),
        (0, &[3, 3, 1]),
        (5, &[0, 0]),
        (5, &[]),
        (1, &[1, 1, 1]),
        (2, &[5, 9, 9]),
        (100, &[0, 7, 0]),
        ((1 << 63) - 1, &[u64::MAX, u64::MAX, 1, u64::MAX]),
        (999_999, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ];
    let splits =
        splits.map(|(pool, weights)| json!({"pool": pool, "weights": weights, "shares": price::split(pool, weights)}));
    let prices = [
        (0, 1_000),
        (999, 1_000),
        (1_000, 1_000),
        (206_669_376, 1_000),
        (1 << 60, 7_999_999),
        (1 << 60, 8_000_000),
    ]
    .map(
        |(work, price): (u64, u64)| json!({"work": work, "price": price, "amount": price::price_of(u128::from(work), price).ok()}),
    );
    let fees = [(0, 20_000), (49, 20_000), (50, 20_000), (427_484, 20_000), ((1 << 63) - 1, 1_000_000), (7, 0)]
        .map(|(amount, ppm): (u64, u32)| json!({"amount": amount, "ppm": ppm, "fee": price::fee_of(amount, ppm).ok()}));
    let audits = Policy { validator_ppm: Some(333_333), ..Policy::per_work(1_001, 20_000, 0, 1) };
    let pool = Split { workers: 1_000_000, validators: 0, treasury: 0 };
    let pool = Policy { mode: Mode::Pool(pool), ..Policy::per_work(1_001, 0, 0, 1) };
    let escrows = [
        escrow(table(1797, 16, 8, 115_008), 2, 1_000, 20_000),
        escrow(table(100, 8, 4, 115_008), 2, 1_000, 20_000),
        escrow(table(5, 8, 4, 1_000_000), 32, 1_000, 0),
        escrow(table(40, 1, 3, 150_000_000), 1, 1_000, 20_000),
        escrow(table(1 << 30, 1 << 10, 64, 1 << 30), 32, 7_000_000, 1_000_000),
        escrow(table(1 << 20, 1 << 10, 64, 1 << 20), 32, u64::MAX, 0),
        // Work, audits and fee fit in 63 bits each; their sum does not.
        escrow(table(1 << 20, 1 << 10, 1 << 10, 1 << 40), 1, 7_000_000, 900_000),
        escrow_under(table(1797, 16, 8, 115_008), 2, &audits),
        escrow_under(table(1797, 16, 8, 115_008), 2, &Policy { validator_ppm: Some(0), ..audits }),
        escrow_under(table(1797, 16, 8, 115_008), 2, &pool),
    ];
    let texts = [
        "0",
        "1",
        "2.5",
        "0.000001",
        "999999999999.999999",
        "007",
        "1.50",
        "",
        ".",
        "1.",
        ".5",
        "1.0000001",
        "1000000000000",
        "-1",
        "+1",
        " 1",
        "1e3",
        "1.2.3",
        "١",
    ];
    let credits = texts.map(|text| {
        let micro = price::parse_credits(text);
        json!({"text": text, "micro": micro, "written": micro.map(price::format_credits)})
    });
    json!({"splits": splits, "prices": prices, "fees": fees, "escrows": escrows, "credits": credits})
}
