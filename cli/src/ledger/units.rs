//! The proof of a unit that nobody drew, by whoever has the job's results and its salt.

use std::path::Path;

use anyhow::{Context as _, bail};
use orion_ledger_core::job::Job;
use orion_ledger_core::log::receipt::prove_unit;
use orion_protocol::ledger::tx::DrawnUnit;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Format};

use super::read;
use crate::check;
use crate::result::MAX_FILE;

/// A digest in hex, and a newline.
const MAX_SALT_BYTES: usize = 65;

/// Hashes the shard's units out of the files. Whether they are under the commitment's root is not compared here.
pub fn prove(job: &Job, lease: &Digest, unit: u64, results: &Path, salt: &Path) -> anyhow::Result<DrawnUnit> {
    let mut entries = job.rounds.iter().flat_map(|round| &round.entries);
    let entry = entries.find(|entry| entry.lease_digest == *lease).context("the lease is in no round of the job")?;
    let (first, last) = (entry.lease.first_unit, entry.lease.first_unit + entry.lease.units - 1);
    if !(first..=last).contains(&unit) {
        bail!("unit {unit} is not of shard {}, which has units {first} to {last}", entry.lease.shard);
    }
    let text = String::from_utf8_lossy(&read(salt, MAX_SALT_BYTES)?).trim().parse::<Digest>();
    let salt = text.with_context(|| format!("{} holds no salt, 64 hex digits", salt.display()))?;
    let (formats, files) = load(&job.spec, results)?;
    let digests = check::digests(&job.spec, &formats, &files, first..last + 1)
        .with_context(|| format!("the files in {} are not this job's results", results.display()))?;
    prove_unit(first, &digests, &salt, unit).context("the results have too few units")
}

/// The files in order, and the format of each output, which their names tell.
fn load(spec: &TaskSpec, folder: &Path) -> anyhow::Result<(Vec<Format>, Vec<Vec<u8>>)> {
    let (mut formats, mut files) = (vec![Format::Npy; spec.outputs.len()], Vec::new());
    for file in check::delivered(spec) {
        let name = file.name(spec);
        let path = |format: Format| folder.join(format!("{name}.{format}"));
        let there = [Format::Npy, Format::Safetensors].into_iter().find(|format| path(*format).exists());
        let format = there.with_context(|| {
            let folder = folder.display();
            format!("{folder} holds no {name}.npy or {name}.safetensors: orion result JOB --dir {folder} fetches it")
        })?;
        formats[file.at] = format;
        files.push(read(&path(format), MAX_FILE)?);
    }
    Ok((formats, files))
}
