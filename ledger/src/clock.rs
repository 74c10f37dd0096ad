//! The one place that reads the wall clock. Everything else is given a [`Clock`], so that tests can turn it.
//!
//! A clock that was set back does no harm: block time rises all the same. One that was set forward would end every escrow at once, and
//! block time would stay there. So a start that comes long after the last block is a question for a person, and a clock that is set
//! forward while the ledger runs is not followed: blocks go on by the time that has passed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

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
pub struct Time {
    /// Tells the time of blocks. People and programs set it.
    pub wall: Clock,
    /// Milliseconds since some moment: nobody sets it.
    pub steady: Clock,
    /// A start so many hours after the last block is refused.
    pub longest_pause_hours: u64,
}

/// So far the wall's clock may be set forward while a ledger runs, all times since its start together. Steps by which a clock is kept
/// right are of seconds. It is half of what operators leave between the last thing they do for a job and its escrow's end, so that no
/// job is late for it.
pub const MOST_AHEAD_MS: u64 = 300_000;

/// The time of blocks while a ledger runs: by the wall's clock, unless that is far ahead of the time that has passed since the start.
pub(crate) struct BlockClock {
    wall: Clock,
    steady: Clock,
    /// What the wall's clock said at the start, or the last block where that was later,
    from_ms: u64,
    /// and what the steady one said.
    steady_ms: u64,
}

/// What a [`BlockClock`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) now_ms: u64,
    /// How far the wall's clock is ahead of the time that has passed.
    pub(crate) ahead_ms: u64,
}

impl Time {
    /// By the computer's clocks.
    pub fn of_computer(longest_pause_hours: u64) -> Time {
        Time { wall: wall(), steady: Arc::new(since_boot_ms), longest_pause_hours }
    }

    /// A ledger starts now, after the block at `last_ms` where there is one.
    pub(crate) fn start(self, last_ms: Option<u64>) -> Result<BlockClock, LongPause> {
        let Time { wall, steady, longest_pause_hours } = self;
        let (now_ms, steady_ms) = (wall(), steady());
        let from_ms = now_ms.max(last_ms.unwrap_or(0));
        let hours = now_ms.saturating_sub(last_ms.unwrap_or(now_ms)).div_ceil(3_600_000);
        if hours > longest_pause_hours {
            return Err(LongPause { hours });
        }
        Ok(BlockClock { wall, steady, from_ms, steady_ms })
    }
}

impl BlockClock {
    pub(crate) fn read(&self) -> Reading {
        let passed_ms = (self.steady)().saturating_sub(self.steady_ms);
        judged((self.wall)(), self.from_ms.saturating_add(passed_ms))
    }
}

impl Reading {
    /// Whether the wall's clock is followed.
    pub(crate) fn is_believed(&self) -> bool {
        self.ahead_ms <= MOST_AHEAD_MS
    }
}

/// Of what the wall's clock says, and what it would say had nobody set it. Late can be made good, and early cannot: so one that is far
/// ahead is not followed in part either.
fn judged(wall_ms: u64, passed_ms: u64) -> Reading {
    let reading = Reading { now_ms: wall_ms, ahead_ms: wall_ms.saturating_sub(passed_ms) };
    if reading.is_believed() { reading } else { Reading { now_ms: passed_ms, ..reading } }
}

/// Milliseconds since the computer started, while it slept too where the system counts that.
fn since_boot_ms() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    // Every system has it. Were it not there, no time would pass, and block time would rise by a millisecond a block.
    clock_gettime(CLOCK).map_or(0, |time| u64::try_from(Duration::from(time).as_millis()).unwrap_or(u64::MAX))
}

/// The computer's clock.
pub fn wall() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
