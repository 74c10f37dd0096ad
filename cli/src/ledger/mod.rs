//! `orion ledger`: ask for balances, histories and keys, export the log, verify it, make receipts out of it; write, approve, sign and send
//! transactions. What verifies works on files, without a network.
//!
//! Exit codes: 0 proven, 1 proven wrong, 2 cannot be decided from what is there, 3 usage.

mod ask;
mod balance;
mod draft;
mod folder;
mod fork;
mod history;
mod keys;
mod log;
mod policy;
mod prove;
mod receipt;
mod reward;
mod send;
mod slash;
mod tx;
mod units;

use std::fs::File;
use std::io::{BufReader, Read as _, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use orion_ledger_core::Chain;
use orion_ledger_core::checkpoint::VerifierKey;
use orion_protocol::bytes::unhex;
use orion_protocol::{JobId, SecretKey};
use serde_json::json;

use crate::cluster::{Access, Purpose};
use crate::endpoint::Endpoint;
use crate::{Format, Verdict};

pub use self::log::{headline, print_job};

/// Below the help of every command here.
pub const EXIT_CODES: &str = "Exit codes:
  0  proven, or done
  1  proven wrong
  2  cannot be decided from what is there: a file cannot be read, the log has no such job, signatures are missing
  3  usage";
/// Fewer digits of a job's id are not taken for one.
const JOB_DIGITS_MIN: usize = 8;
/// 64 hex digits, and the end of a line.
const SECRET_BYTES_MAX: usize = 66;
/// More jobs are not listed in an error.
const JOBS_SHOWN_MAX: usize = 10;

/// `orion ledger ...`
#[derive(clap::Subcommand)]
pub enum LedgerCommand {
    /// What a provider, a namespace, the treasury or any account holds, as the ledger says.
    #[command(after_help = EXIT_CODES)]
    Balance(balance::BalanceArgs),
    /// What happened to an account or a job, oldest first, as the ledger says.
    #[command(after_help = EXIT_CODES)]
    History(history::HistoryArgs),
    /// Whose keys do what: operators with their epochs, platform, issuers, as the ledger says.
    #[command(after_help = EXIT_CODES)]
    Keys,
    /// Write the whole log to a file.
    Export {
        /// The file.
        file: PathBuf,
    },
    /// Make the receipt of a shard's work out of an exported log: what its provider keeps. Needs no network.
    #[command(after_help = EXIT_CODES)]
    Prove(prove::ProveArgs),
    /// Reward policies: by what jobs pay.
    #[command(subcommand, after_help = EXIT_CODES)]
    Policy(policy::PolicyCommand),
    /// Recompute what a log, a receipt or evidence says. Needs no network.
    #[command(subcommand, after_help = EXIT_CODES)]
    Verify(VerifyCommand),
    /// Write down a transaction: stakes, withdrawals, other keys. Needs no network.
    #[command(after_help = EXIT_CODES)]
    Tx(tx::TxArgs),
    /// Approve a transaction that somebody wrote down. Needs no network.
    #[command(after_help = EXIT_CODES)]
    Approve(send::ApproveArgs),
    /// Sign a transaction with the approvals that it has. Needs no network.
    #[command(after_help = EXIT_CODES)]
    Sign(send::SignArgs),
    /// Send a signed transaction to the ledger. 1: the ledger refused it, and says why.
    #[command(after_help = EXIT_CODES)]
    Submit(send::SubmitArgs),
    /// Print the public key that belongs to a key.
    #[command(after_help = EXIT_CODES)]
    PublicKey {
        /// The file with the key: 64 hex digits.
        key: PathBuf,
    },
}

/// `orion ledger verify ...`
#[derive(clap::Subcommand)]
pub enum VerifyCommand {
    /// Signatures, tree, draws, verdicts and every balance of an exported log.
    #[command(after_help = EXIT_CODES)]
    Log(LogArgs),
    /// A receipt: the shard's commitment, verdict and payment, from one unit to the signed checkpoint.
    #[command(after_help = EXIT_CODES)]
    Receipt(receipt::ReceiptArgs),
    /// Whether two checkpoints show that the log forked. 0: it did; 1: one log has both, or they are no evidence.
    #[command(after_help = EXIT_CODES)]
    Fork(fork::ForkArgs),
    /// The split of a job's money, as a table that a person can redo by hand.
    #[command(after_help = EXIT_CODES)]
    Reward(reward::RewardArgs),
}

/// `orion ledger verify log ...`
#[derive(clap::Args)]
pub struct LogArgs {
    /// The export.
    #[arg(id = "file")]
    export: PathBuf,
    /// The log's key, as the install wrote it.
    #[arg(long)]
    key: PathBuf,
}

/// Runs the command.
pub async fn run(access: &Access, format: Format, command: &LedgerCommand) -> anyhow::Result<Verdict> {
    match command {
        LedgerCommand::Balance(args) => balance::run(access, format, args).await,
        LedgerCommand::History(args) => history::run(access, format, args).await,
        LedgerCommand::Keys => keys::run(access, format).await,
        LedgerCommand::Export { file } => {
            let bytes = export(&access.ledger(Purpose::Read).await?, file).await?;
            match format {
                Format::Text => println!("ledger: exported {bytes} bytes to {}", file.display()),
                Format::Json => println!("{}", json!({"file": file, "bytes": bytes})),
            }
            Ok(Verdict::Good)
        }
        LedgerCommand::Policy(command) => policy::run(access, format, command).await,
        LedgerCommand::Prove(args) => prove::run(format, args),
        LedgerCommand::Tx(args) => tx::run(format, args),
        LedgerCommand::Approve(args) => send::approve(format, args),
        LedgerCommand::Sign(args) => send::sign(format, args),
        LedgerCommand::Submit(args) => send::submit(access, format, args).await,
        LedgerCommand::PublicKey { key } => {
            let key = read_secret(key)?.public();
            match format {
                Format::Text => println!("{key}"),
                Format::Json => println!("{}", json!({"key": key})),
            }
            Ok(Verdict::Good)
        }
        LedgerCommand::Verify(VerifyCommand::Log(args)) => log::run(format, args),
        LedgerCommand::Verify(VerifyCommand::Receipt(args)) => receipt::run(format, args),
        LedgerCommand::Verify(VerifyCommand::Fork(args)) => fork::run(format, args),
        LedgerCommand::Verify(VerifyCommand::Reward(args)) => reward::run(format, args),
    }
}

/// Fetches the log into a file, which appears whole or not at all.
async fn export(ledger: &Endpoint, file: &Path) -> anyhow::Result<u64> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).context("making a file for the export")?;
    let bytes = ledger.fetch("/v1/export", &mut temporary).await?;
    temporary.flush().context("writing the export")?;
    temporary.persist(file).with_context(|| format!("writing {}", file.display()))?;
    Ok(bytes)
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A log is verified on as many threads as this machine has for us.
pub fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let open = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    Ok(BufReader::new(open))
}

/// Reads a whole file of at most so many bytes.
fn read(file: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    open(file)?.take(limit).read_to_end(&mut bytes).with_context(|| format!("reading {}", file.display()))?;
    if bytes.len() > bytes_max {
        bail!("{} is longer than {bytes_max} bytes, which nothing of its kind is", file.display());
    }
    Ok(bytes)
}

/// A file of bytes, or of their hex; at most so many bytes.
fn read_bytes(file: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let bytes = read(file, bytes_max * 2 + 2)?;
    let raw = std::str::from_utf8(&bytes).ok().and_then(|text| draft::bytes_of(text.trim_end()).ok());
    Ok(raw.unwrap_or(bytes))
}

/// Writes a file, which appears whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("making a file in {}", folder.display()))?;
    temporary.write_all(bytes).with_context(|| format!("writing {}", file.display()))?;
    temporary.persist(file).with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

/// A signing key: 64 hex digits, which never become part of an error.
fn read_secret(file: &Path) -> anyhow::Result<SecretKey> {
    let text = read(file, SECRET_BYTES_MAX)?;
    let seed = std::str::from_utf8(&text).ok().and_then(|text| unhex::<32>(text.trim_end()).ok());
    let seed = seed.with_context(|| format!("{} is no key: expected 64 hex digits", file.display()))?;
    Ok(SecretKey::from_seed(&seed))
}

fn read_key(file: &Path) -> anyhow::Result<VerifierKey> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading the key {}", file.display()))?;
    VerifierKey::parse(text.trim()).with_context(|| format!("reading the key {}", file.display()))
}

/// The one job of the log whose id begins with these digits.
fn find_job(chain: &Chain, digits: &str) -> anyhow::Result<JobId> {
    let text = digits.to_ascii_lowercase();
    let mut found = chain.jobs().keys().filter(|job| job.to_string().starts_with(&text));
    if text.len() < JOB_DIGITS_MIN {
        bail!("--job {digits} is too short: give at least {JOB_DIGITS_MIN} digits of the job's id");
    }
    match (found.next(), found.next()) {
        (Some(job), None) => Ok(*job),
        (Some(_), Some(_)) => bail!("several jobs of the log begin with {digits}: give more digits"),
        (None, _) => {
            let jobs = chain.jobs().keys().take(JOBS_SHOWN_MAX).map(|job| job.to_string()[..16].to_owned());
            let jobs: Vec<String> = jobs.collect();
            let first = if chain.jobs().len() > jobs.len() { "begin with" } else { "are" };
            bail!(
                "the log has no job {digits}; its jobs {first}: {}. A newer export may have it: orion ledger export",
                jobs.join(", ")
            )
        }
    }
}
