//! `orion-operator keeper`: keeps the ledger's mark, what was signed last, in a ConfigMap, for the ledger beside it in the same
//! pod. The ledger answers strangers and so holds no token (decision 0020); this process holds one that can get and update that
//! ConfigMap and nothing else, and answers a Unix socket only.
//!
//! The object's resourceVersion is the mark's version: of two who move it one is refused. It never moves down. It never makes
//! the ConfigMap: one that is gone is a question for a person.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use orion_protocol::Digest;
use orion_protocol::bytes::{hex, unhex};
use orion_protocol::ledger::mark::{MAX_MARK_BYTES, MarkTextError, Marked};
use tokio::net::UnixListener;

/// The ledger waits 5 s for an answer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Keys of the ConfigMap.
const SIZE: &str = "size";
const ROOT: &str = "root";

/// `orion-operator keeper`.
#[derive(clap::Args, Clone, Debug)]
pub struct KeeperArgs {
    /// Where to listen.
    #[arg(long, env = "ORION_KEEPER_SOCKET", value_name = "PATH")]
    socket: PathBuf,
    /// The ConfigMap that holds the mark.
    #[arg(long, env = "ORION_KEEPER_CONFIG_MAP", value_name = "NAME")]
    config_map: String,
    /// Its namespace.
    #[arg(long, env = "ORION_NAMESPACE", default_value = "orion-system")]
    namespace: String,
}

/// Why a mark is not answered.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    /// It was moved since.
    #[error("the mark is at another version, or further")]
    Moved,
    /// Not a mark.
    #[error("the request is no mark")]
    Request(#[source] MarkTextError),
    /// What the ConfigMap holds.
    #[error("ConfigMap {0} holds no mark: its keys size and root contradict each other, or cannot be read")]
    Content(String),
    /// The API server.
    #[error("cannot {doing} ConfigMap {name}")]
    Api {
        doing: &'static str,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

impl IntoResponse for KeeperError {
    fn into_response(self) -> Response {
        let status = match &self {
            KeeperError::Moved => StatusCode::CONFLICT,
            KeeperError::Request(_) => StatusCode::BAD_REQUEST,
            KeeperError::Content(_) | KeeperError::Api { .. } => {
                tracing::warn!(error = &self as &dyn std::error::Error, "the mark is not answered");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, self.to_string()).into_response()
    }
}

#[derive(Clone)]
struct Keeper {
    maps: Api<ConfigMap>,
    name: String,
}

/// Serves until the process ends.
pub async fn run(args: KeeperArgs) -> anyhow::Result<()> {
    let KeeperArgs { socket, config_map, namespace } = args;
    let mut config = Config::infer().await.context("finding the API server")?;
    (config.connect_timeout, config.read_timeout) = (Some(TIMEOUT), Some(TIMEOUT));
    let client = Client::try_from(config).context("preparing to ask the API server")?;
    let keeper = Keeper { maps: Api::namespaced(client, &namespace), name: config_map };
    // What an earlier process left behind: nobody answers there, since a pod has one keeper.
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing the old socket {}", socket.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&socket).with_context(|| format!("listening on {}", socket.display()))?;
    tracing::info!(socket = %socket.display(), config_map = keeper.name, "the mark is kept");
    tokio::select! {
        served = axum::serve(listener, router(keeper)) => served.context("serving the mark"),
        signal = crate::terminated() => signal,
    }
}

fn router(keeper: Keeper) -> Router {
    Router::new().route("/mark", get(read).put(advance)).layer(DefaultBodyLimit::max(MAX_MARK_BYTES)).with_state(keeper)
}

async fn read(State(keeper): State<Keeper>) -> Result<String, KeeperError> {
    let map = keeper.get().await?;
    Ok(keeper.marked(&map)?.text())
}

async fn advance(State(keeper): State<Keeper>, body: Bytes) -> Result<String, KeeperError> {
    let to = Marked::parse(&body).map_err(KeeperError::Request)?;
    let (size, root) = to.signed.ok_or(KeeperError::Request(MarkTextError))?;
    let mut map = keeper.get().await?;
    let at = keeper.marked(&map)?;
    if at.version != to.version || at.signed.is_some_and(|(signed, _)| signed >= size) {
        return Err(KeeperError::Moved);
    }
    let content = [(SIZE, size.to_string()), (ROOT, hex(&root.0))];
    map.data.get_or_insert_default().extend(content.map(|(key, value)| (key.to_owned(), value)));
    let stored = match keeper.maps.replace(&keeper.name, &PostParams::default(), &map).await {
        Ok(stored) => stored,
        Err(kube::Error::Api(status)) if status.code == 409 => return Err(KeeperError::Moved),
        Err(error) => return Err(keeper.failed("update", error)),
    };
    Ok(keeper.marked(&stored)?.text())
}

impl Keeper {
    async fn get(&self) -> Result<ConfigMap, KeeperError> {
        self.maps.get(&self.name).await.map_err(|error| self.failed("read", error))
    }

    fn marked(&self, map: &ConfigMap) -> Result<Marked, KeeperError> {
        let version = map.metadata.resource_version.clone();
        let signed = signed(map.data.as_ref().unwrap_or(&BTreeMap::new()));
        match (version, signed) {
            (Some(version), Some(signed)) => Ok(Marked { version, signed }),
            _ => Err(KeeperError::Content(self.name.clone())),
        }
    }

    fn failed(&self, doing: &'static str, error: kube::Error) -> KeeperError {
        KeeperError::Api { doing, name: self.name.clone(), source: Box::new(error) }
    }
}

/// What the ConfigMap says was signed; the outer `None` where that cannot be told.
#[expect(clippy::option_option, reason = "nothing signed and nothing readable are two answers")]
fn signed(data: &BTreeMap<String, String>) -> Option<Option<(u64, Digest)>> {
    match (data.get(SIZE), data.get(ROOT)) {
        (None, None) => Some(None),
        (Some(size), Some(root)) => Some(Some((size.parse().ok()?, Digest(unhex(root).ok()?)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    /// An API server with one ConfigMap, or none. Each write may be preceded by somebody else's.
    fn keeper(map: &Arc<Mutex<Value>>, interfere: bool) -> Router {
        let map = map.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let map = map.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                assert_eq!(parts.uri.path(), "/api/v1/namespaces/orion-system/configmaps/orion-ledger-signed");
                let mut map = map.lock().unwrap();
                let refused = |code: u16| (code, json!({"kind": "Status", "status": "Failure", "code": code}));
                let (code, answer) = match parts.method {
                    _ if map.is_null() => refused(404),
                    Method::GET => (200, map.clone()),
                    Method::PUT => {
                        let version: u64 = map["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                        let version = version + u64::from(interfere);
                        map["metadata"]["resourceVersion"] = json!(version.to_string());
                        let mut sent: Value = serde_json::from_slice(&body).unwrap();
                        if sent["metadata"]["resourceVersion"] == map["metadata"]["resourceVersion"] {
                            sent["metadata"]["resourceVersion"] = json!((version + 1).to_string());
                            *map = sent.clone();
                            (200, sent)
                        } else {
                            refused(409)
                        }
                    }
                    other => panic!("the keeper sent {other}"),
                };
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        let maps = Api::namespaced(Client::new(service, "orion-system"), "orion-system");
        router(Keeper { maps, name: "orion-ledger-signed".into() })
    }

    fn stored(data: &Value) -> Arc<Mutex<Value>> {
        let metadata = json!({"name": "orion-ledger-signed", "resourceVersion": "4", "labels": {"who": "me"}});
        Arc::new(Mutex::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})))
    }

    async fn ask(router: &Router, method: Method, body: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri("/mark").body(axum::body::Body::from(body.to_owned()));
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn text(version: &str, size: u64, root: u8) -> String {
        Marked { version: version.into(), signed: Some((size, Digest([root; 32]))) }.text()
    }

    #[tokio::test]
    async fn the_mark_moves_up_under_its_version_and_keeps_what_else_the_object_says() {
        let map = stored(&Value::Null);
        let router = keeper(&map, false);
        assert_eq!(ask(&router, Method::GET, "").await, (200, "version 4\n".into()));
        assert_eq!(ask(&router, Method::PUT, &text("4", 2, 1)).await, (200, text("5", 2, 1)));
        assert_eq!(ask(&router, Method::GET, "").await, (200, text("5", 2, 1)));
        for refused in [text("4", 3, 1), text("5", 2, 2), text("5", 1, 1), text("6", 3, 1)] {
            assert_eq!(ask(&router, Method::PUT, &refused).await.0, 409, "{refused}");
        }
        assert_eq!(ask(&router, Method::PUT, &text("5", 3, 3)).await, (200, text("6", 3, 3)));
        let map = map.lock().unwrap();
        assert_eq!(map["data"], json!({"size": "3", "root": "03".repeat(32)}));
        assert_eq!(map["metadata"]["labels"]["who"], "me");
    }

    #[tokio::test]
    async fn of_two_who_move_it_one_is_refused() {
        let router = keeper(&stored(&Value::Null), true);
        assert_eq!(ask(&router, Method::PUT, &text("4", 2, 1)).await.0, 409);
    }

    #[tokio::test]
    async fn what_is_no_mark_is_neither_taken_nor_given() {
        let router = keeper(&stored(&Value::Null), false);
        let long = "x".repeat(MAX_MARK_BYTES + 1);
        for (status, body) in [(400, ""), (400, "version 4\n"), (400, "size 1\n"), (413, long.as_str())] {
            assert_eq!(ask(&router, Method::PUT, body).await.0, status, "{body}");
        }
        assert_eq!(ask(&router, Method::POST, "").await.0, 405);
        for data in [json!({"size": "1"}), json!({"size": "x", "root": "00"}), json!({"root": "00".repeat(32)})] {
            let (status, said) = ask(&keeper(&stored(&data), false), Method::GET, "").await;
            assert!(status == 503 && said.contains("orion-ledger-signed holds no mark"), "{said}");
        }
        let (status, said) = ask(&keeper(&Arc::default(), false), Method::GET, "").await;
        assert!(status == 503 && said == "cannot read ConfigMap orion-ledger-signed", "{said}");
    }
}
