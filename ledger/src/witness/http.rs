//! The witness's routes: `add-checkpoint`, what it knows and refuses, and its copy of the log under the log's own paths. All
//! of it is open: whoever asks learns what the log's own tiles say, and a cosignature is given only to what the log signed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use orion_ledger_core::log::witness_wire::{Answer, MAX_REQUEST_BYTES};
use serde_json::json;
use tokio::sync::Semaphore;

use super::shared::Shared;
use super::state::Point;
use super::{Limits, Witness, answer};
use crate::http::Refused;
use crate::http::tiles::{self, Served, Source};
use crate::http::turns::Turns;
use crate::publisher::Published;

/// Beyond the wait for a replay, a request ends within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const BINARY: &str = "application/octet-stream";

/// Where requests come in; before its witness is there they are answered 503.
#[derive(Clone)]
pub struct Door {
    witness: Arc<OnceLock<Witness>>,
    turns: Arc<Semaphore>,
    reads: Turns,
    bundles: Turns,
    longest: Duration,
}

impl Door {
    /// For a witness with these limits.
    pub fn new(limits: &Limits) -> Door {
        Door {
            witness: Arc::default(),
            turns: Arc::new(Semaphore::new(limits.requests)),
            reads: Turns::new(limits.reads, limits.turn, "too many files are read at a time"),
            bundles: Turns::new(limits.bundles, limits.turn, "too many bundles are read at a time"),
            longest: limits.replay + REQUEST_TIMEOUT,
        }
    }

    /// The witness has started.
    pub fn ready(&self, witness: Witness) {
        // There is one start a process.
        let _ = self.witness.set(witness);
    }

    fn shared(&self) -> Result<&Arc<Shared>, Refused> {
        let witness =
            self.witness.get().ok_or(Refused::Unavailable("the witness is starting: its copy is being replayed"))?;
        Ok(&witness.shared)
    }
}

/// All routes.
pub fn router(door: Door) -> Router {
    let longest = door.longest;
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/status", get(status))
        .route("/evidence", get(evidence))
        .route("/evidence/{number}", get(one_evidence))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(door.clone())
        .merge(tiles::routes(Mirror { door: door.clone(), followed: false }))
        .nest("/followed", tiles::routes(Mirror { door, followed: true }))
        .layer(middleware::from_fn(move |request: Request, next: Next| async move {
            let answer = tokio::time::timeout(longest, next.run(request)).await;
            answer.unwrap_or_else(|_| Refused::Unavailable("the request took too long").into_response())
        }))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
}

async fn add_checkpoint(State(door): State<Door>, body: Bytes) -> Result<Response, Refused> {
    let shared = door.shared()?;
    let _turn = door.turns.try_acquire().map_err(|_| Refused::Unavailable("too many requests to cosign at a time"))?;
    let answer = answer::answer(shared, &body).await.map_err(|error| failed(&error))?;
    Ok(said(&answer))
}

fn said(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, answer.content_type())], answer.body()).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

async fn status(State(door): State<Door>) -> Result<Response, Refused> {
    let shared = door.shared()?.clone();
    let cosigned = shared.cosigned.borrow().clone();
    let cosigned = cosigned.map(|point| json!({"size": point.checkpoint.size, "root": point.checkpoint.root}));
    let (seen, files) = (shared.seen(), shared.files.list());
    let status = json!({
        "origin": shared.key.name(),
        "key": shared.signer.key().to_string(),
        "cosigned": cosigned,
        "replayed": shared.metrics.replayed_size.get(),
        "log": {"size": seen.size, "trouble": seen.trouble},
        "stopped": shared.files.stopped(),
        "evidence": files.iter().map(|file| file.number).collect::<Vec<_>>(),
    });
    Ok(in_json(&status))
}

async fn evidence(State(door): State<Door>) -> Result<Response, Refused> {
    let files = door.shared()?.files.list();
    let list = files
        .iter()
        .map(|file| json!({"number": file.number, "kind": file.kind, "bytes": file.bytes, "words": file.words}));
    Ok(in_json(&list.collect()))
}

async fn one_evidence(State(door): State<Door>, Path(number): Path<String>) -> Result<Response, Refused> {
    let shared = door.shared()?.clone();
    let Ok(number) = number.parse() else { return Err(Refused::NotFound("evidence is numbered from 1")) };
    let file = read(move || shared.files.file(number)).await?;
    let file = file.ok_or(Refused::NotFound("there is no such evidence"))?;
    Ok(([(header::CONTENT_TYPE, BINARY)], file).into_response())
}

/// The copy of the log as it was cosigned, and as it was followed: a log that lost its end finds it in the second.
#[derive(Clone)]
struct Mirror {
    door: Door,
    followed: bool,
}

impl Source for Mirror {
    fn served(&self) -> Result<Served, Refused> {
        let shared = self.door.shared()?;
        let point = if self.followed { shared.reached.borrow().clone() } else { shared.cosigned.borrow().clone() };
        let Point { note, checkpoint } = &*point.ok_or(Refused::NotFound("there is no checkpoint yet"))?;
        let newest = Published { size: checkpoint.size, root: checkpoint.root, note: note.to_string() };
        Ok(Served { tiles: shared.tiles.clone(), newest: Arc::new(newest) })
    }

    fn turns(&self, long: bool) -> &Turns {
        if long { &self.door.bundles } else { &self.door.reads }
    }
}

async fn readyz(State(door): State<Door>) -> Result<&'static str, Refused> {
    door.shared().map(|_| "ok\n")
}

async fn metrics(State(door): State<Door>) -> Result<Response, Refused> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], door.shared()?.metrics.text()).into_response())
}

/// Reads from the disk, off the async threads.
async fn read<T: Send + 'static, E: std::error::Error + Send + 'static>(
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(Refused::Failed),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Refused {
    tracing::warn!(error, "a request failed");
    Refused::Failed
}

fn in_json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}
