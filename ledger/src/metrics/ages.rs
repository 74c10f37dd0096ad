//! How old the newest checkpoints are, as of when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::{self, Clock};

type Seconds = Gauge<f64, AtomicU64>;

/// The ages, and the clock that tells them.
pub(super) struct Ages {
    clock: Clock,
    /// Unix milliseconds; of the witnessed one 0 while none is expected.
    published_ms: AtomicU64,
    witnessed_ms: AtomicU64,
    checkpoint: Seconds,
    witness: Seconds,
    witnessed_size: Gauge<u64, AtomicU64>,
}

impl Default for Ages {
    /// Until there is a checkpoint, its age counts from here.
    fn default() -> Ages {
        let clock = clock::wall();
        Ages {
            published_ms: clock().into(),
            clock,
            witnessed_ms: AtomicU64::default(),
            checkpoint: Gauge::default(),
            witness: Gauge::default(),
            witnessed_size: Gauge::default(),
        }
    }
}

impl Ages {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time since the last block under the newest published checkpoint; nothing waits while published_size is size";
        registry.register("checkpoint_age_seconds", help, self.checkpoint.clone());
        let help =
            "Time since enough witnesses cosigned the newest checkpoint that they did; NaN where no witness is asked";
        registry.register("witness_age_seconds", help, self.witness.clone());
        registry.register("witnessed_size", "Leaves under that checkpoint", self.witnessed_size.clone());
    }

    pub(super) fn published(&self, time_ms: u64) {
        self.published_ms.store(time_ms, Ordering::Relaxed);
    }

    pub(super) fn witnessed(&self, size: u64, time_ms: u64) {
        self.witnessed_size.set(size);
        self.witnessed_ms.store(time_ms, Ordering::Relaxed);
    }

    /// Brings the gauges up to now.
    pub(super) fn refresh(&self) {
        let now = (self.clock)();
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
        let age = |time_ms: u64| now.saturating_sub(time_ms) as f64 / 1e3;
        self.checkpoint.set(age(self.published_ms.load(Ordering::Relaxed)));
        let witnessed = self.witnessed_ms.load(Ordering::Relaxed);
        self.witness.set(if witnessed == 0 { f64::NAN } else { age(witnessed) });
    }
}
