//! `orion ledger verify reward`: the split of a job's money as a table. Every number of it follows from those before it by hand.

use std::path::PathBuf;

use anyhow::Context as _;
use orion_ledger_core::job::Job;
use orion_ledger_core::report::{JobReport, Payout, Report, Sums};
use orion_ledger_core::reward::{Line, Pool, Reward};
use orion_ledger_core::{Chain, verify};
use orion_protocol::ledger::tx::{Mode, Policy, Split};
use orion_protocol::{Digest, PublicKey};
use serde_json::{Value, json};

use super::{find_job, log, open, read_key};
use crate::{Format, Verdict};

/// `orion ledger verify reward ...`
#[derive(clap::Args)]
pub struct RewardArgs {
    /// The export.
    export: PathBuf,
    /// The log's key, as the install wrote it.
    #[arg(long)]
    key: PathBuf,
    /// The job's id, or its first digits.
    #[arg(long)]
    job: String,
}

/// Runs the command.
pub fn run(format: Format, args: &RewardArgs) -> anyhow::Result<Verdict> {
    let (checkpoint, chain) = match verify::chain_on(super::threads(), open(&args.export)?, &read_key(&args.key)?) {
        Ok(verified) => verified,
        Err(error) => return Ok(log::refuse(&error, format)),
    };
    let id = find_job(&chain, &args.job)?;
    let report = Report::new(checkpoint, &chain);
    let (report, job) = report.job(&id).zip(chain.jobs().get(&id)).context("the log lost the job")?;
    let policy = chain.policy(&job.spec.policy).context("the log lost the job's policy")?;
    let reward = Reward::of(job, policy).context("computing the split")?;
    let table = Table { chain: &chain, report, job, policy, reward: &reward };
    match format {
        Format::Text => table.print(),
        Format::Json => println!("{}", table.as_json()),
    }
    Ok(match reward.agrees() {
        Some(true) => Verdict::Good,
        Some(false) => Verdict::Bad,
        None => Verdict::Undecided,
    })
}

struct Table<'c> {
    chain: &'c Chain,
    report: &'c JobReport,
    job: &'c Job,
    policy: &'c Policy,
    reward: &'c Reward,
}

impl Table<'_> {
    fn print(&self) {
        let Reward { computing, checking, fee, fixed_fee: _, pages: _ } = self.reward;
        let spec = &self.job.spec;
        println!("reward: job {}, all money in micro-credits", self.report.job);
        println!("price {} for 10^6 of work, fee {} ppm, by policy {}", spec.price, spec.fee_ppm, spec.policy);
        if let Mode::Pool(Split { workers, validators, treasury }) = self.policy.mode {
            let pool = self.job.escrowed;
            println!("a pool of {pool}, all that was locked, where any work was accepted:");
            println!("  checking {validators} ppm and the platform {treasury} ppm of it, each rounded down");
            println!("  computing {workers} ppm, which is the rest");
        }
        self.print_pool("computing", computing, "shard", 1_000_000);
        self.print_pool("checking", checking, "", self.policy.validator_ppm.unwrap_or(1_000_000));
        self.print_fee(*fee);
        self.print_taken_back();
        let Sums { escrowed, workers, validators, fee, refunded, locked, taken_back: _ } = self.report.sums;
        println!(
            "\nsums: escrowed {escrowed} = computing {workers} + checking {validators} + fee {fee} + refunded {refunded} + locked {locked}"
        );
        println!("{}", self.verdict());
    }

    fn print_fee(&self, fee: u64) {
        if self.policy.mode != Mode::PerWork {
            println!("\nfee: {fee}");
            return;
        }
        let [computing, checking] = [&self.reward.computing, &self.reward.checking].map(|pool| pool.amount);
        let ppm = self.job.spec.fee_ppm;
        println!("\nfee: ({computing} + {checking}) x {ppm} / 10^6 = {fee}");
        println!("  exactly {} / 10^6, rounded down", (u128::from(computing) + u128::from(checking)) * u128::from(ppm));
    }

    /// Whom slashes took pay of this job from.
    fn taken_back(&self) -> impl Iterator<Item = &Payout> {
        self.report.payouts.iter().filter(|payout| payout.taken_back > 0)
    }

    fn print_taken_back(&self) {
        for Payout { provider, owner: _, worker, validator, taken_back } in self.taken_back() {
            let (owner, paid) = (self.owner(provider), worker.saturating_add(*validator));
            let id = &provider.to_string()[..16];
            println!(
                "\ntaken back: a slash took {taken_back} of the {paid} that were paid to {owner} ({id}), while they were pending"
            );
        }
    }

    /// `ppm`: of the price of its work.
    fn print_pool(&self, what: &str, pool: &Pool, kind: &str, ppm: u32) {
        let Pool { work, amount, lines } = pool;
        let price = u128::from(self.job.spec.price);
        match self.policy.mode {
            Mode::Pool(_) => println!("\n{what}: {amount}, for work {work}"),
            Mode::PerWork if ppm == 1_000_000 => {
                println!("\n{what}: work {work} x price {price} / 10^6 = {amount}");
                println!("  exactly {} / 10^6, rounded down", work.saturating_mul(price));
            }
            Mode::PerWork => {
                println!("\n{what}: work {work} x price {price} x {ppm} / 10^12 = {amount}");
                println!("  exactly {} / 10^12, rounded down", work.saturating_mul(price).saturating_mul(ppm.into()));
            }
        }
        if lines.is_empty() {
            return;
        }
        println!(
            "  share = {amount} x work / {work}: the floor, and 1 more for the largest remainders until {amount} is spent"
        );
        let head = ["id", kind, "provider", "owner", "work", "numerator", "floor", "remainder", "+1", "share", ""];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(lines.iter().map(|line| self.row(line)));
        rows.push(sum_row(lines));
        print_rows(&rows);
    }

    fn row(&self, line: &Line) -> Vec<String> {
        let Line { id, provider, work, numerator, floor, remainder, raised, fixed, paid } = line;
        let state = match fixed {
            None => "not settled".to_owned(),
            Some(fixed) if *fixed != line.share() => format!("WRONG: the ledger says {fixed}"),
            Some(_) if *paid && self.taken_back().any(|payout| payout.provider == *provider) => {
                "paid, less what was taken back".to_owned()
            }
            Some(_) if *paid => "paid".to_owned(),
            Some(_) => "not paid yet".to_owned(),
        };
        let plus = if *raised { "+1" } else { "" };
        vec![
            id.to_string()[..16].to_owned(),
            self.shard(id).map_or_else(String::new, |shard| shard.to_string()),
            provider.to_string()[..16].to_owned(),
            self.owner(provider),
            work.to_string(),
            numerator.to_string(),
            floor.to_string(),
            remainder.to_string(),
            plus.to_owned(),
            line.share().to_string(),
            state,
        ]
    }

    /// The shard of a commitment.
    fn shard(&self, commitment: &Digest) -> Option<u32> {
        let mut entries = self.job.rounds.iter().flat_map(|round| &round.entries);
        entries.find(|entry| entry.commitment_digest == *commitment).map(|entry| entry.lease.shard)
    }

    fn owner(&self, key: &PublicKey) -> String {
        self.chain.providers().get(key).map_or_else(|| "?".to_owned(), |provider| provider.owner.to_string())
    }

    fn verdict(&self) -> String {
        match (self.reward.agrees(), self.reward.pages) {
            (Some(true), Some((done, pages))) => {
                format!("reward: proven: the ledger fixed these shares and this fee; {done} of {pages} pages are paid")
            }
            (Some(_), _) => "reward: WRONG: the ledger fixed other shares or another fee".to_owned(),
            (None, _) => "reward: undecided: the job is not settled; this is what its verdicts so far would pay. \
                          Export the log again when it is: orion ledger export"
                .to_owned(),
        }
    }

    fn as_json(&self) -> Value {
        let Reward { computing, checking, fee, fixed_fee, pages } = self.reward;
        let Sums { escrowed, workers, validators, fee: paid_fee, refunded, locked, taken_back } = self.report.sums;
        let taken_from = |payout: &Payout| {
            let Payout { provider, owner: _, worker: _, validator: _, taken_back } = payout;
            json!({"provider": provider, "owner": self.owner(provider), "amount": taken_back})
        };
        let spec = &self.job.spec;
        json!({
            "job": self.report.job, "price": spec.price, "feePpm": spec.fee_ppm, "policy": spec.policy,
            "proven": self.reward.agrees(), "computing": self.pool(computing), "checking": self.pool(checking),
            "fee": fee, "fixedFee": fixed_fee,
            "pages": pages.map(|(done, all)| json!({"paid": done, "all": all})),
            "sums": {"escrowed": escrowed, "workers": workers, "validators": validators, "fee": paid_fee,
                "refunded": refunded, "locked": locked, "takenBack": taken_back},
            "takenBack": self.taken_back().map(taken_from).collect::<Vec<_>>(),
        })
    }

    /// Numbers of up to 128 bits are texts.
    fn pool(&self, pool: &Pool) -> Value {
        let line = |line: &Line| {
            json!({
                "id": line.id, "shard": self.shard(&line.id), "provider": line.provider, "owner": self.owner(&line.provider),
                "work": line.work, "numerator": line.numerator.to_string(), "floor": line.floor,
                "remainder": line.remainder.to_string(), "raised": line.raised, "share": line.share(),
                "fixed": line.fixed, "paid": line.paid,
            })
        };
        json!({"work": pool.work.to_string(), "amount": pool.amount, "lines": pool.lines.iter().map(line).collect::<Vec<_>>()})
    }
}

fn sum_row(lines: &[Line]) -> Vec<String> {
    let sum = |part: fn(&Line) -> u128| lines.iter().map(part).sum::<u128>().to_string();
    let (work, numerator) = (sum(|line| line.work.into()), sum(|line| line.numerator));
    let (floor, remainder) = (sum(|line| line.floor.into()), sum(|line| line.remainder));
    let raised = format!("+{}", lines.iter().filter(|line| line.raised).count());
    let share = sum(|line| line.share().into());
    let empty = String::new;
    vec!["sum".to_owned(), empty(), empty(), empty(), work, numerator, floor, remainder, raised, share, empty()]
}

/// Columns as wide as what is in them; numbers to the right.
fn print_rows(rows: &[Vec<String>]) {
    const FIRST_NUMBER: usize = 4;
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cell = |(column, cell): (usize, &String)| {
            let width = widths[column];
            let right = (FIRST_NUMBER..columns - 1).contains(&column);
            if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        };
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        println!("{}", format!("  {}", cells.join(" ")).trim_end());
    }
}
