//! `GET /v1/export`: the log as it was at one moment, streamed from a snapshot of the store. A reader that stalls is cut off.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use orion_ledger_core::export;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Answer, Refused, Shared};
use crate::store::{Snapshot, Store, StoreError};

/// Bytes a chunk, about.
const CHUNK: usize = 256 * 1024;
/// Chunks that wait for the reader.
const WAITING: usize = 4;
/// A reader must take a chunk within this time.
const STALL: Duration = Duration::from_secs(30);

/// The route.
pub(super) async fn export(State(shared): State<Shared>) -> Answer {
    let store = shared.node()?.store().clone();
    let busy = Refused::Unavailable("too many exports at a time");
    let permit = shared.exports.clone().try_acquire_owned().map_err(|_| busy)?;
    let started = tokio::task::spawn_blocking(move || start(&store)).await;
    let Ok(Ok((snapshot, head))) = started else { return Err(Refused::Failed) };
    let (chunks, mut waiting) = mpsc::channel::<Result<Bytes, std::io::Error>>(WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let send = |chunk| runtime.block_on(async { matches!(chunks.send_timeout(chunk, STALL).await, Ok(())) });
        if let Err(error) = stream(&snapshot, head, |chunk| send(Ok(chunk))) {
            tracing::warn!(error = &error as &dyn std::error::Error, "an export broke off");
            // The body must not look complete.
            send(Err(std::io::Error::other("the store cannot be read")));
        }
        drop(permit);
    });
    let body = Body::from_stream(futures::stream::poll_fn(move |context| waiting.poll_recv(context)));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

fn start(store: &Store) -> Result<(Snapshot, Vec<u8>), StoreError> {
    let snapshot = store.snapshot()?;
    let note = snapshot.checkpoint()?.ok_or_else(|| StoreError::Damaged("there is no checkpoint".into()))?;
    let mut head = Vec::new();
    // Writing to memory cannot fail.
    let _ = export::write_start(&mut head, &note);
    Ok((snapshot, head))
}

fn stream(snapshot: &Snapshot, head: Vec<u8>, mut send: impl FnMut(Bytes) -> bool) -> Result<(), StoreError> {
    let mut chunk = head;
    let mut listening = true;
    snapshot.leaves(|leaf| {
        let _ = export::write_leaf(&mut chunk, leaf);
        if chunk.len() >= CHUNK {
            listening = send(std::mem::take(&mut chunk).into());
        }
        listening
    })?;
    if listening && !chunk.is_empty() {
        send(chunk.into());
    }
    Ok(())
}
