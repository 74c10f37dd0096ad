//! Work, audits and referee leases: units are run in bounded chunks and hashed. Work stores its rows and commits to them;
//! an audit only says what came out.

use std::time::Duration;

use orion_broker::ObjectError;
use orion_protocol::messages::AnswerBody;
use orion_protocol::statements::{AuditOf, UnitDigest, Vote};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Reason, Refusal, Signed, subjects};

use crate::agent::Agent;
use crate::agent::materials::unusable;
use crate::agent::retry::{self, Deadline, Trouble};
use crate::agent::shard::{self, Shard, Units};
use crate::agent::verify::Lease;
use crate::executor::{Executor, Fault};

/// Rows asked for at a time, in bytes, and units at a time.
const CHUNK_BYTES: u64 = 8 << 20;
const CHUNK_UNITS: u64 = 65_536;
/// Storing and committing should begin so long before the deadline.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Runs the units of a work lease, stores their rows, and commits to them.
pub async fn work(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let shard = compute_work(agent, lease, deadline).await?;
    store(agent, &shard, deadline).await?;
    commit(agent, lease, &shard)
}

/// The rows and digests of a work lease.
pub async fn compute_work(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<Shard, Trouble> {
    let (task, units) = (lease.core.task, Units { first: lease.core.first_unit, count: lease.core.units });
    let spec = agent.source(deadline).task_spec(&task).await?;
    check_shard(&spec, lease, agent.memory)?;
    let mut executor = executor(agent, &task, &spec, deadline.less(ANSWER_TIME)).await?;
    let (progress, done) = tokio::sync::watch::channel(0);
    let run = run(&mut executor, &task, &spec, units, deadline.less(ANSWER_TIME), |units| {
        progress.send_replace(units);
    });
    let result = tokio::select! {
        result = run => result,
        never = agent.report_progress(lease.digest(), done) => match never {},
    };
    agent.executors.give_back(task, executor);
    let shard = result?;
    agent.metrics.units.inc_by(units.count);
    Ok(shard)
}

/// Stores rows and digest list in the provider's bucket.
pub async fn store(agent: &Agent, shard: &Shard, deadline: Deadline) -> Result<(), Trouble> {
    let bucket = subjects::bucket_out(&agent.identity.provider);
    let list = shard::digest_list(&shard.digests);
    for object in shard.outputs.iter().chain([&list]) {
        put(agent, &bucket, object, deadline).await?;
    }
    Ok(())
}

/// Stores an object, trying until the deadline.
pub async fn put(agent: &Agent, bucket: &str, object: &[u8], deadline: Deadline) -> Result<Digest, Trouble> {
    let stored = retry::objects(deadline, || agent.broker.put(bucket, object)).await;
    stored.map_err(|error| error.or(|error: ObjectError| Refusal::new(Reason::InternalError, error.to_string())))
}

/// The signed commitment to a shard.
pub fn commit(agent: &Agent, lease: &Lease, shard: &Shard) -> Result<AnswerBody, Trouble> {
    let salt = lease.tail.salt.ok_or_else(|| unusable("the lease has no salt"))?;
    let units = Units { first: lease.core.first_unit, count: lease.core.units };
    let commitment = shard::commitment(lease.digest(), &salt, units, shard, &agent.device()?);
    Ok(AnswerBody::Committed(Signed::new(&agent.identity.chain, &agent.identity.key, &commitment)))
}

/// Runs the drawn units of an audit and votes.
pub async fn audit(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let units = compute_audit(agent, lease, deadline).await?;
    vote(agent, lease, units)
}

/// The digests of an audit's units, ascending.
pub async fn compute_audit(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<Vec<UnitDigest>, Trouble> {
    let task = lease.core.task;
    let spec = agent.source(deadline).task_spec(&task).await?;
    let mut drawn = audit_of(lease)?.units.clone();
    drawn.sort_unstable();
    drawn.dedup();
    if drawn.is_empty() || drawn.last().is_some_and(|last| *last >= spec.units.units()) {
        return Err(unusable("the audited units are not units of the job"));
    }
    let mut executor = executor(agent, &task, &spec, deadline).await?;
    let mut digests = Vec::with_capacity(drawn.len());
    let mut fault = None;
    for unit in drawn {
        match run(&mut executor, &task, &spec, Units { first: unit, count: 1 }, deadline, |_| {}).await {
            Ok(shard) => digests.extend(shard.digests.into_iter().map(|digest| UnitDigest { unit, digest })),
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
    }
    agent.executors.give_back(task, executor);
    agent.metrics.units.inc_by(digests.len() as u64);
    match fault {
        None => Ok(digests),
        Some(fault) => Err(fault.into()),
    }
}

/// The signed vote of an audit.
pub fn vote(agent: &Agent, lease: &Lease, units: Vec<UnitDigest>) -> Result<AnswerBody, Trouble> {
    let AuditOf { round, lease: audited, .. } = audit_of(lease)?;
    let vote = Vote { round: *round, lease: *audited, units, class: agent.device()?.class };
    Ok(AnswerBody::Voted(Signed::new(&agent.identity.chain, &agent.identity.key, &vote)))
}

fn audit_of(lease: &Lease) -> Result<&AuditOf, Trouble> {
    lease.core.audit.as_ref().ok_or_else(|| unusable("the lease does not say what it audits"))
}

/// An executor with the task loaded.
async fn executor(agent: &Agent, task: &Digest, spec: &TaskSpec, deadline: Deadline) -> Result<Executor, Trouble> {
    if let Some(executor) = agent.executors.idle(task) {
        return Ok(executor);
    }
    let source = agent.source(deadline);
    let load = source.load(&spec.workload, &spec.inputs, spec.units, spec.outputs.clone()).await?;
    agent.executors.loaded(&load, deadline).await
}

/// Refuses ranges that are no shard of the job, and shards that do not fit in memory.
pub fn check_shard(spec: &TaskSpec, lease: &Lease, memory: u64) -> Result<(), Trouble> {
    let units = Units { first: lease.core.first_unit, count: lease.core.units };
    if spec.units.shard(lease.core.shard) != Some((units.first, units.count)) {
        return Err(unusable("the lease's units are not those of its shard"));
    }
    let bytes = shard::row_bytes(spec, units).into_iter().fold(0_u64, u64::saturating_add);
    if bytes > memory {
        let why = format!("the shard's outputs take {bytes} bytes, this worker holds at most {memory}");
        return Err(Trouble::Refused(Refusal::new(Reason::TooLarge, why)));
    }
    Ok(())
}

/// Runs units in bounded chunks and hashes each; `progress` hears how many are done.
pub async fn run(
    executor: &mut Executor,
    task: &Digest,
    spec: &TaskSpec,
    units: Units,
    deadline: Deadline,
    mut progress: impl FnMut(u64),
) -> Result<Shard, Fault> {
    let unit_bytes = shard::row_bytes(spec, Units { first: 0, count: 1 }).into_iter().fold(0_u64, u64::saturating_add);
    let chunk = (CHUNK_BYTES / unit_bytes.max(1)).clamp(1, CHUNK_UNITS);
    let mut shard = Shard { outputs: vec![Vec::new(); spec.outputs.len()], digests: Vec::new() };
    let mut at = units.first;
    while at < units.numbers().end {
        let count = chunk.min(units.numbers().end - at);
        let done = at - units.first;
        let rows = executor.run(at, count, deadline.0, |units| progress(done + units)).await?;
        for unit in at..at + count {
            // The executor's client guarantees the lengths.
            let digest = shard::digest_of(task, spec, at, unit, &rows);
            let short = || Fault::Refused(Refusal::new(Reason::InternalError, "rows are shorter than their units"));
            shard.digests.push(digest.ok_or_else(short)?);
        }
        for (all, rows) in shard.outputs.iter_mut().zip(rows) {
            all.extend_from_slice(&rows);
        }
        at += count;
        progress(at - units.first);
        // Hashing takes the thread for a while; others want to live too.
        tokio::task::yield_now().await;
    }
    Ok(shard)
}
