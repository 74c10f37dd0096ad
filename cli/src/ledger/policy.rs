//! `orion ledger policy`: check a reward policy that is a file, publish it, say which one new jobs get, show what is published.
//! A check needs no network; what the ledger says of a policy is believed only where its bytes hash to its id.

mod file;
mod sample;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use orion_ledger_core::verify;
use orion_protocol::ledger::api::Policies;
use orion_protocol::ledger::policy::OutOfBounds;
use orion_protocol::ledger::tx::{Params, Policy, PublishPolicy};
use orion_protocol::ledger::{Code, Submitted, Transaction};
use orion_protocol::{ChainId, Digest, JobId, SecretKey, TxId, cbor};
use serde_json::{Value, json};

pub(super) use self::file::PolicyFile;
use super::draft::Draft;
use super::{log, open, read_key, read_secret, send};
use crate::cluster::{Access, Cluster, Purpose};
use crate::{Format, Verdict};

/// The longest answer of the ledger that is read, in bytes: all policies that there may ever be.
const MAX_ANSWER: usize = 4 << 20;
/// Fewer digits of a policy's id are not taken for one.
const ID_DIGITS_MIN: usize = 8;

/// `orion ledger policy ...`
#[derive(clap::Subcommand)]
pub enum PolicyCommand {
    /// Say what a policy would pay for a sample job, its id, and what is wrong with it. Needs no network.
    #[command(after_help = super::EXIT_CODES)]
    Check {
        /// The policy: YAML or JSON.
        file: PathBuf,
    },
    /// Publish a policy, for jobs to name. It is never taken back.
    #[command(after_help = super::EXIT_CODES)]
    Publish {
        /// The policy: YAML or JSON.
        file: PathBuf,
        #[command(flatten)]
        by: By,
    },
    /// Make a published policy that of new jobs which name none.
    #[command(after_help = super::EXIT_CODES)]
    Default {
        /// The policy's id, whole.
        id: Digest,
        #[command(flatten)]
        by: By,
    },
    /// Show what is published: all policies, or the one whose id begins with these digits.
    #[command(after_help = super::EXIT_CODES)]
    Show {
        /// The policy's id, or its first digits.
        id: Option<String>,
        /// An export to read instead of asking the ledger; it is verified first.
        #[arg(long, requires = "log_key")]
        export: Option<PathBuf>,
        /// The log's key, as the install wrote it.
        #[arg(long)]
        log_key: Option<PathBuf>,
    },
}

/// By whose word.
#[derive(clap::Args)]
pub struct By {
    /// The one issuer's key, where its word is enough: 64 hex digits. Several write it down first: orion ledger tx.
    #[arg(long)]
    key: PathBuf,
    /// The log's key, as the install wrote it: says which chain it is for. Without it, the install is asked.
    #[arg(long)]
    log_key: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(access: &Access, format: Format, command: &PolicyCommand) -> anyhow::Result<Verdict> {
    match command {
        PolicyCommand::Check { file } => check(format, &PolicyFile::read(file)?),
        PolicyCommand::Publish { file, by } => {
            let policy = PolicyFile::read(file)?;
            let found = policy.out_of_bounds();
            if !found.is_empty() {
                for one in &found {
                    eprintln!("{}", words(one));
                }
                eprintln!("policy: nothing was published; see orion ledger policy check {}", file.display());
                return Ok(Verdict::Bad);
            }
            let (bytes, id) = (policy.to_bytes().into(), policy.digest());
            give(access, format, Transaction::PublishPolicy(PublishPolicy { policy: bytes }), id, by).await
        }
        PolicyCommand::Default { id, by } => {
            give(access, format, Transaction::Params(Params { policy: *id }), *id, by).await
        }
        PolicyCommand::Show { id, export, log_key } => {
            let policies = match export.as_ref().zip(log_key.as_ref()) {
                Some((export, key)) => match verify::chain_on(super::threads(), open(export)?, &read_key(key)?) {
                    Ok((_, chain)) => chain.policies(),
                    Err(error) => return Ok(log::refuse(&error, format)),
                },
                None => asked(access).await?,
            };
            show(format, &policies, id.as_deref())
        }
    }
}

fn check(format: Format, policy: &Policy) -> anyhow::Result<Verdict> {
    let found = policy.out_of_bounds();
    let pays = if found.is_empty() { Some(sample::of(policy)?) } else { None };
    match format {
        Format::Text => {
            println!("policy {}", policy.digest());
            print_terms(policy);
            if let Some(sample) = &pays {
                sample.print();
            }
            for one in &found {
                println!("{}", words(one));
            }
            println!("policy: {}", if found.is_empty() { "good, and may be published" } else { "would be refused" });
        }
        Format::Json => {
            let wrong: Vec<Value> = found
                .iter()
                .map(|one| json!({"field": one.field, "code": one.code.as_str(), "message": one.words}))
                .collect();
            let pays = pays.map(|sample| sample.as_json());
            let answer = json!({
                "id": policy.digest(), "policy": PolicyFile::of(policy), "outOfBounds": wrong, "sample": pays,
            });
            println!("{answer}");
        }
    }
    Ok(if found.is_empty() { Verdict::Good } else { Verdict::Bad })
}

fn words(found: &OutOfBounds) -> String {
    let OutOfBounds { field, code, words } = found;
    format!("policy: {field}: {words} ({code})")
}

fn print_terms(policy: &Policy) {
    for line in PolicyFile::of(policy).lines() {
        println!("  {line}");
    }
}

/// Sends it with the one issuer's word.
async fn give(access: &Access, format: Format, tx: Transaction, id: Digest, by: &By) -> anyhow::Result<Verdict> {
    let (issuer, kind) = (read_secret(&by.key)?, tx.kind());
    let chain = chain_of(access, by.log_key.as_deref()).await?;
    let Submitted { leaf, receipt, seal } = send::post(access, signed(chain, &issuer, tx, id)?).await?;
    let good = receipt.code == Code::Ok;
    match format {
        Format::Json => println!(
            "{}",
            json!({"id": id, "kind": kind, "code": receipt.code.as_str(), "leaf": leaf, "height": seal.height})
        ),
        Format::Text if good => println!("policy {id}: {kind} is in leaf {leaf}"),
        Format::Text => println!("policy {id}: {kind} was refused: {}{}", receipt.code, next(receipt.code)),
    }
    Ok(if good { Verdict::Good } else { Verdict::Bad })
}

/// What to do about a refusal.
fn next(code: Code) -> &'static str {
    match code {
        Code::NotEnoughApprovals => {
            "; several issuers must give their word: write it down for them with orion ledger tx"
        }
        Code::UnknownPolicy => "; publish it first: orion ledger policy publish",
        _ => "",
    }
}

/// With the issuer's approval inside, under an id that is new each time: what is published already may be published again.
fn signed(chain: ChainId, issuer: &SecretKey, tx: Transaction, id: Digest) -> anyhow::Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let tx_id = TxId::derive(tx.kind(), &JobId(id.0), u64::try_from(now.as_millis())?, 0);
    let mut draft = Draft { chain, sender: issuer.public(), id: tx_id, transaction: tx, approvals: BTreeMap::new() };
    draft.approve(issuer)?;
    Ok(cbor::to_vec(&draft.sign(issuer)?))
}

/// What the ledger says is published. Ids are computed here.
async fn asked(access: &Access) -> anyhow::Result<Policies> {
    let bytes = access.ledger(Purpose::Read).await?.get("/v1/policies", MAX_ANSWER).await?;
    cbor::from_slice("the ledger's answer", &bytes, MAX_ANSWER).context("reading the ledger's answer")
}

/// The chain that the log with this key is of: never what the ledger itself says, for it would be signed.
async fn chain_of(access: &Access, log_key: Option<&Path>) -> anyhow::Result<ChainId> {
    let key = match log_key {
        Some(file) => read_key(file)?,
        None => Cluster::connect(access).await?.log_key(None).await?,
    };
    key.chain().context("reading which chain the log's key is for")
}

fn show(format: Format, policies: &Policies, digits: Option<&str>) -> anyhow::Result<Verdict> {
    let digits = digits.unwrap_or_default().to_ascii_lowercase();
    ensure!(
        digits.is_empty() || digits.len() >= ID_DIGITS_MIN,
        "{digits} is too short: give at least {ID_DIGITS_MIN} digits of the policy's id"
    );
    let known = policies.policies.iter().map(|policy| (policy.digest(), policy));
    let found: Vec<(Digest, &Policy)> = known.filter(|(id, _)| id.to_string().starts_with(&digits)).collect();
    ensure!(!found.is_empty(), "no policy that begins with {digits} is published: see orion ledger policy show");
    let is_default = |id: &Digest| *id == policies.default;
    match format {
        Format::Json => {
            let all = found
                .iter()
                .map(|(id, policy)| json!({"id": id, "default": is_default(id), "policy": PolicyFile::of(policy)}));
            println!("{}", json!({"policies": all.collect::<Vec<_>>()}));
        }
        Format::Text => {
            for (id, policy) in &found {
                println!("policy {id}{}", if is_default(id) { ", of jobs that name none" } else { "" });
                print_terms(policy);
            }
        }
    }
    Ok(Verdict::Good)
}
