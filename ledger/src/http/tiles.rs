//! `GET /checkpoint` and `GET /tile/..`: the log as C2SP tlog-tiles has it, for any client, without a token. Each file has one
//! path; what is under no published checkpoint is not there.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use orion_ledger_core::log::tile::Resource;
use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Refused, VIEW_TIMEOUT, feed, with_sources};
use crate::publisher::Published;
use crate::tiles::Tiles;

/// A tile says the same for ever; of a checkpoint a newer one comes soon.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const NEVER: &str = "no-cache";

/// A log as it is served.
pub(crate) struct Served {
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) newest: Arc<Published>,
}

/// Whose log the routes serve: the ledger's own, or a mirror.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// The log as it is now.
    fn served(&self) -> Result<Served, Refused>;
    /// A turn to read a file, which may be a bundle of 16 MiB.
    fn turn(&self) -> impl Future<Output = Result<OwnedSemaphorePermit, Refused>> + Send;
}

/// The routes.
pub(crate) fn routes<S: Source>(source: S) -> Router {
    Router::new().route("/checkpoint", get(checkpoint::<S>)).route("/tile/{*rest}", get(tile::<S>)).with_state(source)
}

async fn checkpoint<S: Source>(State(source): State<S>) -> Answer {
    let Served { tiles: _, newest } = source.served()?;
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, NEVER)];
    Ok((kind, newest.note.clone()).into_response())
}

/// The path as it was sent: one that is escaped otherwise is no path of a log's file.
async fn tile<S: Source>(State(source): State<S>, uri: Uri) -> Result<Response, Refused> {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let resource = Resource::parse(path).map_err(|error| Refused::Bad(with_sources(&error)))?;
    let Served { tiles, newest } = source.served()?;
    let turn = source.turn().await?;
    let read = tokio::task::spawn_blocking(move || tiles.read(&resource, newest.size)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes.ok_or(Refused::NotFound("the log of the newest checkpoint has no such file"))?,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a tile was not read");
            return Err(Refused::Failed);
        }
        Err(_) => return Err(Refused::Failed),
    };
    let kind = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, FOR_EVER)];
    Ok((kind, feed::whole(bytes, turn, VIEW_TIMEOUT)).into_response())
}
