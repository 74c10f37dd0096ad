//! `orion-operator deposit`: credits for a namespace, signed by the issuer. Run once after an install, and harmless when run
//! again: a deposit of the same amount for the same namespace is made once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use orion_protocol::bytes::unhex;
use orion_protocol::ids::Account;
use orion_protocol::ledger::tx::{Consumer, Deposit};
use orion_protocol::ledger::{Code, Genesis, Transaction};
use orion_protocol::price::{format_credits, parse_credits};
use orion_protocol::{JobId, SecretKey, TxId};

use crate::ledger::{Ledger, LedgerToken};

/// At most so many deposits are looked through for one that is there already.
const MAX_DEPOSITS: u64 = 256;

/// `orion-operator deposit`.
#[derive(clap::Args, Clone, Debug)]
pub struct DepositArgs {
    /// The namespace that may spend it.
    #[arg(long, env = "ORION_DEPOSIT_NAMESPACE")]
    namespace: String,
    /// How much, in ORION: 100 or 2.5.
    #[arg(long, env = "ORION_DEPOSIT_AMOUNT", value_parser = amount)]
    amount: u64,
    /// Where the ledger is.
    #[arg(long, env = "ORION_LEDGER_URL", default_value = "http://orion-ledger:8080")]
    ledger_url: String,
    /// The token that the ledger lets the deposit in for, where it asks for one.
    #[arg(long, env = "ORION_LEDGER_TOKEN_FILE")]
    ledger_token_file: Option<PathBuf>,
    /// Canonical bytes of the genesis.
    #[arg(long, env = "ORION_GENESIS_FILE")]
    genesis_file: PathBuf,
    /// The issuer's signing key: 64 hex digits.
    #[arg(long, env = "ORION_ISSUER_KEY_FILE")]
    issuer_key_file: PathBuf,
    /// How long the ledger is waited for, in seconds.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    wait_seconds: u64,
}

fn amount(text: &str) -> Result<u64, String> {
    let micro = parse_credits(text).filter(|micro| *micro > 0);
    micro.ok_or_else(|| "expected an amount like 100 or 2.5, up to 6 decimals".to_owned())
}

fn read_seed(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading a key from {}", path.display()))?;
    unhex(text.trim()).with_context(|| format!("reading a key from {}", path.display()))
}

/// Sends the deposit, unless it was made before.
pub async fn deposit(args: DepositArgs) -> anyhow::Result<()> {
    let genesis = std::fs::read(&args.genesis_file)
        .with_context(|| format!("reading the genesis from {}", args.genesis_file.display()))?;
    let genesis = Genesis::from_bytes(&genesis).context("reading the genesis")?;
    let key = SecretKey::from_seed(&read_seed(&args.issuer_key_file)?);
    if key.public() != genesis.issuer {
        // Its deposits have ids of their own: what the first issuer gave would be given once more.
        tracing::info!("the issuer's key is not the genesis': credits are deposited by hand (orion ledger tx deposit)");
        return Ok(());
    }
    let client = Client::try_default().await.context("finding the API server")?;
    let namespaces: Api<Namespace> = Api::all(client);
    let cluster = namespaces.get("kube-system").await.context("reading the namespace kube-system")?;
    let cluster = cluster.uid().context("the namespace kube-system has no uid")?;
    let chain = genesis.chain();
    let account = Account::Consumer { cluster: &cluster, namespace: &args.namespace }.id(&chain);
    let transaction = Transaction::Deposit(Deposit { consumer: Consumer { account }, amount: args.amount });
    let token = args.ledger_token_file.as_deref().map(LedgerToken::read).transpose()?;
    let ledger = Ledger::new(&args.ledger_url, token);
    for counter in 0..MAX_DEPOSITS {
        let id = TxId::derive(transaction.kind(), &JobId::NONE, counter, 0);
        let envelope = transaction.sign(&chain, &key, 0, id);
        let wait = Duration::from_secs(args.wait_seconds);
        let submitted = tokio::time::timeout(wait, ledger.submit(&envelope))
            .await
            .with_context(|| format!("the ledger at {} took no deposit in {wait:?}", args.ledger_url))?
            .context("sending the deposit")?;
        match submitted.receipt.code {
            Code::Ok => {
                let (amount, namespace) = (format_credits(args.amount), &args.namespace);
                tracing::info!(leaf = submitted.leaf, %account, "{amount} ORION are deposited for namespace {namespace}");
                return Ok(());
            }
            // Another deposit has this number.
            Code::ExistsWithDifferentBytes => {}
            code => anyhow::bail!("the ledger refused the deposit: {code}"),
        }
    }
    anyhow::bail!("{MAX_DEPOSITS} other deposits were made already: send this one by hand")
}
