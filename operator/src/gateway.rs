//! The small endpoint through which results leave and objects come, reached through the API server's service proxy: whoever may
//! use that in the platform's namespace may read results (`get` of `services/proxy`) and put objects (`create` and `update`). It
//! serves bytes and salts; judging them is for the reader, with the ledger's export.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/jobs/{namespace}/{name}/salt` | `{"job": ..., "salt": ...}`, both hex |
//! | `GET /v1/results/{digest}` | the file |
//! | `/v1/objects/{digest}` | see [`orion_protocol::put`], and `objects` |

mod objects;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kube::{Api, ResourceExt};
use orion_broker::ObjectError;
use orion_crds::OrionJob;
use orion_protocol::subjects::BUCKET_RESULTS;
use orion_protocol::{Digest, JobId};

use crate::edges::Edges;
use crate::render::is_terminal;

/// Largest result that is served, in bytes.
const MAX_RESULT: u64 = 1 << 40;

/// The routes.
pub fn router(edges: Arc<Edges>) -> Router {
    let objects = objects::router(edges.broker.clone());
    Router::new()
        .route("/v1/jobs/{namespace}/{name}/salt", get(salt))
        .route("/v1/results/{digest}", get(result))
        .with_state(edges)
        .merge(objects)
}

async fn salt(State(edges): State<Arc<Edges>>, Path((namespace, name)): Path<(String, String)>) -> Response {
    let api: Api<OrionJob> = Api::namespaced(edges.kube.clone(), &namespace);
    match api.get_opt(&name).await {
        // Whoever votes on a running job must not know it.
        Ok(Some(job)) if !job.status.as_ref().is_some_and(is_terminal) => {
            (StatusCode::CONFLICT, format!("OrionJob {name} is not over: its salt is secret until then\n"))
                .into_response()
        }
        Ok(Some(job)) => {
            let uid = job.uid().unwrap_or_default();
            let id = JobId::derive(&edges.identity.chain, &edges.cluster, &uid);
            let body = serde_json::json!({"job": id, "salt": edges.identity.salt(&id)});
            ([("content-type", "application/json")], body.to_string()).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, format!("no OrionJob {name} in namespace {namespace}\n")).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("reading the OrionJob: {error}\n")).into_response(),
    }
}

async fn result(State(edges): State<Arc<Edges>>, Path(digest): Path<String>) -> Response {
    let Ok(digest) = digest.parse::<Digest>() else {
        return (StatusCode::BAD_REQUEST, "a digest has 64 lower-case hex digits\n").into_response();
    };
    match edges.broker.read(BUCKET_RESULTS, &digest, MAX_RESULT).await {
        Ok(reader) => {
            let size = reader.size();
            // A chunk that does not fit ends the body early: the reader hashes what it got and sees it.
            let chunks = futures::stream::try_unfold(reader, |mut reader| async move {
                let chunk = reader.next().await.map_err(|error| error.to_string())?;
                Ok::<_, String>(chunk.map(|chunk| (chunk, reader)))
            });
            let headers =
                [("content-type", "application/octet-stream".to_owned()), ("content-length", size.to_string())];
            (headers, Body::from_stream(chunks)).into_response()
        }
        Err(ObjectError::NotFound { .. }) => {
            (StatusCode::NOT_FOUND, "no such result: it goes with its job\n").into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("reading the result: {error}\n")).into_response(),
    }
}
