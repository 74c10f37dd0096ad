//! The one place of the operator that reads the clock.

use jiff::Timestamp;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// The same as Kubernetes writes it.
pub fn now() -> Timestamp {
    Timestamp::now()
}
