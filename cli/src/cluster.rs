//! Finding the cluster, the platform in it, and a job.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use orion_crds::OrionJob;
use orion_ledger_core::checkpoint::VerifierKey;

use crate::endpoint::Endpoint;

/// Where things are.
#[derive(clap::Args, Clone, Debug)]
pub struct Access {
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Namespace of the job; the context's own when not given.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Namespace of the platform.
    #[arg(long, global = true, env = "ORION_SYSTEM_NAMESPACE", default_value = "orion-system")]
    pub system_namespace: String,
    /// The operator's gateway, where it is not reached through the API server.
    #[arg(long, global = true, env = "ORION_GATEWAY_URL")]
    pub gateway_url: Option<String>,
    /// The ledger, where it is not reached through the API server.
    #[arg(long, global = true, env = "ORION_LEDGER_URL")]
    pub ledger_url: Option<String>,
    /// A token of the ledger, where it asks for one. Through the API server, the Secrets orion-ledger-token-read and -submit beside
    /// the platform are looked at as well, whichever is wanted.
    #[arg(long, global = true, env = "ORION_LEDGER_TOKEN", hide_env_values = true)]
    pub ledger_token: Option<String>,
}

impl Access {
    /// The ledger's service; a cluster is needed only where it is behind the API server.
    pub async fn ledger(&self, purpose: Purpose) -> anyhow::Result<Endpoint> {
        match &self.ledger_url {
            Some(url) => Endpoint::direct(url).with_token(self.ledger_token.as_deref()),
            None => Cluster::connect(self).await?.ledger(purpose).await,
        }
    }
}

/// What the ledger is wanted for, and so which of its tokens is shown.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// To read.
    Read,
    /// To send it a transaction.
    Submit,
}

impl Purpose {
    /// The Secret that holds the token.
    fn secret(self) -> &'static str {
        match self {
            Purpose::Read => "orion-ledger-token-read",
            Purpose::Submit => "orion-ledger-token-submit",
        }
    }
}

/// A cluster with Orion on it.
pub struct Cluster {
    /// The API server.
    pub client: Client,
    /// The namespace to look for jobs in.
    pub namespace: String,
    access: Access,
}

impl Cluster {
    /// Connects as kubectl would.
    pub async fn connect(access: &Access) -> anyhow::Result<Cluster> {
        let config = match &access.context {
            None => Config::infer().await.context("finding a cluster: is KUBECONFIG set?")?,
            Some(context) => {
                let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                let file = Kubeconfig::read().context("reading the kubeconfig")?;
                Config::from_custom_kubeconfig(file, &options).await.context("using the context")?
            }
        };
        let namespace = access.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("connecting to the API server")?;
        Ok(Cluster { client, namespace, access: access.clone() })
    }

    /// A job by name.
    pub async fn job(&self, name: &str) -> anyhow::Result<OrionJob> {
        let api: Api<OrionJob> = Api::namespaced(self.client.clone(), &self.namespace);
        let job = api.get_opt(name).await.with_context(|| format!("reading OrionJob {name}"))?;
        job.with_context(|| format!("no OrionJob {name} in namespace {}: see kubectl get orionjobs -A", self.namespace))
    }

    /// The uid that stands for this cluster in ids.
    pub async fn uid(&self) -> anyhow::Result<String> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let system = api.get("kube-system").await.context("reading the namespace kube-system")?;
        system.uid().context("kube-system has no uid")
    }

    /// The key that the log's checkpoints must be signed with: from a file, or as the install wrote it beside the platform,
    /// never from the ledger itself.
    pub async fn log_key(&self, file: Option<&std::path::Path>) -> anyhow::Result<VerifierKey> {
        let text = if let Some(file) = file {
            std::fs::read_to_string(file).with_context(|| format!("reading the log's key from {}", file.display()))?
        } else {
            let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.access.system_namespace);
            let map = api.get("orion-genesis").await.context("reading the log's key: give it with --key FILE")?;
            let key = map.data.unwrap_or_default().remove("checkpoint.vkey");
            key.context("ConfigMap orion-genesis has no checkpoint.vkey")?
        };
        VerifierKey::parse(text.trim()).context("reading the log's key")
    }

    /// The operator's gateway.
    pub fn gateway(&self) -> Endpoint {
        self.endpoint(self.access.gateway_url.as_ref(), "orion-gateway:8090")
    }

    /// The ledger's service.
    pub async fn ledger(&self, purpose: Purpose) -> anyhow::Result<Endpoint> {
        let token = match (&self.access.ledger_token, &self.access.ledger_url) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(_)) => None,
            (None, None) => self.token(purpose).await,
        };
        self.endpoint(self.access.ledger_url.as_ref(), "orion-ledger:8080").with_token(token.as_deref())
    }

    /// The token beside the platform. There may be none, or not for us: then the ledger says whether it takes one.
    async fn token(&self, purpose: Purpose) -> Option<String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.access.system_namespace);
        let secret = api.get_opt(purpose.secret()).await.ok()??;
        String::from_utf8(secret.data?.remove("token")?.0).ok()
    }

    fn endpoint(&self, url: Option<&String>, service: &str) -> Endpoint {
        if let Some(url) = url {
            return Endpoint::direct(url);
        }
        let namespace = &self.access.system_namespace;
        let base = format!("/api/v1/namespaces/{namespace}/services/{service}/proxy");
        Endpoint::proxy(self.client.clone(), base)
    }
}
