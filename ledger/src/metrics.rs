//! What Prometheus sees of the ledger: `orion_ledger_*`.

use std::sync::atomic::{AtomicI64, AtomicU64};

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

use self::age::Age;

mod age;

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Denial {
    role: &'static str,
    token: &'static str,
}

type Level = Gauge<u64, AtomicU64>;

/// The metrics of one ledger.
pub struct Metrics {
    registry: Registry,
    transactions: Family<Answer, Counter>,
    balances: Family<AccountKind, Level>,
    denied: Family<Denial, Counter>,
    height: Level,
    size: Level,
    epoch: Level,
    block_time_ms: Level,
    supply_delta: Gauge<i64, AtomicI64>,
    unsealed: Level,
    age: Age,
    /// Who has seen the log.
    pub witnesses: witnesses::Metrics,
    /// Transactions that could not be ordered.
    pub refused: Counter,
    /// Transactions turned away by a full queue.
    pub busy: Counter,
    /// How far this computer's clock is ahead of the time that has passed since the start.
    pub clock_ahead_seconds: Level,
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
            denied: Family::default(),
            height: Level::default(),
            size: Level::default(),
            epoch: Level::default(),
            block_time_ms: Level::default(),
            supply_delta: Gauge::default(),
            unsealed: Level::default(),
            age: Age::default(),
            witnesses: witnesses::Metrics::default(),
            refused: Counter::default(),
            busy: Counter::default(),
            clock_ahead_seconds: Level::default(),
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
        let help = "Deposited less withdrawn and all balances, in micro-credits: must be 0";
        registry.register("supply_delta", help, metrics.supply_delta.clone());
        registry.register("unsealed", "Transactions in the queue for a block", metrics.unsealed.clone());
        metrics.age.register(&mut registry);
        registry.register("unorderable", "Envelopes that could not be ordered", metrics.refused.clone());
        registry.register("busy", "Transactions turned away by a full queue", metrics.busy.clone());
        registry.register(
            "denied",
            "Requests turned away by the role they take and their token",
            metrics.denied.clone(),
        );
        let help =
            "How far the clock is ahead of the time that has passed since the start; past 300 blocks do not follow it";
        registry.register("clock_ahead_seconds", help, metrics.clock_ahead_seconds.clone());
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
        let Totals {
            deposited,
            consumers,
            escrows,
            vesting,
            providers,
            treasury,
            stakes,
            unbonding,
            slash_pool,
            withdrawn,
        } = *totals;
        let kinds = [
            ("deposited", deposited),
            ("consumers", consumers),
            ("escrows", escrows),
            ("vesting", vesting),
            ("providers", providers),
            ("treasury", treasury),
            ("stakes", stakes),
            ("unbonding", unbonding),
            ("slash_pool", slash_pool),
            ("withdrawn", withdrawn),
        ];
        for (kind, sum) in kinds {
            self.balances.get_or_create(&AccountKind { kind }).set(sum);
        }
        let rest: i128 = kinds.iter().skip(1).map(|(_, sum)| i128::from(*sum)).sum();
        let delta = i128::from(deposited) - rest;
        self.supply_delta.set(i64::try_from(delta).unwrap_or(if delta < 0 { i64::MIN } else { i64::MAX }));
    }

    /// A transaction was answered.
    pub fn answered(&self, kind: &'static str, code: Code) {
        self.transactions.get_or_create(&Answer { kind, code: code.as_str() }).inc();
    }

    /// A request was turned away: the role that it takes, and what is wrong with its token.
    pub fn denied(&self, role: &'static str, token: &'static str) {
        self.denied.get_or_create(&Denial { role, token }).inc();
    }

    /// A checkpoint was published whose last block has this time, in Unix milliseconds.
    pub fn published_at(&self, time_ms: u64) {
        self.age.published(time_ms);
    }

    /// So many transactions wait for a block.
    pub fn waiting(&self, transactions: u64) {
        self.unsealed.set(transactions);
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        self.age.refresh();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
