//! Executors between leases: kept, lost, replaced.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orion_protocol::Reason;
use orion_protocol::messages::{AnswerBody, Role, TaskBody};

use crate::support::{Job, Operator, WAIT};

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_ended_while_it_idled_costs_no_lease() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    operator.work(&worker, &job, 0).await;
    let [first] = operator.executors().try_into().unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    operator.work(&worker, &job, 1).await;
    let [second] = operator.executors().try_into().unwrap();
    assert_ne!(first, second);
    operator.work(&worker, &job, 2).await;
    assert_eq!(operator.executors(), [second], "an executor that lives is used again");
    worker.stop().await;
}

/// What a shard of the job takes: the input's file three times over, output, staging; rows four times over and 20 units' digests.
const JOB_BYTES: u64 = 3 * 4128 + 4000 + 63 * 64 + 4 * 1280 + 20 * 64;

#[tokio::test(flavor = "multi_thread")]
async fn idle_executors_make_room_for_other_jobs() {
    let mut operator = Operator::start().await;
    let (first, second) = (Job::honest(), Job::with_body("y[i] = x[i] * x[i] + 1 + 2;"));
    let mut config = operator.config("p1", "w1", Role::Worker);
    config.memory = JOB_BYTES;
    let worker = operator.announced(config).await;
    let mut last = Vec::new();
    for job in [&first, &second, &first] {
        job.store(&operator.broker).await;
        operator.work(&worker, job, 0).await;
        let now = operator.executors();
        assert_eq!(now.len(), 1, "both do not fit");
        assert_ne!(std::mem::replace(&mut last, now.clone()), now);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_fits_is_refused_with_what_it_takes() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let mut config = operator.config("p1", "w1", Role::Worker);
    config.memory = JOB_BYTES - 1;
    let worker = operator.announced(config).await;
    let (core, _) = operator.work_task(&worker, &job, 0);
    let body = operator.ask(&worker, &core, TaskBody::Execute).await;
    let refusal = operator.refusal(&worker, &body).unwrap();
    assert_eq!(refusal.reason, Reason::TooLarge, "{refusal}");
    for words in [format!("takes {JOB_BYTES} bytes"), format!("at most {} are", JOB_BYTES - 1)] {
        assert!(refusal.message.contains(&words), "{refusal}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_executor_that_ends_when_it_is_asked_is_replaced() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    operator.work(&worker, &job, 0).await;
    let [idle] = operator.executors().try_into().unwrap();
    // Stopped, it takes the request and does not answer.
    kill(Pid::from_raw(idle), Signal::SIGSTOP).unwrap();
    let (_, task) = operator.work_task(&worker, &job, 1);
    let lease = operator.send(&worker, &task).await;
    // Were it ended before it is asked, the lease would be answered all the same.
    assert!(tokio::time::timeout(Duration::from_secs(1), operator.answer(&worker, &lease)).await.is_err());
    kill(Pid::from_raw(idle), Signal::SIGKILL).unwrap();
    let body = tokio::time::timeout(WAIT, operator.answer(&worker, &lease)).await.unwrap();
    assert!(matches!(body, AnswerBody::Committed(_)), "{:?}", operator.refusal(&worker, &body));
    assert!(!operator.executors().contains(&idle));
    worker.stop().await;
}
