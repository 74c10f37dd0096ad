//! The routes against a real broker: cut off, damaged, out of turn, too large, full.

use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use orion_broker::Bounds;
use orion_broker::testing::NatsServer;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

const PART: usize = 1 << 20;

/// A server, laid out, and two replicas' routes.
struct Platform {
    _server: NatsServer,
    broker: Broker,
    replicas: [Router; 2],
}

impl Platform {
    async fn start(bounds: &Bounds) -> Platform {
        let server = NatsServer::start(&[]).await.unwrap();
        let (one, two) = (server.operator().await.unwrap(), server.operator().await.unwrap());
        one.ensure_platform(bounds).await.unwrap();
        Platform { broker: one.clone(), replicas: [one, two].map(router), _server: server }
    }

    async fn ask(&self, replica: usize, method: Method, path: &str, body: &[u8]) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_vec())).unwrap();
        let answer = self.replicas[replica].clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// One part of `data`, whose digest is `part`'s.
    async fn put(&self, replica: usize, data: &[u8], offset: usize, part: &[u8], body: &[u8]) -> (u16, Value) {
        let path = format!("{}/parts/{offset}?part={}", path(data), Digest::of(part));
        self.ask(replica, Method::PUT, &path, body).await
    }

    async fn complete(&self, replica: usize, data: &[u8]) -> (u16, Value) {
        self.ask(replica, Method::POST, &path(data), &[]).await
    }
}

fn path(data: &[u8]) -> String {
    format!("/v1/objects/{}/{}", Digest::of(data), data.len())
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ u8::try_from(at / 251 % 256).unwrap()).collect()
}

fn stored(bytes: usize, complete: bool) -> Value {
    serde_json::json!({"storedBytes": bytes, "complete": complete})
}

#[tokio::test]
async fn parts_that_go_to_either_replica_become_one_object() {
    let platform = Platform::start(&Bounds::default()).await;
    let data = data(2 * PART + 100);
    let state = path(&data);
    assert_eq!(platform.ask(0, Method::GET, &state, &[]).await, (200, stored(0, false)));
    for (turn, part) in data.chunks(PART).enumerate() {
        assert_eq!(platform.complete(0, &data).await, (409, stored(turn * PART, false)));
        let end = turn * PART + part.len();
        assert_eq!(platform.put(turn % 2, &data, turn * PART, part, part).await, (200, stored(end, false)));
    }
    assert_eq!(platform.ask(0, Method::GET, &state, &[]).await, (200, stored(data.len(), false)));
    assert_eq!(platform.complete(1, &data).await, (200, stored(data.len(), true)));
    assert_eq!(platform.complete(0, &data).await, (200, stored(data.len(), true)), "again changes nothing");
    assert_eq!(platform.ask(0, Method::GET, &state, &[]).await, (200, stored(data.len(), true)));
    assert_eq!(platform.broker.get(BUCKET_IN, &Digest::of(&data), 1 << 30).await.unwrap(), data);
}

#[tokio::test]
async fn a_part_that_is_damaged_or_out_of_turn_changes_nothing() {
    let platform = Platform::start(&Bounds::default()).await;
    let data = data(3 * PART);
    let parts: Vec<&[u8]> = data.chunks(PART).collect();
    let mut flipped = parts[0].to_vec();
    flipped[7] ^= 1;
    let (status, words) = platform.put(0, &data, 0, parts[0], &flipped).await;
    assert_eq!((status, words.as_str().unwrap().contains("damaged")), (422, true), "{words}");
    assert_eq!(platform.put(0, &data, PART, parts[1], parts[1]).await, (409, stored(0, false)));
    assert_eq!(platform.put(0, &data, 0, parts[0], parts[0]).await, (200, stored(PART, false)));
    assert_eq!(platform.put(1, &data, 0, parts[0], parts[0]).await, (409, stored(PART, false)));
    let wrong = [(2 * PART, &data[..=PART], 413), (2 * PART, &data[..100], 400), (PART, &[], 400), (1, parts[0], 400)];
    for (offset, part, refused) in wrong {
        let (status, words) = platform.put(0, &data, offset, part, part).await;
        assert_eq!(status, refused, "{} bytes at {offset}: {words}", part.len());
    }
    let state = path(&data);
    assert_eq!(platform.ask(0, Method::GET, &state, &[]).await, (200, stored(PART, false)));
}

#[tokio::test]
async fn another_file_than_the_digest_says_is_refused_and_its_parts_are_removed() {
    let platform = Platform::start(&Bounds::default()).await;
    let data = data(PART + 1);
    let mut other = data.clone();
    other[PART] ^= 1;
    for (turn, part) in other.chunks(PART).enumerate() {
        assert_eq!(platform.put(0, &data, turn * PART, part, part).await.0, 200);
    }
    let (status, words) = platform.complete(1, &data).await;
    assert_eq!((status, words.as_str().unwrap().contains("put the file again")), (422, true), "{words}");
    let state = path(&data);
    assert_eq!(platform.ask(0, Method::GET, &state, &[]).await, (200, stored(0, false)));
}

#[tokio::test]
async fn what_is_too_large_or_has_no_room_is_refused_before_anything_is_stored() {
    let platform = Platform::start(&Bounds { in_bytes: RESERVED_BYTES + 1000, ..Bounds::default() }).await;
    let data = data(2000);
    let (status, words) = platform.put(0, &data, 0, &data, &data).await;
    assert_eq!((status, words.as_str().unwrap().contains("nats.inputBytes")), (507, true), "{words}");
    let digest = Digest::of(&data);
    let path = format!("/v1/objects/{digest}/{}/parts/0?part={digest}", MAX_OBJECT_BYTES + 1);
    assert_eq!(platform.ask(0, Method::PUT, &path, &data).await.0, 413);
    let wrong = [("/v1/objects/xyz/1", Method::GET), ("/v1/objects/xyz/1", Method::POST)];
    for (path, method) in wrong {
        assert_eq!(platform.ask(0, method, path, &[]).await.0, 400, "{path}");
    }
    assert_eq!(platform.broker.stream_facts("OBJ_in").await.unwrap().unwrap().messages, 0);
}

#[tokio::test]
async fn who_says_another_size_is_in_nobodys_way() {
    let platform = Platform::start(&Bounds::default()).await;
    let data = data(2 * PART);
    let digest = Digest::of(&data);
    assert_eq!(platform.put(0, &data, 0, &data[..PART], &data[..PART]).await.0, 200);
    let (less, more) = (format!("/v1/objects/{digest}/{PART}"), format!("/v1/objects/{digest}/{}", 2 * PART + 1));
    assert_eq!(platform.ask(0, Method::POST, &less, &[]).await, (409, stored(0, false)));
    assert_eq!(platform.put(0, &data, PART, &data[PART..], &data[PART..]).await.0, 200);
    assert_eq!(platform.complete(0, &data).await.0, 200);
    // Behind what is complete.
    let longer = format!("{more}/parts/{}?part={}", 2 * PART, Digest::of(b"x"));
    assert_eq!(platform.ask(0, Method::PUT, &longer, b"x").await, (409, stored(2 * PART, true)));
    assert_eq!(platform.ask(0, Method::POST, &more, &[]).await, (200, stored(2 * PART, true)));
    assert_eq!(platform.broker.get(BUCKET_IN, &digest, 1 << 30).await.unwrap(), data);
}
