//! OrionJob: what a consumer submits. Only fields that work are here; a field joins the schema together with its behaviour.
//!
//! Numbers are what JSON carries exactly, text is text: whether a spec makes sense is decided in [`crate::validated`] and by
//! the preflight, never by whoever happens to read a field.

mod status;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use status::*;

use crate::schema::{self, CREDITS, HEX64, LABEL};

/// What a consumer wants computed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orion.dev",
    version = "v1alpha1",
    kind = "OrionJob",
    plural = "orionjobs",
    shortname = "oj",
    category = "orion",
    namespaced,
    status = "JobStatus",
    derive = "PartialEq",
    doc = "A computation over many items, run on computers that nobody has to trust: cut into units, paid for when checked.",
    validation = Rule::new("size(self.metadata.name) <= 40").message("metadata.name: at most 40 characters"),
    validation = Rule::new(OUTPUTS_RULE).message("spec.outputs: type and shape are needed, unless a model makes them"),
    validation = Rule::new(LAYOUTS_RULE).message("spec.outputs: lengths and scope Unit are for kernels"),
    validation = Rule::new(BUDGET_RULE).message("spec.budget: is immutable once the job is Funded"),
    printcolumn(
        name = "Status",
        type_ = "string",
        description = "Where the job is, or why it ended.",
        json_path = r#".status.conditions[?(@.type=="Succeeded")].reason"#
    ),
    printcolumn(
        name = "Percent",
        type_ = "integer",
        description = "Accepted units, in percent.",
        json_path = ".status.progress.percent"
    ),
    printcolumn(
        name = "Shards",
        type_ = "integer",
        description = "Shards of the job.",
        json_path = ".status.shards.total"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "integer",
        description = "Shards with an accepted verdict.",
        json_path = ".status.shards.accepted"
    ),
    printcolumn(
        name = "Cost",
        type_ = "string",
        description = "What the job has cost, in ORION.",
        json_path = ".status.cost.total"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Units", type_ = "integer", json_path = ".status.progress.units.total", priority = 1),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.shards.running", priority = 1),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.shards.failed", priority = 1),
    printcolumn(name = "Audited", type_ = "integer", json_path = ".status.validation.unitsAudited", priority = 1),
    printcolumn(name = "Rejected", type_ = "integer", json_path = ".status.validation.rejected", priority = 1),
    printcolumn(
        name = "Final",
        type_ = "string",
        description = "Whether enough witnesses have seen the settlement in the log.",
        json_path = r#".status.conditions[?(@.type=="Final")].status"#,
        priority = 1
    ),
    printcolumn(name = "Budget", type_ = "string", json_path = ".spec.budget.maxCredits", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Succeeded")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct OrionJobSpec {
    /// What runs. Exactly one kind.
    pub workload: Workload,
    /// What it reads, by name.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = ordered_and_immutable(),
    ))]
    pub inputs: Vec<Input>,
    /// What it delivers, by name.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = ordered_and_immutable(),
    ))]
    pub outputs: Vec<Output>,
    /// How the items are cut.
    pub sharding: Sharding,
    /// How many shards are worked on at a time. May be changed while the job runs.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 64))]
    pub parallelism: i32,
    /// How results are checked.
    #[serde(default)]
    pub validation: Validation,
    /// How shards become the result. Exactly one way.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// By which policy it pays.
    #[serde(default)]
    pub reward: Reward,
    /// The most that the job may cost.
    pub budget: Budget,
    /// How often a shard may fail by a fault of the kernel, confirmed by two owners, before the job fails.
    #[serde(default = "default_backoff_limit")]
    #[schemars(range(min = 0, max = 100))]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub backoff_limit_per_shard: i32,
}

/// A model's outputs are known from the model.
const OUTPUTS_RULE: &str =
    "has(self.spec.workload.inference) || self.spec.outputs.all(output, has(output.type) && has(output.shape))";

/// A model has a row for each item.
const LAYOUTS_RULE: &str =
    "!has(self.spec.workload.inference) || self.spec.outputs.all(output, !has(output.lengths) && !has(output.combine))";

/// A job may get more money while it waits for it.
const BUDGET_RULE: &str = "self.spec.budget == oldSelf.spec.budget || !has(self.status) || !has(self.status.conditions) || \
    !self.status.conditions.exists(c, c.type == 'Funded' && c.status == 'True')";

/// Map lists are equal in any order, but here the order counts.
fn ordered_and_immutable() -> serde_json::Value {
    schema::rules(&[
        ("self == oldSelf", "is immutable"),
        ("self.map(x, x.name) == oldSelf.map(x, x.name)", "is immutable, its order too"),
    ])
}

fn default_parallelism() -> i32 {
    8
}

fn default_backoff_limit() -> i32 {
    3
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::union(&["kernel", "inference"], &[("self == oldSelf", "is immutable")])))]
pub struct Workload {
    /// An OpenCL C kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// A model, run for each row of its inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference: Option<Inference>,
}

/// A model, run for each row of its inputs. A row's result is what the model gives for that row alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inference {
    /// Where the model is.
    pub model: Model,
    /// Lengths of the model's named dimensions, but that of the items and those that the inputs' shapes say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "dims_schema")]
    pub dims: BTreeMap<String, i64>,
    /// What each of the model's inputs is given.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tensors: Vec<ModelInput>,
    /// Which of the model's outputs the job's outputs are; those that are not listed have the same name in the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["output"]))]
    pub results: Vec<ModelOutput>,
}

fn dims_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "description": "Lengths of the model's named dimensions, but that of the items and those that the inputs' shapes say.",
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2_147_483_647},
    })
}

/// Where a model is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// The input that holds the ONNX file.
    #[schemars(length(min = 1, max = 63))]
    pub input: String,
}

/// What one of a model's inputs is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::union(
    &["from", "fill"],
    &[
        ("!has(self.shared) || has(self.from)", "shared needs from: a filled tensor is the same for every item anyway"),
        ("!has(self.key) || has(self.from)", "key needs from: it is a name in that input's file"),
    ],
)))]
pub struct ModelInput {
    /// Its name in the model.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// An input of the job, of the same type, a row an item.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub from: Option<String>,
    /// The tensor's name in the input's file, which is one of safetensors; otherwise it is one of npy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key: Option<String>,
    /// The input is the same for every item, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<Shared>,
    /// A decimal number for every element.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub fill: Option<String>,
}

/// The same for every item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shared {}

/// One of a model's outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelOutput {
    /// Its name in the model.
    #[schemars(length(min = 1, max = 256))]
    pub tensor: String,
    /// The job's output.
    #[schemars(length(min = 1, max = 63))]
    pub output: String,
}

/// An OpenCL C kernel and how it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// Where its text is. Exactly one place.
    pub source: Source,
    /// The kernel function.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"), length(min = 1, max = 64))]
    pub entry_point: String,
    /// Size of the whole index space, 1 to 3 dimensions. The last one counts the items.
    #[schemars(length(min = 1, max = 3))]
    #[schemars(inner(range(min = 1, max = 9_007_199_254_740_992_u64)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub global_size: Vec<i64>,
    /// Size of a work-group, as many dimensions as globalSize. Without it the platform chooses, and the kernel must not
    /// depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    #[schemars(inner(range(min = 1, max = 65_536)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub local_size: Option<Vec<i64>>,
    /// Preprocessor definitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "defines_schema")]
    pub defines: BTreeMap<String, String>,
    /// Operations an item, declared: what the price counts.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,18}$"), length(max = 19))]
    pub work_per_item: String,
    /// One for each parameter of the kernel, in order.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub arguments: Vec<Argument>,
}

fn defines_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "description": "Preprocessor definitions.",
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

/// Where a kernel's text is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::union(&["inline"], &[])))]
pub struct Source {
    /// OpenCL C 1.2, here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub inline: Option<String>,
}

/// What one parameter of the kernel is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-kubernetes-validations" = schema::union(&["input", "scalar", "builtin", "local", "output"], &[])
))]
pub struct Argument {
    /// An input, whole: `__global const T*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub input: Option<String>,
    /// A value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// A number that the platform knows, as uint or ulong: items of the job, first item of the unit, items of the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Items", "UnitFirst", "UnitItems"]))]
    pub builtin: Option<String>,
    /// Local memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
    /// An output, whole: `__global T*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub output: Option<String>,
}

/// A value for a parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scalar {
    /// Its type in OpenCL C.
    #[serde(rename = "type")]
    #[schemars(extend(
        "enum" = ["char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "float", "double"]
    ))]
    pub type_: String,
    /// A decimal number; for float and double also a hexadecimal one like 0x1.8p3.
    #[schemars(length(min = 1, max = 64))]
    pub value: String,
}

/// Local memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Local {
    /// Its size.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub bytes: i64,
}

/// An array that the job reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Its name in the job.
    #[schemars(regex(pattern = LABEL), length(min = 1, max = 63))]
    pub name: String,
    /// Where it is. Exactly one place.
    pub source: InputSource,
}

/// Where an input is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::union(&["configMap", "object"], &[])))]
pub struct InputSource {
    /// A key of a ConfigMap of the same namespace, holding an npy file. Read once; later edits change nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// A file that was put on the platform with `orion put`. Waited for until it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
}

/// A file on the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// SHA3-256 of the file, as `orion put` prints it.
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub digest: String,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in `binaryData` or `data`.
    #[schemars(regex(pattern = "^[-._a-zA-Z0-9]+$"), length(min = 1, max = 253))]
    pub key: String,
}

/// An array that the job delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    ("has(self.combine) == (has(self.scope) && self.scope == 'Unit')", "combine is needed with scope Unit, and only there"),
    ("!has(self.lengths) || !has(self.combine)", "lengths is for rows of items, which scope Unit has not"),
])))]
pub struct Output {
    /// Its name in the job.
    #[schemars(regex(pattern = LABEL), length(min = 1, max = 63))]
    pub name: String,
    /// Its element type. A model's outputs need not say it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [
        "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
    ]))]
    pub type_: Option<String>,
    /// Its shape, row-major; the first dimension is the items, but with scope Unit. A model's outputs need not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[schemars(inner(range(min = 1, max = 9_007_199_254_740_992_u64)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub shape: Option<Vec<i64>>,
    /// The output that says how many of its first entries each item keeps, at most the second dimension of the shape: one unsigned number an
    /// item. What is kept is delivered as <name>.values, and where each item's entries begin as <name>.offsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub lengths: Option<String>,
    /// PerItem, unless said otherwise: a row for each item. Unit: each unit has a copy of the whole shape, zeros at first, and they are
    /// combined. The copies are delivered too, as <name>.units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PerItem", "Unit"]))]
    pub scope: Option<String>,
    /// How the units' copies become one, element by element. Sums of integers wrap around; floats have no Min and Max.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Sum", "Min", "Max"]))]
    pub combine: Option<String>,
    /// The format of its files: npy unless said otherwise. A file of safetensors has one tensor, with the file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["npy", "safetensors"]))]
    pub format: Option<String>,
}

/// How the items are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
pub struct Sharding {
    /// Items in a unit, the smallest piece that is checked.
    #[schemars(range(min = 1, max = 9_007_199_254_740_992_u64))]
    pub items_per_unit: i64,
    /// Units in a shard, the piece that a worker gets. Chosen by the platform unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub units_per_shard: Option<i64>,
}

/// By which policy the job pays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
pub struct Reward {
    /// Id of a reward policy that was published, as `orion ledger policy show` prints it. Waited for until it is. Without it the
    /// platform's default holds. What the job pays follows it whatever is published later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub policy: Option<String>,
}

/// How results are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
pub struct Validation {
    /// Units of each shard that validators compute again.
    #[serde(default = "default_audits")]
    #[schemars(range(min = 1, max = 32))]
    pub audits_per_shard: i32,
}

fn default_audits() -> i32 {
    2
}

impl Default for Validation {
    fn default() -> Self {
        Validation { audits_per_shard: default_audits() }
    }
}

/// How shards become the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-kubernetes-validations" = schema::union(&["concatenate"], &[("self == oldSelf", "is immutable")])
))]
pub struct Aggregation {
    /// Rows one after another, in the order of the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concatenate: Option<Concatenate>,
}

impl Default for Aggregation {
    fn default() -> Self {
        Aggregation { concatenate: Some(Concatenate {}) }
    }
}

/// Nothing to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Concatenate {}

/// The most that the job may cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// In ORION. May be raised until the job is Funded.
    #[schemars(regex(pattern = CREDITS), length(max = 19))]
    pub max_credits: String,
}
