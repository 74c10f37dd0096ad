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

use super::turns::Turns;
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
    /// The turns for long files, or those for short ones.
    fn turns(&self, long: bool) -> &Turns;
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
    let mut turn = source.turns(long).take().await?;
    let mut bytes = read(tiles.clone(), resource, newest.size).await?;
    if !long && feed::is_long(&bytes) {
        // It is read again when it is its turn: who waits keeps neither a turn of the short ones nor megabytes.
        drop((turn, bytes));
        turn = source.turns(true).take().await?;
        bytes = read(tiles, resource, newest.size).await?;
    }
    let kind = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, FOR_EVER)];
    Ok((kind, feed::whole(bytes, turn, FILE_TIMEOUT)).into_response())
}

async fn read(tiles: Arc<Tiles>, resource: Resource, size: u64) -> Result<Vec<u8>, Refused> {
    match tokio::task::spawn_blocking(move || tiles.read(&resource, size)).await {
        Ok(Ok(bytes)) => bytes.ok_or(Refused::NotFound("the log of the newest checkpoint has no such file")),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a tile was not read");
            Err(Refused::Failed)
        }
        Err(_) => Err(Refused::Failed),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use http_body_util::BodyExt as _;
    use orion_protocol::Digest;
    use orion_protocol::ledger::api::SealRef;
    use orion_protocol::merkle::{self, Sha256};

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
        short: Turns,
        long: Turns,
    }

    impl Log {
        fn new(directory: &std::path::Path, wait: Duration) -> Log {
            let leaves: Vec<Vec<u8>> = (0..SIZE).map(|at| vec![at.to_le_bytes()[0]; ENTRY]).collect();
            let hashes: Vec<_> = leaves.iter().map(|leaf| Sha256::leaf(leaf)).collect();
            let root = Digest(merkle::root::<Sha256>(&hashes));
            let store = Arc::new(Store::open(directory).expect("an empty folder"));
            let seal = SealRef { height: 0, size: SIZE, root, time_ms: 0 };
            store.commit(&leaves, &seal, &Kept::default()).expect("it is the first block");
            let tiles = Arc::new(Tiles::open(directory, store).expect("the leaves have that root"));
            let newest = Arc::new(Published { size: SIZE, root, note: String::new() });
            let [short, long] = [1, 1].map(|turns| Turns::new(turns, wait, "busy"));
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

        fn turns(&self, long: bool) -> &Turns {
            if long { &self.long } else { &self.short }
        }
    }

    #[tokio::test]
    async fn who_does_not_read_a_long_bundle_keeps_nobody_from_what_is_short() {
        let directory = tempfile::TempDir::new().expect("a folder");
        let log = Log::new(directory.path(), Duration::from_millis(20));
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
            while log.long.take().await.is_err() {}
        }
    }

    #[tokio::test]
    async fn a_long_last_bundle_waits_for_its_turn_and_keeps_none_of_the_short_ones_meanwhile() {
        let directory = tempfile::TempDir::new().expect("a folder");
        let log = Log::new(directory.path(), Duration::from_secs(10));
        let taken = log.long.take().await.expect("nobody has it");
        let mut waits = std::pin::pin!(log.get("/tile/entries/001.p/200"));
        for _ in 0..10 {
            tokio::select! {
                biased;
                early = &mut waits => panic!("{}", early.status()),
                status = log.status("/tile/0/000") => assert_eq!(status, StatusCode::OK),
            }
        }
        drop(taken);
        let bundle = waits.await;
        assert_eq!(bundle.status(), StatusCode::OK);
        let body = bundle.into_body().collect().await.expect("it comes whole").to_bytes();
        assert!(body.len() > 199 * ENTRY, "{} bytes", body.len());
    }
}
