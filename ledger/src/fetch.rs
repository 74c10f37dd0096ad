//! A log that somebody serves as C2SP tlog-tiles over HTTP, the log itself or a witness's mirror: its files, and all of it as an
//! export. Every answer is bounded in length and in time. What comes is checked for its form only: whoever reads it compares
//! it with the signed root. A file that is missing, late or no file at all is an error to try again after, never evidence.

use std::io::Write;
use std::time::Duration;

use axum::http::uri::InvalidUri;
use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orion_ledger_core::checkpoint::CheckpointError;
use orion_ledger_core::log::note::{MAX_NOTE_BYTES, Note, NoteError};
use orion_ledger_core::log::tile::{EntriesError, FULL, HASH_BYTES, Resource, Tile, entries, parse_hashes};
use orion_ledger_core::{Checkpoint, VerifierKey, export};
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;

/// One file of an import, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a file of a log was not had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL.
    #[error("cannot read the URL {0}")]
    Url(String, #[source] InvalidUri),
    /// A URL that cannot be asked.
    #[error("{0} is no URL such as http://orion-ledger:7070")]
    Scheme(String),
    /// No answer, or none that ends.
    #[error("cannot fetch {0}: no answer within {1:?}")]
    Slow(String, Duration),
    /// The connection.
    #[error("cannot fetch {0}")]
    Connection(String, #[source] hyper_util::client::legacy::Error),
    /// Another status than 200.
    #[error("cannot fetch {0}: the answer is {1}")]
    Status(String, StatusCode),
    /// The body broke off, or is longer than any such file.
    #[error("cannot fetch {0}: the answer breaks off, or is longer than {1} bytes")]
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
    /// A bundle.
    #[error("bundle {index} was refused")]
    Bundle {
        /// Which.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: EntriesError,
    },
    /// Where it goes.
    #[error("cannot write what was fetched")]
    Write(#[source] std::io::Error),
    /// Whoever fetches ends.
    #[error("the log is fetched no more")]
    Ended,
}

/// A bundle's bytes, and how many entries it was asked to have.
pub(crate) struct Bundle {
    pub(crate) bytes: Bytes,
    pub(crate) width: u16,
}

/// The files of a log.
pub(crate) struct Files {
    base: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    timeout: Duration,
}

impl Files {
    /// Those below `url`, each of which must come whole within `timeout`.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Files, FetchError> {
        let base = url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|error| FetchError::Url(base.clone(), error))?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return Err(FetchError::Scheme(base));
        }
        Ok(Files { base, client: Client::builder(TokioExecutor::new()).build_http(), timeout })
    }

    /// The newest checkpoint, signed by `key`.
    pub(crate) async fn checkpoint(&self, key: &VerifierKey) -> Result<(Note, Checkpoint), FetchError> {
        let bytes = self.get(&Resource::Checkpoint, MAX_NOTE_BYTES).await?;
        let note = Note::parse(&bytes).map_err(FetchError::Note)?;
        let checkpoint = Checkpoint::of_note(&note, key).map_err(FetchError::Checkpoint)?;
        Ok((note, checkpoint))
    }

    /// The hashes of a tile. A log may keep only the full one of a tile that has become full.
    pub(crate) async fn tile(&self, tile: Tile) -> Result<Vec<[u8; HASH_BYTES]>, FetchError> {
        match self.hashes(tile).await {
            Err(FetchError::Status(_, StatusCode::NOT_FOUND)) if tile.width < FULL => {
                let mut hashes = self.hashes(Tile { width: FULL, ..tile }).await?;
                hashes.truncate(usize::from(tile.width));
                Ok(hashes)
            }
            got => got,
        }
    }

    async fn hashes(&self, tile: Tile) -> Result<Vec<[u8; HASH_BYTES]>, FetchError> {
        let resource = Resource::Hashes(tile);
        let bytes = self.get(&resource, usize::from(tile.width) * HASH_BYTES).await?;
        parse_hashes(&bytes, tile.width).ok_or_else(|| FetchError::Hashes(resource.path(), tile.width))
    }

    /// A bundle, or the full one that it has become.
    pub(crate) async fn bundle(&self, index: u64, width: u16) -> Result<Bundle, FetchError> {
        match self.entries(index, width).await {
            Err(FetchError::Status(_, StatusCode::NOT_FOUND)) if width < FULL => self.entries(index, FULL).await,
            got => got,
        }
    }

    async fn entries(&self, index: u64, width: u16) -> Result<Bundle, FetchError> {
        let most = usize::from(width) * (2 + MAX_LEAF_BYTES);
        Ok(Bundle { bytes: self.get(&Resource::Entries { index, width }, most).await?, width })
    }

    async fn get(&self, resource: &Resource, max: usize) -> Result<Bytes, FetchError> {
        let url = format!("{}/{}", self.base, resource.path());
        let got = tokio::time::timeout(self.timeout, self.read(&url, max)).await;
        got.unwrap_or_else(|_| Err(FetchError::Slow(url, self.timeout)))
    }

    async fn read(&self, url: &str, max: usize) -> Result<Bytes, FetchError> {
        let uri = url.parse().map_err(|error| FetchError::Url(url.to_owned(), error))?;
        let answer = self.client.get(uri).await.map_err(|error| FetchError::Connection(url.to_owned(), error))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(url.to_owned(), answer.status()));
        }
        let body = Limited::new(answer.into_body(), max).collect().await;
        body.map(Collected::to_bytes).map_err(|error| FetchError::Body(url.to_owned(), max, error))
    }
}

/// Writes the log below `url`, as its newest checkpoint has it, as an export.
pub async fn log(url: &str, key: &VerifierKey, to: &mut impl Write) -> Result<(), FetchError> {
    let files = Files::new(url, TIMEOUT)?;
    let (note, Checkpoint { size, .. }) = files.checkpoint(key).await?;
    export::write_start(to, &note.to_string()).map_err(FetchError::Write)?;
    let mut at = 0;
    while at < size {
        let (index, left) = (at / u64::from(FULL), size - at);
        let width = u16::try_from(left).map_or(FULL, |left| left.min(FULL));
        let bundle = files.bundle(index, width).await?;
        let leaves = entries(&bundle.bytes, bundle.width).map_err(|source| FetchError::Bundle { index, source })?;
        let mut leaves = leaves.into_iter().take(usize::from(width));
        leaves.try_for_each(|leaf| export::write_leaf(to, leaf)).map_err(FetchError::Write)?;
        at += u64::from(width);
    }
    Ok(())
}
