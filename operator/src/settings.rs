//! Flags, environment and key files, checked once: later code sees an [`Identity`] and plain values. Whether the operator's key is
//! in force only the ledger can say: [`crate::epoch`].

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orion_broker::Bounds;
use orion_protocol::bytes::unhex;
use orion_protocol::ledger::Genesis;
use orion_protocol::task::job_salt;
use orion_protocol::{ChainId, Digest, JobId, SecretKey};

/// `orion-operator run`.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// Namespace of the platform: its Lease and its Providers are there.
    #[arg(long, env = "ORION_NAMESPACE", default_value = "orion-system")]
    pub namespace: String,
    /// Name of this replica, unique among them.
    #[arg(long, env = "ORION_REPLICA", default_value = "operator")]
    pub replica: String,
    /// Where the ledger is.
    #[arg(long, env = "ORION_LEDGER_URL", default_value = "http://orion-ledger:8080")]
    pub ledger_url: String,
    /// The token that the ledger lets the operator in for, where it asks for one.
    #[arg(long, env = "ORION_LEDGER_TOKEN_FILE")]
    pub ledger_token_file: Option<PathBuf>,
    /// Where the broker is.
    #[arg(long, env = "ORION_NATS_URL", default_value = "nats://orion-nats:4222")]
    pub nats_url: String,
    /// Seed of the operator's nkey.
    #[arg(long, env = "ORION_NATS_SEED_FILE")]
    pub nats_seed_file: PathBuf,
    /// Canonical bytes of the genesis.
    #[arg(long, env = "ORION_GENESIS_FILE")]
    pub genesis_file: PathBuf,
    /// The operator's signing key: 64 hex digits.
    #[arg(long, env = "ORION_OPERATOR_KEY_FILE")]
    pub operator_key_file: PathBuf,
    /// The key from which jobs' salts come: 64 hex digits.
    #[arg(long, env = "ORION_SALT_KEY_FILE")]
    pub salt_key_file: PathBuf,
    /// Health and metrics.
    #[arg(long, env = "ORION_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: std::net::SocketAddr,
    /// The small endpoint through which results leave and objects come.
    #[arg(long, env = "ORION_GATEWAY_LISTEN", default_value = "0.0.0.0:8090")]
    pub gateway_listen: std::net::SocketAddr,
    /// Micro-credits that a second of preflight time must pay at least.
    #[arg(long, env = "ORION_MIN_PRICE_PER_SECOND", default_value_t = 10_000)]
    pub min_price_per_second: u64,
    /// Bytes that the store of inputs and models may take of the broker's disk.
    #[arg(long, env = "ORION_INPUT_BYTES", default_value_t = Bounds::default().in_bytes, value_parser = clap::value_parser!(u64).range(1 << 30..))]
    pub input_bytes: u64,
}

/// Who the operator is: its keys and its chain.
pub struct Identity {
    /// The genesis.
    pub genesis: Genesis,
    /// The chain.
    pub chain: ChainId,
    /// Signs leases and transactions.
    pub key: SecretKey,
    salt_key: [u8; 32],
}

impl Identity {
    /// Reads the files.
    pub fn load(args: &RunArgs) -> anyhow::Result<Identity> {
        let genesis = std::fs::read(&args.genesis_file)
            .with_context(|| format!("reading the genesis from {}", args.genesis_file.display()))?;
        let genesis = Genesis::from_bytes(&genesis)
            .with_context(|| format!("reading the genesis from {}", args.genesis_file.display()))?;
        let key = SecretKey::from_seed(&read_hex(&args.operator_key_file)?);
        Ok(Identity { chain: genesis.chain(), genesis, key, salt_key: read_hex(&args.salt_key_file)? })
    }

    /// The salt of a job.
    pub fn salt(&self, job: &JobId) -> Digest {
        job_salt(&self.salt_key, job)
    }
}

/// Reads 64 hex digits.
fn read_hex(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading a key from {}", path.display()))?;
    unhex(text.trim()).with_context(|| format!("reading a key from {}", path.display()))
}
