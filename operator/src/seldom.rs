//! Log lines that somebody outside can cause: at most one in ten seconds, with how many were left out.

use std::time::{Duration, Instant};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether to say it now; then how often it was not said before.
    pub fn say(&mut self) -> Option<u64> {
        self.say_at(Instant::now())
    }

    fn say_at(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_rest_counted() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.say_at(start), Some(0));
        for _ in 0..3 {
            assert_eq!(seldom.say_at(start + PAUSE / 2), None);
        }
        assert_eq!(seldom.say_at(start + PAUSE), Some(3));
        assert_eq!(seldom.say_at(start + PAUSE * 2), Some(0));
    }
}
