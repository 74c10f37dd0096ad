//! The status of an OrionJob, as a consumer reads it. Written by the operator only; amounts are decimal ORION.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::schema::{self, AMOUNT, DIGITS, FILE, FRACTION, HEX64, LABEL};

/// How a job stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({"observedGeneration": -1})))]
pub struct JobStatus {
    /// The generation that this status is about; -1 before there is one, so that nobody calls the job ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, Funded, Dispatched, Validated, Succeeded, Failed, Final; Reconciling and Stalled for kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// When the job was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub start_time: Option<Time>,
    /// When it succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub completion_time: Option<Time>,
    /// The inputs as they were read, once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inputs: Vec<InputStatus>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Its shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardCounts>,
    /// What was checked, and what that is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationStatus>,
    /// The results: their types and shapes from the preflight on, their digests when they are put together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub outputs: Vec<OutputStatus>,
    /// What it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Where the evidence is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerStatus>,
}

/// An input as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputStatus {
    /// Its name in the spec.
    #[schemars(regex(pattern = LABEL), length(min = 1, max = 63))]
    pub name: String,
    /// SHA3-256 of the file.
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub digest: String,
    /// Its length.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub size_bytes: u64,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Its units.
    pub units: UnitCounts,
    /// Accepted units in percent, rounded down.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
    /// A guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub estimated_completion_time: Option<Time>,
}

/// Units, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitCounts {
    /// All.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub total: u64,
    /// In leases.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub running: u64,
    /// Computed, waiting for a verdict.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub committed: u64,
    /// In shards with an accepted verdict.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub accepted: u64,
}

/// Shards, counted and named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardCounts {
    /// All.
    #[schemars(range(min = 0, max = 16_777_216))]
    pub total: u32,
    /// In leases.
    #[schemars(range(min = 0, max = 16_777_216))]
    pub running: u32,
    /// With an accepted verdict.
    #[schemars(range(min = 0, max = 16_777_216))]
    pub accepted: u32,
    /// Given up.
    #[schemars(range(min = 0, max = 16_777_216))]
    pub failed: u32,
    /// Which have an accepted verdict, like 0-57,60. Cut where it would get too long; the ledger has all.
    #[serde(default)]
    #[schemars(length(max = 32_768))]
    pub accepted_indexes: String,
    /// Which were given up.
    #[serde(default)]
    #[schemars(length(max = 32_768))]
    pub failed_indexes: String,
}

/// What was checked, and what that is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationStatus {
    /// Units that were computed again.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub units_audited: u64,
    /// Over how many owners each audited unit was computed, the worker's included.
    #[schemars(range(min = 0, max = 64))]
    pub copies_per_unit: u32,
    /// Attempts that were refused.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub rejected: u64,
    /// Attempts that went to the referee.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub disputed: u64,
    /// How likely cheating is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<Detection>,
}

/// A probability, together with what it assumes; decimal fractions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detection {
    /// If this share of a shard's units were wrong,
    #[schemars(regex(pattern = FRACTION), length(max = 14))]
    pub cheated_fraction: String,
    /// it would be seen with this probability,
    #[schemars(regex(pattern = FRACTION), length(max = 14))]
    pub probability: String,
    /// where this share of the auditors helps the cheater.
    #[schemars(regex(pattern = FRACTION), length(max = 14))]
    pub assumed_colluding_share: String,
}

/// A file of the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputStatus {
    /// The output's name in the spec; with lengths there are <name>.values and <name>.offsets, with scope Unit also <name>.units.
    #[schemars(regex(pattern = FILE), length(min = 1, max = 71))]
    pub name: String,
    /// SHA3-256 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub digest: Option<String>,
    /// Its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub size_bytes: Option<u64>,
    /// Its element type.
    #[serde(rename = "type")]
    #[schemars(length(max = 16))]
    pub type_: String,
    /// Its shape; none as long as it is not known how many values there are.
    #[schemars(length(max = 9), inner(range(min = 0, max = 9_007_199_254_740_992_u64)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub shape: Vec<u64>,
}

/// What a job costs, in ORION.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The price, pinned when the job was funded.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub price_per_million_work: String,
    /// Accepted work, in declared operations.
    #[schemars(regex(pattern = DIGITS), length(max = 20))]
    pub work: String,
    /// Locked at first.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub escrowed: String,
    /// Paid to workers.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub workers: String,
    /// Paid to validators.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub validators: String,
    /// The platform's fee.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub fee: String,
    /// Workers, validators and fee together.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub total: String,
    /// Given back.
    #[schemars(regex(pattern = AMOUNT), length(max = 20))]
    pub refunded: String,
}

/// Where a job's evidence is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerStatus {
    /// Size and root of the log that holds the settlement.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub checkpoint: Option<String>,
    /// Index of the settlement's first leaf; of a later one where the leader that submitted it was lost before it could say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub settlement: Option<String>,
    /// Part of the ids of transactions: raised only after a refusal that depended on the ledger's state.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub r#try: u64,
}
