//! `orion ledger approve`, `sign` and `submit`: the way of a draft. Approving and signing need no network, so keys can stay where they are.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use http::{Method, StatusCode};
use orion_protocol::cbor;
use orion_protocol::ledger::api::Submitted;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use serde_json::json;

use super::draft::Draft;
use super::{read, read_secret};
use crate::cluster::{Access, Purpose};
use crate::{Format, Verdict};

/// The longest answer that is read.
const MAX_ANSWER: usize = 128 * 1024;

/// `orion ledger approve ...`
#[derive(clap::Args)]
pub struct ApproveArgs {
    /// The draft. Your approval is added to it.
    draft: PathBuf,
    /// The file with your key: 64 hex digits.
    #[arg(long)]
    key: PathBuf,
    /// Only say what it is that would be approved.
    #[arg(long)]
    dry_run: bool,
}

/// `orion ledger sign ...`
#[derive(clap::Args)]
pub struct SignArgs {
    /// The draft; or copies of it, each with the approvals of others.
    #[arg(required = true)]
    drafts: Vec<PathBuf>,
    /// The file with the key of who sends it: 64 hex digits.
    #[arg(long)]
    key: PathBuf,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
}

/// `orion ledger submit ...`
#[derive(clap::Args)]
pub struct SubmitArgs {
    /// The transaction, as `orion ledger sign` wrote it. Sending it again is harmless.
    transaction: PathBuf,
}

/// Approves a draft.
pub fn approve(format: Format, args: &ApproveArgs) -> anyhow::Result<Verdict> {
    let mut draft = Draft::load(&args.draft)?;
    let key = read_secret(&args.key)?;
    draft.approve(&key)?;
    if !args.dry_run {
        draft.save(&args.draft)?;
    }
    let (who, says, count) = (key.public(), draft.says(), draft.approvals.len());
    match format {
        Format::Text if args.dry_run => println!("ledger: on {}, {who} would approve to {says}", draft.chain),
        Format::Text => println!("ledger: on {}, {who} approves to {says}; approvals: {count}", draft.chain),
        Format::Json => println!("{}", json!({"key": who, "says": says, "approvals": count, "dryRun": args.dry_run})),
    }
    Ok(Verdict::Good)
}

/// Signs a draft with all approvals that there are.
pub fn sign(format: Format, args: &SignArgs) -> anyhow::Result<Verdict> {
    let [first, others @ ..] = args.drafts.as_slice() else { bail!("give a draft") };
    let mut draft = Draft::load(first)?;
    for file in others {
        let other = Draft::load(file)?;
        let same = (&other.chain, other.action()) == (&draft.chain, draft.action());
        ensure!(same, "{} is a draft of another transaction than {}", file.display(), first.display());
        for approval in other.approvals.into_values() {
            draft.add(approval)?;
        }
    }
    let signed = cbor::to_vec(&draft.sign(&read_secret(&args.key)?)?);
    super::write(&args.out, &signed)?;
    let (says, count) = (draft.says(), draft.approvals.len());
    match format {
        Format::Text => println!("ledger: {} is signed to {says}; approvals: {count}", args.out.display()),
        Format::Json => println!("{}", json!({"file": args.out, "says": says, "approvals": count})),
    }
    Ok(Verdict::Good)
}

/// Has the ledger order an envelope.
pub(super) async fn post(access: &Access, envelope: Vec<u8>) -> anyhow::Result<Submitted> {
    let ledger = access.ledger(Purpose::Submit).await?;
    let (status, answer) = ledger.send(Method::POST, "/v1/transactions", envelope, MAX_ANSWER).await?;
    if status != StatusCode::OK {
        bail!("the ledger does not take it: {status}: {}", String::from_utf8_lossy(&answer).trim());
    }
    cbor::from_slice("answer of the ledger", &answer, MAX_ANSWER).context("submitting")
}

/// Sends what was signed, and says what came of it.
pub async fn submit(access: &Access, format: Format, args: &SubmitArgs) -> anyhow::Result<Verdict> {
    let bytes = read(&args.transaction, MAX_LEAF_BYTES)?;
    let Submitted { leaf, receipt, seal } = post(access, bytes).await?;
    let moved: u64 = receipt.transfers.iter().fold(0, |sum: u64, one| sum.saturating_add(one.amount));
    match format {
        Format::Text => println!("ledger: {}, in leaf {leaf} of block {}", receipt.code, seal.height),
        Format::Json => {
            let code = receipt.code.as_str();
            println!("{}", json!({"code": code, "leaf": leaf, "height": seal.height, "moved": moved}));
        }
    }
    Ok(if receipt.code == Code::Ok { Verdict::Good } else { Verdict::Bad })
}
