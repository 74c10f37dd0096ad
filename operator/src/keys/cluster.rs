//! The objects of an install in Kubernetes. Everything is created if absent and otherwise read; a key that a Secret lacks is
//! added under the version that was read, so that two jobs at a time end with one key.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use orion_crds::{Provider, ProviderSpec};
use orion_protocol::Name;
use orion_protocol::ledger::Genesis;

use super::genesis::verifier_key;
use super::material::{Files, Kind, ProviderKeys};
use super::{GENESIS, MARK, NATS_CONFIG};

/// How often a write that met another is tried again.
const ATTEMPTS: usize = 5;
/// How long a kind that was installed a moment ago may be unknown.
const KIND_WAIT: Duration = Duration::from_mins(1);

/// The platform's namespace.
pub struct Cluster {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    providers: Api<Provider>,
}

impl Cluster {
    /// A view of `namespace`.
    pub fn new(client: Client, namespace: &str) -> Cluster {
        Cluster {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            providers: Api::namespaced(client, namespace),
        }
    }

    /// The Secret with at least these keys: those that are missing are made, no other is touched.
    pub async fn ensure_secret(&self, name: &str, fields: &[(&str, Kind)]) -> anyhow::Result<Files> {
        for _ in 0..ATTEMPTS {
            let found = self.secrets.get_opt(name).await.with_context(|| format!("reading Secret {name}"))?;
            let exists = found.is_some();
            let mut secret = found.unwrap_or_else(|| new_secret(name));
            let data = secret.data.get_or_insert_default();
            let missing: Vec<_> = fields.iter().filter(|(key, _)| !data.contains_key(*key)).collect();
            for (key, kind) in &missing {
                data.insert((*key).to_owned(), ByteString(kind.make()?.into_bytes()));
            }
            let files = files(data);
            if missing.is_empty() || self.store_secret(exists, &secret).await? {
                return Ok(files);
            }
        }
        anyhow::bail!("Secret {name} was changed by others {ATTEMPTS} times in a row")
    }

    /// A Secret with one key, of this content.
    pub async fn put_secret(&self, name: &str, key: &str, text: &str) -> anyhow::Result<()> {
        for _ in 0..ATTEMPTS {
            let found = self.secrets.get_opt(name).await.with_context(|| format!("reading Secret {name}"))?;
            let exists = found.is_some();
            let mut secret = found.unwrap_or_else(|| new_secret(name));
            let want = BTreeMap::from([(key.to_owned(), ByteString(text.as_bytes().to_vec()))]);
            if secret.data.as_ref() == Some(&want) {
                return Ok(());
            }
            secret.data = Some(want);
            if self.store_secret(exists, &secret).await? {
                return Ok(());
            }
        }
        anyhow::bail!("Secret {name} was changed by others {ATTEMPTS} times in a row")
    }

    /// A ConfigMap with one key, of this content.
    pub async fn put_config_map(&self, name: &str, key: &str, text: &str) -> anyhow::Result<()> {
        let want = BTreeMap::from([(key.to_owned(), text.to_owned())]);
        for _ in 0..ATTEMPTS {
            let found = self.config_maps.get_opt(name).await.with_context(|| format!("reading ConfigMap {name}"))?;
            if found.as_ref().is_some_and(|found| found.data.as_ref() == Some(&want)) {
                return Ok(());
            }
            let exists = found.is_some();
            let mut map = found.unwrap_or_else(|| ConfigMap { metadata: metadata(name), ..ConfigMap::default() });
            map.data = Some(want.clone());
            let stored = if exists {
                self.config_maps.replace(name, &PostParams::default(), &map).await
            } else {
                self.config_maps.create(&PostParams::default(), &map).await
            };
            match stored {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error).with_context(|| format!("writing ConfigMap {name}")),
            }
        }
        anyhow::bail!("ConfigMap {name} was changed by others {ATTEMPTS} times in a row")
    }

    /// `false` when somebody else was faster.
    async fn store_secret(&self, exists: bool, secret: &Secret) -> anyhow::Result<bool> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let stored = if exists {
            self.secrets.replace(name, &PostParams::default(), secret).await
        } else {
            self.secrets.create(&PostParams::default(), secret).await
        };
        match stored {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("writing Secret {name}")),
        }
    }

    /// The genesis that is there, or `fresh`, which then is.
    pub async fn ensure_genesis(&self, fresh: Genesis) -> anyhow::Result<Genesis> {
        if let Some(genesis) = self.genesis().await? {
            return Ok(genesis);
        }
        let map = ConfigMap {
            metadata: metadata(GENESIS),
            binary_data: Some([("genesis".to_owned(), ByteString(fresh.to_bytes()))].into()),
            data: Some([("checkpoint.vkey".to_owned(), verifier_key(&fresh))].into()),
            immutable: Some(true),
        };
        match self.config_maps.create(&PostParams::default(), &map).await {
            Ok(_) => Ok(fresh),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.genesis().await?.with_context(|| format!("ConfigMap {GENESIS} appeared and vanished"))
            }
            Err(error) => Err(error).with_context(|| format!("creating ConfigMap {GENESIS}")),
        }
    }

    /// The ConfigMap that keeps the ledger's mark; what it says is its keeper's. One that is there is never looked into.
    pub async fn ensure_mark(&self) -> anyhow::Result<()> {
        let map = ConfigMap { metadata: metadata(MARK), ..ConfigMap::default() };
        match self.config_maps.create(&PostParams::default(), &map).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("creating ConfigMap {MARK}")),
        }
    }

    async fn genesis(&self) -> anyhow::Result<Option<Genesis>> {
        let found = self.config_maps.get_opt(GENESIS).await;
        let Some(map) = found.with_context(|| format!("reading ConfigMap {GENESIS}"))? else { return Ok(None) };
        let bytes = map.binary_data.unwrap_or_default().remove("genesis");
        let ByteString(bytes) = bytes.with_context(|| format!("ConfigMap {GENESIS} has no key genesis"))?;
        Genesis::from_bytes(&bytes).map(Some).with_context(|| format!("reading ConfigMap {GENESIS}"))
    }

    /// The Provider object of these keys and this owner.
    pub async fn ensure_provider(&self, name: &Name, owner: &Name, keys: &ProviderKeys) -> anyhow::Result<()> {
        let spec = ProviderSpec {
            public_key: keys.key.to_string(),
            broker_key: keys.nats.public.clone(),
            owner: owner.to_string(),
            validates: true,
        };
        let provider = Provider { metadata: metadata(name.as_str()), spec, status: None };
        let deadline = tokio::time::Instant::now() + KIND_WAIT;
        loop {
            match self.providers.create(&PostParams::default(), &provider).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => break,
                Err(kube::Error::Api(status)) if status.code == 404 && tokio::time::Instant::now() < deadline => {
                    tracing::info!("waiting for the kind Provider to be served");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error).with_context(|| format!("creating Provider {name}")),
            }
        }
        let found = self.providers.get(name.as_str()).await.with_context(|| format!("reading Provider {name}"))?;
        let ProviderSpec { public_key, broker_key, owner: have, validates: _ } = found.spec;
        let want = &provider.spec;
        anyhow::ensure!(
            have == want.owner,
            "Provider {name} belongs to {have}, not to {owner}: an owner never changes"
        );
        anyhow::ensure!(
            public_key == want.public_key && broker_key == want.broker_key,
            "Provider {name} has other keys than Secret orion-provider-{name}: restore that Secret, or delete the Provider"
        );
        Ok(())
    }

    /// Name and broker key of every approved provider.
    pub async fn broker_keys(&self) -> anyhow::Result<Vec<(Name, String)>> {
        let mut found = Vec::new();
        let list = match self.providers.list(&ListParams::default()).await {
            // An install without a demo may come before the kind is served: then there are none.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(found),
            list => list.context("listing Providers")?,
        };
        for provider in list {
            let name = provider.metadata.name.unwrap_or_default();
            match name.parse() {
                Ok(name) => found.push((name, provider.spec.broker_key)),
                Err(error) => tracing::warn!(%name, %error, "a Provider's name is not usable on the broker"),
            }
        }
        found.sort();
        Ok(found)
    }
}

fn metadata(name: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/part-of", "orion"), ("app.kubernetes.io/managed-by", "orion-operator")];
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..ObjectMeta::default()
    }
}

fn new_secret(name: &str) -> Secret {
    let kind = if name == NATS_CONFIG { "orion.dev/config" } else { "orion.dev/keys" };
    Secret { metadata: metadata(name), type_: Some(kind.to_owned()), ..Secret::default() }
}

fn files(data: &BTreeMap<String, ByteString>) -> Files {
    data.iter().map(|(key, ByteString(value))| (key.clone(), value.clone())).collect()
}
