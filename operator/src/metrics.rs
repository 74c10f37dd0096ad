//! What Prometheus sees of an operator: `orion_operator_*`. Names of objects are never labels. A follower shows zeros.

use std::sync::atomic::AtomicU64;

use orion_core::WorkerView;
use orion_protocol::ledger::Code;
use orion_protocol::messages::Role;
use orion_protocol::statements::LeaseKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A number that rises and falls.
pub type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    kind: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRole {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InStage {
    stage: &'static str,
}

/// The metrics of one operator.
pub struct Metrics {
    registry: Registry,
    leading: Level,
    jobs: Family<InStage, Level>,
    workers: Family<OfRole, Level>,
    slots: Family<OfRole, Level>,
    leases: Family<Kind, Counter>,
    transactions: Family<Outcome, Counter>,
    /// Answers that were dropped because they answer no lease of ours.
    pub dropped_answers: Counter,
    /// Heartbeats that could not be read.
    pub refused_beats: Counter,
    /// Validators that signed two digests for one unit, counted for each shard of which they did.
    pub contradicting_votes: Counter,
    /// Settled jobs of which not enough witnesses have seen the settlement.
    pub not_final: Level,
    /// Fenced requests to the API server: writes, and reads right before one.
    pub requests: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("orion_operator");
        let metrics = Metrics {
            registry: Registry::default(),
            leading: Level::default(),
            jobs: Family::default(),
            workers: Family::default(),
            slots: Family::default(),
            leases: Family::default(),
            transactions: Family::default(),
            dropped_answers: Counter::default(),
            refused_beats: Counter::default(),
            contradicting_votes: Counter::default(),
            not_final: Level::default(),
            requests: Counter::default(),
        };
        registry.register("leading", "Whether this replica leads", metrics.leading.clone());
        registry.register("jobs", "Jobs that are not over, by stage", metrics.jobs.clone());
        registry.register("workers", "Live workers by role", metrics.workers.clone());
        registry.register("slots_held", "Leases that live workers hold, by role", metrics.slots.clone());
        registry.register("leases", "Leases given, by kind", metrics.leases.clone());
        registry.register("transactions", "Answers of the ledger, by kind and receipt", metrics.transactions.clone());
        registry.register("dropped_answers", "Answers to no lease of ours", metrics.dropped_answers.clone());
        registry.register("refused_heartbeats", "Heartbeats that cannot be read", metrics.refused_beats.clone());
        let contradicting = metrics.contradicting_votes.clone();
        registry.register("contradicting_votes", "Pairs of votes by one key that differ", contradicting);
        registry.register("jobs_not_final", "Settled jobs without Final=True", metrics.not_final.clone());
        registry.register("api_requests", "Requests to the API server, but for watches", metrics.requests.clone());
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// This replica leads.
    pub fn lead(&self) {
        self.leading.set(1);
    }

    /// A lease was given.
    pub fn lease(&self, kind: LeaseKind) {
        self.leases.get_or_create(&Kind { kind: kind.as_str() }).inc();
    }

    /// The ledger answered a transaction.
    pub fn transaction(&self, kind: &'static str, code: Code) {
        self.transactions.get_or_create(&Outcome { kind, code: code.as_str() }).inc();
    }

    /// The state of the platform, as the leader sees it now.
    pub fn show(&self, stages: impl IntoIterator<Item = (&'static str, u64)>, workers: &[WorkerView]) {
        for (stage, count) in stages {
            self.jobs.get_or_create(&InStage { stage }).set(count);
        }
        for role in [Role::Worker, Role::Validator, Role::Platform] {
            let label = OfRole { role: role.as_str() };
            let own = || workers.iter().filter(|worker| worker.role == role);
            self.workers.get_or_create(&label).set(own().count() as u64);
            self.slots.get_or_create(&label).set(own().map(|worker| u64::from(worker.slots.0)).sum());
        }
    }

    /// The page, in the OpenMetrics text format.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}
