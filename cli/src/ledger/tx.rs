//! `orion ledger tx`: writes down a transaction of those that people send: providers about their own credits, issuers and owners about
//! what takes their words. Nothing is signed here, and nothing sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::tx::{
    Consumer, Deposit, Issuers, KeyRole, Params, PublishPolicy, Purse, Release, Reserve, Rotate, Stake, Transaction,
    Withdraw,
};
use orion_protocol::price::parse_credits;
use orion_protocol::{AccountId, ChainId, Digest, JobId, PublicKey, TxId};
use serde_json::json;

use super::draft::Draft;
use super::policy::PolicyFile;
use super::slash::{self, SlashArgs};
use super::{read_bytes, read_secret};
use crate::{Format, Verdict};

/// `orion ledger tx ...`
#[derive(clap::Args)]
pub struct TxArgs {
    /// The chain's genesis, as the install wrote it: its bytes, or their hex.
    #[arg(long)]
    genesis: PathBuf,
    #[command(flatten)]
    sender: Sender,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    #[command(subcommand)]
    what: What,
}

/// Who sends it: it counts only in an envelope of this key.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Sender {
    /// The public key of who sends it.
    #[arg(long, value_name = "PUBLIC KEY")]
    sender: Option<PublicKey>,
    /// The file with the key of who sends it: 64 hex digits.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// What it does. Amounts are in credits.
#[derive(clap::Subcommand)]
enum What {
    /// Put credits of the sending provider at stake.
    Stake {
        #[arg(long, value_parser = credits)]
        amount: u64,
    },
    /// Take back everything that the sending provider has at stake; it is free after the chain's unbonding time.
    Unstake,
    /// Hold back credits of the sending provider for a withdrawal to come.
    Reserve {
        #[arg(long, value_parser = credits)]
        amount: u64,
        /// For so many hours.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=720))]
        hours: u64,
    },
    /// Give up a reserve: of the sending provider, or, with the issuers' approvals, of anybody.
    Release {
        #[arg(long)]
        reserve: Digest,
    },
    /// Take credits out. Needs the approvals of the issuers and of the owner: the provider, or the operator for the others.
    Withdraw {
        #[command(flatten)]
        from: From,
        #[arg(long, value_parser = credits)]
        amount: u64,
        /// Whom it is for, in the issuers' books: 64 hex digits.
        #[arg(long)]
        to: Digest,
        /// The reserve that it is taken from.
        #[arg(long)]
        reserve: Option<Digest>,
    },
    /// Give credits to a consumer. Needs the approvals of the issuers.
    Deposit {
        /// The consumer's account.
        #[arg(long)]
        account: AccountId,
        #[arg(long, value_parser = credits)]
        amount: u64,
    },
    /// Put a new key in the place of another one. Needs the approvals of the issuers, and for a provider its own, or the operator's where
    /// the key is lost.
    Rotate {
        /// Whose key it is.
        role: Role,
        /// The public key in force.
        #[arg(long)]
        old: PublicKey,
        /// The public key that follows; one that has no role, and never had one.
        #[arg(long)]
        new: PublicKey,
        /// Somebody else may have the old one: nothing counts any more that it signed and that is not in the log.
        #[arg(long)]
        lost: bool,
    },
    /// Let others issue. Needs the approvals of those who do.
    Issuers {
        /// How many of them must approve.
        #[arg(long)]
        threshold: u32,
        /// The public key of one of them.
        #[arg(long = "issuer", required = true)]
        issuers: Vec<PublicKey>,
    },
    /// Publish a reward policy for jobs to name. Needs the approvals of the issuers.
    Policy {
        /// The policy: YAML or JSON, as orion ledger policy check reads it.
        file: PathBuf,
    },
    /// Make a published policy that of new jobs which name none. Needs the approvals of the issuers.
    DefaultPolicy {
        /// The policy's id, whole.
        id: Digest,
    },
    /// Take from a validator that signed two votes that differ. For the operator or an issuer to send.
    Slash(SlashArgs),
}

/// Whose credits.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct From {
    /// Of this provider.
    #[arg(long, value_name = "PUBLIC KEY")]
    provider: Option<PublicKey>,
    /// Of this consumer.
    #[arg(long, value_name = "ACCOUNT")]
    consumer: Option<AccountId>,
    /// The platform's fees.
    #[arg(long)]
    treasury: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    Operator,
    Platform,
    Provider,
}

fn credits(text: &str) -> Result<u64, String> {
    parse_credits(text).ok_or_else(|| "expected credits, such as 2.5, with at most six digits behind the point".into())
}

/// Runs the command.
pub fn run(format: Format, args: &TxArgs) -> anyhow::Result<Verdict> {
    let TxArgs { genesis, sender, out, what } = args;
    let sender = match (&sender.sender, &sender.key) {
        (Some(sender), _) => *sender,
        (None, Some(file)) => read_secret(file)?.public(),
        (None, None) => bail!("give --sender or --key"),
    };
    let chain = read_genesis(genesis)?.chain();
    let transaction = match transaction(format, what, &chain, &sender)? {
        Ok(transaction) => transaction,
        Err(verdict) => return Ok(verdict),
    };
    // Ids are their sender's own: that its clock has been there once is enough.
    let now = since_1970()?;
    let nanos = u64::try_from(now.as_nanos()).context("the clock is far off")?;
    let id = TxId::derive(transaction.kind(), &JobId::NONE, nanos, u64::from(std::process::id()));
    let draft = Draft { chain, sender, id, transaction, approvals: BTreeMap::new() };
    draft.save(out)?;
    match format {
        Format::Text => {
            println!("ledger: {} has a draft to {}", out.display(), draft.says());
            println!("ledger: it is for {sender} to send");
        }
        Format::Json => println!("{}", json!({"file": out, "says": draft.says(), "sender": sender, "id": draft.id})),
    }
    Ok(Verdict::Good)
}

/// The transaction; a verdict where something is proven wrong.
fn transaction(
    format: Format,
    what: &What,
    chain: &ChainId,
    sender: &PublicKey,
) -> anyhow::Result<Result<Transaction, Verdict>> {
    Ok(Ok(match what {
        What::Stake { amount } => Transaction::Stake(Stake { amount: *amount }),
        What::Unstake => Transaction::Unstake,
        What::Reserve { amount, hours } => {
            let now_ms = u64::try_from(since_1970()?.as_millis()).context("the clock is far off")?;
            // A minute less, so that the longest is not too long by the ledger's clock.
            let expires_ms = now_ms.saturating_add(hours * 3_600_000).saturating_sub(60_000);
            Transaction::Reserve(Reserve { amount: *amount, expires_ms })
        }
        What::Release { reserve } => Transaction::Release(Release { reserve: *reserve }),
        What::Withdraw { from, amount, to, reserve } => {
            let from = match (from.provider, from.consumer) {
                (Some(key), _) => Purse::Available(key),
                (None, Some(account)) => Purse::Consumer(account),
                (None, None) => Purse::Treasury,
            };
            Transaction::Withdraw(Withdraw { from, amount: *amount, to: *to, reserve: *reserve })
        }
        What::Deposit { account, amount } => {
            Transaction::Deposit(Deposit { consumer: Consumer { account: *account }, amount: *amount })
        }
        What::Rotate { role, old, new, lost } => {
            let role = match role {
                Role::Operator => KeyRole::Operator,
                Role::Platform => KeyRole::Platform,
                Role::Provider => KeyRole::Provider,
            };
            Transaction::Rotate(Rotate { role, old: *old, new: *new, lost: *lost })
        }
        What::Issuers { threshold, issuers } => {
            let mut keys = issuers.clone();
            keys.sort_unstable();
            let issuers = Issuers { threshold: *threshold, keys };
            issuers.check().map_err(anyhow::Error::msg)?;
            Transaction::Issuers(issuers)
        }
        What::Policy { file } => {
            let policy = PolicyFile::read(file)?;
            if let Some(wrong) = policy.out_of_bounds().first() {
                bail!("{}: {}: {}; see orion ledger policy check", file.display(), wrong.field, wrong.words);
            }
            Transaction::PublishPolicy(PublishPolicy { policy: policy.to_bytes().into() })
        }
        What::DefaultPolicy { id } => Transaction::Params(Params { policy: *id }),
        What::Slash(args) => return slash::transaction(format, args, chain, sender),
    }))
}

fn since_1970() -> anyhow::Result<std::time::Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")
}

/// The genesis: its canonical bytes, or their hex.
fn read_genesis(file: &Path) -> anyhow::Result<Genesis> {
    let genesis = Genesis::from_bytes(&read_bytes(file, Genesis::MAX_BYTES)?);
    genesis.with_context(|| format!("reading the genesis {}", file.display()))
}
