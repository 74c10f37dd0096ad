//! Leases reach their worker once, and only after the operator made its consumer.

use std::time::Duration;

use orion_broker::{Error, UserKey};
use orion_protocol::messages::Message as _;

use crate::support::{bounds, laid, name, task};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn laying_out_again_changes_nothing() {
    let laid = laid().await;
    let first = laid.operator.ensure_provider(&name("p1"), &bounds()).await.unwrap();
    let second = laid.operator.ensure_provider(&name("p1"), &bounds()).await.unwrap();
    assert_eq!(first, second);
    laid.operator.delete_provider(&name("p1")).await.unwrap();
    assert_eq!(laid.operator.stream_facts("COMMIT_p1").await.unwrap(), None);
    let third = laid.operator.ensure_provider(&name("p1"), &bounds()).await.unwrap();
    assert_ne!(second[0].created, third[0].created, "a stream made anew has another creation time");
}

#[tokio::test]
async fn a_changed_bound_is_updated_in_place() {
    let laid = laid().await;
    let before = laid.operator.ensure_provider(&name("p1"), &bounds()).await.unwrap();
    let mut wider = bounds();
    wider.work_messages += 1;
    assert_eq!(laid.operator.ensure_provider(&name("p1"), &wider).await.unwrap(), before);
    assert_eq!(laid.operator.ensure_provider(&name("p1"), &wider).await.unwrap(), before);
}

#[tokio::test]
async fn a_lease_is_delivered_until_claimed_and_never_after() {
    let laid = laid().await;
    let (provider, worker) = (name("p1"), name("w1"));
    let client = laid.server.provider("p1").await.unwrap();
    let early = client.next_task(&provider, &worker, SHORT).await;
    assert!(matches!(early, Err(Error::NoResponders { .. })), "{early:?}");

    laid.operator.ensure_consumer(&provider, &worker).await.unwrap();
    laid.operator.ensure_consumer(&provider, &worker).await.unwrap();
    assert!(client.next_task(&provider, &worker, SHORT).await.unwrap().is_none());

    let (digest, sent) = task(&worker, 0);
    laid.operator.publish_task(&provider, &worker, &digest, &sent).await.unwrap();
    laid.operator.publish_task(&provider, &worker, &digest, &sent).await.unwrap();
    let first = client.next_task(&provider, &worker, LONG).await.unwrap().unwrap();
    assert_eq!(first.bytes(), sent.to_bytes());
    // Unclaimed, so it comes again after the acknowledgement's time.
    let again = client.next_task(&provider, &worker, LONG).await.unwrap().unwrap();
    assert_eq!(again.bytes(), sent.to_bytes());
    client.claim(&again).await.unwrap();
    client.claim(&first).await.unwrap();
    assert!(client.next_task(&provider, &worker, SHORT).await.unwrap().is_none());
    assert_eq!(laid.operator.stream_facts("WORK_p1").await.unwrap().unwrap().messages, 0);
}

#[tokio::test]
async fn a_refused_delivery_does_not_come_again_and_others_do() {
    let laid = laid().await;
    let (provider, worker) = (name("p1"), name("w1"));
    let client = laid.server.provider("p1").await.unwrap();
    laid.operator.ensure_consumer(&provider, &worker).await.unwrap();
    for shard in 0..2 {
        let (digest, sent) = task(&worker, shard);
        laid.operator.publish_task(&provider, &worker, &digest, &sent).await.unwrap();
    }
    let bad = client.next_task(&provider, &worker, LONG).await.unwrap().unwrap();
    client.refuse(&bad).await.unwrap();
    let good = client.next_task(&provider, &worker, LONG).await.unwrap().unwrap();
    assert_eq!(good.bytes(), task(&worker, 1).1.to_bytes());
    client.claim(&good).await.unwrap();
    assert!(client.next_task(&provider, &worker, SHORT).await.unwrap().is_none());
}

#[tokio::test]
async fn recalled_and_purged_leases_are_gone() {
    let laid = laid().await;
    let (provider, worker) = (name("p1"), name("w1"));
    let (digest, sent) = task(&worker, 0);
    let sequence = laid.operator.publish_task(&provider, &worker, &digest, &sent).await.unwrap();
    laid.operator.recall(&provider, sequence).await.unwrap();
    laid.operator.recall(&provider, sequence).await.unwrap();
    let (digest, sent) = task(&worker, 1);
    laid.operator.publish_task(&provider, &worker, &digest, &sent).await.unwrap();
    assert_eq!(laid.operator.purge_tasks(&provider, &worker).await.unwrap(), 1);
    assert_eq!(laid.operator.stream_facts("WORK_p1").await.unwrap().unwrap().messages, 0);
}

#[tokio::test]
async fn a_wrong_key_never_connects() {
    let laid = laid().await;
    let stranger = UserKey::generate().unwrap();
    let settings = orion_broker::Settings {
        url: laid.server.url(),
        seed: stranger.seed,
        inbox_prefix: "_INBOX_p1".into(),
        name: "stranger".into(),
    };
    let broker = orion_broker::connect(&settings).await.unwrap();
    let read = broker.exists("in", &orion_protocol::Digest::ZERO).await;
    assert!(read.is_err() && !broker.is_connected(), "{read:?}");
}
