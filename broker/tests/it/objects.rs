//! Objects go round and come back whole, or not at all.

use async_nats::jetstream;
use base64::Engine as _;
use orion_broker::{Broker, ObjectError};
use orion_protocol::{Digest, subjects};
use tokio::io::AsyncReadExt;

use crate::support::{laid, name};

pub const ROOM: u64 = 16 << 20;

/// Bytes that differ everywhere and from other seeds.
pub fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ u8::try_from(at / 251 % 256).unwrap() ^ seed).collect()
}

fn meta_subject(bucket: &str, digest: &Digest) -> String {
    format!("$O.{bucket}.M.{}", base64::engine::general_purpose::URL_SAFE.encode(digest.to_string()))
}

/// Stores any message as if it were part of a bucket.
pub async fn store(broker: &Broker, subject: String, payload: Vec<u8>) {
    let context = jetstream::new(broker.client().clone());
    context.publish(subject, payload.into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn objects_of_every_size_come_back_whole_and_stock_readers_read_them() {
    let laid = laid().await;
    let provider = laid.server.provider("p1").await.unwrap();
    let stock = jetstream::new(laid.server.admin().await.unwrap().client().clone());
    let stock = stock.get_object_store("out_p1").await.unwrap();
    let chunk = 128 * 1024;
    for len in [0, 1, chunk - 1, chunk, chunk + 1, 5_000_000] {
        let data = bytes(len, 7);
        let digest = provider.put("out_p1", &data).await.unwrap();
        assert_eq!(digest, Digest::of(&data));
        assert_eq!(provider.get("out_p1", &digest, len as u64).await.unwrap(), data, "{len}");
        assert_eq!(provider.exists("out_p1", &digest).await.unwrap(), Some(len as u64));
        let mut read = Vec::new();
        let mut object = stock.get(digest.to_string()).await.unwrap();
        object.read_to_end(&mut read).await.unwrap();
        assert!(read == data, "a stock reader got other bytes at {len}");
    }
}

#[tokio::test]
async fn a_list_names_what_is_there_and_when_it_came() {
    let laid = laid().await;
    assert_eq!(laid.operator.list("results").await.unwrap(), []);
    let before = jiff::Timestamp::now();
    let platform = laid.server.platform().await.unwrap();
    let mut put = Vec::new();
    for seed in 0..3 {
        put.push(platform.put("results", &bytes(300_000, seed)).await.unwrap());
    }
    laid.operator.delete("results", &put.remove(1)).await.unwrap();
    let listed = laid.operator.list("results").await.unwrap();
    assert!(listed.iter().all(|object| (before..=jiff::Timestamp::now()).contains(&object.stored)), "{listed:?}");
    let mut digests: Vec<Digest> = listed.into_iter().map(|object| object.digest).collect();
    digests.sort_unstable();
    put.sort_unstable();
    assert_eq!(digests, put);
}

#[tokio::test]
async fn an_object_that_is_there_is_not_written_again() {
    let laid = laid().await;
    let data = bytes(300_000, 1);
    let digest = laid.operator.put("in", &data).await.unwrap();
    let before = laid.operator.stream_facts("OBJ_in").await.unwrap().unwrap();
    assert_eq!(laid.operator.put("in", &data).await.unwrap(), digest);
    assert_eq!(laid.operator.stream_facts("OBJ_in").await.unwrap().unwrap(), before);
}

#[tokio::test]
async fn a_streamed_upload_is_found_under_the_digest_of_all_of_it() {
    let laid = laid().await;
    let platform = laid.server.platform().await.unwrap();
    let data = bytes(1_000_003, 3);
    let mut upload = platform.upload("results").await.unwrap();
    for piece in data.chunks(77_777) {
        upload.write(piece).await.unwrap();
    }
    let (digest, size) = upload.finish().await.unwrap();
    assert_eq!((digest, size), (Digest::of(&data), data.len() as u64));
    assert_eq!(laid.operator.get("results", &digest, ROOM).await.unwrap(), data);
}

#[tokio::test]
async fn what_is_absent_too_large_or_deleted_is_said_so() {
    let laid = laid().await;
    let data = bytes(200_000, 5);
    let digest = laid.operator.put("in", &data).await.unwrap();
    let absent = laid.operator.get("in", &Digest::ZERO, ROOM).await;
    assert!(matches!(absent, Err(ObjectError::NotFound { .. })), "{absent:?}");
    let large = laid.operator.get("in", &digest, 199_999).await;
    assert!(matches!(large, Err(ObjectError::TooLarge { have: 200_000, max: 199_999, .. })), "{large:?}");
    laid.operator.delete("in", &digest).await.unwrap();
    let deleted = laid.operator.get("in", &digest, ROOM).await;
    assert!(matches!(deleted, Err(ObjectError::NotFound { .. })), "{deleted:?}");
    let facts = laid.operator.stream_facts("OBJ_in").await.unwrap().unwrap();
    assert_eq!(facts.messages, 0, "chunks are left behind");
    laid.operator.delete("in", &digest).await.unwrap();
}

#[tokio::test]
async fn tampered_objects_are_never_handed_on() {
    let laid = laid().await;
    let provider = laid.server.provider("p1").await.unwrap();
    let other = bytes(200_000, 2);
    let digest = Digest::of(b"never stored");
    let lie = |nuid: &str, size: usize, chunks: u64, name: &Digest| {
        let text = serde_json::json!({ "name": name.to_string(), "bucket": "out_p1", "nuid": nuid, "size": size, "chunks": chunks });
        text.to_string().into_bytes()
    };
    for piece in other.chunks(128 * 1024) {
        store(&provider, "$O.out_p1.C.other".into(), piece.to_vec()).await;
    }
    let cases = [
        ("other bytes", lie("other", other.len(), 2, &digest)),
        ("missing chunks", lie("nothing", other.len(), 2, &digest)),
        ("too few chunks", lie("other", other.len(), 1, &digest)),
        ("longer than described", lie("other", 150_000, 2, &digest)),
        ("more chunks than bytes", lie("other", 10, 1 << 40, &digest)),
        ("a description of another", lie("other", other.len(), 2, &Digest::ZERO)),
        ("a subject that reaches further", lie("*", other.len(), 2, &digest)),
        ("no JSON", b"{".to_vec()),
        ("too long a description", vec![b' '; 9000]),
    ];
    for (what, description) in cases {
        store(&provider, meta_subject("out_p1", &digest), description).await;
        let platform = laid.server.platform().await.unwrap();
        let read = platform.get("out_p1", &digest, ROOM).await;
        assert!(matches!(read, Err(ObjectError::Mismatch { .. })), "{what}: {read:?}");
    }
}

#[tokio::test]
async fn nobody_can_wipe_a_bucket_with_a_rollup() {
    let laid = laid().await;
    let provider = laid.server.provider("p1").await.unwrap();
    let digest = provider.put("out_p1", b"kept").await.unwrap();
    let context = jetstream::new(provider.client().clone());
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Rollup", "all");
    let rolled = context.publish_with_headers("$O.out_p1.M.x", headers, "x".into()).await.unwrap().await;
    assert!(rolled.is_err(), "the roll-up was accepted");
    assert_eq!(provider.get("out_p1", &digest, 4).await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_missing_object() {
    let laid = laid().await;
    laid.operator.delete_provider(&name("p2")).await.unwrap();
    let read =
        laid.server.provider("p2").await.unwrap().get(&subjects::bucket_out(&name("p2")), &Digest::ZERO, 1).await;
    assert!(matches!(&read, Err(error @ ObjectError::Broker { .. }) if error.is_transient()), "{read:?}");
}

#[tokio::test]
async fn chunks_that_nothing_names_go_with_the_second_sweep_and_all_others_stay() {
    let laid = laid().await;
    let platform = laid.server.platform().await.unwrap();
    let data = bytes(300_000, 9);
    let digest = platform.put("results", &data).await.unwrap();
    let mut broken = platform.upload("results").await.unwrap();
    broken.write(&bytes(400_000, 4)).await.unwrap();
    drop(broken);
    let stored = async || laid.operator.stream_facts("OBJ_results").await.unwrap().unwrap().messages;
    let all_there = async { while stored().await < 7 {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), all_there).await.expect("all chunks are stored");
    let mut sweep = orion_broker::Sweep::new("results");
    let now = jiff::Timestamp::now();
    assert_eq!(sweep.sweep(&laid.operator, now).await.unwrap(), 0);
    let removed = sweep.sweep(&laid.operator, now).await.unwrap();
    assert_eq!(removed, 3);
    assert_eq!(stored().await, 4);
    assert_eq!(laid.operator.get("results", &digest, ROOM).await.unwrap(), data);
    assert_eq!(sweep.sweep(&laid.operator, now).await.unwrap(), 0);
}
