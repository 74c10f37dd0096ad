//! Fetches a log that somebody serves as C2SP tlog-tiles, the log itself or a witness's mirror, into an export. What it gets
//! is checked for its form only: whoever reads the export compares it with the signed root.

use std::io::Write;
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orion_ledger_core::checkpoint::CheckpointError;
use orion_ledger_core::log::note::MAX_NOTE_BYTES;
use orion_ledger_core::log::tile::{EntriesError, FULL, Resource, entries};
use orion_ledger_core::{Checkpoint, VerifierKey, export};

/// One request, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest bundle.
const MAX_BUNDLE_BYTES: usize = FULL as usize * (2 + u16::MAX as usize);

/// Why a log was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No URL.
    #[error("cannot read the URL")]
    Url(#[source] axum::http::uri::InvalidUri),
    /// No answer, or none that helps.
    #[error("cannot fetch {url}: {why}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What happened.
        why: String,
    },
    /// The checkpoint.
    #[error("the checkpoint was refused")]
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
}

/// Writes the log below `url`, as its newest checkpoint has it, as an export.
pub async fn log(url: &str, key: &VerifierKey, to: &mut impl Write) -> Result<(), FetchError> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let prefix = url.trim_end_matches('/');
    let note = get(&client, format!("{prefix}/checkpoint"), MAX_NOTE_BYTES).await?;
    let Checkpoint { size, .. } = Checkpoint::open(&note, key).map_err(FetchError::Checkpoint)?;
    export::write_start(to, &String::from_utf8_lossy(&note)).map_err(FetchError::Write)?;
    let mut at = 0;
    while at < size {
        let (index, left) = (at / u64::from(FULL), size - at);
        let width = u16::try_from(left).map_or(FULL, |left| left.min(FULL));
        let path = Resource::Entries { index, width }.path();
        let bundle = get(&client, format!("{prefix}/{path}"), MAX_BUNDLE_BYTES).await?;
        let leaves = entries(&bundle, width).map_err(|source| FetchError::Bundle { index, source })?;
        leaves.into_iter().try_for_each(|leaf| export::write_leaf(to, leaf)).map_err(FetchError::Write)?;
        at += u64::from(width);
    }
    Ok(())
}

async fn get(client: &Client<HttpConnector, Empty<Bytes>>, url: String, max: usize) -> Result<Bytes, FetchError> {
    let uri: Uri = url.parse().map_err(FetchError::Url)?;
    let asked = async {
        let answer = client.get(uri).await.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), max).collect().await.map_err(|error| error.to_string())?;
        Ok(body.to_bytes())
    };
    let answer = tokio::time::timeout(TIMEOUT, asked).await;
    answer
        .unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
        .map_err(|why| FetchError::Answer { url, why })
}
