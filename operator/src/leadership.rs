//! Who leads: a Lease of 6 s renewed every 2 s, and a watch over our own clock. A process that was stopped and wakes up must
//! not write on the strength of a lease that ended while it slept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};

/// How long a lease lasts without renewal, and how long before its end it is renewed, in seconds.
const LEASE_S: (u64, u64) = (6, 4);
/// A leader that did not run for so long may have been replaced: the lease less the time that a write takes.
const MAX_GAP: Duration = Duration::from_secs(4);

/// The manager of the Lease; runs until the process ends.
pub async fn candidate(
    client: Client,
    namespace: &str,
    replica: &str,
) -> Result<LeaseManager, kube_lease_manager::LeaseManagerError> {
    LeaseManagerBuilder::new(client, "orion-operator")
        .with_namespace(namespace)
        .with_identity(replica)
        .with_duration(LEASE_S.0)
        .with_grace(LEASE_S.1)
        .build()
        .await
}

/// Whether this process may still act as leader. Clones share it.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    start: Instant,
    /// Milliseconds from `start` to the last beat.
    beat: AtomicU64,
    deposed: AtomicBool,
}

impl Default for Guard {
    fn default() -> Self {
        Guard(Arc::new(Inner { start: Instant::now(), beat: AtomicU64::new(0), deposed: AtomicBool::new(false) }))
    }
}

impl Guard {
    /// Says that the leader's loop runs; false when it had not run for too long.
    pub fn beat(&self) -> bool {
        if !self.holds() {
            self.depose();
            return false;
        }
        let elapsed = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.beat.store(elapsed, Ordering::SeqCst);
        true
    }

    /// Whether a write may still be made: asked right before each.
    pub fn holds(&self) -> bool {
        let beat = Duration::from_millis(self.0.beat.load(Ordering::SeqCst));
        !self.0.deposed.load(Ordering::SeqCst) && self.0.start.elapsed().saturating_sub(beat) < MAX_GAP
    }

    /// Ends it for good.
    pub fn depose(&self) {
        self.0.deposed.store(true, Ordering::SeqCst);
    }
}
