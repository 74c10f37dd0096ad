//! `GET /v1/export`: the log as it was at one moment, streamed from a snapshot of the store. A reader that stalls is cut off.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use orion_ledger_core::export;
use tokio::runtime::Handle;

use super::feed::{CHUNK, Feed};
use super::{Answer, Refused, Shared};
use crate::store::{Snapshot, Store, StoreError};

/// The route.
pub(super) async fn export(State(shared): State<Shared>) -> Answer {
    let store = shared.node()?.store().clone();
    let turn = shared.turn(&shared.exports, "too many exports at a time").await?;
    let started = tokio::task::spawn_blocking(move || start(&store)).await;
    let Ok(Ok((snapshot, head))) = started else { return Err(Refused::Failed) };
    let (feed, body) = Feed::new(turn);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || match stream(&snapshot, head, |chunk| runtime.block_on(feed.send(chunk))) {
        Ok(true) => runtime.block_on(feed.end()),
        Ok(false) => tracing::debug!("an export's reader left or stalled"),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "an export broke off"),
    });
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

/// Says whether everything was taken.
fn stream(snapshot: &Snapshot, head: Vec<u8>, mut send: impl FnMut(Bytes) -> bool) -> Result<bool, StoreError> {
    let mut chunk = head;
    let mut listening = true;
    snapshot.leaves(|leaf| {
        let _ = export::write_leaf(&mut chunk, leaf);
        if chunk.len() >= CHUNK {
            listening = send(std::mem::take(&mut chunk).into());
        }
        listening
    })?;
    Ok(listening && (chunk.is_empty() || send(chunk.into())))
}
