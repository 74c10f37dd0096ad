//! Work, audits and referee leases: units are run and hashed. Work stores its rows and commits to them;
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
use crate::agent::session::Session;
use crate::agent::shard::{self, Shard, Units};
use crate::agent::verify::Lease;

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
    check_shard(&spec, lease)?;
    let mut session = Session::open(agent, lease, &spec, deadline.less(ANSWER_TIME)).await?;
    let (progress, done) = tokio::sync::watch::channel(0);
    let run = session.run(units, |units| {
        progress.send_replace(units);
    });
    let result = tokio::select! {
        // Progress first: short work is over as soon as it has some.
        biased;
        never = agent.report_progress(lease.digest(), done) => match never {},
        result = run => result,
    };
    session.close();
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
    let mut session = Session::open(agent, lease, &spec, deadline).await?;
    let result = run_drawn(&mut session, drawn).await;
    session.close();
    let digests = result?;
    agent.metrics.units.inc_by(digests.len() as u64);
    Ok(digests)
}

async fn run_drawn(session: &mut Session<'_>, drawn: Vec<u64>) -> Result<Vec<UnitDigest>, Trouble> {
    let mut digests = Vec::with_capacity(drawn.len());
    for unit in drawn {
        let shard = session.run(Units { first: unit, count: 1 }, |_| {}).await?;
        digests.extend(shard.digests.into_iter().map(|digest| UnitDigest { unit, digest }));
    }
    Ok(digests)
}

/// The signed vote of an audit. Round and audited lease are what the operator says that they are; the task is what was computed.
pub fn vote(agent: &Agent, lease: &Lease, units: Vec<UnitDigest>) -> Result<AnswerBody, Trouble> {
    let AuditOf { round, lease: audited, .. } = audit_of(lease)?;
    let (class, task) = (agent.device()?.class, Some(lease.core.task));
    let vote = Vote { round: *round, lease: *audited, units, class, task };
    Ok(AnswerBody::Voted(Signed::new(&agent.identity.chain, &agent.identity.key, &vote)))
}

fn audit_of(lease: &Lease) -> Result<&AuditOf, Trouble> {
    lease.core.audit.as_ref().ok_or_else(|| unusable("the lease does not say what it audits"))
}

/// Refuses ranges that are no shard of the job.
pub fn check_shard(spec: &TaskSpec, lease: &Lease) -> Result<(), Trouble> {
    if spec.units.shard(lease.core.shard) != Some((lease.core.first_unit, lease.core.units)) {
        return Err(unusable("the lease's units are not those of its shard"));
    }
    Ok(())
}
