//! Whether the log judged what was asked for, and whether result files are what was accepted: every unit is hashed again, and
//! each shard's root compared with the one in the log. Pure; the job's status is believed in nothing.

use orion_crds::job::{InputStatus, OutputStatus};
use orion_crds::validated::ValidatedJob;
use orion_ledger_core::report::{Attempt, JobReport};
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::npy;
use orion_protocol::task::{OutputSpec, TaskSpec, UnitOutput, unit_digest, unit_salt};
use orion_protocol::{Digest, PublicKey};

/// Why files are not the result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// The log does not have an accepted attempt for every shard.
    #[error("the log has no accepted attempt for every shard of this job")]
    Incomplete,
    /// The task in the log is not the job's.
    #[error("the task in the log is not this job: {0} differs")]
    Task(&'static str),
    /// The status does not list what the task gives.
    #[error("the job's status lists the outputs {listed:?}, the task in the log gives {given:?}")]
    Outputs {
        /// Names in the status.
        listed: Vec<String>,
        /// Names in the log.
        given: Vec<String>,
    },
    /// A file is no npy array of the output's type and shape.
    #[error("output {output}: {why}")]
    File {
        /// The output.
        output: String,
        /// What is wrong.
        why: String,
    },
    /// The rows of a shard do not hash to its accepted root.
    #[error(
        "shard {shard} (units {first} to {last}) does not hash to the root that was accepted from provider {provider}"
    )]
    Root {
        /// The shard.
        shard: u32,
        /// Its first unit.
        first: u64,
        /// Its last unit.
        last: u64,
        /// Who committed to the root.
        provider: PublicKey,
    },
}

/// Whether the task in the log is what the job's spec says. How many units make a shard is the operator's to choose; what the
/// inputs held was written down in the status when they were read.
pub fn task(spec: &TaskSpec, job: &ValidatedJob, inputs: &[InputStatus]) -> Result<(), CheckError> {
    let (have, asked) = (&spec.units, &job.units);
    let read: Vec<&str> = inputs.iter().map(|input| input.digest.as_str()).collect();
    let judged: Vec<String> = spec.inputs.iter().map(Digest::to_string).collect();
    let same = [
        ("workload", spec.workload == Digest::of(&job.workload().object())),
        ("inputs", read == judged),
        ("outputs", spec.outputs == job.outputs),
        ("the number of items", have.items == asked.items),
        ("itemsPerUnit", have.items_per_unit == asked.items_per_unit),
        ("the declared work", have.work_per_item == asked.work_per_item),
        ("auditsPerShard", spec.audits_per_shard == job.audits_per_shard),
    ];
    same.iter().find(|(_, same)| !same).map_or(Ok(()), |(what, _)| Err(CheckError::Task(what)))
}

/// The status's entries in the order of the task's outputs, one for each; nothing else may be listed.
pub fn listed<'s>(spec: &TaskSpec, status: &'s [OutputStatus]) -> Result<Vec<&'s OutputStatus>, CheckError> {
    let find = |output: &OutputSpec| status.iter().find(|listed| listed.name == output.name.as_str());
    let found: Option<Vec<&OutputStatus>> = spec.outputs.iter().map(find).collect();
    found.filter(|found| found.len() == status.len()).ok_or_else(|| CheckError::Outputs {
        listed: status.iter().map(|output| output.name.clone()).collect(),
        given: spec.outputs.iter().map(|output| output.name.to_string()).collect(),
    })
}

/// Checks `files`, whole npy files in the order of the job's outputs; gives how many units were hashed.
pub fn result(job: &JobReport, salt: &Digest, files: &[Vec<u8>]) -> Result<u64, CheckError> {
    let accepted = job.accepted().ok_or(CheckError::Incomplete)?;
    let mut rows = Vec::new();
    for (at, spec) in job.spec.outputs.iter().enumerate() {
        let wrong = |why: String| CheckError::File { output: spec.name.to_string(), why };
        let file = files.get(at).ok_or_else(|| wrong("is missing".into()))?;
        let (header, data) = npy::parse(file).map_err(|error| wrong(error.to_string()))?;
        if header.dtype != spec.dtype || header.shape != spec.shape {
            return Err(wrong(format!(
                "is {} {:?}, expected {} {:?}",
                header.dtype, header.shape, spec.dtype, spec.shape
            )));
        }
        rows.push(data);
    }
    for attempt in &accepted {
        shard(job, salt, attempt, &rows)?;
    }
    Ok(job.spec.units.units())
}

fn shard(job: &JobReport, salt: &Digest, attempt: &Attempt, rows: &[&[u8]]) -> Result<(), CheckError> {
    let lease = &attempt.lease;
    let units = lease.first_unit..lease.first_unit + lease.units;
    let leaves: Option<Vec<[u8; 32]>> = units
        .clone()
        .map(|unit| {
            let digest = unit_digest(&job.task, unit, &outputs(job, unit, rows)?);
            Some(Sha3::unit_leaf(&unit_salt(salt, unit), unit, &digest))
        })
        .collect();
    let root = leaves.map(|leaves| merkle::root::<Sha3>(&leaves));
    if root == Some(attempt.commitment.root.0) {
        return Ok(());
    }
    let (shard, first, last) = (lease.shard, lease.first_unit, units.end.saturating_sub(1));
    Err(CheckError::Root { shard, first, last, provider: lease.provider })
}

/// The rows of one unit in each output.
fn outputs<'a>(job: &'a JobReport, unit: u64, rows: &[&'a [u8]]) -> Option<Vec<UnitOutput<'a>>> {
    let (first, items) = job.spec.units.items_of(unit, 1);
    let slice = |bytes: &'a [u8], item: u64| {
        let start = usize::try_from(first.checked_mul(item)?).ok()?;
        let end = usize::try_from((first + items).checked_mul(item)?).ok()?;
        bytes.get(start..end)
    };
    let outputs = job.spec.outputs.iter().zip(rows);
    outputs.map(|(spec, bytes)| Some(UnitOutput { spec, items, bytes: slice(bytes, spec.item_bytes())? })).collect()
}
