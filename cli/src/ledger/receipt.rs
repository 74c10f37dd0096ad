//! `orion ledger verify receipt`: what a receipt states, with no network and no key but those that the user trusts.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orion_ledger_core::checkpoint::VerifierKey;
use orion_ledger_core::log::receipt::{Judgement, Place, ReceiptError, Statement};
use orion_ledger_core::log::trust::{MAX_TRUST_BYTES, Trust};
use orion_protocol::price::format_credits;
use serde_json::{Value, json};

use super::folder::{self, FolderError};
use super::{chain, read, read_key};
use crate::{Format, Verdict};

/// `orion ledger verify receipt ...`
#[derive(clap::Args)]
pub struct ReceiptArgs {
    /// The receipt: a folder, as `orion ledger prove` writes it.
    folder: PathBuf,
    #[command(flatten)]
    trusted: Trusted,
}

/// Whom to believe.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Trusted {
    /// The log's key, as the install wrote it: no witness is asked for.
    #[arg(long)]
    key: Option<PathBuf>,
    /// A trust policy (c2sp.org/tlog-policy): logs, witnesses, and whose cosignatures are enough.
    #[arg(long)]
    trust: Option<PathBuf>,
}

impl Trusted {
    fn read(&self) -> anyhow::Result<Trust> {
        if let Some(file) = &self.trust {
            let what = || format!("reading the trust policy {}", file.display());
            return Trust::parse(&read(file, MAX_TRUST_BYTES)?).with_context(what);
        }
        trust_key(&read_key(self.key.as_deref().context("give --key or --trust")?)?)
    }
}

/// Believes a log's key, and asks for no witness.
pub fn trust_key(key: &VerifierKey) -> anyhow::Result<Trust> {
    Trust::parse(format!("log {key}\nquorum none\n").as_bytes()).context("making a trust policy of the key")
}

/// Runs the command.
pub fn run(format: Format, args: &ReceiptArgs) -> anyhow::Result<Verdict> {
    let trust = args.trusted.read()?;
    let (receipt, lease) = match folder::load(&args.folder) {
        Ok(read) => read,
        Err(FolderError::Unread(error)) => {
            return Err(error.context(format!("{} is no whole receipt", args.folder.display())));
        }
        Err(FolderError::Malformed(error)) => return Ok(refuse(&format!("{error:#}"), Verdict::Bad, format)),
    };
    match receipt.verify(&lease, &trust) {
        Ok(stated) => {
            say(&stated, format, None);
            Ok(Verdict::Good)
        }
        Err(error) => {
            let next = match &error {
                ReceiptError::Untrusted { .. } => ". The key of that log decides it: --key, or a log line in --trust",
                ReceiptError::Quorum { .. } => ". A receipt made under a later checkpoint may have more of them",
                _ => "",
            };
            let verdict = if error.undecided() { Verdict::Undecided } else { Verdict::Bad };
            Ok(refuse(&format!("{}{next}", chain(&error)), verdict, format))
        }
    }
}

/// Says why nothing is proven.
pub fn refuse(why: &str, verdict: Verdict, format: Format) -> Verdict {
    let undecided = matches!(verdict, Verdict::Undecided);
    match format {
        Format::Text if undecided => eprintln!("receipt: undecided: {why}"),
        Format::Text => eprintln!("receipt: NOT proven: {why}"),
        Format::Json => {
            let proven = if undecided { Value::Null } else { false.into() };
            println!("{}", json!({"proven": proven, "error": why}));
        }
    }
    verdict
}

/// Says what a receipt states; `written`: the folder, where it was just made.
pub fn say(stated: &Statement, format: Format, written: Option<&Path>) {
    match format {
        Format::Json => println!("{}", as_json(stated, written)),
        Format::Text => {
            print(stated);
            if let Some(folder) = written {
                let folder = folder.display();
                println!("written to {folder}; anybody checks it by: orion ledger verify receipt {folder} --key KEY");
            }
        }
    }
}

fn print(stated: &Statement) {
    let Statement { chain, job, round, lease, operator, commitment, unit, task, verdict, payments, places } = stated;
    let last = lease.first_unit + lease.units - 1;
    println!("receipt: proven: shard {} of job {job}", lease.shard);
    println!("  log        {}", chain.log_origin());
    println!(
        "  units      {} to {last}, attempt {} in epoch {}",
        lease.first_unit, lease.token.attempt, lease.token.epoch
    );
    println!("  computed   by provider {}, worker {}", lease.provider, lease.worker);
    println!("  leased     by operator {operator}");
    println!("  committed  to root {} in round {round}", commitment.root);
    match unit {
        Some((unit, digest)) => println!("  unit       {unit} has digest {digest}, under that root"),
        None => println!("  unit       none is in the receipt"),
    }
    match verdict {
        Some(judgement) => print_judgement(judgement),
        None => println!("  verdict    none is in the receipt"),
    }
    if payments.is_empty() {
        println!("  paid       no payment is in the receipt");
    }
    for paid in payments {
        let (earned, matured) = (format_credits(paid.vested), format_credits(paid.matured));
        println!("  paid       {earned} to {}, of which {matured} at once", paid.key);
    }
    if !payments.is_empty() {
        println!("             (one page of the settlement: all that it pays them for this job, other shards too)");
    }
    if let Some(task) = task {
        let (price, fee) = (task.price, task.fee_ppm);
        println!("  price      {price} micro-credits for 10^6 of work, fee {fee} ppm, by policy {}", task.policy);
    }
    for Place { step, leaf, size, witnessed } in places {
        let names: Vec<&str> = witnessed.iter().map(|one| one.name.as_str()).collect();
        let names = if names.is_empty() { "no witness".to_owned() } else { names.join(", ") };
        println!("  in the log {step} is leaf {leaf} of {size}, cosigned by {names}");
    }
}

fn print_judgement(judgement: &Judgement) {
    let Judgement { accepted, drawn, votes, refereed } = judgement;
    let verdict = if *accepted { "accepted" } else { "rejected" };
    let drawn: Vec<String> =
        drawn.iter().map(|(unit, right)| format!("{unit} {}", if *right { "right" } else { "wrong" })).collect();
    let referee = if *refereed { "; the referee decided" } else { "" };
    println!("  verdict    {verdict}: drawn units {}{referee}", drawn.join(", "));
    for (key, upheld) in votes {
        println!("  vote       of {key} {}", if *upheld { "upheld" } else { "overruled" });
    }
}

fn as_json(stated: &Statement, written: Option<&Path>) -> Value {
    let Statement { chain, job, round, lease, operator, commitment, unit, task, verdict, payments, places } = stated;
    json!({
        "proven": true, "written": written, "chain": chain.as_str(), "job": job, "round": round, "operator": operator,
        "shard": lease.shard, "firstUnit": lease.first_unit, "units": lease.units, "task": lease.task,
        "attempt": lease.token.attempt, "epoch": lease.token.epoch, "provider": lease.provider, "worker": lease.worker,
        "root": commitment.root, "driver": commitment.driver,
        "unit": unit.map(|(unit, digest)| json!({"unit": unit, "digest": digest})),
        "policy": task.as_ref().map(|task| json!({"digest": task.policy, "price": task.price, "feePpm": task.fee_ppm})),
        "verdict": verdict.as_ref().map(|judgement| json!({
            "accepted": judgement.accepted, "refereed": judgement.refereed,
            "drawn": judgement.drawn.iter().map(|(unit, right)| json!({"unit": unit, "right": right})).collect::<Vec<_>>(),
            "votes": judgement.votes.iter().map(|(key, upheld)| json!({"key": key, "upheld": upheld})).collect::<Vec<_>>(),
        })),
        "payments": payments.iter().map(|paid| json!({
            "key": paid.key, "earned": paid.vested, "matured": paid.matured,
        })).collect::<Vec<_>>(),
        "leaves": places.iter().map(|place| json!({
            "step": place.step.to_string(), "leaf": place.leaf, "size": place.size,
            "witnesses": place.witnessed.iter().map(|one| json!({"name": one.name, "seconds": one.seconds})).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
