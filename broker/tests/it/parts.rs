//! Uploads in parts: they go on where they stopped, whoever writes; what is wrong is never found; what is wanted is not removed.

use async_nats::jetstream;
use jiff::{SignedDuration, Timestamp};
use orion_broker::{Arrived, Broker, Incoming, ObjectError, Sweep};
use orion_protocol::Digest;
use tokio::io::AsyncReadExt;

use crate::objects::{ROOM, bytes, store};
use crate::support::laid;

const CHUNK: usize = 128 * 1024;

/// All of it, in parts of two chunks.
async fn put(broker: &Broker, data: &[u8]) -> Digest {
    let upload = of(data);
    let mut arrived = broker.arrived("in", &upload).await.unwrap();
    for part in data[usize::try_from(arrived.bytes).unwrap()..].chunks(2 * CHUNK) {
        arrived = broker.append("in", &upload, arrived, part).await.unwrap().expect("nobody else writes");
    }
    broker.complete("in", &upload).await.unwrap();
    upload.digest
}

fn of(data: &[u8]) -> Incoming {
    Incoming { digest: Digest::of(data), size: data.len() as u64 }
}

#[tokio::test]
async fn an_upload_that_was_cut_off_goes_on_where_it_stopped_and_is_found_only_when_complete() {
    let laid = laid().await;
    let data = bytes(5 * CHUNK + 17, 1);
    let digest = Digest::of(&data);
    assert_eq!(laid.operator.arrived("in", &of(&data)).await.unwrap(), Arrived::default());
    let begun = laid.operator.append("in", &of(&data), Arrived::default(), &data[..2 * CHUNK]).await.unwrap();
    assert_eq!(begun.unwrap().bytes, 2 * CHUNK as u64);
    assert_eq!(laid.operator.exists("in", &digest).await.unwrap(), None);
    assert_eq!(laid.operator.put_size("in", &digest).await.unwrap(), None);
    // Another replica.
    let other = laid.server.operator().await.unwrap();
    assert_eq!(put(&other, &data).await, digest);
    assert_eq!(laid.operator.put_size("in", &digest).await.unwrap(), Some(data.len() as u64));
    let provider = laid.server.provider("p1").await.unwrap();
    assert_eq!(provider.get("in", &digest, ROOM).await.unwrap(), data);
    assert_eq!(laid.operator.head("in", &digest).await.unwrap(), data[..CHUNK]);
    let stock = jetstream::new(laid.server.admin().await.unwrap().client().clone());
    let mut read = Vec::new();
    let mut object = stock.get_object_store("in").await.unwrap().get(digest.to_string()).await.unwrap();
    object.read_to_end(&mut read).await.unwrap();
    assert!(read == data, "a stock reader got other bytes");
}

#[tokio::test]
async fn of_two_writers_one_comes_first_and_nothing_is_there_twice() {
    let laid = laid().await;
    let data = bytes(3 * CHUNK, 2);
    let digest = Digest::of(&data);
    let first = laid.operator.append("in", &of(&data), Arrived::default(), &data[..CHUNK]).await.unwrap();
    let late = laid.operator.append("in", &of(&data), Arrived::default(), &data[..CHUNK]).await.unwrap();
    assert_eq!((first.map(|arrived| arrived.bytes), late), (Some(CHUNK as u64), None));
    put(&laid.operator, &data).await;
    assert_eq!(laid.operator.get("in", &digest, ROOM).await.unwrap(), data);
}

#[tokio::test]
async fn what_does_not_hash_to_its_digest_is_refused_and_removed() {
    let laid = laid().await;
    let data = bytes(3 * CHUNK, 3);
    let digest = Digest::of(&data);
    let mut flipped = data.clone();
    flipped[CHUNK] ^= 1;
    laid.operator.append("in", &of(&data), Arrived::default(), &flipped).await.unwrap().unwrap();
    let refused = laid.operator.complete("in", &of(&data)).await;
    assert!(matches!(refused, Err(ObjectError::Mismatch { .. })), "{refused:?}");
    assert_eq!(laid.operator.arrived("in", &of(&data)).await.unwrap(), Arrived::default());
    assert_eq!(laid.operator.exists("in", &digest).await.unwrap(), None);
    // A chunk that is not even ours spoils no more than one attempt.
    store(&laid.operator, format!("$O.in.C.{digest}-{}", data.len()), b"x".to_vec()).await;
    let arrived = laid.operator.arrived("in", &of(&data)).await.unwrap();
    laid.operator.append("in", &of(&data), arrived, &data).await.unwrap().unwrap();
    assert!(laid.operator.complete("in", &of(&data)).await.is_err());
    put(&laid.operator, &data).await;
    assert_eq!(laid.operator.get("in", &digest, ROOM).await.unwrap(), data);
}

#[tokio::test]
async fn an_object_that_is_held_after_it_was_listed_is_not_removed() {
    let laid = laid().await;
    let held = put(&laid.operator, &bytes(CHUNK + 1, 4)).await;
    let small = laid.operator.put("in", b"not in parts").await.unwrap();
    let unwanted = put(&laid.operator, &bytes(CHUNK + 1, 5)).await;
    let listed = laid.operator.list("in").await.unwrap();
    let in_parts: Vec<Digest> = listed.iter().filter(|one| one.came_in_parts()).map(|one| one.digest).collect();
    assert_eq!(in_parts, [held, unwanted]);
    let later = Timestamp::now() + SignedDuration::from_mins(1);
    for (digest, size) in [(held, CHUNK as u64 + 1), (small, 12)] {
        assert_eq!(laid.operator.hold("in", &digest, later).await.unwrap(), Some(size));
    }
    for object in &listed {
        let gone = laid.operator.remove("in", object).await.unwrap();
        assert_eq!(gone, object.digest == unwanted, "{object:?}");
    }
    assert_eq!(laid.operator.hold("in", &unwanted, later).await.unwrap(), None);
    assert_eq!(laid.operator.get("in", &held, ROOM).await.unwrap(), bytes(CHUNK + 1, 4));
    let listed = laid.operator.list("in").await.unwrap();
    assert_eq!(listed.len(), 2, "older descriptions go with the new one");
    for object in &listed {
        assert!(laid.operator.remove("in", object).await.unwrap());
    }
    assert_eq!(laid.operator.stream_facts("OBJ_in").await.unwrap().unwrap().messages, 0, "something is left behind");
}

#[tokio::test]
async fn an_object_whose_chunks_are_gone_is_not_there() {
    let laid = laid().await;
    let data = bytes(CHUNK, 6);
    let digest = put(&laid.operator, &data).await;
    let admin = jetstream::new(laid.server.admin().await.unwrap().client().clone());
    admin.get_stream("OBJ_in").await.unwrap().purge().filter(format!("$O.in.C.{digest}-{CHUNK}")).await.unwrap();
    assert_eq!(laid.operator.hold("in", &digest, Timestamp::now()).await.unwrap(), None);
    assert_eq!(laid.operator.put_size("in", &digest).await.unwrap(), None);
    put(&laid.operator, &data).await;
    assert_eq!(laid.operator.get("in", &digest, ROOM).await.unwrap(), data);
}

#[tokio::test]
async fn an_unfinished_upload_goes_by_its_age_and_not_by_sweeps() {
    let laid = laid().await;
    let complete = put(&laid.operator, &bytes(CHUNK, 7)).await;
    let data = bytes(2 * CHUNK, 8);
    laid.operator.append("in", &of(&data), Arrived::default(), &data[..CHUNK]).await.unwrap().unwrap();
    let mut sweep = Sweep::new("in");
    let (before, after) =
        (Timestamp::now() - SignedDuration::from_mins(1), Timestamp::now() + SignedDuration::from_mins(1));
    for _ in 0..3 {
        assert_eq!(sweep.sweep(&laid.operator, before).await.unwrap(), 0);
    }
    assert_eq!(laid.operator.count_in_parts("in").await.unwrap(), 2);
    assert_eq!(sweep.sweep(&laid.operator, after).await.unwrap(), 1);
    assert_eq!(laid.operator.arrived("in", &of(&data)).await.unwrap(), Arrived::default());
    assert_eq!(laid.operator.put_size("in", &complete).await.unwrap(), Some(CHUNK as u64));
}

#[tokio::test]
async fn a_full_bucket_says_so() {
    let laid = laid().await;
    let bounds = orion_broker::Bounds { in_bytes: 1 << 20, ..crate::support::bounds() };
    laid.operator.ensure_platform(&bounds).await.unwrap();
    let data = bytes(9 * CHUNK, 9);
    let full = laid.operator.append("in", &of(&data), Arrived::default(), &data).await;
    assert!(matches!(&full, Err(error) if error.is_full()), "{full:?}");
    assert!(laid.operator.room("in").await.unwrap() < CHUNK as u64 * 2);
}
