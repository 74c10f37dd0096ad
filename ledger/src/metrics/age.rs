//! How old the newest checkpoint is, as of when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::{self, Clock};

/// The age, and the clock that tells it.
pub(super) struct Age {
    clock: Clock,
    /// Unix milliseconds.
    published_ms: AtomicU64,
    seconds: Gauge<f64, AtomicU64>,
}

impl Default for Age {
    /// Until there is a checkpoint, its age counts from here.
    fn default() -> Age {
        let clock = clock::wall();
        Age { published_ms: clock().into(), clock, seconds: Gauge::default() }
    }
}

impl Age {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time since the last block under the newest published checkpoint; nothing waits while published_size is size";
        registry.register("checkpoint_age_seconds", help, self.seconds.clone());
    }

    pub(super) fn published(&self, time_ms: u64) {
        self.published_ms.store(time_ms, Ordering::Relaxed);
    }

    /// Brings the gauge up to now.
    pub(super) fn refresh(&self) {
        let age_ms = (self.clock)().saturating_sub(self.published_ms.load(Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        self.seconds.set(age_ms as f64 / 1e3);
    }
}
