//! The one place that reads the wall clock. Everything else is given a [`Clock`], so that tests can turn it.
//!
//! A clock that was set back does no harm: block time rises all the same. One that was set forward ends every escrow at once, and
//! block time stays there: so a start that comes long after the last block is a question for a person.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells milliseconds since the Unix epoch. Block time never falls, whatever a clock says: see the engine.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// It is very long since the last block, or the clock is wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "by this computer's clock the last block is {hours} hours old. A clock that was set forward would end every escrow: look at it, \
     and start with --longest-pause-hours {hours} or more (ORION_LEDGER_LONGEST_PAUSE_HOURS) when it is right"
)]
pub struct LongPause {
    /// How long ago it was, rounded up.
    pub hours: u64,
}

/// What a ledger knows of time.
#[derive(Clone)]
pub struct Time {
    /// Tells the time of blocks.
    pub wall: Clock,
    /// A start so many hours after the last block is refused.
    pub longest_pause_hours: u64,
}

impl Time {
    /// Whether a start now may follow the block at `last_ms`.
    pub(crate) fn follows(&self, last_ms: u64) -> Result<(), LongPause> {
        let hours = (self.wall)().saturating_sub(last_ms).div_ceil(3_600_000);
        if hours > self.longest_pause_hours { Err(LongPause { hours }) } else { Ok(()) }
    }
}

/// The computer's clock.
pub fn wall() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
