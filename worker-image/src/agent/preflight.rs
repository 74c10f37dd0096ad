//! Trying a job out before it is accepted: does it compile, do its arguments fit, are its units pure, how long does one take.

use std::time::{Duration, Instant};

use orion_engine::Load;
use orion_protocol::ids::preflight_digest;
use orion_protocol::messages::{AnswerBody, TaskBody, Trial};
use orion_protocol::statements::Preflighted;
use orion_protocol::{Reason, Refusal, Signed};

use crate::agent::Agent;
use crate::agent::materials::{JobRef, unusable};
use crate::agent::retry::{Deadline, Trouble};
use crate::agent::verify::Lease;
use crate::executor::Fault;

/// Left for the answer when the trial takes all the time there is.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// A trial that ran so long and did not end is too slow. One that had less, because its materials came late, says nothing.
const TRIAL_TIME: Duration = Duration::from_secs(30);

/// Tries the job out; whatever is wrong with it is an answer. What is wrong with this machine is not: it says "I cannot", and
/// the operator asks again.
pub async fn preflight(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let TaskBody::Preflight(trial) = &lease.body else { return Err(unusable("the task is no preflight")) };
    if preflight_digest(&trial.job, &trial.workload, &trial.inputs) != lease.core.task {
        return Err(unusable("the lease is for another workload, other inputs or another job"));
    }
    let outcome = try_out(agent, lease, trial, deadline.less(ANSWER_TIME)).await?;
    Ok(answer(agent, lease, outcome))
}

/// The signed word about a trial: a unit's time, or what is wrong.
pub fn answer(agent: &Agent, lease: &Lease, outcome: Result<u64, Refusal>) -> AnswerBody {
    let (unit_nanos, refused) = match outcome {
        Ok(nanos) => (Some(nanos), None),
        Err(refusal) => (None, Some(refusal)),
    };
    let said = Preflighted { lease: lease.digest(), unit_nanos, refused };
    AnswerBody::Preflighted(Signed::new(&agent.identity.chain, &agent.identity.key, &said))
}

/// The trial's outcome where it says something about the job; what befell this machine is trouble, and is tried again.
async fn try_out(
    agent: &Agent,
    lease: &Lease,
    trial: &Trial,
    deadline: Deadline,
) -> Result<Result<u64, Refusal>, Trouble> {
    let Trial { workload, inputs, units, outputs, job: _ } = trial;
    let job = JobRef { workload, inputs, units: *units, outputs };
    let (load, _memory) = match agent.fetch(lease, job, deadline).await {
        Ok(fetched) => fetched,
        Err(Trouble::Refused(refusal)) if is_of_job(refusal.reason) => return Ok(Err(refusal)),
        Err(trouble) => return Err(trouble),
    };
    let mut outcome = attempt(agent, &load, deadline).await?;
    if let Err(fault) = &outcome
        && fault.refusal().reason == Reason::KernelFault
    {
        // What a kernel does it does again, in another process too; what befell the first one seldom comes twice.
        tracing::info!(%fault, "the trial is made once more");
        outcome = attempt(agent, &load, deadline).await?;
    }
    match outcome {
        Ok(nanos) => Ok(Ok(nanos)),
        Err(fault) if is_of_job(fault.refusal().reason) => Ok(Err(fault.into_refusal())),
        Err(fault) => Err(Trouble::Refused(fault.into_refusal())),
    }
}

/// One trial in an executor of its own.
async fn attempt(agent: &Agent, load: &Load, deadline: Deadline) -> Result<Result<u64, Fault>, Trouble> {
    let mut executor = agent.executors.spawn()?;
    let started = Instant::now();
    let outcome = match executor.load(load, deadline.0).await {
        Ok(()) => executor.preflight(deadline.0).await,
        Err(fault) => Err(fault),
    };
    executor.close().await;
    Ok(outcome.map_err(|fault| match fault {
        Fault::TimedOut(refusal) => Fault::TimedOut(lateness(&refusal, started.elapsed())),
        other => other,
    }))
}

/// Lateness says something about the job if nothing but the trial took the time, and enough of it.
fn lateness(refusal: &Refusal, had: Duration) -> Refusal {
    let reason = if had < TRIAL_TIME { Reason::LeaseExpired } else { Reason::PreflightTimeout };
    Refusal::new(reason, format!("{} (after {:.1} s)", refusal.message, had.as_secs_f64()))
}

/// Whether a job is refused for this reason, for good: only for what it would meet on any machine. A kernel's fault is one
/// only when it came twice.
fn is_of_job(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidSpec
            | Reason::InvalidInput
            | Reason::CompileFailed
            | Reason::ArgumentMismatch
            | Reason::UnsupportedKernel
            | Reason::NotExact
            | Reason::KernelNotUnitPure
            | Reason::TooLarge
            | Reason::KernelFault
            | Reason::PreflightTimeout
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_the_jobs_only_when_it_had_its_time() {
        let reason = |had| lateness(&Refusal::new(Reason::LeaseExpired, "late"), had).reason;
        assert_eq!(reason(TRIAL_TIME), Reason::PreflightTimeout);
        assert_eq!(reason(Duration::from_secs(29)), Reason::LeaseExpired);
    }
}
