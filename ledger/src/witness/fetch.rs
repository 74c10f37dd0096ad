//! The log over HTTP: its checkpoint, hash tiles and bundles. Every answer is bounded in length and in time; what comes is
//! not believed here. A file that is missing, late or no file at all is an error to try again after, never evidence.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::uri::InvalidUri;
use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orion_ledger_core::log::note::{MAX_NOTE_BYTES, Note, NoteError};
use orion_ledger_core::log::tile::{FULL, HASH_BYTES, Resource, Tile, parse_hashes};
use orion_ledger_core::{Checkpoint, VerifierKey, checkpoint::CheckpointError};
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Why a file of the log was not had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL.
    #[error("cannot read the URL {0}")]
    Url(String, #[source] InvalidUri),
    /// A URL that cannot be asked.
    #[error("{0} is no URL such as http://orion-ledger:7070")]
    Scheme(String),
    /// No answer, or none that ends.
    #[error("{0}: no answer within {1:?}")]
    Slow(String, Duration),
    /// The connection.
    #[error("{0}: cannot be asked for")]
    Connection(String, #[source] hyper_util::client::legacy::Error),
    /// Another status than 200.
    #[error("{0}: the answer is {1}")]
    Status(String, StatusCode),
    /// The body broke off, or is longer than any such file.
    #[error("{0}: the answer breaks off, or is longer than {1} bytes")]
    Body(String, usize, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not a file of this kind.
    #[error("{0}: not {1} hashes")]
    Hashes(String, u16),
    /// The checkpoint is no note.
    #[error("the log's checkpoint cannot be read")]
    Note(#[source] NoteError),
    /// The checkpoint is not signed by the log.
    #[error("the log's checkpoint was refused")]
    Checkpoint(#[source] CheckpointError),
    /// The witness ends.
    #[error("the witness ends")]
    Ended,
}

/// A log that is asked over HTTP, from threads that may block.
pub(crate) struct Log {
    base: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    runtime: Handle,
    timeout: Duration,
    end: watch::Receiver<bool>,
}

/// A bundle's bytes, and how many entries it was asked to have.
pub(crate) struct Bundle {
    pub(crate) bytes: Bytes,
    pub(crate) width: u16,
}

impl Log {
    /// The log at `url`. A file must come whole within `timeout`; nothing is waited for once `end` is true. Must be called
    /// within a tokio runtime.
    pub(crate) fn new(url: &str, timeout: Duration, end: watch::Receiver<bool>) -> Result<Log, FetchError> {
        let base = url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|error| FetchError::Url(base.clone(), error))?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return Err(FetchError::Scheme(base));
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Log { base, client, runtime: Handle::current(), timeout, end })
    }

    /// The newest checkpoint, signed by `key`.
    pub(crate) fn checkpoint(&self, key: &VerifierKey) -> Result<(Note, Checkpoint), FetchError> {
        let bytes = self.get(&Resource::Checkpoint, MAX_NOTE_BYTES)?;
        let note = Note::parse(&bytes).map_err(FetchError::Note)?;
        let checkpoint = Checkpoint::of_note(&note, key).map_err(FetchError::Checkpoint)?;
        Ok((note, checkpoint))
    }

    /// The hashes of a tile. A log may keep only the full one of a tile that has become full.
    pub(crate) fn tile(&self, tile: Tile) -> Result<Vec<[u8; HASH_BYTES]>, FetchError> {
        let get = |tile: Tile| {
            let resource = Resource::Hashes(tile);
            let bytes = self.get(&resource, usize::from(tile.width) * HASH_BYTES)?;
            parse_hashes(&bytes, tile.width).ok_or_else(|| FetchError::Hashes(resource.path(), tile.width))
        };
        match get(tile) {
            Err(FetchError::Status(_, StatusCode::NOT_FOUND)) if tile.width < FULL => {
                let mut hashes = get(Tile { width: FULL, ..tile })?;
                hashes.truncate(usize::from(tile.width));
                Ok(hashes)
            }
            got => got,
        }
    }

    /// A bundle, or the full one that it has become.
    pub(crate) fn bundle(&self, index: u64, width: u16) -> Result<Bundle, FetchError> {
        let get = |width: u16| {
            let bytes = self.get(&Resource::Entries { index, width }, usize::from(width) * (2 + MAX_LEAF_BYTES))?;
            Ok(Bundle { bytes, width })
        };
        match get(width) {
            Err(FetchError::Status(_, StatusCode::NOT_FOUND)) if width < FULL => get(FULL),
            got => got,
        }
    }

    fn get(&self, resource: &Resource, max: usize) -> Result<Bytes, FetchError> {
        let path = resource.path();
        let uri = format!("{}/{path}", self.base);
        let uri: Uri = uri.parse().map_err(|error| FetchError::Url(uri.clone(), error))?;
        let mut end = self.end.clone();
        self.runtime.block_on(async {
            tokio::select! {
                got = tokio::time::timeout(self.timeout, self.read(uri, &path, max)) => {
                    got.unwrap_or_else(|_| Err(FetchError::Slow(path.clone(), self.timeout)))
                }
                // The sender's end is the witness's end too.
                _ = end.wait_for(|end| *end) => Err(FetchError::Ended),
            }
        })
    }

    async fn read(&self, uri: Uri, path: &str, max: usize) -> Result<Bytes, FetchError> {
        let answer = self.client.get(uri).await;
        let answer = answer.map_err(|error| FetchError::Connection(path.to_owned(), error))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(path.to_owned(), answer.status()));
        }
        let body = Limited::new(answer.into_body(), max).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| FetchError::Body(path.to_owned(), max, error))
    }
}
