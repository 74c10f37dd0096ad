//! Trying again: the broker being away or slow is nobody's fault and is waited out until the lease's deadline; an object that
//! is missing or wrong while the broker answers is looked at a few times, and then believed.

use std::time::{Duration, Instant};

use orion_broker::ObjectError;
use orion_protocol::Refusal;

use crate::executor::Fault;

/// A missing or wrong object is looked for so often.
const OBJECT_TRIES: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// No lease is believed to last longer.
const DEADLINE_MAX: Duration = Duration::from_hours(7 * 24);

/// When a lease ends, on our own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline that is `deadline_ms` in Unix time, when it is `now_ms` and `now`.
    pub fn of(deadline_ms: u64, now_ms: u64, now: Instant) -> Deadline {
        Deadline(now + Duration::from_millis(deadline_ms.saturating_sub(now_ms)).min(DEADLINE_MAX))
    }

    /// Waits for so long, but not beyond the deadline; says whether it is still ahead.
    pub async fn pause(self, pause: Duration) -> bool {
        let end = tokio::time::Instant::from_std(self.0);
        tokio::time::sleep_until((tokio::time::Instant::now() + pause).min(end)).await;
        tokio::time::Instant::now() < end
    }

    /// So much earlier, to leave time for what comes after.
    #[must_use]
    pub fn less(self, by: Duration) -> Deadline {
        Deadline(self.0.checked_sub(by).unwrap_or(self.0))
    }
}

/// Why a lease has no result.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It is answered with this refusal.
    #[error("{0}")]
    Refused(Refusal),
    /// It is not answered at all: time ran out, or the fault is ours.
    #[error("{0}")]
    GaveUp(String),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        match fault {
            // Nobody waits for the answer any more.
            Fault::TimedOut(refusal) => Trouble::GaveUp(refusal.to_string()),
            Fault::Refused(refusal) | Fault::Crashed(refusal) => Trouble::Refused(refusal),
        }
    }
}

/// How trying ended without success.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The object is missing or wrong, seen several times.
    #[error("{0}")]
    Object(ObjectError),
    /// The deadline came.
    #[error("no success before the deadline: {0}")]
    Deadline(String),
}

impl RetryError {
    /// Gives up silently at the deadline; what is wrong with the object is answered in the words of `refuse`.
    pub fn or(self, refuse: impl FnOnce(ObjectError) -> Refusal) -> Trouble {
        match self {
            RetryError::Object(error) => Trouble::Refused(refuse(error)),
            RetryError::Deadline(last) => Trouble::GaveUp(last),
        }
    }
}

/// Tries until success, until the object is known to be missing or wrong, or until the deadline.
pub async fn objects<T, F>(deadline: Deadline, mut attempt: impl FnMut() -> F) -> Result<T, RetryError>
where
    F: Future<Output = Result<T, ObjectError>>,
{
    let (mut pause, mut seen, mut last) = (PAUSE_FIRST, 0, "the broker did not answer".to_owned());
    loop {
        match tokio::time::timeout_at(deadline.0.into(), attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if error.is_about_object() => {
                seen += 1;
                if seen == OBJECT_TRIES {
                    return Err(RetryError::Object(error));
                }
            }
            Ok(Err(error)) => {
                last = chain(&error);
                tracing::debug!(error = last, "tried again");
            }
            Err(_) => return Err(RetryError::Deadline(last)),
        }
        if !deadline.pause(pause).await {
            return Err(RetryError::Deadline(last));
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// An error with what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orion_protocol::Digest;

    fn absent() -> ObjectError {
        ObjectError::NotFound { bucket: "in".into(), digest: Digest::ZERO }
    }

    fn away() -> ObjectError {
        let source = orion_broker::Error::Timeout { subject: "x".into() };
        ObjectError::Broker { bucket: "in".into(), source }
    }

    fn in_a_minute() -> Deadline {
        Deadline(tokio::time::Instant::now().into_std() + Duration::from_mins(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_broker_is_never_taken_for_a_missing_object() {
        let mut tries = 0;
        let result = objects(in_a_minute(), || {
            tries += 1;
            std::future::ready(Err::<(), _>(away()))
        });
        assert!(matches!(result.await, Err(RetryError::Deadline(_))));
        assert!(tries > 20, "{tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_object_is_believed_after_several_looks() {
        let mut tries = 0;
        let result = objects(in_a_minute(), || {
            tries += 1;
            // The broker being away in between does not count.
            std::future::ready(if tries % 2 == 0 { Err::<(), _>(away()) } else { Err(absent()) })
        });
        assert!(matches!(result.await, Err(RetryError::Object(ObjectError::NotFound { .. }))));
        assert_eq!(tries, 2 * OBJECT_TRIES - 1);
    }

    #[test]
    fn a_deadline_far_away_is_cut() {
        let now = Instant::now();
        assert_eq!(Deadline::of(u64::MAX, 0, now).0, now + DEADLINE_MAX);
        assert_eq!(Deadline::of(5, 10, now).0, now);
    }
}
