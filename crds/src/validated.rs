//! Parse, don't validate: a job as it was written becomes a [`ValidatedJob`], or a refusal that names the field. Later code
//! cannot see the raw spec.
//!
//! It decides what can be decided from the object alone. Whether the kernel compiles, its parameters fit and its inputs are
//! there is the preflight's to find out. It repeats what the CRD's rules say already: an object may be older than they are.

mod kernel;
mod scalar;

use orion_protocol::bytes::Name;
use orion_protocol::price::parse_credits;
use orion_protocol::task::{
    KernelWorkload, MAX_ARRAYS, MAX_AUDITS_PER_SHARD, MAX_UNITS_PER_SHARD, MAX_WORK, OutputSpec, UnitTable, Workload,
    check_outputs,
};
use orion_protocol::{Reason, Refusal};

use crate::job::{self, OrionJob, OrionJobSpec};
use crate::names::MAX_JOB_NAME;

pub use scalar::{ScalarError, parse_scalar};

/// At most so many leases of a job at a time.
pub const MAX_PARALLELISM: u32 = 64;

/// A job whose spec is known to make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedJob {
    /// The object's name.
    pub name: String,
    /// Its namespace, whose account pays.
    pub namespace: String,
    /// Its uid: a DNS label, so that it can be part of subjects.
    pub uid: Name,
    /// The generation that was read.
    pub generation: i64,
    /// What runs; inputs and outputs in it are indexes into the lists here.
    pub workload: KernelWorkload,
    /// What it reads, in the order of the spec.
    pub inputs: Vec<InputRef>,
    /// What it delivers, in the order of the spec.
    pub outputs: Vec<OutputSpec>,
    /// How the items are cut. Where the spec does not say, unitsPerShard follows from parallelism, which may change: it
    /// holds only until it is pinned in the ledger.
    pub units: UnitTable,
    /// Leases at a time.
    pub parallelism: u32,
    /// Drawn units a shard.
    pub audits_per_shard: u32,
    /// The most that may be locked, in micro-credits.
    pub budget: u64,
    /// Confirmed kernel faults that a shard may have.
    pub backoff_limit_per_shard: u32,
}

/// Where an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRef {
    /// Its name in the job.
    pub name: Name,
    /// The ConfigMap, in the job's namespace.
    pub config_map: String,
    /// The key in it.
    pub key: String,
}

impl ValidatedJob {
    /// The workload as it is stored and hashed.
    pub fn workload(&self) -> Workload {
        Workload::Kernel(self.workload.clone())
    }
}

impl TryFrom<&OrionJob> for ValidatedJob {
    type Error = Refusal;

    fn try_from(job: &OrionJob) -> Result<Self, Refusal> {
        let OrionJobSpec {
            workload,
            inputs,
            outputs,
            sharding,
            parallelism,
            validation,
            aggregation,
            budget,
            backoff_limit_per_shard,
        } = &job.spec;
        let identity = Identity::of(job)?;
        let inputs = self::inputs(inputs)?;
        let parallelism = bounded("spec.parallelism", *parallelism, 1, MAX_PARALLELISM)?;
        let job::Workload { kernel: Some(kernel) } = workload else {
            return Err(invalid("spec.workload", "exactly one must be set of: kernel"));
        };
        let items = kernel::items(kernel)?;
        let outputs = self::outputs(outputs, items)?;
        let units = unit_table(sharding, items, kernel::work_per_item(kernel)?, parallelism)?;
        let workload = kernel::workload(kernel, &inputs, &outputs, units.items_per_unit)?;
        let job::Aggregation { concatenate: Some(job::Concatenate {}) } = aggregation else {
            return Err(invalid("spec.aggregation", "exactly one must be set of: concatenate"));
        };
        let job::Validation { audits_per_shard } = validation;
        let job::Budget { max_credits } = budget;
        let budget = parse_credits(max_credits).ok_or_else(|| {
            invalid(
                "spec.budget.maxCredits",
                format!("{max_credits:?} is no decimal number like 2.5, up to 6 decimals"),
            )
        })?;
        let Identity { name, namespace, uid, generation } = identity;
        Ok(ValidatedJob {
            name,
            namespace,
            uid,
            generation,
            workload,
            inputs,
            outputs,
            units,
            parallelism,
            audits_per_shard: bounded("spec.validation.auditsPerShard", *audits_per_shard, 1, MAX_AUDITS_PER_SHARD)?,
            budget,
            backoff_limit_per_shard: bounded("spec.backoffLimitPerShard", *backoff_limit_per_shard, 0, 100)?,
        })
    }
}

/// What the API server gave the object.
struct Identity {
    name: String,
    namespace: String,
    uid: Name,
    generation: i64,
}

impl Identity {
    fn of(job: &OrionJob) -> Result<Identity, Refusal> {
        let metadata = &job.metadata;
        let text = |field: &str, value: &Option<String>| {
            value
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| invalid(&format!("metadata.{field}"), "is missing"))
        };
        let name = text("name", &metadata.name)?;
        if name.len() > MAX_JOB_NAME {
            return Err(invalid("metadata.name", format!("at most {MAX_JOB_NAME} characters")));
        }
        let uid = text("uid", &metadata.uid)?.parse().map_err(|error| invalid("metadata.uid", error))?;
        let generation = metadata.generation.unwrap_or(0);
        Ok(Identity { name, namespace: text("namespace", &metadata.namespace)?, uid, generation })
    }
}

fn inputs(raw: &[job::Input]) -> Result<Vec<InputRef>, Refusal> {
    if raw.len() > MAX_ARRAYS {
        return Err(invalid("spec.inputs", format!("at most {MAX_ARRAYS} are allowed")));
    }
    let mut inputs: Vec<InputRef> = Vec::with_capacity(raw.len());
    for job::Input { name, source: job::InputSource { config_map } } in raw {
        let field = format!("spec.inputs[{name}]");
        let name: Name = name.parse().map_err(|error| invalid(&format!("{field}.name"), error))?;
        if inputs.iter().any(|other| other.name == name) {
            return Err(invalid(&field, "is there twice"));
        }
        let Some(job::ConfigMapKey { name: config_map, key }) = config_map else {
            return Err(invalid(&format!("{field}.source"), "exactly one must be set of: configMap"));
        };
        let source = format!("{field}.source.configMap");
        if !is_object_name(config_map) {
            return Err(invalid(&format!("{source}.name"), format!("{config_map:?} is no name of a ConfigMap")));
        }
        let good = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
        if key.is_empty() || key.len() > 253 || !key.bytes().all(good) {
            return Err(invalid(&format!("{source}.key"), format!("{key:?} is no key of a ConfigMap")));
        }
        inputs.push(InputRef { name, config_map: config_map.clone(), key: key.clone() });
    }
    Ok(inputs)
}

/// A DNS subdomain: labels between dots.
fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| label.parse::<Name>().is_ok())
}

fn outputs(raw: &[job::Output], items: u64) -> Result<Vec<OutputSpec>, Refusal> {
    let mut outputs = Vec::with_capacity(raw.len().min(MAX_ARRAYS));
    for job::Output { name, type_, shape } in raw.iter().take(MAX_ARRAYS + 1) {
        let field = format!("spec.outputs[{name}]");
        outputs.push(OutputSpec {
            name: name.parse().map_err(|error| invalid(&format!("{field}.name"), error))?,
            dtype: type_.parse().map_err(|error: String| invalid(&format!("{field}.type"), error))?,
            shape: kernel::dimensions(&format!("{field}.shape"), shape, 8)?,
        });
    }
    check_outputs(&outputs, items).map_err(|why| Refusal::new(Reason::InvalidSpec, format!("spec.{why}")))?;
    Ok(outputs)
}

fn unit_table(raw: &job::Sharding, items: u64, work_per_item: u64, parallelism: u32) -> Result<UnitTable, Refusal> {
    let job::Sharding { items_per_unit, units_per_shard } = raw;
    let items_per_unit = positive("spec.sharding.itemsPerUnit", *items_per_unit)?;
    if items_per_unit > items {
        return Err(invalid("spec.sharding.itemsPerUnit", format!("is over the {items} items of the job")));
    }
    let units_per_shard = match units_per_shard {
        Some(given) => positive("spec.sharding.unitsPerShard", *given)?,
        None => default_units_per_shard(items.div_ceil(items_per_unit), parallelism),
    };
    if units_per_shard > MAX_UNITS_PER_SHARD {
        return Err(invalid("spec.sharding.unitsPerShard", format!("at most {MAX_UNITS_PER_SHARD}")));
    }
    if items.checked_mul(work_per_item).is_none_or(|work| work > MAX_WORK) {
        let why = format!("times the {items} items is over {MAX_WORK}");
        return Err(invalid("spec.workload.kernel.workPerItem", why));
    }
    let table = UnitTable { items, items_per_unit, units_per_shard, work_per_item };
    table.check().map_err(|why| invalid("spec.sharding", why))?;
    Ok(table)
}

/// clamp(ceil(units / (4 x parallelism)), 1, 100,000): about four rounds of shards for each worker, so that a slow one does
/// not hold up the end.
pub fn default_units_per_shard(units: u64, parallelism: u32) -> u64 {
    units.div_ceil(4 * u64::from(parallelism.max(1))).clamp(1, MAX_UNITS_PER_SHARD)
}

fn invalid(field: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::InvalidSpec, format!("{field}: {why}"))
}

fn positive(field: &str, value: i64) -> Result<u64, Refusal> {
    u64::try_from(value).ok().filter(|value| *value > 0).ok_or_else(|| invalid(field, "must be at least 1"))
}

fn bounded(field: &str, value: i32, min: u32, max: u32) -> Result<u32, Refusal> {
    let value = u32::try_from(value).ok().filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| invalid(field, format!("must be within {min} and {max}")))
}
