//! The keys themselves: which Secret holds which, how each is made, and how each is read back. Text in Secrets is text in
//! files: lower-case hex for ed25519 keys and the salt key, nkey seeds for the broker.

use std::collections::BTreeMap;

use anyhow::Context as _;
use orion_broker::UserKey;
use orion_protocol::bytes::{hex, unhex};
use orion_protocol::{Digest, Name, PublicKey, SecretKey};

use super::cluster::Cluster;

/// A Secret or ConfigMap as files: key and content.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a key in a Secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 32 random bytes, hex: an ed25519 seed or the salt key.
    Random,
    /// The seed of a broker user.
    NatsSeed,
}

impl Kind {
    /// A fresh one.
    pub fn make(self) -> anyhow::Result<String> {
        match self {
            Kind::Random => Ok(hex(&random()?)),
            Kind::NatsSeed => Ok(UserKey::generate().context("making a broker key")?.seed),
        }
    }
}

/// 32 bytes from the operating system.
pub fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("drawing random bytes: {error}"))?;
    Ok(bytes)
}

const OPERATOR: (&str, &[(&str, Kind)]) = (
    "orion-operator-keys",
    &[("operator.key", Kind::Random), ("salt.key", Kind::Random), ("nats.seed", Kind::NatsSeed)],
);
const PLATFORM: (&str, &[(&str, Kind)]) =
    ("orion-platform-keys", &[("signing.key", Kind::Random), ("nats.seed", Kind::NatsSeed)]);
const LEDGER: (&str, &[(&str, Kind)]) = ("orion-ledger-keys", &[("checkpoint.key", Kind::Random)]);
const ISSUER: (&str, &[(&str, Kind)]) = ("orion-issuer-keys", &[("issuer.key", Kind::Random)]);
/// Who may ask the ledger for what: the role, and the Secret whose holder is let in for it. One each, for Kubernetes grants
/// Secrets whole: who may read one key of a Secret has them all.
const TOKENS: [(&str, &str); 3] = [
    ("submit", "orion-ledger-token-submit"),
    ("read", "orion-ledger-token-read"),
    ("metrics", "orion-ledger-token-metrics"),
];
const TOKEN: &[(&str, Kind)] = &[("token", Kind::Random)];
/// What the ledger knows of them.
const TOKEN_DIGESTS: (&str, &str) = ("orion-ledger-token-digests", "tokens");
const WITNESS: &[(&str, Kind)] = &[("witness.key", Kind::Random)];
const PROVIDER: &[(&str, Kind)] = &[("signing.key", Kind::Random), ("nats.seed", Kind::NatsSeed)];

/// The platform's keys: the public halves, and the Secrets as they are.
pub struct Keys {
    /// Signs leases and transactions.
    pub operator: PublicKey,
    /// Signs preflights, ingests, aggregations, referee votes.
    pub platform: PublicKey,
    /// Signs deposits.
    pub issuer: PublicKey,
    /// Signs checkpoints.
    pub checkpoint: PublicKey,
    /// The operator's broker user.
    pub operator_nats: UserKey,
    /// The platform worker's broker user.
    pub platform_nats: UserKey,
    secrets: Vec<(String, Files)>,
}

impl Keys {
    /// Makes what is missing, reads everything back.
    pub async fn ensure(cluster: &Cluster) -> anyhow::Result<Keys> {
        let mut secrets = Vec::new();
        for (name, fields) in [OPERATOR, PLATFORM, LEDGER, ISSUER] {
            secrets.push((name.to_owned(), cluster.ensure_secret(name, fields).await?));
        }
        Keys::read(secrets)
    }

    fn read(secrets: Vec<(String, Files)>) -> anyhow::Result<Keys> {
        let find = |name: &str| secrets.iter().find(|(have, _)| have == name).map(|(_, files)| files);
        let field = |(name, _): (&str, _), key: &str| text(name, find(name).context("reading back a Secret")?, key);
        let public = |secret: (&str, _), key: &str| signing(secret.0, key, &field(secret, key)?);
        let nats = |secret: (&str, _)| nats_user(secret.0, &field(secret, "nats.seed")?);
        // Only its form is of interest here.
        signing(OPERATOR.0, "salt.key", &field(OPERATOR, "salt.key")?)?;
        Ok(Keys {
            operator: public(OPERATOR, "operator.key")?,
            platform: public(PLATFORM, "signing.key")?,
            issuer: public(ISSUER, "issuer.key")?,
            checkpoint: public(LEDGER, "checkpoint.key")?,
            operator_nats: nats(OPERATOR)?,
            platform_nats: nats(PLATFORM)?,
            secrets,
        })
    }

    /// The Secrets as files.
    pub fn secrets(&self) -> Vec<(String, Files)> {
        self.secrets.clone()
    }
}

/// A provider's keys.
pub struct ProviderKeys {
    /// Signs its commitments and votes.
    pub key: PublicKey,
    /// Its broker user.
    pub nats: UserKey,
    secret: (String, Files),
}

impl ProviderKeys {
    /// Makes what is missing, reads everything back.
    pub async fn ensure(cluster: &Cluster, provider: &Name) -> anyhow::Result<ProviderKeys> {
        let name = format!("orion-provider-{provider}");
        let files = cluster.ensure_secret(&name, PROVIDER).await?;
        let key = signing(&name, "signing.key", &text(&name, &files, "signing.key")?)?;
        let nats = nats_user(&name, &text(&name, &files, "nats.seed")?)?;
        Ok(ProviderKeys { key, nats, secret: (name, files) })
    }

    /// The Secret as files.
    pub fn secret(&self) -> (String, Files) {
        self.secret.clone()
    }
}

/// The ledger's tokens, and their digests, from which nobody learns a token: all these Secrets as files.
pub async fn tokens(cluster: &Cluster) -> anyhow::Result<Vec<(String, Files)>> {
    let (mut secrets, mut lines) = (Vec::new(), Vec::new());
    for (role, name) in TOKENS {
        let files = cluster.ensure_secret(name, TOKEN).await?;
        let token = text(name, &files, "token")?;
        anyhow::ensure!(!token.is_empty(), "token of Secret {name} is empty: delete the Secret to have a new one made");
        lines.push(format!("{role} {}\n", Digest::of(token.as_bytes())));
        secrets.push((name.to_owned(), files));
    }
    let (lines, (digests, key)) = (lines.concat(), TOKEN_DIGESTS);
    cluster.put_secret(digests, key, &lines).await?;
    secrets.push((digests.to_owned(), [(key.to_owned(), lines.into_bytes())].into()));
    Ok(secrets)
}

/// The key of a witness that the install brings along, made where it is missing.
pub async fn witness_key(cluster: &Cluster, secret: &str) -> anyhow::Result<(PublicKey, Files)> {
    let files = cluster.ensure_secret(secret, WITNESS).await?;
    let key = signing(secret, "witness.key", &text(secret, &files, "witness.key")?)?;
    Ok((key, files))
}

fn text(secret: &str, files: &Files, key: &str) -> anyhow::Result<String> {
    let bytes = files.get(key).with_context(|| format!("Secret {secret} has no key {key}"))?;
    let text = std::str::from_utf8(bytes).with_context(|| format!("reading {key} of Secret {secret}"))?;
    Ok(text.trim().to_owned())
}

/// The public half of 64 hex digits. The digits never become part of an error.
fn signing(secret: &str, key: &str, text: &str) -> anyhow::Result<PublicKey> {
    let seed = unhex::<32>(text).with_context(|| format!("reading {key} of Secret {secret}"))?;
    Ok(SecretKey::from_seed(&seed).public())
}

fn nats_user(secret: &str, seed: &str) -> anyhow::Result<UserKey> {
    UserKey::from_seed(seed).with_context(|| format!("reading nats.seed of Secret {secret}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<(String, Files)> {
        [OPERATOR, PLATFORM, LEDGER, ISSUER]
            .map(|(name, fields)| {
                let files = fields.iter().map(|(key, kind)| ((*key).to_owned(), kind.make().unwrap().into_bytes()));
                (name.to_owned(), files.collect())
            })
            .into()
    }

    #[test]
    fn made_keys_read_back_and_differ() {
        let keys = Keys::read(made()).unwrap();
        let public = [keys.operator, keys.platform, keys.issuer, keys.checkpoint];
        for (at, key) in public.iter().enumerate() {
            assert!(!public[..at].contains(key));
        }
        assert_ne!(keys.operator_nats.public, keys.platform_nats.public);
        assert_eq!(keys.secrets().len(), 4);
    }

    #[test]
    fn a_damaged_key_is_named_and_not_shown() {
        let mut secrets = made();
        secrets[1].1.insert("signing.key".into(), b"0123456789abcdeg".to_vec());
        let error = format!("{:#}", Keys::read(secrets).err().unwrap());
        assert!(error.contains("signing.key of Secret orion-platform-keys"), "{error}");
        assert!(!error.contains("0123456789"), "{error}");
    }
}
