//! Uploads to a gateway in memory that fails when it is told to.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::*;

const SIZE: usize = 3 * (1 << 20) + 5;

/// What the gateway has, and how it behaves.
#[derive(Default)]
struct Memory {
    stored: Vec<u8>,
    complete: bool,
    /// Parts taken before each one fails.
    good_parts: usize,
    /// Failures before all is good again.
    bad_answers: u32,
    /// The status that a failure has.
    failure: u16,
    /// Bytes that came in parts.
    received: usize,
}

type Shared = Arc<Mutex<Memory>>;

async fn answer(State(memory): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut memory = memory.lock().unwrap();
    if memory.good_parts == 0 && memory.bad_answers > 0 && head.method == Method::PUT {
        memory.bad_answers -= 1;
        let status = StatusCode::from_u16(memory.failure).unwrap();
        return (status, "no\n").into_response();
    }
    if head.method == Method::PUT {
        memory.good_parts = memory.good_parts.saturating_sub(1);
        memory.received += body.len();
        let offset: usize = head.uri.path().rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(offset, memory.stored.len(), "a part that is there or comes too early");
        memory.stored.extend_from_slice(&body);
    }
    let whole = memory.stored.len() == SIZE;
    let status = if head.method == Method::POST && !whole { StatusCode::CONFLICT } else { StatusCode::OK };
    memory.complete |= head.method == Method::POST && whole;
    let progress = Progress { stored_bytes: memory.stored.len() as u64, complete: memory.complete };
    (status, serde_json::to_string(&progress).unwrap()).into_response()
}

struct Gateway {
    url: String,
    memory: Shared,
    file: tempfile::NamedTempFile,
}

impl Gateway {
    async fn start(memory: Memory) -> Gateway {
        let memory = Arc::new(Mutex::new(memory));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(memory.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&data()).unwrap();
        Gateway { url, memory, file }
    }

    async fn put(&self) -> anyhow::Result<Progress> {
        let bar = ProgressBar::hidden();
        let source = Source::open(self.file.path(), &bar)?;
        assert_eq!(source.digest, Digest::of(&data()));
        let gateway = Endpoint::direct(&self.url);
        Upload { gateway, source, bar, pause: Duration::from_millis(1) }.run().await
    }
}

fn data() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_file_is_sent_once_and_then_is_there_already() {
    let gateway = Gateway::start(Memory { good_parts: usize::MAX, ..Memory::default() }).await;
    assert_eq!(gateway.put().await.unwrap(), Progress { stored_bytes: 0, complete: false });
    assert_eq!(gateway.put().await.unwrap(), Progress { stored_bytes: SIZE as u64, complete: true });
    let memory = gateway.memory.lock().unwrap();
    assert!(memory.stored == data() && memory.complete);
    assert_eq!(memory.received, SIZE);
}

#[tokio::test]
async fn what_was_cut_off_goes_on_where_it_stopped() {
    let memory = Memory { good_parts: 2, bad_answers: TRIES, failure: 503, ..Memory::default() };
    let gateway = Gateway::start(memory).await;
    let error = format!("{:#}", gateway.put().await.unwrap_err());
    assert!(error.contains("goes on where it stopped") && error.contains("503"), "{error}");
    assert_eq!(gateway.put().await.unwrap(), Progress { stored_bytes: 2 << 20, complete: false });
    let memory = gateway.memory.lock().unwrap();
    assert!(memory.stored == data() && memory.complete);
    assert_eq!(memory.received, SIZE);
}

#[tokio::test]
async fn a_platform_that_is_away_for_a_while_is_waited_for() {
    let memory = Memory { good_parts: 1, bad_answers: TRIES - 1, failure: 502, ..Memory::default() };
    let gateway = Gateway::start(memory).await;
    gateway.put().await.unwrap();
    assert!(gateway.memory.lock().unwrap().complete);
}

#[tokio::test]
async fn a_refusal_is_final_and_told() {
    for failure in [422, 507, 403] {
        let memory = Memory { bad_answers: u32::MAX, failure, ..Memory::default() };
        let gateway = Gateway::start(memory).await;
        let error = format!("{:#}", gateway.put().await.unwrap_err());
        assert!(error.contains(&failure.to_string()) && error.contains("no"), "{error}");
        assert_eq!(gateway.memory.lock().unwrap().bad_answers, u32::MAX - 1, "asked once");
    }
}

#[test]
fn the_api_servers_refusals_are_told_in_its_words() {
    let status = br#"{"kind":"Status","status":"Failure","message":"services is forbidden","code":403}"#;
    let error = refused(StatusCode::FORBIDDEN, status).to_string();
    assert_eq!(error, "the platform says 403 Forbidden: services is forbidden");
}
