//! /livez, /readyz and /metrics. Ready means that the API server, the broker and the ledger answer, for leader and follower
//! alike: a follower that could not lead is no help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::edges::Edges;

/// What the endpoints show.
#[derive(Default)]
pub struct Health {
    /// API server, broker and ledger answered lately.
    pub ready: AtomicBool,
    /// This replica leads.
    pub leading: AtomicBool,
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

async fn metrics(State(health): State<Arc<Health>>) -> String {
    let leading = u8::from(health.leading.load(Ordering::Relaxed));
    format!(
        "# HELP orion_operator_leading Whether this replica leads.\n# TYPE orion_operator_leading gauge\norion_operator_leading {leading}\n# EOF\n"
    )
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
