//! `orion ledger verify log`: everything that an export says, recomputed.

use orion_ledger_core::report::{JobReport, Report, Sums};
use orion_ledger_core::verify::{self, VerifyError};
use orion_protocol::price::format_credits;
use serde_json::{Value, json};

use super::{LogArgs, chain, open, read_key};
use crate::{Format, Verdict};

/// Runs the command.
pub fn run(format: Format, args: &LogArgs) -> anyhow::Result<Verdict> {
    match verify::log_on(super::threads(), open(&args.export)?, &read_key(&args.key)?) {
        Ok(report) => {
            match format {
                Format::Text => print_report(&report),
                Format::Json => println!("{}", as_json(&report)),
            }
            Ok(Verdict::Good)
        }
        Err(error) => Ok(refuse(&error, format)),
    }
}

/// Says why an export is not verified.
pub fn refuse(error: &VerifyError, format: Format) -> Verdict {
    let text = chain(error);
    match format {
        Format::Text => eprintln!("ledger: NOT verified: {text}"),
        Format::Json => println!("{}", json!({"verified": false, "leaf": error.leaf(), "error": text})),
    }
    if error.undecided() { Verdict::Undecided } else { Verdict::Bad }
}

/// The one line that sums it up.
pub fn headline(report: &Report) -> String {
    let Sums { escrowed, workers, validators, fee, refunded, locked, taken_back } = report.sums;
    let c = format_credits;
    let back = if taken_back == 0 { String::new() } else { format!("; {} of it taken back", c(taken_back)) };
    let locked = if locked == 0 { String::new() } else { format!(" + {} still locked", c(locked)) };
    format!(
        "ledger: verified {} entries under {}; escrowed {} = paid {} (workers {}, validators {}{back}) + fee {} + refunded {}{locked}",
        report.entries,
        report.checkpoint.origin,
        c(escrowed),
        c(workers + validators),
        c(workers),
        c(validators),
        c(fee),
        c(refunded),
    )
}

fn print_report(report: &Report) {
    for job in &report.jobs {
        print_job(job);
    }
    println!("{}", headline(report));
}

/// Who computed and who checked what.
pub fn print_job(job: &JobReport) {
    let accepted = job.shards.iter().filter(|shard| shard.accepted.is_some()).count();
    println!("job {}: {accepted} of {} shards accepted", &job.job.to_string()[..16], job.spec.units.shards());
    for payout in &job.payouts {
        let owner = payout.owner.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        let work = format_credits(payout.worker);
        let back = match payout.taken_back {
            0 => String::new(),
            taken => format!("   taken back {:>12}", format_credits(taken)),
        };
        println!("  {owner:<12} computing {work:>12}   checking {:>12}{back}", format_credits(payout.validator));
    }
    for shard in &job.shards {
        let Some(attempt) = &shard.accepted else { continue };
        let owner = attempt.owner.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        let auditors: Vec<String> = attempt.auditors.iter().map(auditor).collect();
        let rejected = if shard.rejected.is_empty() {
            String::new()
        } else {
            format!(", {} rejected before", shard.rejected.len())
        };
        let last = attempt.lease.first_unit + attempt.lease.units - 1;
        println!(
            "  shard {:>3}  units {:>4}-{last:<4}  computed by {owner:<10} checked by {}{rejected}",
            shard.shard,
            attempt.lease.first_unit,
            auditors.join(", "),
        );
    }
}

fn auditor(auditor: &orion_ledger_core::report::AuditorReport) -> String {
    let owner = auditor.owner.as_ref().map_or_else(|| "platform".to_owned(), ToString::to_string);
    let units: Vec<String> = auditor.units.iter().map(u64::to_string).collect();
    let overruled = if auditor.upheld { "" } else { ", overruled" };
    format!("{owner} (units {}{overruled})", units.join(" "))
}

fn as_json(report: &Report) -> Value {
    let sums = |sums: &Sums| {
        let Sums { escrowed, workers, validators, fee, refunded, locked, taken_back } = *sums;
        json!({
            "escrowed": escrowed, "workers": workers, "validators": validators, "fee": fee, "refunded": refunded, "locked": locked,
            "takenBack": taken_back,
        })
    };
    let attempt = |attempt: &orion_ledger_core::report::Attempt| {
        json!({
            "round": attempt.round, "leaseDigest": attempt.commitment.lease, "attempt": attempt.lease.token.attempt, "epoch": attempt.lease.token.epoch,
            "provider": attempt.lease.provider, "worker": attempt.lease.worker, "owner": attempt.owner,
            "root": attempt.commitment.root, "driver": attempt.commitment.driver,
            "drawn": attempt.drawn.iter().map(|(unit, right)| json!({"unit": unit, "right": right})).collect::<Vec<_>>(),
            "refereed": attempt.refereed,
            "auditors": attempt.auditors.iter().map(|auditor| json!({
                "key": auditor.key, "owner": auditor.owner, "units": auditor.units,
                "upheld": auditor.upheld, "paid": auditor.paid,
            })).collect::<Vec<_>>(),
        })
    };
    let jobs: Vec<Value> = report
        .jobs
        .iter()
        .map(|job| {
            json!({
                "job": job.job, "task": job.task, "phase": format!("{:?}", job.phase), "sums": sums(&job.sums),
                "payouts": job.payouts.iter().map(|payout| json!({
                    "provider": payout.provider, "owner": payout.owner, "worker": payout.worker, "validator": payout.validator,
                    "takenBack": payout.taken_back,
                })).collect::<Vec<_>>(),
                "shards": job.shards.iter().map(|shard| json!({
                    "shard": shard.shard, "accepted": shard.accepted.as_ref().map(attempt),
                    "rejected": shard.rejected.iter().map(attempt).collect::<Vec<_>>(),
                    "open": shard.open.as_ref().map(attempt),
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "verified": true, "chain": report.chain.as_str(), "entries": report.entries, "epoch": report.epoch,
        "checkpoint": {"origin": report.checkpoint.origin, "size": report.checkpoint.size, "root": report.checkpoint.root},
        "sums": sums(&report.sums), "jobs": jobs,
    })
}
