//! Waits for a ledger from outside, as the install does before it marks the log as begun.

use std::time::Duration;

use axum::http::{StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// One request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a ledger was not waited for to the end.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// No URL.
    #[error("cannot read the URL")]
    Url(#[source] axum::http::uri::InvalidUri),
    /// It took too long.
    #[error("it is not ready after {0:?}: {1}")]
    TooLong(Duration, String),
}

/// Waits until the ledger at `url` takes transactions, and so has a log; no longer than `limit`.
pub async fn wait(url: &str, limit: Duration) -> Result<(), WaitError> {
    let uri: Uri = format!("{}/readyz", url.trim_end_matches('/')).parse().map_err(WaitError::Url)?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut last = "it was not asked".to_owned();
    let ready = async {
        loop {
            last = match tokio::time::timeout(REQUEST_TIMEOUT, client.get(uri.clone())).await {
                Ok(Ok(answer)) if answer.status() == StatusCode::OK => return,
                Ok(Ok(answer)) => format!("it answers {}", answer.status()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {REQUEST_TIMEOUT:?}"),
            };
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(limit, ready).await;
    waited.map_err(|_| WaitError::TooLong(limit, last))
}
