//! /livez, /readyz and /metrics. Ready means that the API server, the broker and the ledger answer, for leader and follower
//! alike: a follower that could not lead is no help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::edges::Edges;
use crate::metrics::Metrics;

/// What the endpoints show.
#[derive(Default)]
pub struct Health {
    /// API server, broker and ledger answered lately.
    pub ready: AtomicBool,
    /// The page of metrics.
    pub metrics: Arc<Metrics>,
}

/// How often the others are asked.
const EVERY: Duration = Duration::from_secs(1);

/// The routes.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server, the broker or the ledger does not answer\n")
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], health.metrics.page())
}

/// Asks the others for ever.
pub async fn watch(health: Arc<Health>, edges: Arc<Edges>) {
    loop {
        let kube = tokio::time::timeout(EVERY, edges.kube.apiserver_version()).await.is_ok_and(|answer| answer.is_ok());
        let ready = kube && edges.broker.is_connected() && edges.ledger.is_ready().await;
        health.ready.store(ready, Ordering::Relaxed);
        tokio::time::sleep(EVERY).await;
    }
}
