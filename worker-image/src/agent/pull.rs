//! The loop that takes leases: pull when a slot is free, verify, claim, work. Nothing that comes over the broker stops it.

use std::sync::Arc;
use std::time::Duration;

use orion_broker::{Delivery, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::agent::answer::{self, Answering};
use crate::agent::retry::chain;
use crate::agent::verify::{self, Lease};
use crate::agent::{Agent, now_ms};

/// How long a pull waits at the broker.
const PULL_WAIT: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long leases under way may take to end once we are to stop.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// Takes leases until `stop` becomes true, then finishes or abandons what is under way.
pub async fn pull(agent: Arc<Agent>, answering: Arc<impl Answering>, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(agent.slots as usize));
    let mut working = JoinSet::new();
    let mut pause = PAUSE_FIRST;
    loop {
        let taken = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            taken = take(&agent, &slots) => taken,
        };
        while let Some(ended) = working.try_join_next() {
            note_panic(ended);
        }
        match taken {
            Ok(Some((lease, slot))) => {
                pause = PAUSE_FIRST;
                working.spawn(work(Arc::clone(&agent), Arc::clone(&answering), lease, slot));
            }
            Ok(None) => pause = PAUSE_FIRST,
            Err(error) => {
                agent.metrics.pull_failed(&error);
                tracing::debug!(error = chain(&error), "no lease can be pulled now");
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => break,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                }
            }
        }
    }
    let finish = async {
        while let Some(ended) = working.join_next().await {
            note_panic(ended);
        }
    };
    if tokio::time::timeout(FINISH_WAIT, finish).await.is_err() {
        tracing::warn!(leases = working.len(), "leases are abandoned");
        working.shutdown().await;
    }
}

/// Waits for a free slot and then for a lease; `None` when there was nothing to work on.
async fn take(agent: &Agent, slots: &Arc<Semaphore>) -> Result<Option<(Lease, OwnedSemaphorePermit)>, Error> {
    // The semaphore is never closed.
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return std::future::pending().await };
    let identity = &agent.identity;
    match agent.broker.next_task(&identity.provider, &identity.worker, PULL_WAIT).await? {
        Some(delivery) => Ok(accept(agent, &delivery).await.map(|lease| (lease, slot))),
        None => Ok(None),
    }
}

/// Verifies and claims a lease.
async fn accept(agent: &Agent, delivery: &Delivery) -> Option<Lease> {
    let lease = match verify::check(&agent.identity, delivery.bytes(), now_ms()) {
        Ok(lease) => lease,
        Err(error) => {
            agent.metrics.message_refused(error.label());
            tracing::warn!(error = chain(&error), "a message is refused");
            if let Err(error) = agent.broker.refuse(delivery).await {
                tracing::debug!(error = chain(&error), "the refusal was not sent");
            }
            return None;
        }
    };
    if let Err(error) = agent.broker.claim(delivery).await {
        // It comes again, or its deadline ends it.
        tracing::warn!(lease = %lease.digest(), error = chain(&error), "lease could not be claimed");
        return None;
    }
    if agent.leases.knows(&lease.digest()) {
        agent.metrics.message_refused("known");
        return None;
    }
    agent.leases.hold(lease.digest(), lease.signed.clone());
    Some(lease)
}

async fn work(agent: Arc<Agent>, answering: Arc<impl Answering>, lease: Lease, slot: OwnedSemaphorePermit) {
    let held = HeldLease { agent: &agent, lease: &lease };
    let started = std::time::Instant::now();
    let outcome = answer::process(&agent, &*answering, &lease).await;
    agent.metrics.lease_ended(lease.core.kind, outcome, started.elapsed());
    tracing::info!(lease = %lease.digest(), kind = ?lease.core.kind, outcome = outcome.label(), "lease ended");
    drop(held);
    drop(slot);
}

/// Lets go of a lease however working on it ends.
struct HeldLease<'a> {
    agent: &'a Agent,
    lease: &'a Lease,
}

impl Drop for HeldLease<'_> {
    fn drop(&mut self) {
        self.agent.leases.drop_lease(&self.lease.digest());
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "working on a lease ended abnormally");
    }
}
