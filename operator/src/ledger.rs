//! The ledger's service, as the operator uses it: canonical CBOR over HTTP. Submitting is idempotent, so it is repeated until
//! it is answered.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use minicbor::{Decode, Encode};
use orion_protocol::cbor;
use orion_protocol::ledger::api::{AccountView, Head, OpenJobs, Witnesses};
use orion_protocol::ledger::{Envelope, JobView, Submitted};
use orion_protocol::{AccountId, JobId, Signed};

/// Longest answer that is read: a view of a job of some ten thousand shards.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// One request, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause between repeats.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Why the ledger gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It did not answer, or said that it cannot now.
    #[error("asking the ledger for {path}: {why}")]
    Unavailable {
        /// What was asked.
        path: String,
        /// What happened.
        why: String,
    },
    /// It will never take this.
    #[error("the ledger refused {path}: {why}")]
    Refused {
        /// What was asked.
        path: String,
        /// Its words.
        why: String,
    },
    /// Its answer is not understood.
    #[error("reading the ledger's answer to {path}")]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        #[source]
        source: cbor::CborError,
    },
}

/// A client; clones share connections.
#[derive(Clone)]
pub struct Ledger {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Ledger {
    /// A client for the service at `url`, without a slash at its end.
    pub fn new(url: &str) -> Ledger {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Ledger { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// Whether it takes transactions.
    pub async fn is_ready(&self) -> bool {
        matches!(self.send(Method::GET, "/readyz", Bytes::new()).await, Ok((StatusCode::OK, _)))
    }

    /// Where the log stands.
    pub async fn head(&self) -> Result<Head, LedgerError> {
        self.get("/v1/head").await?.ok_or_else(|| not_found("/v1/head"))
    }

    /// What it knows of a job; `None` when that has no escrow.
    pub async fn job(&self, job: &JobId) -> Result<Option<JobView>, LedgerError> {
        self.get(&format!("/v1/jobs/{job}")).await
    }

    /// What an account holds, in micro-credits; 0 when it never held any.
    pub async fn balance(&self, account: &AccountId) -> Result<u64, LedgerError> {
        let view: Option<AccountView> = self.get(&format!("/v1/accounts/{account}")).await?;
        Ok(view.map_or(0, |view| view.balance))
    }

    /// Jobs whose escrow is open.
    pub async fn open_jobs(&self) -> Result<Vec<JobId>, LedgerError> {
        let open: Option<OpenJobs> = self.get("/v1/jobs?open").await?;
        Ok(open.map(|open| open.jobs).unwrap_or_default())
    }

    /// Who has seen its log; `None` when it is of a release that does not say.
    pub async fn witnesses(&self) -> Result<Option<Witnesses>, LedgerError> {
        self.get("/v1/witnesses").await
    }

    /// Submits until it is ordered. Only a transaction that can never be ordered comes back as an error.
    pub async fn submit(&self, envelope: &Signed<Envelope>) -> Result<Submitted, LedgerError> {
        let body = Bytes::from(cbor::to_vec(envelope));
        let path = "/v1/transactions";
        let mut pause = PAUSES.0;
        loop {
            match self.send(Method::POST, path, body.clone()).await {
                Ok((StatusCode::OK, answer)) => return read(path, &answer),
                Ok((status, answer)) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    let why = String::from_utf8_lossy(&answer).chars().take(512).collect();
                    return Err(LedgerError::Refused { path: path.to_owned(), why });
                }
                Ok((status, _)) => tracing::debug!(%status, "the ledger cannot take a transaction now"),
                Err(error) => tracing::debug!(%error, "the ledger does not answer"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn get<T>(&self, path: &str) -> Result<Option<T>, LedgerError>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        let (status, body) = self.send(Method::GET, path, Bytes::new()).await?;
        match status {
            StatusCode::OK => read(path, &body).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(LedgerError::Unavailable { path: path.to_owned(), why: status.to_string() }),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), LedgerError> {
        let unavailable = |why: String| LedgerError::Unavailable { path: path.to_owned(), why };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/cbor")
            .body(Full::new(body))
            .map_err(|error| unavailable(error.to_string()))?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| unavailable(chain(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| unavailable(error.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| unavailable("no answer within 10 s".into()))?
    }
}

fn read<T>(path: &str, body: &[u8]) -> Result<T, LedgerError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    cbor::from_slice("the ledger's answer", body, MAX_ANSWER)
        .map_err(|source| LedgerError::Answer { path: path.to_owned(), source })
}

fn not_found(path: &str) -> LedgerError {
    LedgerError::Unavailable { path: path.to_owned(), why: "not found: is this the ledger?".into() }
}

/// An error with what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
