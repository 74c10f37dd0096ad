//! The routes. Bodies are canonical CBOR (`orion_protocol::ledger::api`), errors are short text. Every body is bounded and
//! every request ends in time; whoever meets 503 comes again after the seconds in `Retry-After`.
//!
//! With a list of tokens, [`crate::auth`] says who may ask for what; without one everybody may: transactions carry their
//! signatures, and everything else is public to auditors.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use orion_ledger_core::Standing;
use orion_ledger_core::admission::MAX_SIGNED_BYTES;
use orion_protocol::ledger::api::{self, TOKEN_HEADER};
use orion_protocol::{AccountId, JobId, cbor};

use crate::auth::{Denied, Role, Tokens};
use crate::metrics::Metrics;
use crate::node::{Halted, LookError, Node, SubmitError};
use crate::witnesses::Witnesses;

use self::turns::Turns;

mod export;
mod feed;
mod history;
mod policies;
mod proofs;
pub(crate) mod tiles;
pub(crate) mod turns;

/// A request that takes longer is answered 503: its transaction may still be ordered, and sending it again is harmless.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A view of a job must have been read within this time, however long it is.
const VIEW_TIMEOUT: Duration = Duration::from_secs(30);

const UNPUBLISHED: &str = "no checkpoint is published yet";

/// How much of what costs most is done at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exports: each holds a thread and a snapshot of the store.
    pub exports: usize,
    /// Views of jobs: each may be tens of MiB, from the chain to the reader.
    pub views: usize,
    /// Files of the log that are short: each has its turn until it is in memory.
    pub files: usize,
    /// Bundles of the log, which may be 16 MiB: each has its turn until it was read, apart from what is short.
    pub bundles: usize,
    /// How long a request waits for its turn before it is answered 503.
    pub turn: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { exports: 4, views: 8, files: 16, bundles: 16, turn: Duration::from_secs(3) }
    }
}

/// What the routes share.
#[derive(Clone)]
pub struct Shared {
    node: Arc<OnceLock<Node>>,
    witnesses: Arc<OnceLock<Witnesses>>,
    metrics: Arc<Metrics>,
    exports: Turns,
    views: Turns,
    files: Turns,
    bundles: Turns,
    tokens: Option<Arc<Tokens>>,
}

impl Shared {
    /// Routes that answer 503 until there is a node.
    pub fn new(metrics: Arc<Metrics>, limits: Limits) -> Shared {
        let Limits { exports, views, files, bundles, turn } = limits;
        let (node, witnesses, tokens) = Default::default();
        Shared {
            node,
            witnesses,
            metrics,
            exports: Turns::new(exports, turn, "too many exports at a time"),
            views: Turns::new(views, turn, "too many views at a time"),
            files: Turns::new(files, turn, "too many files of the log at a time"),
            bundles: Turns::new(bundles, turn, "too many bundles of the log at a time"),
            tokens,
        }
    }

    /// Lets in only who shows one of these tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: Tokens) -> Shared {
        Shared { tokens: Some(Arc::new(tokens)), ..self }
    }

    /// The ledger has started.
    pub fn ready(&self, node: Node) {
        // There is one start a process.
        let _ = self.node.set(node);
    }

    /// Witnesses are asked.
    pub fn witnessed_by(&self, witnesses: Witnesses) {
        // They are asked from the one start on.
        let _ = self.witnesses.set(witnesses);
    }

    fn node(&self) -> Result<&Node, Refused> {
        let node = self.node.get().ok_or(Refused::Unavailable("the ledger is starting: its log is being replayed"))?;
        if node.is_running() { Ok(node) } else { Err(Halted.into()) }
    }
}

impl tiles::Source for Shared {
    fn served(&self) -> Result<tiles::Served, Refused> {
        let node = self.node()?;
        let newest = node.board().newest().borrow().clone();
        let newest = newest.ok_or(Refused::Unavailable(UNPUBLISHED))?;
        Ok(tiles::Served { tiles: node.tiles().clone(), newest })
    }

    fn turns(&self, long: bool) -> &Turns {
        if long { &self.bundles } else { &self.files }
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    Denied(Denied),
    Bad(String),
    NotFound(&'static str),
    Unavailable(&'static str),
    Failed,
}

impl From<Halted> for Refused {
    fn from(Halted: Halted) -> Refused {
        Refused::Unavailable("the ledger has halted: its last block could not be stored, and it must start again")
    }
}

impl From<LookError> for Refused {
    fn from(error: LookError) -> Refused {
        match error {
            LookError::Halted(halted) => halted.into(),
            LookError::Unorderable(error) => Refused::Bad(with_sources(&error)),
            LookError::Store(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a view was not read");
                Refused::Failed
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Denied(denied @ Denied::OtherRole(_)) => {
                (StatusCode::FORBIDDEN, denied.to_string()).into_response()
            }
            Refused::Denied(denied) => {
                let scheme = HeaderValue::from_static("Orion-Token");
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, scheme)], denied.to_string()).into_response()
            }
            Refused::Bad(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            Refused::NotFound(why) => (StatusCode::NOT_FOUND, why).into_response(),
            Refused::Unavailable(why) => {
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], why).into_response()
            }
            Refused::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read").into_response(),
        }
    }
}

pub(crate) type Answer = Result<Response, Refused>;

/// All routes.
pub fn router(shared: Shared) -> Router {
    let log = tiles::routes(shared.clone());
    Router::new()
        .route("/v1/transactions", post(submit))
        .route("/v1/head", get(head))
        .route("/v1/accounts/{account}", get(account))
        .route("/v1/jobs/{job}", get(job))
        .route("/v1/jobs", get(open_jobs))
        .route("/v1/history/account/{account}", get(history::account))
        .route("/v1/history/job/{job}", get(history::job))
        .route("/v1/policies", get(policies::all))
        .route("/v1/policies/{policy}", get(policies::one))
        .route("/v1/witnesses", get(witnesses))
        .route("/v1/keys", get(keys))
        .route("/v1/proofs/{leaf}", get(proofs::one))
        .route("/v1/export", get(export::export))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared.clone())
        .merge(log)
        .layer(middleware::from_fn_with_state(shared, let_in))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MAX_SIGNED_BYTES))
}

/// Turns away who may not ask for this, before anything of the request's body is read.
async fn let_in(State(shared): State<Shared>, request: Request, next: Next) -> Result<Response, Refused> {
    if let (Some(tokens), Some(needed)) = (&shared.tokens, Role::needed(request.uri().path())) {
        let token = request.headers().get(TOKEN_HEADER).map(HeaderValue::as_bytes);
        tokens.judge(token, needed).map_err(|denied| {
            shared.metrics.denied(denied.needed().as_str(), denied.word());
            Refused::Denied(denied)
        })?;
    }
    Ok(next.run(request).await)
}

async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| Refused::Unavailable("the request took too long").into_response())
}

async fn submit(State(shared): State<Shared>, body: Bytes) -> Answer {
    let node = shared.node()?;
    let tx = node.admission().read(&body).map_err(|error| {
        shared.metrics.refused.inc();
        Refused::Bad(with_sources(&error))
    })?;
    // What is known already needs no place in the queue.
    let standing = node.standing(&tx).await.inspect_err(|error| {
        if matches!(error, LookError::Unorderable(_)) {
            shared.metrics.refused.inc();
        }
    })?;
    let submitted = match standing {
        Standing::Known(submitted) | Standing::Clash(submitted) => {
            shared.metrics.answered(tx.transaction().kind(), submitted.receipt.code);
            submitted
        }
        Standing::New => node.submit(tx).await.map_err(|error| match error {
            SubmitError::Busy => Refused::Unavailable("the queue is full"),
            SubmitError::Stopped => Halted.into(),
            SubmitError::Unorderable(error) => {
                shared.metrics.refused.inc();
                Refused::Bad(with_sources(&error))
            }
        })?,
    };
    Ok(cbor_body(cbor::to_vec(&submitted)))
}

async fn head(State(shared): State<Shared>) -> Answer {
    let head = shared.node()?.look(|chain| cbor::to_vec(&chain.head())).await?;
    Ok(cbor_body(head))
}

async fn keys(State(shared): State<Shared>) -> Answer {
    let keys = shared.node()?.look(|chain| cbor::to_vec(&chain.keys_view())).await?;
    Ok(cbor_body(keys))
}

async fn account(State(shared): State<Shared>, Path(account): Path<String>) -> Answer {
    let account: AccountId = account.parse().map_err(|error| Refused::Bad(format!("account id: {error}")))?;
    let view = shared.node()?.look(|chain| cbor::to_vec(&chain.account(account))).await?;
    Ok(cbor_body(view))
}

async fn job(State(shared): State<Shared>, Path(job): Path<String>) -> Answer {
    let job: JobId = job.parse().map_err(|error| Refused::Bad(format!("job id: {error}")))?;
    let node = shared.node()?;
    let turn = shared.views.take().await?;
    let view = node.job(job).await?.ok_or(Refused::NotFound("the job has no escrow"))?;
    Ok(cbor_body(feed::whole(view, turn, VIEW_TIMEOUT)))
}

async fn open_jobs(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    if query.as_deref() != Some("open") {
        return Err(Refused::Bad("only ?open is known".into()));
    }
    let jobs = shared.node()?.look(|chain| cbor::to_vec(&chain.open_jobs())).await?;
    Ok(cbor_body(jobs))
}

/// Without a trust policy nobody is asked, and nothing is witnessed.
async fn witnesses(State(shared): State<Shared>) -> Answer {
    let node = shared.node()?;
    let published = || node.board().newest().borrow().as_ref().map_or(0, |newest| newest.size);
    let nobody = || api::Witnesses { published: published(), ..api::Witnesses::default() };
    let view = shared.witnesses.get().map_or_else(nobody, Witnesses::view);
    Ok(cbor_body(cbor::to_vec(&view)))
}

async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Refused> {
    shared.node().map(|_| "ok\n")
}

async fn metrics(State(shared): State<Shared>) -> Response {
    if let Some(node) = shared.node.get() {
        shared.metrics.waiting(node.waiting());
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text()).into_response()
}

fn cbor_body(bytes: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/cbor")], bytes.into()).into_response()
}

/// An error with everything that caused it, on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
