//! Parse, don't validate: a job as it was written becomes a [`ValidatedJob`], or a refusal that names the field. Later code
//! cannot see the raw spec.
//!
//! It decides what can be decided from the object alone. Whether the kernel compiles, its parameters fit and its inputs are
//! there is the preflight's to find out. It repeats what the CRD's rules say already: an object may be older than they are.

mod arrays;
mod inference;
mod kernel;
mod outputs;

use orion_protocol::bytes::Name;
use orion_protocol::price::parse_credits;
use orion_protocol::task::{
    Feed, FeedFrom, MAX_ARRAYS, MAX_AUDITS_PER_SHARD, MAX_UNITS_PER_SHARD, MAX_WORK, OutputSpec, UnitTable, Workload,
};
use orion_protocol::{Digest, Format, Reason, Refusal};

use crate::job::{self, OrionJob, OrionJobSpec};
use crate::names::MAX_JOB_NAME;

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
    /// What runs, as it is stored and hashed; inputs and outputs in it are indexes into the lists here.
    pub workload: Workload,
    /// What it reads, in the order of the spec.
    pub inputs: Vec<InputRef>,
    /// What it delivers, in the order of the spec. What the spec leaves to the model has no shape.
    pub outputs: Vec<OutputSpec>,
    /// The format of each output's file.
    pub formats: Vec<Format>,
    /// How many items there are.
    pub items: Items,
    /// Items a unit.
    pub items_per_unit: u64,
    /// Units a shard, where the spec says it.
    pub units_per_shard: Option<u64>,
    /// Operations an item; a model's are counted.
    pub work_per_item: Option<u64>,
    /// Leases at a time.
    pub parallelism: u32,
    /// Drawn units a shard.
    pub audits_per_shard: u32,
    /// The reward policy that it names.
    pub policy: Option<Digest>,
    /// The most that may be locked, in micro-credits.
    pub budget: u64,
    /// Confirmed kernel faults that a shard may have.
    pub backoff_limit_per_shard: u32,
}

/// How many items a job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// The spec says it.
    Known(u64),
    /// As many as the input with this index has rows.
    RowsOf(usize),
}

/// Where an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRef {
    /// Its name in the job.
    pub name: Name,
    /// Where it is.
    pub source: InputSource,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    /// A key of a ConfigMap in the job's namespace.
    ConfigMap {
        /// The ConfigMap.
        name: String,
        /// The key in it.
        key: String,
    },
    /// A file that somebody puts on the platform.
    Object(Digest),
}

impl std::fmt::Display for InputSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InputSource::ConfigMap { name, key } => write!(f, "{key} of ConfigMap {name}"),
            InputSource::Object(digest) => write!(f, "object {digest}"),
        }
    }
}

impl ValidatedJob {
    /// How so many items are cut. Where the spec does not say, unitsPerShard follows from parallelism, which may change: it holds only until
    /// it is pinned in the ledger. The work of a model's item is not known yet, and 1.
    pub fn units(&self, items: u64) -> Result<UnitTable, Refusal> {
        let items_per_unit = self.items_per_unit;
        if items_per_unit > items {
            return Err(invalid("spec.sharding.itemsPerUnit", format!("is over the {items} items of the job")));
        }
        let by_default = || default_units_per_shard(items.div_ceil(items_per_unit), self.parallelism);
        let units_per_shard = self.units_per_shard.unwrap_or_else(by_default);
        if units_per_shard > MAX_UNITS_PER_SHARD {
            return Err(invalid("spec.sharding.unitsPerShard", format!("at most {MAX_UNITS_PER_SHARD}")));
        }
        let work_per_item = self.work_per_item.unwrap_or(1);
        if items.checked_mul(work_per_item).is_none_or(|work| work > MAX_WORK) {
            let why = format!("times the {items} items is over {MAX_WORK}");
            return Err(invalid("spec.workload.kernel.workPerItem", why));
        }
        let table = UnitTable { items, items_per_unit, units_per_shard, work_per_item };
        table.check().map_err(|why| invalid("spec.sharding", why))?;
        Ok(table)
    }

    /// The input that is a model, and no array.
    pub fn model(&self) -> Option<usize> {
        match &self.workload {
            Workload::Kernel(_) => None,
            Workload::Inference(inference) => usize::try_from(inference.model).ok(),
        }
    }

    /// Under which key an input's rows are found in its file; none where it is one array.
    pub fn key_of(&self, input: usize) -> Option<&str> {
        let Workload::Inference(inference) = &self.workload else { return None };
        let reads = |feed: &&Feed| match feed.from {
            FeedFrom::Rows(at) | FeedFrom::Shared(at) => usize::try_from(at) == Ok(input),
            FeedFrom::Fill(_) => false,
        };
        let mut feeds: Vec<&Feed> = inference.tensors.iter().filter(reads).collect();
        feeds.sort_by_key(|feed| matches!(feed.from, FeedFrom::Shared(_)));
        feeds.first().and_then(|feed| feed.key.as_deref())
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
            reward,
            budget,
            backoff_limit_per_shard,
        } = &job.spec;
        let identity = Identity::of(job)?;
        let inputs = self::inputs(inputs)?;
        let parallelism = bounded("spec.parallelism", *parallelism, 1, MAX_PARALLELISM)?;
        let items_per_unit = positive("spec.sharding.itemsPerUnit", sharding.items_per_unit)?;
        let units_per_shard = match sharding.units_per_shard {
            Some(given) => Some(positive("spec.sharding.unitsPerShard", given)?),
            None => None,
        };
        let formats = outputs::formats(outputs)?;
        let (workload, outputs, items, work_per_item) = match workload {
            job::Workload { kernel: Some(kernel), inference: None } => {
                let items = kernel::items(kernel)?;
                let outputs = outputs::outputs(outputs, Some((items, items.div_ceil(items_per_unit))))?;
                let work = kernel::work_per_item(kernel)?;
                let workload = kernel::workload(kernel, &inputs, &outputs, items_per_unit)?;
                (Workload::Kernel(workload), outputs, Items::Known(items), Some(work))
            }
            job::Workload { kernel: None, inference: Some(inference) } => {
                let outputs = outputs::outputs(outputs, None)?;
                let (workload, rows) = inference::workload(inference, &inputs, &outputs)?;
                (Workload::Inference(workload), outputs, Items::RowsOf(rows), None)
            }
            _ => return Err(invalid("spec.workload", "exactly one must be set of: kernel, inference")),
        };
        let job::Aggregation { concatenate: Some(job::Concatenate {}) } = aggregation else {
            return Err(invalid("spec.aggregation", "exactly one must be set of: concatenate"));
        };
        let job::Validation { audits_per_shard } = validation;
        let job::Reward { policy } = reward;
        let policy = policy.as_ref().map(|id| id.parse::<Digest>()).transpose();
        let policy = policy.map_err(|_| invalid("spec.reward.policy", "64 lower-case hex digits are needed"))?;
        let job::Budget { max_credits } = budget;
        let budget = parse_credits(max_credits).ok_or_else(|| {
            invalid(
                "spec.budget.maxCredits",
                format!("{max_credits:?} is no decimal number like 2.5, up to 6 decimals"),
            )
        })?;
        let Identity { name, namespace, uid, generation } = identity;
        let valid = ValidatedJob {
            name,
            namespace,
            uid,
            generation,
            workload,
            inputs,
            outputs,
            formats,
            items,
            items_per_unit,
            units_per_shard,
            work_per_item,
            parallelism,
            audits_per_shard: bounded("spec.validation.auditsPerShard", *audits_per_shard, 1, MAX_AUDITS_PER_SHARD)?,
            policy,
            budget,
            backoff_limit_per_shard: bounded("spec.backoffLimitPerShard", *backoff_limit_per_shard, 0, 100)?,
        };
        if let Items::Known(items) = valid.items {
            valid.units(items)?;
        }
        Ok(valid)
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
    for job::Input { name, source } in raw {
        let field = format!("spec.inputs[{name}]");
        let name: Name = name.parse().map_err(|error| invalid(&format!("{field}.name"), error))?;
        if inputs.iter().any(|other| other.name == name) {
            return Err(invalid(&field, "is there twice"));
        }
        inputs.push(InputRef { name, source: input_source(&format!("{field}.source"), source)? });
    }
    Ok(inputs)
}

fn input_source(field: &str, raw: &job::InputSource) -> Result<InputSource, Refusal> {
    match raw {
        job::InputSource { config_map: Some(job::ConfigMapKey { name, key }), object: None } => {
            if !is_object_name(name) {
                return Err(invalid(&format!("{field}.configMap.name"), format!("{name:?} is no name of a ConfigMap")));
            }
            let good = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
            if key.is_empty() || key.len() > 253 || !key.bytes().all(good) {
                return Err(invalid(&format!("{field}.configMap.key"), format!("{key:?} is no key of a ConfigMap")));
            }
            Ok(InputSource::ConfigMap { name: name.clone(), key: key.clone() })
        }
        job::InputSource { config_map: None, object: Some(job::ObjectRef { digest }) } => {
            let parsed = digest.parse().map(InputSource::Object);
            parsed.map_err(|_| invalid(&format!("{field}.object.digest"), "64 lower-case hex digits are needed"))
        }
        _ => Err(invalid(field, "exactly one must be set of: configMap, object")),
    }
}

/// A DNS subdomain: labels between dots.
fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| label.parse::<Name>().is_ok())
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
