//! Shard: a contiguous range of a job's units. It exists in a window, and is written at most three times: created, its one
//! terminal status, deleted. Attempts, leases and commitments never show here.
#![expect(clippy::duplicated_attributes, reason = "clippy takes two printer columns of one type for one attribute")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::schema;

/// A range of a job's units, given to one worker under one lease.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orion.dev",
    version = "v1alpha1",
    kind = "Shard",
    plural = "shards",
    shortname = "osh",
    category = "orion",
    namespaced,
    status = "ShardStatus",
    derive = "PartialEq",
    doc = "A contiguous range of an OrionJob's units, given to one worker under one lease.",
    selectable = ".spec.job",
    printcolumn(name = "Job", type_ = "string", json_path = ".spec.job"),
    printcolumn(name = "Index", type_ = "integer", json_path = ".spec.index"),
    printcolumn(name = "Units", type_ = "integer", json_path = ".spec.units"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Succeeded")].reason"#),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Worker", type_ = "string", json_path = ".status.worker", priority = 1),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt", priority = 1),
    printcolumn(name = "Round", type_ = "string", json_path = ".status.round", priority = 1),
    printcolumn(name = "First", type_ = "integer", json_path = ".spec.firstUnit", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
pub struct ShardSpec {
    /// Name of the OrionJob, which also owns the object.
    #[schemars(length(min = 1, max = 40))]
    pub job: String,
    /// The shard's number, from 0.
    #[schemars(range(min = 0, max = 16_777_215))]
    pub index: u32,
    /// The first unit, counted over the job.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub first_unit: u64,
    /// How many units.
    #[schemars(range(min = 1, max = 100_000))]
    pub units: u64,
}

/// Written once, when the shard is accepted or has failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({"observedGeneration": -1})))]
pub struct ShardStatus {
    /// The generation that this status is about; -1 before there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Succeeded is True with an accepted verdict, and False with the reason when the shard has failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Who computed what was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub provider: Option<String>,
    /// The provider's worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub worker: Option<String>,
    /// The attempt that ended it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub attempt: Option<u32>,
    /// Name of the ValidationRound that judged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub round: Option<String>,
}
