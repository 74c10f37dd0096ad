//! The one place that reads the wall clock. Everything else is given a [`Clock`], so that tests can turn it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells milliseconds since the Unix epoch. Block time never falls, whatever a clock says: see the engine.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The computer's clock.
pub fn wall() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
