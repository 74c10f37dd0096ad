//! What this worker says about itself: alive every 2 s with the leases that it holds, started when a lease is claimed, progress
//! at most once a second.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use orion_protocol::messages::{Alive, Beat};
use orion_protocol::statements::LeaseCore;
use orion_protocol::{Digest, Signed};
use tokio::sync::watch;

use crate::agent::Agent;
use crate::agent::memory::Taken;
use crate::executor::DeviceInfo;

/// Between two words of progress of one lease.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Leases that are remembered after they were worked on, so that a late second delivery starts nothing.
const REMEMBERED: usize = 256;

/// The leases that this worker holds and held.
#[derive(Default)]
pub struct Leases(Mutex<Held>);

#[derive(Default)]
struct Held {
    now: Vec<(Digest, Signed<LeaseCore>)>,
    /// What leases that are held now have taken.
    memory: Vec<(Digest, Taken)>,
    before: VecDeque<Digest>,
}

impl Leases {
    /// Whether this lease is held now or was held.
    pub fn knows(&self, lease: &Digest) -> bool {
        let held = self.lock();
        held.now.iter().any(|(have, _)| have == lease) || held.before.contains(lease)
    }

    /// Holds a lease until [`Leases::drop_lease`].
    pub fn hold(&self, digest: Digest, lease: Signed<LeaseCore>) {
        self.lock().now.push((digest, lease));
    }

    /// Keeps memory taken until the lease ends, however it does; a lease that is not held any more keeps nothing.
    pub fn keep(&self, lease: Digest, memory: Taken) {
        let mut held = self.lock();
        if held.now.iter().any(|(have, _)| *have == lease) {
            held.memory.push((lease, memory));
        }
    }

    /// Ends holding it.
    pub fn drop_lease(&self, digest: &Digest) {
        let mut held = self.lock();
        held.now.retain(|(have, _)| have != digest);
        held.memory.retain(|(have, _)| have != digest);
        if held.before.len() == REMEMBERED {
            held.before.pop_front();
        }
        held.before.push_back(*digest);
    }

    /// All that are held now.
    pub fn held(&self) -> Vec<Signed<LeaseCore>> {
        self.lock().now.iter().map(|(_, lease)| lease.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Says every 2 s that this worker lives; kills idle executors on the way.
    pub async fn beat_for_ever(&self, device: &DeviceInfo) -> Infallible {
        let mut ticks = tokio::time::interval(Duration::from_secs(Alive::EVERY_S));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.executors.sweep(Instant::now());
            self.metrics.cache_bytes.set(i64::try_from(self.cache.bytes()).unwrap_or(i64::MAX));
            let alive = Alive {
                role: self.identity.role,
                class: device.class,
                driver: device.driver.clone(),
                slots: self.slots,
                leases: self.leases.held(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                kernels: device.kernels,
                fault: device.fault.clone(),
            };
            self.beat(&Beat::Alive(alive)).await;
        }
    }

    /// Passes progress on, at most once a second.
    pub async fn report_progress(&self, lease: Digest, mut done: watch::Receiver<u64>) -> Infallible {
        loop {
            if done.changed().await.is_err() {
                return std::future::pending().await;
            }
            let units = *done.borrow_and_update();
            self.beat(&Beat::Progress(lease, units)).await;
            tokio::time::sleep(PROGRESS_EVERY).await;
        }
    }

    /// Publishes a heartbeat; one that is lost is said again soon enough.
    pub async fn beat(&self, beat: &Beat) {
        // Away from the broker, the client's buffer fills and then waits; a heartbeat must not.
        let sent = self.broker.publish_beat(&self.identity.provider, &self.identity.worker, beat);
        match tokio::time::timeout(PROGRESS_EVERY, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "heartbeat is not sent"),
            Err(_) => tracing::debug!("heartbeat waits too long"),
        }
    }
}
