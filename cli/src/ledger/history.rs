//! `orion ledger history`: what happened to an account or a job, oldest first, as the ledger says.

use clap::ArgGroup;
use k8s_openapi::jiff::Timestamp;
use orion_protocol::ids::Account;
use orion_protocol::ledger::api::{History, HistoryRow, MAX_HISTORY_ROWS};
use orion_protocol::ledger::{Code, Transfer};
use orion_protocol::price::format_credits;
use orion_protocol::{AccountId, ChainId};
use serde_json::{Value, json};

use super::ask::{Ledger, WHOSE, Whose};
use crate::cluster::Access;
use crate::{Format, Verdict};

/// Digits of an id that tell it from others in a table.
const DIGITS: usize = 16;

/// `orion ledger history ...`
#[derive(clap::Args)]
#[command(group = ArgGroup::new("whose").args(WHOSE).arg("job").required(true))]
pub struct HistoryArgs {
    #[command(flatten)]
    whose: Whose,
    /// All that the log holds about a job: its id in hex, or the name of its OrionJob.
    #[arg(long, value_name = "ID|NAME")]
    job: Option<String>,
    /// Where to go on, as the end of an earlier part says.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Entries to print at most.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
}

/// Runs the command.
pub async fn run(access: &Access, format: Format, args: &HistoryArgs) -> anyhow::Result<Verdict> {
    let ledger = Ledger::connect(access).await?;
    let (path, account, name) = if let Some(job) = &args.job {
        let id = ledger.job(job).await?;
        (format!("/v1/history/job/{id}"), None, format!("job {id}"))
    } else {
        let (id, name) = ledger.account(&args.whose).await?;
        (format!("/v1/history/account/{id}"), Some(id), format!("{name} {id}"))
    };
    let history = fetch(&ledger, &path, args).await?;
    match format {
        Format::Text => print(&ledger.chain, &name, account, &history),
        Format::Json => println!("{}", as_json(&history)),
    }
    Ok(Verdict::Good)
}

/// As many pages as it takes.
async fn fetch(ledger: &Ledger<'_>, path: &str, args: &HistoryArgs) -> anyhow::Result<History> {
    let mut all = History { rows: Vec::new(), next: Some(args.from) };
    while let Some(from) = all.next {
        let left = args.limit.saturating_sub(all.rows.len() as u64).min(MAX_HISTORY_ROWS as u64);
        if left == 0 {
            break;
        }
        let page: History = ledger.get(&format!("{path}?from={from}&limit={left}")).await?;
        // Each page comes further, so this ends.
        anyhow::ensure!(page.next.is_none_or(|next| next > from), "the ledger answers page {from} with itself");
        all.rows.extend(page.rows);
        all.next = page.next;
    }
    Ok(all)
}

fn print(chain: &ChainId, name: &str, account: Option<AccountId>, history: &History) {
    println!("{name}");
    let History { rows, next } = history;
    let lines: Vec<Vec<String>> = rows.iter().map(|row| line(chain, account, row)).collect();
    let mut head = vec!["time", "leaf", "entry", "job", "credits"];
    head.extend(if account.is_some() { ["from or to"].as_slice() } else { &["from", "to"] });
    let head: Vec<String> = head.into_iter().map(str::to_owned).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&lines).collect();
    let wide = |at: usize| all.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    for line in &all {
        let cells = line.iter().enumerate().map(|(at, cell)| match head[at].as_str() {
            "leaf" | "credits" => format!("{cell:>width$}", width = wide(at)),
            _ => format!("{cell:<width$}", width = wide(at)),
        });
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    let entries = if rows.len() == 1 { "entry" } else { "entries" };
    match next {
        Some(next) => println!("{} {entries}; there are more: --from {next}", rows.len()),
        None => println!("{} {entries}", rows.len()),
    }
}

fn line(chain: &ChainId, account: Option<AccountId>, row: &HistoryRow) -> Vec<String> {
    let HistoryRow { leaf, height: _, time_ms, kind, code, job, transfer } = row;
    let entry = if *code == Code::Ok { kind.clone() } else { format!("{kind}: {code}") };
    let job = job.map_or_else(String::new, |job| short(&job.to_string()));
    let mut cells = vec![time(*time_ms), leaf.to_string(), entry, job];
    let called = |id: AccountId| called(chain, id, row);
    match (transfer, account) {
        (None, _) => cells.extend(vec![String::new(); if account.is_some() { 2 } else { 3 }]),
        (Some(Transfer { from, to, amount }), None) => {
            cells.extend([format_credits(*amount), called(*from), called(*to)]);
        }
        (Some(Transfer { from, to, amount }), Some(own)) if *to == own => {
            cells.extend([format!("+{}", format_credits(*amount)), called(*from)]);
        }
        (Some(Transfer { from: _, to, amount }), Some(_)) => {
            cells.extend([format!("-{}", format_credits(*amount)), called(*to)]);
        }
    }
    cells
}

/// What an account is, where that can be told; else its first digits.
fn called(chain: &ChainId, id: AccountId, row: &HistoryRow) -> String {
    let escrow = row.job.map(|job| (Account::Escrow(job), "escrow"));
    let known = [(Account::Issuance, "issuance"), (Account::Treasury, "treasury")].into_iter().chain(escrow);
    let found = known.into_iter().find(|(account, _)| account.id(chain) == id);
    found.map_or_else(|| short(&id.to_string()), |(_, name)| name.to_owned())
}

fn short(id: &str) -> String {
    id.chars().take(DIGITS).collect()
}

/// To the second; as it is where it is no time.
fn time(time_ms: u64) -> String {
    let time = i64::try_from(time_ms / 1000).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{time_ms} ms"), |time| time.to_string())
}

fn as_json(history: &History) -> Value {
    let row = |row: &HistoryRow| {
        let HistoryRow { leaf, height, time_ms, kind, code, job, transfer } = row;
        let transfer = transfer.map(|Transfer { from, to, amount }| json!({"from": from, "to": to, "amount": amount}));
        json!({
            "leaf": leaf, "height": height, "timeMs": time_ms, "entry": kind, "code": code.as_str(), "job": job,
            "transfer": transfer,
        })
    };
    json!({"rows": history.rows.iter().map(row).collect::<Vec<_>>(), "next": history.next})
}
