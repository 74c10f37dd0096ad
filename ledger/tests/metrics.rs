//! What Prometheus sees of a ledger: figures that must hold, and ages.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::time::Duration;

use orion_ledger::clock;
use orion_ledger::metrics::Metrics;
use orion_protocol::JobId;
use orion_protocol::ids::TxId;
use orion_protocol::ledger::SealRef;
use orion_protocol::ledger::leaf::{Code, Totals};
use orion_protocol::ledger::tx::*;
use support::Home;
use support::world::{self, Keys};

/// The value of a metric without labels.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("orion_ledger_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
}

#[test]
fn a_ledger_tells_what_is_sealed_and_published_and_that_no_money_is_lost() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let deposit = Transaction::Deposit(Deposit { consumer, amount: 10 });
    let id = TxId::derive("Deposit", &JobId::NONE, 0, 0);
    assert_eq!(client.submit(&deposit.sign(&chain, &keys.issuer, 0, id)).receipt.code, Code::Ok);
    // An export waits for the checkpoint over what is committed.
    assert_eq!(client.get("/v1/export").status, 200);
    let published = || String::from_utf8(client.get("/metrics").body).unwrap();
    let text = std::iter::repeat_with(published).take(1500).find(|text| {
        std::thread::park_timeout(Duration::from_millis(20));
        value(text, "published_size").to_bits() == 4_f64.to_bits()
    });
    let text = text.expect("the checkpoint is counted");
    for (name, want) in
        [("height", 1.0), ("size", 4.0), ("supply_delta", 0.0), ("unsealed", 0.0), ("witnessed_size", 0.0)]
    {
        assert!((value(&text, name) - want).abs() < 1e-9, "{name} is not {want} in:\n{text}");
    }
    assert!((0.0..60.0).contains(&value(&text, "checkpoint_age_seconds")), "{text}");
    assert!(value(&text, "witness_age_seconds").abs() < 1e-9, "no witness is asked");
}

#[test]
fn the_age_counts_from_what_was_published_last() {
    let metrics = Metrics::default();
    let now = clock::wall()();
    assert!(value(&metrics.text(), "checkpoint_age_seconds") < 60.0, "it counts from the start");
    metrics.published_at(now - 120_000);
    let text = metrics.text();
    assert!((120.0..180.0).contains(&value(&text, "checkpoint_age_seconds")), "{text}");
}

#[test]
fn books_that_do_not_add_up_show() {
    let metrics = Metrics::default();
    let seal = SealRef { height: 1, size: 4, root: orion_protocol::Digest::ZERO, time_ms: 1 };
    let good = Totals { deposited: 10, consumers: 4, escrows: 3, providers: 2, withdrawn: 1, ..Totals::default() };
    for (totals, delta) in [
        (good, 0.0),
        (Totals { consumers: 5, ..good }, -1.0),
        (Totals { withdrawn: 0, ..good }, 1.0),
        (Totals { deposited: u64::MAX, ..Totals::default() }, 9_223_372_036_854_775_807.0),
    ] {
        metrics.sealed(&seal, &totals, 0);
        assert!((value(&metrics.text(), "supply_delta") - delta).abs() < 1e-9, "{totals:?}");
    }
}
