//! How much of what costs most is done at a time, and how long a request waits until it is its turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refused;

/// Turns of one kind.
#[derive(Clone)]
pub(crate) struct Turns {
    places: Arc<Semaphore>,
    wait: Duration,
    /// What is said to whoever has waited in vain.
    busy: &'static str,
}

impl Turns {
    /// So many at a time, each waited for so long at most.
    pub(crate) fn new(turns: usize, wait: Duration, busy: &'static str) -> Turns {
        Turns { places: Arc::new(Semaphore::new(turns)), wait, busy }
    }

    /// Waits for one; it lasts until it is dropped.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let turn = tokio::time::timeout(self.wait, self.places.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Refused::Unavailable(self.busy))
    }
}
