//! From a verified lease to a stored answer.
//!
//! [`Answering`] is the one seam: what a worker says to a lease. [`Honest`] is what ships.

use std::time::{Duration, Instant};

use orion_broker::Stored;
use orion_protocol::messages::{Answer, AnswerBody, Beat};
use orion_protocol::statements::{Failed, LeaseKind};
use orion_protocol::{Refusal, Signed};

use crate::agent::retry::{Deadline, Trouble, chain};
use crate::agent::verify::Lease;
use crate::agent::{Agent, aggregate, execute, ingest, now_ms, preflight};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Who finds the lease answered looks once more after this time: what stood there may have been no answer at all, which the
/// leader removes as soon as it reads it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How leases are answered.
pub trait Answering: Send + Sync + 'static {
    /// The signed answer to a lease; called at most [`Agent::slots`] times at once, dropped at the deadline.
    fn answer(
        &self,
        agent: &Agent,
        lease: &Lease,
        deadline: Deadline,
    ) -> impl Future<Output = Result<AnswerBody, Trouble>> + Send;
}

/// Does what the lease says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest;

impl Answering for Honest {
    async fn answer(&self, agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
        match lease.core.kind {
            LeaseKind::Work => execute::work(agent, lease, deadline).await,
            LeaseKind::Audit | LeaseKind::Referee => execute::audit(agent, lease, deadline).await,
            LeaseKind::Preflight => preflight::preflight(agent, lease, deadline).await,
            LeaseKind::Ingest => ingest::ingest(agent, lease, deadline).await,
            LeaseKind::Aggregate => aggregate::aggregate(agent, lease, deadline).await,
        }
    }
}

/// How a lease ended, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Answered,
    /// Answered with a refusal.
    Refused,
    /// The lease had an answer already.
    AnsweredBefore,
    /// Not answered.
    Dropped,
}

impl Outcome {
    /// A word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused => "refused",
            Outcome::AnsweredBefore => "answered_before",
            Outcome::Dropped => "dropped",
        }
    }
}

/// Works on a claimed lease until it is answered or its deadline comes.
pub async fn process(agent: &Agent, answering: &impl Answering, lease: &Lease) -> Outcome {
    let deadline = Deadline::of(lease.tail.deadline_ms, now_ms(), Instant::now());
    agent.beat(&Beat::Started(lease.signed.clone())).await;
    let answered = tokio::time::timeout_at(deadline.0.into(), answering.answer(agent, lease, deadline)).await;
    let (body, outcome) = match answered {
        Ok(Ok(body)) => (body, Outcome::Answered),
        Ok(Err(Trouble::Refused(refusal))) => {
            tracing::info!(lease = %lease.digest(), kind = ?lease.core.kind, %refusal, "lease is refused");
            (failed(agent, lease, refusal), Outcome::Refused)
        }
        Ok(Err(Trouble::GaveUp(why))) => {
            tracing::warn!(lease = %lease.digest(), kind = ?lease.core.kind, why, "lease is dropped");
            return Outcome::Dropped;
        }
        Err(_) => {
            tracing::warn!(lease = %lease.digest(), kind = ?lease.core.kind, "lease is dropped at its deadline");
            return Outcome::Dropped;
        }
    };
    match publish(agent, lease, body, deadline).await {
        Some(Stored::Now(_)) => outcome,
        Some(Stored::Before) => Outcome::AnsweredBefore,
        None => Outcome::Dropped,
    }
}

/// "I cannot", signed.
pub fn failed(agent: &Agent, lease: &Lease, refusal: Refusal) -> AnswerBody {
    let failed = Failed { lease: lease.digest(), refusal };
    AnswerBody::Failed(Signed::new(&agent.identity.chain, &agent.identity.key, &failed))
}

/// Stores an answer, trying until the deadline; `None` when it could not be stored.
pub async fn publish(agent: &Agent, lease: &Lease, body: AnswerBody, deadline: Deadline) -> Option<Stored> {
    let identity = &agent.identity;
    let answer = Answer { lease: lease.signed.clone(), body };
    let (mut pause, mut looked_again) = (PAUSE_FIRST, false);
    loop {
        let digest = lease.digest();
        let stored =
            agent.broker.publish_answer(&identity.provider, &identity.worker, &lease.job, &digest, &answer).await;
        match stored {
            Ok(Stored::Before) if !looked_again => {
                looked_again = true;
                if !deadline.pause(LOOK_AGAIN).await {
                    return Some(Stored::Before);
                }
                continue;
            }
            Ok(stored) => return Some(stored),
            Err(error) => {
                tracing::debug!(lease = %digest, error = chain(&error), "answer is not stored");
                if !deadline.pause(pause).await {
                    tracing::warn!(lease = %digest, error = chain(&error), "no answer was stored before the deadline");
                    return None;
                }
            }
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
