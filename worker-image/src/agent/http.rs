//! `/livez`, `/readyz` and `/metrics`. Ready means: a device answered, and the broker is there.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::agent::Agent;

/// Serves until dropped.
pub async fn serve(listener: TcpListener, agent: Arc<Agent>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(agent);
    axum::serve(listener, router).await
}

async fn ready(State(agent): State<Arc<Agent>>) -> (StatusCode, &'static str) {
    if agent.device().is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no OpenCL device has answered\n");
    }
    if !agent.broker.is_connected() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the broker is away\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(agent): State<Arc<Agent>>) -> Result<String, StatusCode> {
    agent.metrics.page().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
