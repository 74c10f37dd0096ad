//! What is left behind on the broker: chunks of broken uploads, and results of jobs that were deleted while nobody led.
//!
//! It deletes nothing that an OrionJob names or that an open escrow may still pay for: when in doubt it waits an hour more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orion_broker::Sweep;
use orion_protocol::Digest;
use orion_protocol::subjects::{BUCKET_HELD, BUCKET_IN, BUCKET_RESULTS};

use crate::clock;
use crate::edges::Edges;
use crate::job::Chain;

/// How often; longer than any upload takes.
pub const EVERY: Duration = Duration::from_hours(1);

/// The sweeps of a leadership.
pub struct Housekeeping {
    sweeps: [Sweep; 3],
}

impl Default for Housekeeping {
    fn default() -> Self {
        Housekeeping { sweeps: [BUCKET_IN, BUCKET_HELD, BUCKET_RESULTS].map(Sweep::new) }
    }
}

impl Housekeeping {
    /// One round. `named` are the results of all OrionJobs that there are.
    pub async fn run(&mut self, edges: &Arc<Edges>, named: &BTreeSet<Digest>) {
        for sweep in &mut self.sweeps {
            if !edges.guard.holds() {
                return;
            }
            match sweep.sweep(&edges.broker).await {
                Ok(0) => {}
                Ok(chunks) => tracing::info!(chunks, "chunks of broken uploads were removed"),
                Err(error) => tracing::warn!(error = %Chain(&error), "a bucket was not swept"),
            }
        }
        self.forget_results(edges, named).await;
    }

    async fn forget_results(&self, edges: &Arc<Edges>, named: &BTreeSet<Digest>) {
        let listed = match edges.broker.list(BUCKET_RESULTS).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "results were not listed");
                return;
            }
        };
        // By then its job is over: no escrow lasts so long. Until then it may be a result that no status names yet.
        let age = Duration::from_millis(edges.identity.genesis.policy.escrow_ms) + EVERY;
        let Ok(limit) = clock::now().checked_sub(age) else { return };
        let gone = listed.iter().filter(|object| object.stored < limit && !named.contains(&object.digest));
        for object in gone {
            if !edges.guard.holds() {
                return;
            }
            match edges.broker.delete(BUCKET_RESULTS, &object.digest).await {
                Ok(()) => tracing::info!(digest = %object.digest, "a result without a job was deleted"),
                Err(error) => {
                    tracing::warn!(digest = %object.digest, error = %Chain(&error), "a result was not deleted");
                }
            }
        }
    }
}
