//! The one place that blocks on time: poll a condition until it holds or a deadline passes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// First pause between two looks; doubles up to [`PAUSE_MAX`], so that quick things stay quick.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Polls `check` until it returns a value. An error from `check` ends the wait at once; `Ok(None)` means "not yet".
pub fn until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(value) = check()? {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("{what} did not happen within {} s", limit.as_secs());
        }
        rest(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one helper that waits, always under a deadline")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_value_seen() {
        let mut looks = 0;
        let seen = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn names_what_it_waited_for_when_time_is_up() {
        let error = until::<()>("the impossible", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "the impossible did not happen within 0 s");
    }
}
