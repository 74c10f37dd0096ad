//! Questions to the ledger's service, and whose account is meant. What the service answers here is its word: `orion ledger verify
//! log` recomputes it from the log.

use anyhow::{Context as _, bail};
use http::{Method, StatusCode};
use kube::{Api, ResourceExt as _};
use minicbor::{Decode, Encode};
use orion_crds::Provider;
use orion_protocol::bytes::unhex;
use orion_protocol::cbor;
use orion_protocol::ids::Account;
use orion_protocol::ledger::api::Head;
use orion_protocol::{AccountId, ChainId, JobId, PublicKey};

use crate::cluster::{Access, Cluster, Purpose};
use crate::endpoint::Endpoint;

/// No answer is longer, in bytes: a full page of a history.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Whose account: one of these is given.
#[derive(clap::Args)]
#[group(skip)]
pub struct Whose {
    /// An account by its id, 64 hex digits.
    pub account: Option<AccountId>,
    /// What a provider owns: its key in hex, or the name of its Provider.
    #[arg(long, value_name = "KEY|NAME")]
    pub provider: Option<String>,
    /// What a namespace of this cluster may spend.
    #[arg(long, value_name = "NAMESPACE")]
    pub consumer: Option<String>,
    /// The platform's fees.
    #[arg(long)]
    pub treasury: bool,
}

/// The arguments of [`Whose`], for a group.
pub const WHOSE: [&str; 4] = ["account", "provider", "consumer", "treasury"];

/// The service of one chain.
pub struct Ledger<'a> {
    access: &'a Access,
    endpoint: Endpoint,
    pub chain: ChainId,
    /// The current one when the service was found; 0 before the first.
    pub epoch: u64,
}

impl Ledger<'_> {
    /// Finds the service, and which chain it has, in which epoch.
    pub async fn connect(access: &Access) -> anyhow::Result<Ledger<'_>> {
        let endpoint = access.ledger(Purpose::Read).await?;
        let head: Head = get(&endpoint, "/v1/head").await?;
        Ok(Ledger { access, endpoint, chain: head.chain, epoch: head.epoch })
    }

    /// What is at `path`.
    pub async fn get<T>(&self, path: &str) -> anyhow::Result<T>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        get(&self.endpoint, path).await
    }

    /// The account's id, and what to call it.
    pub async fn account(&self, whose: &Whose) -> anyhow::Result<(AccountId, String)> {
        let Whose { account, provider, consumer, treasury } = whose;
        let id = |account: &Account<'_>| account.id(&self.chain);
        if let Some(provider) = provider {
            let key = self.provider(provider).await?;
            return Ok((id(&Account::Available(key)), format!("provider {provider}")));
        }
        if let Some(namespace) = consumer {
            let cluster = Cluster::connect(self.access).await?.uid().await?;
            return Ok((id(&Account::Consumer { cluster: &cluster, namespace }), format!("consumer {namespace}")));
        }
        match (account, treasury) {
            (Some(account), _) => Ok((*account, "account".to_owned())),
            (None, true) => Ok((id(&Account::Treasury), "treasury".to_owned())),
            (None, false) => bail!("whose account? Give an id, --provider, --consumer or --treasury"),
        }
    }

    async fn provider(&self, text: &str) -> anyhow::Result<PublicKey> {
        if let Ok(key) = unhex::<32>(text) {
            return Ok(PublicKey(key));
        }
        let cluster = Cluster::connect(self.access).await?;
        let api: Api<Provider> = Api::namespaced(cluster.client, &self.access.system_namespace);
        let found = api.get_opt(text).await.with_context(|| format!("reading Provider {text}"))?;
        let namespace = &self.access.system_namespace;
        let found = found.with_context(|| {
            format!("no Provider {text} in namespace {namespace}, and it is no key of 64 hex digits")
        })?;
        found.spec.public_key.parse().with_context(|| format!("reading the key of Provider {text}"))
    }

    /// A job by its id in hex, or by the name of its OrionJob.
    pub async fn job(&self, text: &str) -> anyhow::Result<JobId> {
        if let Ok(id) = unhex::<32>(text) {
            return Ok(JobId(id));
        }
        let cluster = Cluster::connect(self.access).await?;
        let job = cluster.job(text).await?.uid().with_context(|| format!("OrionJob {text} has no uid"))?;
        Ok(JobId::derive(&self.chain, &cluster.uid().await?, &job))
    }
}

async fn get<T>(endpoint: &Endpoint, path: &str) -> anyhow::Result<T>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let (status, answer) = endpoint.send(Method::GET, path, Vec::new(), MAX_ANSWER).await?;
    let words = || String::from_utf8_lossy(&answer).trim().chars().take(512).collect::<String>();
    match status {
        StatusCode::OK => {
            cbor::from_slice("the ledger's answer", &answer, MAX_ANSWER).with_context(|| format!("asking for {path}"))
        }
        StatusCode::NOT_FOUND if answer.is_empty() => {
            bail!("the ledger has no {path}: it is older than this program, or something else")
        }
        status => bail!("asking the ledger for {path}: {status}: {}", words()),
    }
}
