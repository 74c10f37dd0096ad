//! What is left behind on the broker: inputs of jobs that are over, what a leader held and then died, results of jobs that were
//! deleted while nobody led, chunks of broken uploads.
//!
//! It deletes nothing that an OrionJob names, that a job of the core needs, or that came lately: who puts something tells of
//! it afterwards. When in doubt it waits for the next round.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orion_broker::{Broker, Sweep};
use orion_protocol::Digest;
use orion_protocol::subjects::{BUCKET_HELD, BUCKET_IN, BUCKET_RESULTS};

use crate::clock;
use crate::edges::Edges;
use crate::job::Chain;
use crate::leadership::Guard;

/// Between two rounds.
pub const EVERY: Duration = Duration::from_mins(10);
/// Chunks are swept each so many rounds: two sweeps are further apart than any upload takes.
const SWEEP_ROUNDS: u32 = 6;
/// What is younger may be told of yet: longer than any ingest and any intake.
const YOUNG: Duration = Duration::from_mins(30);

/// What is in use, by bucket.
pub struct InUse {
    /// Of `in` and `held`; nothing when not every job that may need something is known.
    pub needed: Option<(BTreeSet<Digest>, BTreeSet<Digest>)>,
}

/// The housekeeping of a leadership.
pub struct Housekeeping {
    sweeps: [Sweep; 3],
    round: u32,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Housekeeping { sweeps: [BUCKET_IN, BUCKET_HELD, BUCKET_RESULTS].map(Sweep::new), round: 0 }
    }
}

impl Housekeeping {
    /// One round; gives old results, which somebody may still name.
    pub async fn run(&mut self, edges: &Arc<Edges>, in_use: &InUse) -> Vec<Digest> {
        if let Some((given, held)) = &in_use.needed {
            forget(&edges.broker, &edges.guard, BUCKET_IN, YOUNG, given).await;
            forget(&edges.broker, &edges.guard, BUCKET_HELD, YOUNG, held).await;
        }
        if self.round.is_multiple_of(SWEEP_ROUNDS) {
            self.sweep(edges).await;
        }
        self.round = self.round.wrapping_add(1);
        // By then its job is over, for no escrow lasts so long: until then it may be a result that no status names yet.
        let age = Duration::from_millis(edges.identity.genesis.policy.escrow_ms) + YOUNG;
        old(&edges.broker, BUCKET_RESULTS, age).await
    }

    async fn sweep(&mut self, edges: &Arc<Edges>) {
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
    }
}

/// What lies in a bucket for longer than `age`.
async fn old(broker: &Broker, bucket: &str, age: Duration) -> Vec<Digest> {
    let listed = match broker.list(bucket).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(bucket, error = %Chain(&error), "a bucket was not listed");
            return Vec::new();
        }
    };
    let Ok(limit) = clock::now().checked_sub(age) else { return Vec::new() };
    listed.iter().filter(|object| object.stored < limit).map(|object| object.digest).collect()
}

/// Deletes what is old and not in use.
async fn forget(broker: &Broker, guard: &Guard, bucket: &str, age: Duration, in_use: &BTreeSet<Digest>) {
    let mut gone = old(broker, bucket, age).await;
    gone.retain(|digest| !in_use.contains(digest));
    delete(broker, guard, bucket, &gone).await;
}

/// Deletes objects, for as long as the leadership lasts.
pub async fn delete(broker: &Broker, guard: &Guard, bucket: &str, gone: &[Digest]) {
    let mut count = 0;
    for digest in gone {
        if !guard.holds() {
            return;
        }
        match broker.delete(bucket, digest).await {
            Ok(()) => count += 1,
            Err(error) => {
                tracing::warn!(bucket, %digest, error = %Chain(&error), "an object was not deleted");
            }
        }
    }
    if count > 0 {
        tracing::info!(bucket, count, "objects that nobody needs were deleted");
    }
}

#[cfg(test)]
mod tests {
    use orion_broker::Bounds;
    use orion_broker::testing::NatsServer;

    use super::*;

    #[tokio::test]
    async fn what_is_old_and_unnamed_goes_and_nothing_else() {
        let server = NatsServer::start(&[]).await.unwrap();
        let operator = server.operator().await.unwrap();
        operator.ensure_platform(&Bounds::default()).await.unwrap();
        let kept = operator.put(BUCKET_IN, b"kept").await.unwrap();
        let old = operator.put(BUCKET_IN, b"old").await.unwrap();
        let in_use = BTreeSet::from([kept]);
        let guard = Guard::default();
        let there = async |digest| operator.exists(BUCKET_IN, &digest).await.unwrap().is_some();

        forget(&operator, &guard, BUCKET_IN, YOUNG, &in_use).await;
        assert!(there(old).await, "it is young");
        forget(&operator, &guard, BUCKET_IN, Duration::ZERO, &in_use).await;
        assert_eq!((there(kept).await, there(old).await), (true, false));

        guard.depose();
        forget(&operator, &guard, BUCKET_IN, Duration::ZERO, &BTreeSet::new()).await;
        assert!(there(kept).await, "a leader of before deletes nothing");
    }
}
