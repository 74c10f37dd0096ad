//! Executors between leases: kept, lost, replaced.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orion_protocol::messages::{AnswerBody, Role};

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
