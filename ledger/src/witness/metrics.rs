//! What Prometheus sees of a witness: `orion_ledger_witness_*`.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Level = Gauge<u64, AtomicU64>;

/// The metrics of one witness.
pub(crate) struct Metrics {
    registry: Registry,
    /// Leaves under the checkpoint that was cosigned last.
    pub(crate) cosigned_size: Level,
    /// Leaves that were replayed.
    pub(crate) replayed_size: Level,
    /// 1 once it has refused.
    pub(crate) stopped: Level,
    /// Looks at the log that came to nothing.
    pub(crate) troubles: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("orion_ledger_witness");
        let [cosigned_size, replayed_size, stopped] = [Level::default(), Level::default(), Level::default()];
        let troubles = Counter::default();
        registry.register("cosigned_size", "Leaves under the last cosigned checkpoint", cosigned_size.clone());
        registry.register("replayed_size", "Leaves that were replayed", replayed_size.clone());
        registry.register("stopped", "1 once the witness has refused, and keeps evidence", stopped.clone());
        registry.register("troubles", "Looks at the log that came to nothing", troubles.clone());
        Metrics { registry, cosigned_size, replayed_size, stopped, troubles }
    }
}

impl Metrics {
    /// The text that Prometheus scrapes.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
