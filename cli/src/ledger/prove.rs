//! `orion ledger prove`: the receipt of one shard's work, made out of an export that is verified first.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use orion_ledger_core::job::Job;
use orion_ledger_core::log::receipt::{Maker, NoReceipt, ReceiptError};
use orion_ledger_core::verify;
use orion_protocol::Digest;

use super::{find_job, folder, log, open, read_key, receipt, units};
use crate::{Format, Verdict};

/// `orion ledger prove ...`
#[derive(clap::Args)]
pub struct ProveArgs {
    /// The export.
    export: PathBuf,
    /// The log's key, as the install wrote it.
    #[arg(long)]
    key: PathBuf,
    /// The job's id, or its first digits.
    #[arg(long)]
    job: String,
    #[command(flatten)]
    which: Which,
    /// A unit whose digest is proven too: one that was drawn, or, with the results, any.
    #[arg(long)]
    unit: Option<u64>,
    /// The folder of the job's result files, as `orion result` wrote them.
    #[arg(long, requires = "unit", requires = "salt")]
    results: Option<PathBuf>,
    /// The job's salt, as `orion result --salt` wrote it.
    #[arg(long, requires = "results")]
    salt: Option<PathBuf>,
    /// The folder to write; it must not exist.
    #[arg(long)]
    out: PathBuf,
}

/// Whose work.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The shard: its accepted attempt.
    #[arg(long)]
    shard: Option<u32>,
    /// The digest of the work lease, for any attempt that is in a round.
    #[arg(long)]
    lease: Option<Digest>,
}

/// Runs the command.
pub fn run(format: Format, args: &ProveArgs) -> anyhow::Result<Verdict> {
    let key = read_key(&args.key)?;
    let chain = match verify::chain_on(super::threads(), open(&args.export)?, &key) {
        Ok((_, chain)) => chain,
        Err(error) => return Ok(log::refuse(&error, format)),
    };
    let id = find_job(&chain, &args.job)?;
    let job = chain.jobs().get(&id).context("the log lost the job")?;
    let lease = args.which.lease(job)?;
    // A second time, for what replay does not keep: the leaves, and the hashes of all others.
    let mut maker = Maker::new(chain.id(), id);
    let take = |leaf: &[u8]| {
        maker.leaf(leaf);
        Ok(())
    };
    let note = match verify::leaves(open(&args.export)?, &key, take) {
        Ok((note, _)) => note,
        Err(error) => return Ok(log::refuse(&error, format)),
    };
    let given = args.results.as_ref().zip(args.salt.as_ref()).zip(args.unit);
    let drawn = args.unit.filter(|_| given.is_none());
    let mut made = match maker.receipt(&note, job, &lease, drawn) {
        Ok(made) => made,
        Err(error @ NoReceipt::Lease) => bail!("{error}; orion ledger verify log -o json lists the attempts"),
        Err(error @ NoReceipt::Unit(..)) => bail!("{error}. With --results and --salt any unit can be proven"),
    };
    if let Some(((results, salt), unit)) = given {
        made.unit = Some(units::prove(job, &lease, unit, results, salt)?);
    }
    let stated = match made.verify(&lease, &receipt::trust_key(&key)?) {
        Ok(stated) => stated,
        Err(error @ ReceiptError::Unit(_)) => {
            let why = "the results or the salt are not those of this attempt. orion result checks them";
            return Ok(receipt::refuse(&format!("{error}: {why}"), Verdict::Bad, format));
        }
        Err(error) => return Err(error).context("the receipt that was made does not verify"),
    };
    folder::write(&args.out, &made, &lease)?;
    receipt::say(&stated, format, Some(&args.out));
    Ok(Verdict::Good)
}

impl Which {
    fn lease(&self, job: &Job) -> anyhow::Result<Digest> {
        let (shard, lease) = (self.shard, self.lease);
        if let Some(lease) = lease {
            return Ok(lease);
        }
        let shard = shard.context("give --shard or --lease")?;
        let entries = job.rounds.iter().flat_map(|round| &round.entries);
        let mut accepted = entries.filter(|entry| entry.verdict.as_ref().is_some_and(|verdict| verdict.accepted));
        let entry = accepted.find(|entry| entry.lease.shard == shard);
        let entry = entry.with_context(|| {
            let shards = job.spec.units.shards();
            format!(
                "the log accepted no attempt at shard {shard} (the job has {shards}); name another attempt by --lease"
            )
        })?;
        Ok(entry.lease_digest)
    }
}
