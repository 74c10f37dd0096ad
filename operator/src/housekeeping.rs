//! What is left behind on the broker: inputs of jobs that are over, what a leader held and then died, results of jobs that were
//! deleted while nobody led, objects that no job uses, chunks of broken uploads.
//!
//! It deletes nothing that an OrionJob names, that a job of the core needs, or that came lately: who puts something tells of
//! it afterwards, and who finds something there holds it first ([`Broker::hold`]). When in doubt it waits for the next round.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orion_broker::{Broker, Listed, Sweep};
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

/// Objects that people put there for jobs to come are kept for so long, and at least half as long after the last job.
const KEPT: Duration = Duration::from_hours(24);
/// Who wants an object holds it unless that was done so lately: in good time before it is not young any more.
const HELD: Duration = Duration::from_mins(10);

/// Since when an object must have been stored or held to be there for whoever wants it now.
pub fn held_since() -> Timestamp {
    ago(HELD)
}

fn ago(age: Duration) -> Timestamp {
    clock::now().checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// How old objects become that nobody uses.
#[derive(Clone, Copy)]
struct Ages {
    /// Those that came in parts.
    kept: Duration,
    /// All others.
    others: Duration,
}

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
            let ages = Ages { kept: KEPT, others: YOUNG };
            forget(&edges.broker, &edges.guard, BUCKET_IN, ages, given).await;
            forget(&edges.broker, &edges.guard, BUCKET_HELD, ages, held).await;
        }
        if self.round.is_multiple_of(SWEEP_ROUNDS) {
            self.sweep(edges).await;
        }
        self.round = self.round.wrapping_add(1);
        // By then its job is over, for no escrow lasts so long: until then it may be a result that no status names yet.
        let longest = match edges.ledger.policies().await {
            Ok(known) => known.policies.iter().map(|policy| policy.escrow_ms).max().unwrap_or(u64::MAX),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "old results are left, for how long escrows last is not known");
                return Vec::new();
            }
        };
        let age = Duration::from_millis(longest) + YOUNG;
        let listed = list(&edges.broker, BUCKET_RESULTS).await;
        listed.iter().filter(|object| object.stored < ago(age)).map(|object| object.digest).collect()
    }

    async fn sweep(&mut self, edges: &Arc<Edges>) {
        for sweep in &mut self.sweeps {
            if !edges.guard.holds() {
                return;
            }
            match sweep.sweep(&edges.broker, ago(KEPT)).await {
                Ok(0) => {}
                Ok(chunks) => tracing::info!(chunks, "chunks of broken uploads were removed"),
                Err(error) => tracing::warn!(error = %Chain(&error), "a bucket was not swept"),
            }
        }
    }
}

/// What lies in a bucket.
async fn list(broker: &Broker, bucket: &str) -> Vec<Listed> {
    broker.list(bucket).await.unwrap_or_else(|error| {
        tracing::warn!(bucket, error = %Chain(&error), "a bucket was not listed");
        Vec::new()
    })
}

/// Deletes what is old and not in use, unless somebody holds it meanwhile; holds what is in use and would else go with its job.
async fn forget(broker: &Broker, guard: &Guard, bucket: &str, ages: Ages, in_use: &BTreeSet<Digest>) {
    let mut count = 0;
    for object in list(broker, bucket).await {
        if !guard.holds() {
            return;
        }
        let in_parts = object.came_in_parts();
        let done = if !in_use.contains(&object.digest) {
            let age = if in_parts { ages.kept } else { ages.others };
            if object.stored >= ago(age) {
                continue;
            }
            broker.remove(bucket, &object).await.map(|gone| count += u32::from(gone))
        } else if in_parts {
            broker.hold(bucket, &object.digest, ago(ages.kept / 2)).await.map(|held| {
                if held.is_none() {
                    tracing::warn!(bucket, digest = %object.digest, "an object that a job uses is gone");
                }
            })
        } else {
            continue;
        };
        if let Err(error) = done {
            tracing::warn!(bucket, digest = %object.digest, error = %Chain(&error), "an old object was not looked after");
        }
    }
    if count > 0 {
        tracing::info!(bucket, count, "objects that nobody needs were deleted");
    }
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
    use orion_broker::testing::NatsServer;
    use orion_broker::{Arrived, Bounds, Incoming};

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

        let at_once = Ages { kept: Duration::ZERO, others: Duration::ZERO };
        forget(&operator, &guard, BUCKET_IN, Ages { others: YOUNG, ..at_once }, &in_use).await;
        assert!(there(old).await, "it is young");
        forget(&operator, &guard, BUCKET_IN, at_once, &in_use).await;
        assert_eq!((there(kept).await, there(old).await), (true, false));

        guard.depose();
        forget(&operator, &guard, BUCKET_IN, at_once, &BTreeSet::new()).await;
        assert!(there(kept).await, "a leader of before deletes nothing");
    }

    #[tokio::test]
    async fn what_people_put_there_is_kept_longer_and_counts_from_its_last_use() {
        let server = NatsServer::start(&[]).await.unwrap();
        let operator = server.operator().await.unwrap();
        operator.ensure_platform(&Bounds::default()).await.unwrap();
        let put = async |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let upload = Incoming { digest, size: bytes.len() as u64 };
            operator.append(BUCKET_IN, &upload, Arrived::default(), bytes).await.unwrap().unwrap();
            operator.complete(BUCKET_IN, &upload).await.unwrap();
            digest
        };
        let (used, unused) = (put(b"used").await, put(b"unused").await);
        let stored = async || {
            let listed = operator.list(BUCKET_IN).await.unwrap();
            let of = |digest| listed.iter().find(|object| object.digest == digest).map(|object| object.stored);
            (of(used), of(unused))
        };
        let (guard, before) = (Guard::default(), stored().await);
        let hour = Duration::from_hours(1);
        forget(&operator, &guard, BUCKET_IN, Ages { kept: hour, others: Duration::ZERO }, &BTreeSet::new()).await;
        assert_eq!(stored().await, before, "the others' age is not theirs");

        let at_once = Ages { kept: Duration::ZERO, others: hour };
        forget(&operator, &guard, BUCKET_IN, at_once, &BTreeSet::from([used])).await;
        let after = stored().await;
        assert!(after.0 > before.0, "held while it is used");
        assert_eq!(after.1, None);
        let chunks = operator.count_in_parts(BUCKET_IN).await.unwrap();
        assert_eq!(chunks, 1, "the chunks go with it");
    }
}
