//! What Prometheus sees of a worker: `orion_worker_*`.

use std::time::Duration;

use orion_broker::Error;
use orion_protocol::statements::LeaseKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::agent::answer::Outcome;

/// Upper bounds of a lease's duration in seconds.
const LEASE_SECONDS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The metrics of one worker.
pub struct Metrics {
    registry: Registry,
    leases: Family<Ended, Counter>,
    lease_seconds: Family<Kind, Histogram>,
    messages_refused: Family<Why, Counter>,
    pulls_failed: Family<Why, Counter>,
    /// Units run.
    pub units: Counter,
    /// Bytes of inputs kept.
    pub cache_bytes: Gauge,
    /// 1 once a device answered the self-test.
    pub device: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("orion_worker");
        let metrics = Metrics {
            leases: Family::default(),
            lease_seconds: Family::new_with_constructor(|| Histogram::new(LEASE_SECONDS)),
            messages_refused: Family::default(),
            pulls_failed: Family::default(),
            units: Counter::default(),
            cache_bytes: Gauge::default(),
            device: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("leases", "Leases by kind and how they ended", metrics.leases.clone());
        let help = "Time from claim to answer";
        registry.register_with_unit("lease", help, Unit::Seconds, metrics.lease_seconds.clone());
        registry.register("messages_refused", "Messages that are no lease for us", metrics.messages_refused.clone());
        registry.register("pulls_failed", "Pulls that the broker did not serve", metrics.pulls_failed.clone());
        registry.register("units", "Units run", metrics.units.clone());
        registry.register_with_unit("cache", "Inputs kept", Unit::Bytes, metrics.cache_bytes.clone());
        registry.register("device", "Whether a device answered the self-test", metrics.device.clone());
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// The page that Prometheus reads.
    pub fn page(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts a lease.
    pub fn lease_ended(&self, kind: LeaseKind, outcome: Outcome, took: Duration) {
        let kind = label(kind);
        self.leases.get_or_create(&Ended { kind, outcome: outcome.label() }).inc();
        self.lease_seconds.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }

    /// Counts a message that is not worked on.
    pub fn message_refused(&self, reason: &'static str) {
        self.messages_refused.get_or_create(&Why { reason }).inc();
    }

    /// Counts a pull without success.
    pub fn pull_failed(&self, error: &Error) {
        self.pulls_failed.get_or_create(&Why { reason: error.label() }).inc();
    }
}

fn label(kind: LeaseKind) -> &'static str {
    match kind {
        LeaseKind::Preflight => "preflight",
        LeaseKind::Work => "work",
        LeaseKind::Audit => "audit",
        LeaseKind::Ingest => "ingest",
        LeaseKind::Aggregate => "aggregate",
        LeaseKind::Referee => "referee",
    }
}
