//! Where the platform runs: in pods of a node on this machine, or as plain processes. What the two have in common is found
//! here; how their processes are found and removed is in [`processes`](crate::processes).

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{Api, Client};
use tempfile::TempDir;
use xtask::platform::NAMESPACE;
use xtask::platform::processes::Layout;

/// Where the platform runs.
pub enum Ground {
    /// In pods. The node's routes lead from this machine to its Services.
    Pods {
        /// The broker.
        nats: String,
        /// The ledger.
        ledger: String,
        /// Where the cluster's folder is.
        state: PathBuf,
        /// Copies of the keys that scenarios need, one folder an object.
        keys: TempDir,
    },
    /// As plain processes.
    Processes {
        /// Where everything listens.
        layout: Layout,
        /// The cluster's folder.
        state: PathBuf,
    },
}

impl Ground {
    /// Finds a platform of this mode.
    pub async fn find(kube: &Client, mode: &str, state: &Path) -> Result<Ground> {
        match mode {
            "cluster" => {
                let (nats, ledger) = (service(kube, "orion-nats").await?, service(kube, "orion-ledger").await?);
                Ok(Ground::Pods { nats, ledger, state: state.to_owned(), keys: copy_keys(kube).await? })
            }
            "processes" => {
                let layout = std::fs::read(state.join("platform/layout.json")).context("reading what listens where")?;
                let layout = serde_json::from_slice(&layout).context("reading what listens where")?;
                Ok(Ground::Processes { layout, state: state.to_owned() })
            }
            other => bail!("there are no scenarios for mode {other}"),
        }
    }

    /// A file with a key: named as in its Secret or ConfigMap.
    pub fn key(&self, object: &str, name: &str) -> PathBuf {
        match self {
            Ground::Pods { keys, .. } => keys.path().join(object).join(name),
            Ground::Processes { state, .. } => state.join("platform/keys").join(object).join(name),
        }
    }

    /// The broker's URL.
    pub fn nats(&self) -> String {
        match self {
            Ground::Pods { nats, .. } => format!("nats://{nats}"),
            Ground::Processes { layout, .. } => format!("nats://{}", layout.nats),
        }
    }

    /// The ledger's URL.
    pub fn ledger(&self) -> String {
        match self {
            Ground::Pods { ledger, .. } => format!("http://{ledger}"),
            Ground::Processes { layout, .. } => format!("http://{}", layout.ledger),
        }
    }

    /// What `orion` must be told. In pods nothing: there it asks the API server's service proxy.
    pub fn environment(&self) -> Result<Vec<(&'static str, String)>> {
        let Ground::Processes { layout, .. } = self else { return Ok(Vec::new()) };
        let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
        let gateway = layout.gateway.iter().find(answers).context("no operator's gateway answers")?;
        let token = self.key("orion-ledger-token-read", "token");
        let token = std::fs::read_to_string(&token).with_context(|| format!("reading {}", token.display()))?;
        Ok(vec![
            ("ORION_GATEWAY_URL", format!("http://{gateway}")),
            ("ORION_LEDGER_URL", self.ledger()),
            ("ORION_LEDGER_TOKEN", token),
        ])
    }
}

/// Address and first port of a Service.
pub async fn service(kube: &Client, name: &str) -> Result<String> {
    let services: Api<Service> = Api::namespaced(kube.clone(), NAMESPACE);
    let service = services.get(name).await.with_context(|| format!("finding the Service {name}"))?;
    let spec = service.spec.unwrap_or_default();
    let port = spec.ports.unwrap_or_default().first().map(|port| port.port);
    let (Some(address), Some(port)) = (spec.cluster_ip, port) else { bail!("the Service {name} has no address") };
    Ok(format!("{address}:{port}"))
}

/// Writes what scenarios need of the keys to files, for the programs that read files.
async fn copy_keys(kube: &Client) -> Result<TempDir> {
    let folder = tempfile::tempdir().context("making a folder for keys")?;
    let secrets: Api<Secret> = Api::namespaced(kube.clone(), NAMESPACE);
    let tokens = ["orion-ledger-token-submit", "orion-ledger-token-read", "orion-ledger-token-metrics"];
    for name in ["orion-issuer-keys", "orion-operator-keys", "orion-ledger-keys"].into_iter().chain(tokens) {
        let secret = secrets.get(name).await.with_context(|| format!("reading the Secret {name}"))?;
        for (key, value) in secret.data.unwrap_or_default() {
            copy(folder.path(), name, &key, &value.0)?;
        }
    }
    let maps: Api<ConfigMap> = Api::namespaced(kube.clone(), NAMESPACE);
    let genesis = maps.get("orion-genesis").await.context("reading the ConfigMap orion-genesis")?;
    for (key, value) in genesis.data.unwrap_or_default() {
        copy(folder.path(), "orion-genesis", &key, value.as_bytes())?;
    }
    for (key, value) in genesis.binary_data.unwrap_or_default() {
        copy(folder.path(), "orion-genesis", &key, &value.0)?;
    }
    Ok(folder)
}

fn copy(folder: &Path, object: &str, key: &str, value: &[u8]) -> Result<()> {
    let folder = folder.join(object);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(folder.join(key), value).with_context(|| format!("writing {key} of {object}"))
}
