//! Objects on their way in, part by part: see [`orion_protocol::put`]. Nothing is remembered between requests, so that each may
//! come to another replica: how far an object is, the bucket says.
//!
//! A part is stored only when it is undamaged, and an object found only when all of it hashes to its digest. What jobs need of the
//! bucket is not given to uploads.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use orion_broker::{Broker, Incoming, ObjectError};
use orion_protocol::Digest;
use orion_protocol::put::{MAX_OBJECT_BYTES, MAX_PART_BYTES, PART_GRAIN, Progress};
use orion_protocol::subjects::BUCKET_IN;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::housekeeping;
use crate::job::Chain;

/// Parts that are held at a time; each takes up to 3 MiB.
const PARTS_AT_A_TIME: usize = 64;
/// Objects that are hashed at a time.
const HASHED_AT_A_TIME: usize = 2;
/// How long a request waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(10);
/// Uploads and uploaded objects that are kept at a time: each costs the broker an entry, however small it is.
const MAX_OBJECTS: usize = 1024;
/// How long the body of a part may take.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Bytes of the bucket that no upload gets: what jobs bring themselves (inputs of up to 1 MiB, specs, manifests) has to fit.
const RESERVED_BYTES: u64 = 512 << 20;

/// What the routes share.
#[derive(Clone)]
struct Store {
    broker: Broker,
    parts: Arc<Semaphore>,
    hashed: Arc<Semaphore>,
}

/// A refusal: its status and a line for a person.
type Refused = (StatusCode, String);
type Answer = Result<(StatusCode, Progress), Refused>;

/// The routes.
pub fn router(broker: Broker) -> Router {
    let [parts, hashed] = [PARTS_AT_A_TIME, HASHED_AT_A_TIME].map(|turns| Arc::new(Semaphore::new(turns)));
    Router::new()
        .route("/v1/objects/{digest}/{size}", get(progress).post(complete))
        .route("/v1/objects/{digest}/{size}/parts/{offset}", put(part))
        .with_state(Store { broker, parts, hashed })
}

#[derive(serde::Deserialize)]
struct OfPart {
    /// Digest of the part.
    part: String,
}

async fn progress(State(store): State<Store>, Path((digest, size)): Path<(String, u64)>) -> Response {
    let answer = async {
        let upload = parse(&digest, size)?;
        Ok((StatusCode::OK, store.progress(&upload).await?))
    };
    respond(answer.await)
}

async fn part(
    State(store): State<Store>,
    Path((digest, size, offset)): Path<(String, u64, u64)>,
    Query(OfPart { part }): Query<OfPart>,
    body: Body,
) -> Response {
    let answer = async {
        let upload = parse(&digest, size)?;
        store.take_part(&upload, offset, parse_digest(&part)?, body).await
    };
    respond(answer.await)
}

async fn complete(State(store): State<Store>, Path((digest, size)): Path<(String, u64)>) -> Response {
    let answer = async {
        let upload = parse(&digest, size)?;
        store.complete(&upload).await
    };
    respond(answer.await)
}

impl Store {
    async fn take_part(&self, upload: &Incoming, offset: u64, part: Digest, body: Body) -> Answer {
        // Before the body is read: who waits here holds nothing.
        let _turn = turn(&self.parts).await?;
        let most = usize::try_from(MAX_PART_BYTES).unwrap_or(usize::MAX);
        let read = tokio::time::timeout(BODY_WAIT, to_bytes(body, most)).await;
        let bytes = read.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the part came too slowly".to_owned()))?;
        let bytes = bytes.map_err(|error| {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("a part has at most {MAX_PART_BYTES} bytes: {error}"))
        })?;
        if Digest::of(&bytes) != part {
            let words = "the part was damaged on its way: it does not hash to its digest".to_owned();
            return Err((StatusCode::UNPROCESSABLE_ENTITY, words));
        }
        let (length, size) = (bytes.len() as u64, upload.size);
        let end = offset.checked_add(length).filter(|end| *end <= size && length > 0);
        let end =
            end.filter(|end| offset.is_multiple_of(PART_GRAIN) && (*end == size || length.is_multiple_of(PART_GRAIN)));
        let Some(end) = end else {
            let words = format!("{length} bytes at {offset} are no part of an object of {size} bytes");
            return Err((StatusCode::BAD_REQUEST, words));
        };
        let arrived = self.broker.arrived(BUCKET_IN, upload).await.map_err(|error| failed(&error))?;
        if arrived.bytes != offset {
            return Ok((StatusCode::CONFLICT, self.progress(upload).await?));
        }
        self.check_room(offset, size).await?;
        match self.broker.append(BUCKET_IN, upload, arrived, &bytes).await {
            Ok(Some(_)) => Ok((StatusCode::OK, Progress { stored_bytes: end, complete: false })),
            Ok(None) => Ok((StatusCode::CONFLICT, self.progress(upload).await?)),
            Err(error) if error.is_full() => Err(full(0)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Refuses what would not fit, at its beginning where that can be known.
    async fn check_room(&self, offset: u64, size: u64) -> Result<(), Refused> {
        let room = self.broker.room(BUCKET_IN).await.map_err(|error| failed(&error))?.saturating_sub(RESERVED_BYTES);
        if size - offset > room {
            return Err(full(room));
        }
        if offset > 0 {
            return Ok(());
        }
        let count = self.broker.count_in_parts(BUCKET_IN).await.map_err(|error| failed(&error))?;
        if count >= MAX_OBJECTS {
            let words = format!("{count} uploads and uploaded objects are kept already: {WHEN_FREE}");
            return Err((StatusCode::INSUFFICIENT_STORAGE, words));
        }
        Ok(())
    }

    /// Makes the object to be found; one that is there already is kept from now on.
    async fn complete(&self, upload: &Incoming) -> Answer {
        let _turn = turn(&self.hashed).await?;
        let progress = self.progress(upload).await?;
        if progress.complete {
            let held = self.broker.hold(BUCKET_IN, &upload.digest, housekeeping::held_since()).await;
            if held.map_err(|error| failed(&error))?.is_some() {
                return Ok((StatusCode::OK, progress));
            }
        }
        if progress.stored_bytes < upload.size {
            return Ok((StatusCode::CONFLICT, progress));
        }
        match self.broker.complete(BUCKET_IN, upload).await {
            Ok(()) => Ok((StatusCode::OK, Progress { stored_bytes: upload.size, complete: true })),
            Err(error @ ObjectError::Mismatch { .. }) => {
                let words = format!("{error}; its parts were removed: put the file again");
                Err((StatusCode::UNPROCESSABLE_ENTITY, words))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    async fn progress(&self, upload: &Incoming) -> Result<Progress, Refused> {
        if let Some(size) = self.broker.put_size(BUCKET_IN, &upload.digest).await.map_err(|error| failed(&error))? {
            return Ok(Progress { stored_bytes: size, complete: true });
        }
        let arrived = self.broker.arrived(BUCKET_IN, upload).await.map_err(|error| failed(&error))?;
        Ok(Progress { stored_bytes: arrived.bytes, complete: false })
    }
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, Refused> {
    let turn = tokio::time::timeout(TURN_WAIT, turns.acquire()).await;
    let busy = || (StatusCode::SERVICE_UNAVAILABLE, "too many uploads at once: try again".to_owned());
    turn.ok().and_then(Result::ok).ok_or_else(busy)
}

/// When there is room again.
const WHEN_FREE: &str = "those that no job uses go within a day; jobs that use large objects and are of no use can be deleted, \
                         and the platform can give the bucket more room (chart: nats.inputBytes)";

fn full(room: u64) -> Refused {
    let words = format!("the platform has {room} bytes left for objects: {WHEN_FREE}");
    (StatusCode::INSUFFICIENT_STORAGE, words)
}

fn parse(digest: &str, size: u64) -> Result<Incoming, Refused> {
    let digest = parse_digest(digest)?;
    if size == 0 || size > MAX_OBJECT_BYTES {
        let words = format!("an object has 1 to {MAX_OBJECT_BYTES} bytes, this one {size}");
        return Err((StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    Ok(Incoming { digest, size })
}

fn parse_digest(digest: &str) -> Result<Digest, Refused> {
    digest.parse().map_err(|_| (StatusCode::BAD_REQUEST, "a digest has 64 lower-case hex digits".to_owned()))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Refused {
    (StatusCode::BAD_GATEWAY, format!("the platform's store: {}", Chain(error)))
}

fn respond(answer: Answer) -> Response {
    match answer {
        Ok((status, progress)) => {
            let body = serde_json::json!(progress).to_string();
            (status, [("content-type", "application/json")], body).into_response()
        }
        Err((status, words)) => (status, format!("{words}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
