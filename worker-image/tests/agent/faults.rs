//! What must not stop a worker: bad messages, bad kernels, a broker that goes away.

use std::time::Duration;

use orion_protocol::messages::{AnswerBody, Message as _, Role, Task, TaskBody};
use orion_protocol::statements::{LeaseCore, LeaseKind, LeaseTail};
use orion_protocol::{Digest, Reason, Refusal, Signed, subjects};

use crate::support::{Job, Operator, Running, WAIT, hear, key, name, started};

/// Stores any bytes as if they were a lease.
async fn send_bytes(operator: &Operator, to: &Running, bytes: Vec<u8>) {
    let subject = subjects::work(&to.provider, &to.worker);
    let admin = operator.server.admin().await.unwrap();
    admin.client().request(subject, bytes.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_refused_for_good_and_never_stop_the_worker() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (core, good) = operator.work_task(&worker, &job, 0);
    let signed = |by: &str, core: &LeaseCore| Signed::new(&operator.chain, &key(by), core);
    let tail = |of: Digest, deadline_ms, salt| {
        Signed::new(&operator.chain, &key("operator"), &LeaseTail { lease: of, deadline_ms, salt })
    };
    let far = orion_worker::agent::now_ms() + 60_000;
    let resigned = |core: LeaseCore| {
        let lease = signed("operator", &core);
        let tail = tail(lease.digest(&operator.chain), far, Some(Digest::ZERO));
        Task { lease, tail, ..good.clone() }
    };
    let digest = good.lease.digest(&operator.chain);
    let bad = [
        b"no task at all".to_vec(),
        Vec::new(),
        vec![0xff; 70_000],
        Task { lease: signed("p1", &core), ..good.clone() }.to_bytes(),
        Task { tail: tail(Digest::ZERO, far, Some(Digest::ZERO)), ..good.clone() }.to_bytes(),
        Task { tail: tail(digest, 1, Some(Digest::ZERO)), ..good.clone() }.to_bytes(),
        Task { tail: tail(digest, far, None), ..good.clone() }.to_bytes(),
        Task { body: TaskBody::Aggregate(Digest::ZERO), ..good.clone() }.to_bytes(),
        resigned(LeaseCore { worker: name("other"), ..core.clone() }).to_bytes(),
        resigned(LeaseCore { provider: key("p2").public(), ..core.clone() }).to_bytes(),
        resigned(LeaseCore { kind: LeaseKind::Ingest, ..core.clone() }).to_bytes(),
    ];
    for bytes in bad {
        send_bytes(&operator, &worker, bytes).await;
    }
    let lease = operator.send(&worker, &good).await;
    assert!(matches!(operator.answer(&worker, &lease).await, AnswerBody::Committed(_)));
    let left = operator.broker.stream_facts("WORK_p1").await.unwrap().unwrap().messages;
    assert_eq!(left, 0, "bad messages are not delivered again");
    let facts = operator.broker.stream_facts("COMMIT_p1").await.unwrap().unwrap();
    assert_eq!(facts.last_sequence, 1, "and nobody answers them");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_cannot_be_worked_on_are_answered_with_the_reason() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (core, _) = operator.work_task(&worker, &job, 0);
    let beyond = LeaseCore { first_unit: 60, ..core.clone() };
    let unknown = LeaseCore { task: Digest::of(b"unknown"), ..core };
    for core in [beyond, unknown] {
        let body = operator.ask(&worker, &core, TaskBody::Execute).await;
        assert!(matches!(body, AnswerBody::Failed(_)));
        let refusal = operator.refusal(&worker, &body).unwrap();
        assert_eq!(refusal.reason, Reason::LeaseRefused, "{refusal}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_crashes_is_reported_and_the_next_lease_is_worked_on() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    let crash = Job::with_body("size_t far = (size_t)x[i] << 44; y[far + i] = 1;");
    for job in [&job, &crash] {
        job.store(&operator.broker).await;
    }
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (core, _) = operator.work_task(&worker, &crash, 1);
    let body = operator.ask(&worker, &core, TaskBody::Execute).await;
    let refusal = operator.refusal(&worker, &body).unwrap();
    assert_eq!(refusal.reason, Reason::KernelFault, "{refusal}");
    operator.work(&worker, &job, 0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_and_comes_back_costs_nothing() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    operator.work(&worker, &job, 0).await;
    operator.server.restart().await.unwrap();
    let (_, task) = operator.work_task(&worker, &job, 1);
    let sending = async {
        let digest = task.lease.digest(&operator.chain);
        while operator.broker.publish_task(&worker.provider, &worker.worker, &digest, &task).await.is_err() {}
        digest
    };
    let digest = tokio::time::timeout(WAIT, sending).await.expect("the operator reconnects");
    assert!(matches!(operator.answer(&worker, &digest).await, AnswerBody::Committed(_)));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_an_answer_counts_as_done() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (_, task) = operator.work_task(&worker, &job, 0);
    let digest = task.lease.digest(&operator.chain);
    // An answer from an earlier life of the worker.
    let failed = orion_protocol::statements::Failed {
        lease: digest,
        refusal: orion_protocol::Refusal::new(Reason::OutOfMemory, "before"),
    };
    let body = AnswerBody::Failed(Signed::new(&operator.chain, &key("p1"), &failed));
    let answer = orion_protocol::messages::Answer { lease: task.lease.clone(), body };
    let p1 = operator.server.provider("p1").await.unwrap();
    p1.publish_answer(&worker.provider, &worker.worker, &task.job_uid, &digest, &answer).await.unwrap();
    operator.send(&worker, &task).await;
    // The worker goes on with the next one, and the first answer is still there.
    operator.work(&worker, &job, 1).await;
    let kept = operator.answer(&worker, &digest).await;
    assert_eq!(kept, answer.body);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_but_stands_in_its_place_does_not_cost_the_lease() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (_, task) = operator.work_task(&worker, &job, 0);
    let digest = task.lease.digest(&operator.chain);
    let place = subjects::commit(&worker.provider, &worker.worker, &task.job_uid, &digest);
    let admin = operator.server.admin().await.unwrap();
    admin.client().request(place.clone(), "no answer".into()).await.unwrap();
    let mut heard = operator.broker.heartbeats().await.unwrap();
    operator.send(&worker, &task).await;
    // The leader removes it while the worker is at it.
    hear(&mut heard, started).await;
    operator.broker.purge_answer_subject(&worker.provider, &place).await.unwrap();
    assert!(matches!(operator.answer(&worker, &digest).await, AnswerBody::Committed(_)));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_deadline_comes_while_it_runs_is_dropped_in_silence() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    let slow = Job::with_body("int s = 0; for (int a = 0; a < 2000000000; a++) { s = s * 3 + a + x[i]; } y[i] = s;");
    for job in [&job, &slow] {
        job.store(&operator.broker).await;
    }
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (core, _) = operator.work_task(&worker, &slow, 0);
    let task = operator.task(&core, TaskBody::Execute, Duration::from_secs(4));
    operator.send(&worker, &task).await;
    operator.work(&worker, &job, 0).await;
    assert_eq!(operator.broker.stream_facts("COMMIT_p1").await.unwrap().unwrap().messages, 1);
    worker.stop().await;
}

/// The platform's answer to a preflight of a job: its kind and the refusal in it.
async fn tried(operator: &mut Operator, platform: &Running, job: &Job, lasts: Duration) -> (AnswerBody, Refusal) {
    let (digest, trial) = job.trial();
    let core = operator.core(platform, LeaseKind::Preflight, digest);
    let task = operator.task(&core, TaskBody::Preflight(trial), lasts);
    let lease = operator.send(platform, &task).await;
    let body = operator.answer(platform, &lease).await;
    let refusal = operator.refusal(platform, &body).unwrap();
    (body, refusal)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_refuses_a_job_for_its_own_faults() {
    let mut operator = Operator::start().await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    let crash = "size_t far = ((size_t)x[i] + 1) << 44; y[far + i] = 1;";
    for (body, reason) in [("no C at all", Reason::CompileFailed), (crash, Reason::KernelFault)] {
        let job = Job::with_body(body);
        job.store(&operator.broker).await;
        let (body, refusal) = tried(&mut operator, &platform, &job, WAIT).await;
        assert!(matches!(body, AnswerBody::Preflighted(_)), "{refusal}");
        assert_eq!(refusal.reason, reason, "{refusal}");
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_never_refuses_a_job_for_the_platforms_troubles() {
    let mut operator = Operator::start().await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    // The inputs are not there.
    let lost = Job::with_body("y[i] = x[i] + 77;");
    operator.broker.put(subjects::BUCKET_IN, &lost.workload.object()).await.unwrap();
    let mut lost = lost;
    lost.spec.inputs = vec![Digest::of(b"never stored")];
    let (body, refusal) = tried(&mut operator, &platform, &lost, WAIT).await;
    assert!(matches!(body, AnswerBody::Failed(_)), "{refusal}");
    assert_eq!(refusal.reason, Reason::LeaseRefused, "{refusal}");
    // Too little time was left for the trial.
    let slow = Job::with_body("int s = 0; for (int a = 0; a < 2000000000; a++) { s = s * 3 + a + x[i]; } y[i] = s;");
    slow.store(&operator.broker).await;
    let (body, refusal) = tried(&mut operator, &platform, &slow, Duration::from_secs(6)).await;
    assert!(matches!(body, AnswerBody::Failed(_)), "{refusal}");
    assert_eq!(refusal.reason, Reason::LeaseExpired, "{refusal}");
    platform.stop().await;
}
