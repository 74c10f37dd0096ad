//! `orion-operator keys`: makes the keys of an install where they are missing, and what is public of them: the genesis, the
//! verifier key of the log, the trust policy, the ledger's tokens, the broker's users, the demo's Provider objects, and the
//! ledger's mark. Run before every install and upgrade.
//!
//! It never replaces a key. What it finds it checks, and it says which object contradicts which; it repairs nothing that a
//! person may have meant.

mod cluster;
mod deposit;
mod files;
mod genesis;
mod material;
mod witnesses;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use orion_broker::server_config::{self, Server};
use orion_protocol::Name;
use orion_protocol::ledger::tx::Bonds;
use orion_protocol::ledger::{Genesis, Policy};

pub use deposit::{DepositArgs, deposit};

use self::cluster::Cluster;
use self::genesis::verifier_key;
use self::material::{Keys, ProviderKeys};
use self::witnesses::{DemoWitness, Witness};
use crate::ledger::Ledger;

/// The ConfigMap that every pod reads the genesis from.
const GENESIS: &str = "orion-genesis";
/// The ConfigMap that says what the ledger signed last, outside of its volume.
const MARK: &str = "orion-ledger-signed";
/// The Secret with the broker's configuration.
const NATS_CONFIG: &str = "orion-nats-config";
/// The ConfigMap with the trust policy.
const WITNESS_POLICY: &str = "orion-witness-policy";

/// `orion-operator keys`.
#[derive(clap::Args, Clone, Debug)]
pub struct KeysArgs {
    /// Namespace of the platform.
    #[arg(long, env = "ORION_NAMESPACE", default_value = "orion-system")]
    namespace: String,
    /// A provider of the demo, as name=owner; may be repeated, or separated by commas.
    #[arg(long = "provider", env = "ORION_DEMO_PROVIDERS", value_delimiter = ',')]
    providers: Vec<DemoProvider>,
    /// A witness that somebody else runs, as "name key url", the key as signed notes have it; may be repeated.
    #[arg(long = "witness")]
    witnesses: Vec<Witness>,
    /// A witness that the install brings along, as name=url: its key is made. May be repeated.
    #[arg(long = "demo-witness")]
    demo_witnesses: Vec<DemoWitness>,
    /// How many witnesses make a settlement final; 0: more than half.
    #[arg(long, default_value_t = 0)]
    quorum: u32,
    /// Where the ledger is, which is asked only for keys that are not the genesis'.
    #[arg(long, env = "ORION_LEDGER_URL", default_value = "http://orion-ledger:8080")]
    ledger_url: String,
    /// Writes all files to this folder too, one folder an object: for programs that run without pods.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Default price of a new chain, in micro-credits per million work.
    #[arg(long, env = "ORION_PRICE", default_value_t = 1_000)]
    price: u64,
    /// Default fee of a new chain, in parts per million.
    #[arg(long, env = "ORION_FEE_PPM", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    fee_ppm: u32,
    /// How long an escrow of a new chain lasts, in hours.
    #[arg(long, env = "ORION_ESCROW_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    escrow_hours: u64,
    /// How long a provider's stake on a new chain can still be lost after it was taken back, in hours.
    #[arg(long, env = "ORION_UNBONDING_HOURS", default_value_t = 168, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    unbonding_hours: u64,
    /// What a validator of a new chain loses that says two things, in parts per million of its pending pay and stake; 0: nothing.
    #[arg(long, env = "ORION_SLASH_PPM", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    slash_ppm: u32,
    /// Address on which the broker listens.
    #[arg(long, env = "ORION_NATS_LISTEN", default_value = "0.0.0.0:4222")]
    nats_listen: String,
    /// Address of the broker's monitoring and health pages.
    #[arg(long, env = "ORION_NATS_HTTP", default_value = "0.0.0.0:8222")]
    nats_http: String,
    /// Folder of the broker's streams.
    #[arg(long, env = "ORION_NATS_STORE", default_value = "/data")]
    nats_store: PathBuf,
    /// Memory that the broker's streams may take, in bytes.
    #[arg(long, env = "ORION_NATS_MAX_MEMORY", default_value_t = 64 << 20)]
    nats_max_memory: u64,
    /// Disk that the broker's streams may reserve, in bytes.
    #[arg(long, env = "ORION_NATS_MAX_FILE", default_value_t = 8 << 30)]
    nats_max_file: u64,
}

/// A provider that the install brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DemoProvider {
    name: Name,
    owner: Name,
}

impl FromStr for DemoProvider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, owner) = text.split_once('=').ok_or("expected name=owner")?;
        let part = |what: &str, text: &str| {
            let name: Name = text.parse().map_err(|error| format!("{what}: {error}"))?;
            let free = orion_broker::permissions::is_free(&name);
            if free { Ok(name) } else { Err(format!("{what}: {name} is the platform's own")) }
        };
        Ok(DemoProvider { name: part("name", name)?, owner: part("owner", owner)? })
    }
}

/// Makes what is missing and checks the rest.
pub async fn run(args: KeysArgs) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await.context("finding the API server")?;
    install(&Cluster::new(client, &args.namespace), &args).await
}

async fn install(cluster: &Cluster, args: &KeysArgs) -> anyhow::Result<()> {
    let keys = Keys::ensure(cluster).await?;
    let genesis = ensure_genesis(cluster, args, &keys).await?;
    cluster.ensure_mark().await?;
    let mut demo = Vec::new();
    for DemoProvider { name, owner } in &args.providers {
        let provider = ProviderKeys::ensure(cluster, name).await?;
        cluster.ensure_provider(name, owner, &provider).await?;
        demo.push(provider);
    }
    // Whoever else was approved keeps their place on the broker.
    let users =
        server_config::users(&keys.operator_nats.public, &keys.platform_nats.public, &cluster.broker_keys().await?)
            .context("listing the broker's users")?;
    let server = Server {
        listen: args.nats_listen.clone(),
        http: Some(args.nats_http.clone()),
        store_dir: args.nats_store.clone(),
        max_memory_bytes: args.nats_max_memory,
        max_file_bytes: args.nats_max_file,
        ports_file_dir: None,
    };
    let config = server_config::render(&server, &users).context("rendering the broker's configuration")?;
    cluster.put_secret(NATS_CONFIG, "nats.conf", &config).await?;
    let tokens = material::tokens(cluster).await?;
    let (policy, witnesses) =
        witnesses::ensure(cluster, &verifier_key(&genesis), &args.witnesses, &args.demo_witnesses, args.quorum)
            .await
            .context("making the trust policy")?;
    cluster.put_config_map(WITNESS_POLICY, "policy", &policy).await?;
    let chain = genesis.chain();
    if let Some(out) = &args.out {
        let mut objects = keys.secrets();
        objects.extend(demo.iter().map(ProviderKeys::secret));
        let public = [("genesis", genesis.to_bytes()), ("checkpoint.vkey", verifier_key(&genesis).into_bytes())];
        let public = public.map(|(key, value)| (key.to_owned(), value)).into();
        objects.push((GENESIS.to_owned(), public));
        objects.extend(tokens);
        objects.extend(witnesses);
        objects.push((WITNESS_POLICY.to_owned(), [("policy".to_owned(), policy.into_bytes())].into()));
        objects.push((NATS_CONFIG.to_owned(), [("nats.conf".to_owned(), config.into_bytes())].into()));
        files::write(out, &objects)?;
    }
    tracing::info!(%chain, providers = args.providers.len(), "keys, genesis and broker users are in place");
    Ok(())
}

/// The genesis that is there, checked against the keys; or a new one.
async fn ensure_genesis(cluster: &Cluster, args: &KeysArgs, keys: &Keys) -> anyhow::Result<Genesis> {
    let policy = Policy::per_work(args.price, args.fee_ppm, 0, args.escrow_hours * 3_600_000);
    let bonds = Bonds { unbonding_ms: args.unbonding_hours * 3_600_000, slash_ppm: args.slash_ppm };
    // The defaults need not be said, and older ledgers cannot read them.
    let bonds = Some(bonds).filter(|bonds| *bonds != Bonds::default());
    let fresh = Genesis { bonds, ..genesis::fresh(keys, policy)? };
    let genesis = cluster.ensure_genesis(fresh).await?;
    genesis::check(&genesis, keys, &Ledger::new(&args.ledger_url, None)).await?;
    Ok(genesis)
}

#[cfg(test)]
mod tests;
