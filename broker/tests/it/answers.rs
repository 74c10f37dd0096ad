//! Answers: one a lease, read in order, over restarts.

use std::time::Duration;

use orion_broker::{Fold, FoldEvent, Stored};
use orion_protocol::messages::{Answer, Beat, Message as _};
use orion_protocol::{Digest, subjects};

use crate::support::{answer, laid, name, task};

const WAIT: Duration = Duration::from_secs(30);

/// The next event, within a deadline.
async fn next(fold: &mut Fold) -> FoldEvent {
    tokio::time::timeout(WAIT, fold.next()).await.expect("no event in time").unwrap()
}

/// The next answer, whatever else is said before it.
async fn next_answer(fold: &mut Fold) -> (u64, Vec<u8>) {
    loop {
        if let FoldEvent::Answer(recorded) = next(fold).await {
            return (recorded.sequence, recorded.bytes);
        }
    }
}

#[tokio::test]
async fn a_second_answer_to_a_lease_is_refused_and_the_first_is_kept() {
    let laid = laid().await;
    let client = laid.server.provider("p1").await.unwrap();
    let (provider, worker, job) = (name("p1"), name("w1"), name("job"));
    let (lease, sent) = task(&worker, 0);
    let publish =
        async |text: &str| client.publish_answer(&provider, &worker, &job, &lease, &answer(&sent, text)).await.unwrap();
    assert_eq!(publish("first").await, Stored::Now(1));
    assert_eq!(publish("second").await, Stored::Before);
    assert_eq!(publish("first").await, Stored::Before);
    let mut fold = laid.operator.fold(&provider);
    assert!(matches!(next(&mut fold).await, FoldEvent::Opened { .. }));
    let FoldEvent::Answer(recorded) = next(&mut fold).await else { panic!("an answer comes first") };
    assert_eq!(recorded.subject, subjects::commit(&provider, &worker, &job, &lease));
    assert_eq!(Answer::from_bytes(&recorded.bytes).unwrap(), answer(&sent, "first"));
    assert_eq!(next(&mut fold).await, FoldEvent::CaughtUp);
    // Once purged, the lease can be answered again.
    assert_eq!(laid.operator.purge_answer(&provider, &worker, &job, &lease).await.unwrap(), 1);
    assert_eq!(publish("third").await, Stored::Now(2));
    assert_eq!(next_answer(&mut fold).await.0, 2);
}

#[tokio::test]
async fn an_empty_stream_is_caught_up_at_once() {
    let laid = laid().await;
    let mut fold = laid.operator.fold(&name("p1"));
    assert!(matches!(next(&mut fold).await, FoldEvent::Opened { .. }));
    assert_eq!(next(&mut fold).await, FoldEvent::CaughtUp);
}

#[tokio::test]
async fn the_fold_gives_each_answer_once_and_in_order_over_a_restart_of_the_server() {
    let mut laid = laid().await;
    let client = laid.server.provider("p1").await.unwrap();
    let (provider, worker, job) = (name("p1"), name("w1"), name("job"));
    let mut fold = laid.operator.fold(&provider);
    let mut have = Vec::new();
    // More than one pull's worth before the restart, some after.
    for shard in 0..700 {
        if shard == 600 {
            for _ in 0..600 {
                have.push(next_answer(&mut fold).await);
            }
            laid.server.restart().await.unwrap();
        }
        let (lease, sent) = task(&worker, shard);
        let answer = answer(&sent, &shard.to_string());
        let publishing =
            async { while client.publish_answer(&provider, &worker, &job, &lease, &answer).await.is_err() {} };
        tokio::time::timeout(WAIT, publishing).await.expect("the client comes back");
    }
    for _ in 0..100 {
        have.push(next_answer(&mut fold).await);
    }
    for (shard, (_, bytes)) in (0..).zip(&have) {
        assert_eq!(*bytes, answer(&task(&worker, shard).1, &shard.to_string()).to_bytes(), "{shard}");
    }
    assert!(have.is_sorted_by(|a, b| a.0 < b.0));
    // A leader that starts now reads the same.
    let mut second = laid.operator.fold(&provider);
    for recorded in &have {
        assert_eq!(next_answer(&mut second).await, *recorded);
    }
}

#[tokio::test]
async fn a_stream_made_anew_is_read_anew_and_said_so() {
    let laid = laid().await;
    let client = laid.server.provider("p1").await.unwrap();
    let (provider, worker, job) = (name("p1"), name("w1"), name("job"));
    let publish = async |shard: u32| {
        let (lease, sent) = task(&worker, shard);
        client.publish_answer(&provider, &worker, &job, &lease, &answer(&sent, "")).await.unwrap()
    };
    publish(0).await;
    publish(1).await;
    let mut fold = laid.operator.fold(&provider);
    let FoldEvent::Opened { created } = next(&mut fold).await else { panic!("it opens first") };
    assert_eq!(next_answer(&mut fold).await.0, 1);
    assert_eq!(next_answer(&mut fold).await.0, 2);
    laid.operator.delete_provider(&provider).await.unwrap();
    let facts = laid.operator.ensure_provider(&provider, &crate::support::bounds()).await.unwrap();
    assert_eq!(publish(2).await, Stored::Now(1));
    let again = loop {
        if let FoldEvent::Opened { created } = next(&mut fold).await {
            break created;
        }
    };
    assert_ne!(created, again);
    assert_eq!(facts[1].created, again, "the fold and the layout speak of the same time");
    assert_eq!(next_answer(&mut fold).await.0, 1);
}

#[tokio::test]
async fn a_job_is_purged_without_touching_others() {
    let laid = laid().await;
    let client = laid.server.provider("p1").await.unwrap();
    let (provider, worker) = (name("p1"), name("w1"));
    for (job, shard) in [("a", 0), ("a", 1), ("b", 2)] {
        let (lease, sent) = task(&worker, shard);
        client.publish_answer(&provider, &worker, &name(job), &lease, &answer(&sent, "")).await.unwrap();
    }
    assert_eq!(laid.operator.purge_job(&provider, &name("a")).await.unwrap(), 2);
    assert_eq!(laid.operator.stream_facts("COMMIT_p1").await.unwrap().unwrap().messages, 1);
}

#[tokio::test]
async fn heartbeats_arrive_with_the_name_that_the_broker_vouches_for() {
    let laid = laid().await;
    let mut heard = laid.operator.heartbeats().await.unwrap();
    laid.operator.flush().await.unwrap();
    let client = laid.server.provider("p2").await.unwrap();
    let beat = Beat::Progress(Digest::ZERO, 7);
    client.publish_beat(&name("p2"), &name("w9"), &beat).await.unwrap();
    let heard = tokio::time::timeout(WAIT, heard.next()).await.unwrap().unwrap();
    assert_eq!((heard.provider, heard.worker), (name("p2"), name("w9")));
    assert_eq!(Beat::from_bytes(&heard.bytes).unwrap(), beat);
}
