//! What Prometheus sees of the ledger: `orion_ledger_*`.

use std::sync::atomic::AtomicU64;

use orion_protocol::ledger::api::SealRef;
use orion_protocol::ledger::leaf::{Code, Totals};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::publisher;
use crate::witnesses;

/// Upper bounds of a block's duration in seconds: an fsync, up to a block full of signatures.
const BLOCK_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    kind: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountKind {
    kind: &'static str,
}

type Level = Gauge<u64, AtomicU64>;

/// The metrics of one ledger.
pub struct Metrics {
    registry: Registry,
    transactions: Family<Answer, Counter>,
    balances: Family<AccountKind, Level>,
    height: Level,
    size: Level,
    epoch: Level,
    block_time_ms: Level,
    /// Who has seen the log.
    pub witnesses: witnesses::Metrics,
    /// Transactions that could not be ordered.
    pub refused: Counter,
    /// Transactions turned away by a full queue.
    pub busy: Counter,
    /// Making and committing a block.
    pub block_seconds: Histogram,
    /// Of checkpoints.
    pub published: publisher::Gauges,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("orion_ledger");
        let metrics = Metrics {
            transactions: Family::default(),
            balances: Family::default(),
            height: Level::default(),
            size: Level::default(),
            epoch: Level::default(),
            block_time_ms: Level::default(),
            witnesses: witnesses::Metrics::default(),
            refused: Counter::default(),
            busy: Counter::default(),
            block_seconds: Histogram::new(BLOCK_SECONDS),
            published: publisher::Gauges::default(),
            registry: Registry::default(),
        };
        registry.register("transactions", "Answered transactions by kind and receipt", metrics.transactions.clone());
        registry.register("balance_micro_credits", "Sums of balances by account kind", metrics.balances.clone());
        registry.register("height", "Last sealed block", metrics.height.clone());
        registry.register("size", "Leaves in the log", metrics.size.clone());
        registry.register("epoch", "Current epoch", metrics.epoch.clone());
        registry.register("block_time_ms", "Time of the last block, Unix milliseconds", metrics.block_time_ms.clone());
        registry.register("unorderable", "Envelopes that could not be ordered", metrics.refused.clone());
        registry.register("busy", "Transactions turned away by a full queue", metrics.busy.clone());
        let seconds = metrics.block_seconds.clone();
        registry.register_with_unit("block", "Making and committing a block", Unit::Seconds, seconds);
        metrics.published.register(&mut registry);
        metrics.witnesses.register(&mut registry);
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// A block was sealed and committed.
    pub fn sealed(&self, seal: &SealRef, totals: &Totals, epoch: u64) {
        self.height.set(seal.height);
        self.size.set(seal.size);
        self.block_time_ms.set(seal.time_ms);
        self.epoch.set(epoch);
        let Totals { deposited, consumers, escrows, vesting, providers, treasury, withdrawn } = *totals;
        let kinds = [
            ("deposited", deposited),
            ("consumers", consumers),
            ("escrows", escrows),
            ("vesting", vesting),
            ("providers", providers),
            ("treasury", treasury),
            ("withdrawn", withdrawn),
        ];
        for (kind, sum) in kinds {
            self.balances.get_or_create(&AccountKind { kind }).set(sum);
        }
    }

    /// A transaction was answered.
    pub fn answered(&self, kind: &'static str, code: Code) {
        self.transactions.get_or_create(&Answer { kind, code: code.as_str() }).inc();
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
