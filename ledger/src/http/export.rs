//! `GET /v1/export`: the log under its newest checkpoint, streamed from a snapshot of the store. It waits for the checkpoint
//! that covers what is committed when it is asked for, so that whoever just had an answer finds it in there; not for long, since
//! checkpoints may be late and the rest of the log can be had meanwhile. A reader that stalls is cut off.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use orion_ledger_core::export;
use tokio::runtime::Handle;

use super::feed::{CHUNK, Feed};
use super::{Answer, Refused, Shared, UNPUBLISHED};
use crate::publisher::Published;
use crate::store::{Snapshot, StoreError};

/// How long a checkpoint is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The route.
pub(super) async fn export(State(shared): State<Shared>) -> Answer {
    let node = shared.node()?;
    let published = node.published(PATIENCE).await?.ok_or(Refused::Unavailable(UNPUBLISHED))?;
    let store = node.store().clone();
    let turn = shared.exports.take().await?;
    let Ok(Ok(snapshot)) = tokio::task::spawn_blocking(move || store.snapshot()).await else {
        return Err(Refused::Failed);
    };
    let (feed, body) = Feed::new(turn);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        match stream(&snapshot, &published, |chunk| runtime.block_on(feed.send(chunk))) {
            Ok(true) => runtime.block_on(feed.end()),
            Ok(false) => tracing::debug!("an export's reader left or stalled"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "an export broke off"),
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// Says whether everything was taken.
fn stream(snapshot: &Snapshot, published: &Published, mut send: impl FnMut(Bytes) -> bool) -> Result<bool, StoreError> {
    let (mut chunk, mut left) = (Vec::new(), published.size);
    // Writing to memory cannot fail.
    let _ = export::write_start(&mut chunk, &published.note);
    let mut listening = true;
    snapshot.leaves(|leaf| {
        let _ = export::write_leaf(&mut chunk, leaf);
        left -= 1;
        if chunk.len() >= CHUNK {
            listening = send(std::mem::take(&mut chunk).into());
        }
        listening && left > 0
    })?;
    Ok(listening && (chunk.is_empty() || send(chunk.into())))
}
