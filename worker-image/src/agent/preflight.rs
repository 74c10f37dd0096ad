//! Trying a job out before it is accepted: does it compile, do its arguments fit, are its units pure, how long does one take.

use std::time::{Duration, Instant};

use orion_engine::{Load, need};
use orion_protocol::ids::preflight_digest;
use orion_protocol::messages::{AnswerBody, TaskBody, Trial};
use orion_protocol::statements::{Found, Preflighted};
use orion_protocol::{Reason, Refusal, Signed};

use crate::agent::Agent;
use crate::agent::materials::{JobRef, unusable};
use crate::agent::retry::{Deadline, Trouble};
use crate::agent::verify::Lease;
use crate::executor::{Fault, Kernels};

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

/// The signed word about a trial: what was found out, or what is wrong.
pub fn answer(agent: &Agent, lease: &Lease, outcome: Result<Found, Refusal>) -> AnswerBody {
    let (found, refused) = match outcome {
        Ok(found) => (Some(found), None),
        Err(refusal) => (None, Some(refusal)),
    };
    let said = Preflighted { lease: lease.digest(), found, refused };
    AnswerBody::Preflighted(Signed::new(&agent.identity.chain, &agent.identity.key, &said))
}

/// The trial's outcome where it says something about the job; what befell this machine is trouble, and is tried again.
async fn try_out(
    agent: &Agent,
    lease: &Lease,
    trial: &Trial,
    deadline: Deadline,
) -> Result<Result<Found, Refusal>, Trouble> {
    let Trial { workload, inputs, units, outputs, job: _ } = trial;
    let job = JobRef { workload, inputs, units: *units, outputs, kernel_set: None };
    let (load, _memory) = match agent.fetch(lease, job, deadline).await {
        Ok(fetched) => fetched,
        Err(Trouble::Refused(refusal)) if is_of_job(refusal.reason) => return Ok(Err(refusal)),
        Err(trouble) => return Err(trouble),
    };
    let mut outcome = attempt(agent, &load, deadline).await?;
    if let Err(first) = &outcome
        && (first.refusal().reason.is_of_kernel() || first.refusal().reason == Reason::OutOfMemory)
    {
        // What a job does it does again, in another process too; what befell the first one seldom comes twice.
        tracing::info!(fault = %first, "the trial is made once more");
        // Out of memory is a job's own fault only where nobody else takes any.
        let others = match first.refusal().reason {
            Reason::OutOfMemory => agent.memory.saturating_sub(load.check(agent.memory).map_or(0, |need| need.all())),
            _ => 0,
        };
        let _alone = agent.executors.take(others, deadline).await?;
        let second = attempt(agent, &load, deadline).await?;
        // A fault that comes so late that there is no time for a second trial would never come twice.
        let late = matches!(&second, Err(fault) if fault.refusal().reason == Reason::LeaseExpired);
        if !(late && first.refusal().reason.is_of_kernel()) {
            outcome = second;
        }
    }
    match outcome {
        Ok(found) => Ok(Ok(found)),
        Err(fault) if fault.refusal().reason == Reason::OutOfMemory => {
            let why = format!("tried twice: {}", fault.refusal().message);
            Ok(Err(Refusal::new(Reason::TooLarge, why)))
        }
        Err(fault) if is_of_job(fault.refusal().reason) => Ok(Err(fault.into_refusal())),
        Err(fault) => Err(Trouble::Refused(fault.into_refusal())),
    }
}

/// One trial in an executor of its own.
async fn attempt(agent: &Agent, load: &Load, deadline: Deadline) -> Result<Result<Found, Fault>, Trouble> {
    let mut executor = agent.executors.spawn(Kernels::of(&load.workload))?;
    let started = Instant::now();
    let outcome = match executor.load(load, deadline.0).await {
        Ok(orion_engine::Found { outputs, work_per_item, device_bytes }) => {
            tracing::info!(device_bytes, "loaded a job on trial");
            let load_nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // A model's rows are known only now.
            let more = need::rows(&load.units, &outputs).saturating_sub(need::rows(&load.units, &load.outputs));
            let _rows = agent.executors.take(more, deadline).await?;
            let timed = executor.preflight(deadline.0).await;
            timed.map(|unit_nanos| Found { unit_nanos, work_per_item, outputs, load_nanos })
        }
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
    reason.is_of_kernel()
        || matches!(
            reason,
            Reason::InvalidSpec
                | Reason::InvalidInput
                | Reason::CompileFailed
                | Reason::ArgumentMismatch
                | Reason::UnsupportedKernel
                | Reason::UnsupportedOperator
                | Reason::NotExact
                | Reason::KernelNotUnitPure
                | Reason::TooLarge
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
