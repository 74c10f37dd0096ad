//! Ingesting a commitment: all that was committed is fetched, hashed unit by unit against the root, and copied to where its
//! provider cannot touch it. After that nothing can be withheld.
//!
//! Never refuses because the broker is slow; only what is missing or wrong while the broker answers is said so.

use orion_broker::ObjectError;
use orion_protocol::messages::{AnswerBody, Committed, TaskBody};
use orion_protocol::rows::Span;
use orion_protocol::statements::{Commitment, Ingested, LeaseKind};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Reason, Refusal, Signed, Verified, subjects};

use crate::agent::Agent;
use crate::agent::execute;
use crate::agent::materials::unusable;
use crate::agent::retry::{self, Deadline, Trouble};
use crate::agent::shard::{self, ENTRY_BYTES, Units};
use crate::agent::verify::Lease;

/// Between hashing so many bytes, others get the thread.
const YIELD_BYTES: u64 = 4 << 20;

/// Fetches, checks and copies; a refusal of the commitment is an answer.
pub async fn ingest(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let TaskBody::Ingest(committed) = &lease.body else { return Err(unusable("the task is no ingestion")) };
    let commitment = verify(agent, lease, committed)?;
    let spec = agent.source(deadline).task_spec(&lease.core.task).await?;
    execute::check_shard(&spec, lease)?;
    agent.take_rows(lease, &spec, deadline).await?;
    let refused = match take_in(agent, lease, committed, &commitment, &spec, deadline).await {
        Ok(()) => None,
        Err(Trouble::Refused(refusal)) if is_providers(&refusal) => Some(refusal),
        Err(trouble) => return Err(trouble),
    };
    let said = Ingested { commitment: commitment.digest(), refused };
    Ok(AnswerBody::Ingested(Signed::new(&agent.identity.chain, &agent.identity.key, &said)))
}

fn is_providers(refusal: &Refusal) -> bool {
    matches!(refusal.reason, Reason::OutputUnavailable | Reason::OutputMismatch)
}

/// That commitment and work lease belong together and to this ingestion. Anything else is the sender's mistake.
fn verify(agent: &Agent, lease: &Lease, committed: &Committed) -> Result<Verified<Commitment>, Trouble> {
    let identity = &agent.identity;
    // Whoever's it is: an operator before the one that asks may have given it, and what counts is that it is what is asked about.
    let work = committed.lease.verify(&identity.chain, &committed.lease.key());
    let work = work.map_err(|error| unusable(&retry::chain(&error)))?;
    let commitment = committed.commitment.verify(&identity.chain, &work.provider);
    let commitment = commitment.map_err(|error| unusable(&retry::chain(&error)))?;
    let core = &lease.core;
    let same = work.kind == LeaseKind::Work
        && work.task == core.task
        && (work.shard, work.first_unit, work.units) == (core.shard, core.first_unit, core.units);
    if !same || commitment.lease != work.digest() {
        return Err(unusable("the commitment is to another lease than the one that is to be ingested"));
    }
    Ok(commitment)
}

async fn take_in(
    agent: &Agent,
    lease: &Lease,
    committed: &Committed,
    commitment: &Commitment,
    spec: &TaskSpec,
    deadline: Deadline,
) -> Result<(), Trouble> {
    let units = Units { first: lease.core.first_unit, count: lease.core.units };
    let salt = lease.tail.salt.ok_or_else(|| unusable("the lease has no salt"))?;
    if commitment.units != units.count || commitment.outputs.len() != spec.outputs.len() {
        return Err(mismatch("the commitment is to another number of units or outputs than the lease"));
    }
    let bucket = subjects::bucket_out(&committed.provider);
    let list = fetch(agent, &bucket, &commitment.digest_list, units.count * ENTRY_BYTES, "the digest list", deadline);
    let list = list.await?;
    let outputs = outputs(agent, &bucket, commitment, &shard::span(spec, units), spec, deadline).await?;
    let digests = hash(&lease.core.task, spec, units, &outputs, &list).await?;
    if shard::root(&salt, units.first, &digests) != commitment.root {
        return Err(mismatch("the unit digests are not under the committed root"));
    }
    for object in outputs.iter().chain([&list]) {
        execute::put(agent, subjects::BUCKET_HELD, object, deadline).await?;
    }
    Ok(())
}

/// The committed outputs. Those that say how much others keep come first: so each has the one length that it may have.
async fn outputs(
    agent: &Agent,
    bucket: &str,
    commitment: &Commitment,
    span: &Span<'_>,
    spec: &TaskSpec,
    deadline: Deadline,
) -> Result<Vec<Vec<u8>>, Trouble> {
    let mut outputs = vec![Vec::new(); spec.outputs.len()];
    for keeps in [false, true] {
        for (at, digest) in commitment.outputs.iter().enumerate() {
            if span.lengths_of(at).is_some() == keeps {
                let size = span.kept(at, |lengths| outputs[lengths].as_slice());
                let size = size.map_err(|error| mismatch(&error.to_string()))?;
                let what = format!("output {}", spec.outputs[at].name);
                outputs[at] = fetch(agent, bucket, digest, size, &what, deadline).await?;
            }
        }
    }
    Ok(outputs)
}

/// One committed object of exactly `size` bytes.
async fn fetch(
    agent: &Agent,
    bucket: &str,
    digest: &Digest,
    size: u64,
    what: &str,
    deadline: Deadline,
) -> Result<Vec<u8>, Trouble> {
    let got = retry::objects(deadline, || agent.broker.get(bucket, digest, size)).await;
    let bytes = got.map_err(|error| {
        error.or(|error| {
            let reason = match error {
                ObjectError::NotFound { .. } => Reason::OutputUnavailable,
                _ => Reason::OutputMismatch,
            };
            Refusal::new(reason, format!("{what}: {error}"))
        })
    })?;
    if bytes.len() as u64 != size {
        return Err(mismatch(&format!("{what} is {} bytes long, its units have {size}", bytes.len())));
    }
    Ok(bytes)
}

/// Hashes every unit, and compares with the digest list.
async fn hash(
    task: &Digest,
    spec: &TaskSpec,
    units: Units,
    outputs: &[Vec<u8>],
    list: &[u8],
) -> Result<Vec<Digest>, Trouble> {
    let unit_bytes = shard::span(spec, Units { first: 0, count: 1 }).room().into_iter().fold(0, u64::saturating_add);
    let together = (YIELD_BYTES / unit_bytes.max(1)).max(1);
    let hashed = shard::digests(task, spec, units, outputs).map_err(|error| mismatch(&error.to_string()))?;
    let mut digests = Vec::with_capacity(list.len() / 32);
    for ((unit, digest), listed) in units.numbers().zip(hashed).zip(list.chunks(32)) {
        if digest.0 != listed {
            return Err(mismatch(&format!("unit {unit} does not hash to its listed digest")));
        }
        digests.push(digest);
        if unit % together == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(digests)
}

fn mismatch(why: &str) -> Trouble {
    Trouble::Refused(Refusal::new(Reason::OutputMismatch, why))
}
