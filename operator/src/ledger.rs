//! The ledger's service, as the operator uses it: canonical CBOR over HTTP. Submitting is idempotent, so it is repeated until
//! it is answered.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use minicbor::{Decode, Encode};
use orion_core::Seen;
use orion_protocol::cbor;
use orion_protocol::ledger::api::{
    AccountView, Head, KeysView, LeafProof, MAX_TOKEN_BYTES, OpenJobs, Policies, TOKEN_HEADER, Witnesses,
};
use orion_protocol::ledger::{Envelope, Submitted};
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

/// What the ledger lets somebody in for; never shown.
#[derive(Clone)]
pub struct LedgerToken(HeaderValue);

impl LedgerToken {
    /// The one line of a file.
    pub fn read(path: &Path) -> anyhow::Result<LedgerToken> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the ledger's token from {}", path.display()))?;
        let text = text.trim();
        anyhow::ensure!(
            !text.is_empty() && text.len() <= MAX_TOKEN_BYTES,
            "the ledger's token in {} has {} bytes: between 1 and {MAX_TOKEN_BYTES} are allowed",
            path.display(),
            text.len()
        );
        let mut value = HeaderValue::from_str(text)
            .with_context(|| format!("the ledger's token in {} is not one line of text", path.display()))?;
        value.set_sensitive(true);
        Ok(LedgerToken(value))
    }
}

/// A client; clones share connections.
#[derive(Clone)]
pub struct Ledger {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
    token: Option<LedgerToken>,
}

impl Ledger {
    /// A client for the service at `url`, without a slash at its end.
    pub fn new(url: &str, token: Option<LedgerToken>) -> Ledger {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Ledger { http, url: url.trim_end_matches('/').to_owned(), token }
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
    pub async fn job(&self, job: &JobId) -> Result<Option<Seen>, LedgerError> {
        let Some(view) = self.get(&format!("/v1/jobs/{job}")).await? else { return Ok(None) };
        // In this order: a seal from before might not cover what the view says.
        let seal = self.head().await?.seal;
        Ok(Some(Seen { view: Box::new(view), seal }))
    }

    /// What an account holds, in micro-credits; 0 when it never held any.
    pub async fn balance(&self, account: &AccountId) -> Result<u64, LedgerError> {
        let view: Option<AccountView> = self.get(&format!("/v1/accounts/{account}")).await?;
        Ok(view.map_or(0, |view| view.balance))
    }

    /// The policies that jobs may name.
    pub async fn policies(&self) -> Result<Policies, LedgerError> {
        self.get("/v1/policies").await?.ok_or_else(|| not_found("/v1/policies"))
    }

    /// Whose keys do what.
    async fn keys(&self) -> Result<KeysView, LedgerError> {
        self.get("/v1/keys").await?.ok_or_else(|| not_found("/v1/keys"))
    }

    /// Where the log stands, and then whose keys do what: no key is taken for one that is in force too soon.
    pub async fn head_and_keys(&self) -> Result<(Head, KeysView), LedgerError> {
        Ok((self.head().await?, self.keys().await?))
    }

    /// That the log has a leaf; an error until a checkpoint covers it.
    pub async fn proof(&self, leaf: u64) -> Result<LeafProof, LedgerError> {
        let path = format!("/v1/proofs/{leaf}");
        self.get(&path).await?.ok_or_else(|| not_found(&path))
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
                // The transaction is none the worse for it: a better token may come with the next start.
                Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, answer)) => {
                    tracing::warn!(why = words(&answer), "the ledger does not let the operator submit");
                }
                Ok((status, answer)) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    return Err(LedgerError::Refused { path: path.to_owned(), why: words(&answer) });
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
            status => {
                let why = format!("{status}: {}", words(&body));
                Err(LedgerError::Unavailable { path: path.to_owned(), why })
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), LedgerError> {
        let unavailable = |why: String| LedgerError::Unavailable { path: path.to_owned(), why };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/cbor")
            .body(Full::new(body))
            .map_err(|error| unavailable(error.to_string()))?;
        if let Some(LedgerToken(token)) = &self.token {
            request.headers_mut().insert(TOKEN_HEADER, token.clone());
        }
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

/// What an answer that is no view says.
fn words(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().take(512).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::{Request, State};
    use axum::response::{IntoResponse as _, Response};
    use orion_protocol::ledger::leaf::{Code, Receipt};
    use orion_protocol::ledger::{SealRef, Transaction, tx};
    use orion_protocol::{ChainId, Digest, SecretKey, TxId};

    use super::*;

    const TOKEN: &str = "the operator's";

    fn submitted() -> Submitted {
        let receipt = Receipt { code: Code::Ok, transfers: Vec::new() };
        Submitted { leaf: 1, receipt, seal: SealRef { height: 1, size: 3, root: Digest::ZERO, time_ms: 1 } }
    }

    /// Lets nobody in at first, and then whoever has the token.
    async fn answer(State(asked): State<Arc<AtomicUsize>>, request: Request) -> Response {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        match request.headers().get(TOKEN_HEADER) {
            Some(token) if token == TOKEN && !first => cbor::to_vec(&submitted()).into_response(),
            Some(_) => (StatusCode::FORBIDDEN, "the token is for something else").into_response(),
            None => (StatusCode::UNAUTHORIZED, "this takes a token").into_response(),
        }
    }

    #[tokio::test]
    async fn a_transaction_waits_until_the_token_is_taken_and_a_question_says_why_it_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = axum::Router::new().fallback(answer).with_state(Arc::default());
        tokio::spawn(axum::serve(listener, routes).into_future());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
        let ledger = Ledger::new(&url, Some(LedgerToken::read(file.path()).unwrap()));
        let chain = ChainId::of_genesis(b"a chain for tests");
        let close = Transaction::Close(tx::Close { job: JobId::NONE });
        let envelope = close.sign(&chain, &SecretKey::from_seed(&[1; 32]), 1, TxId([7; 16]));
        assert_eq!(ledger.submit(&envelope).await.unwrap(), submitted(), "the second time");
        let error = Ledger::new(&url, None).open_jobs().await.unwrap_err().to_string();
        assert!(error.contains("401") && error.contains("this takes a token"), "{error}");
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in [String::new(), "\n".into(), "x".repeat(257), "two\nlines".into()] {
            std::fs::write(file.path(), text).unwrap();
            assert!(LedgerToken::read(file.path()).is_err());
        }
    }
}
