//! `GET /checkpoint` and `GET /tile/..`: the log as C2SP tlog-tiles has it, for any client, without a token. Each file has one
//! path; what is under no published checkpoint is not there.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use orion_ledger_core::log::tile::{FULL, Resource};
use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Refused, feed, with_sources};
use crate::publisher::Published;
use crate::tiles::Tiles;

/// A tile says the same for ever; of a checkpoint a newer one comes soon.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const NEVER: &str = "no-cache";
/// A file must have been read within this time: whoever reads slowly keeps others from a turn.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);

/// A log as it is served.
pub(crate) struct Served {
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) newest: Arc<Published>,
}

/// Whose log the routes serve: the ledger's own, or a mirror.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// The log as it is now.
    fn served(&self) -> Result<Served, Refused>;
    /// A turn to read a file, of those for long ones or of those for short ones.
    fn turn(&self, long: bool) -> impl Future<Output = Result<OwnedSemaphorePermit, Refused>> + Send;
    /// A turn for a long one, now or not at all.
    fn long_turn(&self) -> Result<OwnedSemaphorePermit, Refused>;
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
    // The last bundle is what everybody who follows the log asks for, and short as a rule.
    let long = matches!(resource, Resource::Entries { index, .. } if index < newest.size / u64::from(FULL));
    let mut turn = source.turn(long).await?;
    let read = tokio::task::spawn_blocking(move || tiles.read(&resource, newest.size)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes.ok_or(Refused::NotFound("the log of the newest checkpoint has no such file"))?,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a tile was not read");
            return Err(Refused::Failed);
        }
        Err(_) => return Err(Refused::Failed),
    };
    if !long && feed::is_long(&bytes) {
        turn = source.long_turn()?;
    }
    let kind = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, FOR_EVER)];
    Ok((kind, feed::whole(bytes, turn, FILE_TIMEOUT)).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use http_body_util::BodyExt as _;
    use orion_protocol::Digest;
    use orion_protocol::ledger::api::SealRef;
    use orion_protocol::merkle::{self, Sha256};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::{Kept, Store};

    /// Its last bundle is of 200 entries; longer than a few chunks, like the first.
    const SIZE: u64 = 456;
    const ENTRY: usize = 8 * 1024;

    /// A log with one turn for what is short, and one for bundles.
    #[derive(Clone)]
    struct Log {
        tiles: Arc<Tiles>,
        newest: Arc<Published>,
        short: Arc<Semaphore>,
        long: Arc<Semaphore>,
    }

    impl Log {
        fn new(directory: &std::path::Path) -> Log {
            let leaves: Vec<Vec<u8>> = (0..SIZE).map(|at| vec![at.to_le_bytes()[0]; ENTRY]).collect();
            let hashes: Vec<_> = leaves.iter().map(|leaf| Sha256::leaf(leaf)).collect();
            let root = Digest(merkle::root::<Sha256>(&hashes));
            let store = Arc::new(Store::open(directory).expect("an empty folder"));
            let seal = SealRef { height: 0, size: SIZE, root, time_ms: 0 };
            store.commit(&leaves, &seal, &Kept::default()).expect("it is the first block");
            let tiles = Arc::new(Tiles::open(directory, store).expect("the leaves have that root"));
            let newest = Arc::new(Published { size: SIZE, root, note: String::new() });
            let [short, long] = [1, 1].map(|turns| Arc::new(Semaphore::new(turns)));
            Log { tiles, newest, short, long }
        }

        async fn get(&self, path: &'static str) -> Response {
            tile(State(self.clone()), Uri::from_static(path)).await.into_response()
        }

        async fn status(&self, path: &'static str) -> StatusCode {
            self.get(path).await.status()
        }
    }

    impl Source for Log {
        fn served(&self) -> Result<Served, Refused> {
            Ok(Served { tiles: self.tiles.clone(), newest: self.newest.clone() })
        }

        async fn turn(&self, long: bool) -> Result<OwnedSemaphorePermit, Refused> {
            let turns = if long { &self.long } else { &self.short };
            turns.clone().try_acquire_owned().map_err(|_| Refused::Unavailable("busy"))
        }

        fn long_turn(&self) -> Result<OwnedSemaphorePermit, Refused> {
            self.long.clone().try_acquire_owned().map_err(|_| Refused::Unavailable("busy"))
        }
    }

    #[tokio::test]
    async fn who_does_not_read_a_long_bundle_keeps_nobody_from_what_is_short() {
        let directory = tempfile::TempDir::new().expect("a folder");
        let log = Log::new(directory.path());
        let bundles = ["/tile/entries/000", "/tile/entries/000.p/255", "/tile/entries/001.p/200"];
        for path in bundles {
            let stalled = log.get(path).await;
            assert_eq!(stalled.status(), StatusCode::OK, "{path}");
            for path in bundles {
                assert_eq!(log.status(path).await, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            }
            for path in ["/tile/0/000", "/tile/0/001.p/200", "/tile/1/000.p/1", "/tile/entries/001.p/7"] {
                assert_eq!(log.status(path).await, StatusCode::OK, "{path}");
            }
            let body = stalled.into_body().collect().await.expect("it comes whole").to_bytes();
            assert!(body.len() > 199 * ENTRY, "{path}: {} bytes", body.len());
            // The turn is over only when the end was taken.
            drop(log.long.clone().acquire_owned().await);
        }
    }
}
