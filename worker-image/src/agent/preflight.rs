//! Trying a job out before it is accepted: does it compile, do its arguments fit, are its units pure, how long does one take.

use std::time::Duration;

use orion_protocol::ids::preflight_digest;
use orion_protocol::messages::{AnswerBody, TaskBody, Trial};
use orion_protocol::statements::Preflighted;
use orion_protocol::{Refusal, Signed};

use crate::agent::Agent;
use crate::agent::executors::of_preflight;
use crate::agent::materials::unusable;
use crate::agent::retry::{Deadline, Trouble};
use crate::agent::verify::Lease;

/// Left for the answer when the trial takes all the time there is.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Tries the job out; whatever is wrong with it is an answer.
pub async fn preflight(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let TaskBody::Preflight(trial) = &lease.body else { return Err(unusable("the task is no preflight")) };
    if preflight_digest(&trial.job, &trial.workload, &trial.inputs) != lease.core.task {
        return Err(unusable("the lease is for another workload, other inputs or another job"));
    }
    let outcome = try_out(agent, trial, deadline.less(ANSWER_TIME)).await?;
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

async fn try_out(agent: &Agent, trial: &Trial, deadline: Deadline) -> Result<Result<u64, Refusal>, Trouble> {
    let Trial { workload, inputs, units, outputs, job: _ } = trial;
    let load = match agent.source(deadline).load(workload, inputs, *units, outputs.clone()).await {
        Ok(load) => load,
        Err(Trouble::Refused(refusal)) => return Ok(Err(refusal)),
        Err(gave_up) => return Err(gave_up),
    };
    let mut executor = agent.executors.spawn()?;
    let outcome = match executor.load(&load, deadline.0).await {
        Ok(()) => executor.preflight(deadline.0).await,
        Err(fault) => Err(fault),
    };
    executor.close().await;
    Ok(outcome.map_err(of_preflight))
}
