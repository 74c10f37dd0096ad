//! ValidationRound: a batch of committed shards put to validators. It holds tallies and digests; the evidence is in the
//! ledger, from which a lost round is rebuilt.
#![expect(clippy::duplicated_attributes, reason = "clippy takes two printer columns of one type for one attribute")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::schema::{self, HEX64};

/// A batch of committed shards put to validators.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orion.dev",
    version = "v1alpha1",
    kind = "ValidationRound",
    plural = "validationrounds",
    shortname = "ovr",
    category = "orion",
    namespaced,
    status = "RoundStatus",
    derive = "PartialEq",
    doc = "A batch of committed shards of an OrionJob, put to a set of validators: sample, votes, verdict.",
    selectable = ".spec.job",
    printcolumn(name = "Job", type_ = "string", json_path = ".spec.job"),
    printcolumn(name = "Round", type_ = "integer", json_path = ".spec.sequence"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Succeeded")].reason"#),
    printcolumn(name = "Accepted", type_ = "integer", json_path = ".status.tallies.accepted"),
    printcolumn(name = "Rejected", type_ = "integer", json_path = ".status.tallies.rejected"),
    printcolumn(name = "Audited", type_ = "integer", json_path = ".status.tallies.units"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Votes", type_ = "integer", json_path = ".status.tallies.votes", priority = 1),
    printcolumn(name = "Absent", type_ = "integer", json_path = ".status.tallies.absent", priority = 1),
    printcolumn(name = "Disputed", type_ = "integer", json_path = ".status.tallies.disputed", priority = 1),
    printcolumn(name = "Id", type_ = "string", json_path = ".spec.roundId", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
pub struct ValidationRoundSpec {
    /// Name of the OrionJob, which also owns the object.
    #[schemars(length(min = 1, max = 40))]
    pub job: String,
    /// The round's number in the job, from 0.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub sequence: u64,
    /// The round's id: hashed from its commitments, so that it cannot be chosen.
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub round_id: String,
    /// What is judged, at most one attempt of a shard.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["index"]))]
    pub shards: Vec<RoundShard>,
}

/// One committed attempt at a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundShard {
    /// The shard's number.
    #[schemars(range(min = 0, max = 16_777_215))]
    pub index: u32,
    /// The attempt, from 1.
    #[schemars(range(min = 1, max = 65_535))]
    pub attempt: u32,
    /// Who committed.
    #[schemars(length(min = 1, max = 63))]
    pub provider: String,
    /// Digest of the commitment.
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub commitment: String,
}

/// Written once, when every shard of the round is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({"observedGeneration": -1})))]
pub struct RoundStatus {
    /// The generation that this status is about; -1 before there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Succeeded is True when every shard of the round is judged, whatever the verdicts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Sums over the round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tallies: Option<Tallies>,
    /// The verdict on each shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["index"]))]
    pub verdicts: Vec<Verdict>,
    /// What the draw came from, for whoever wants to draw again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<RoundSeal>,
}

/// Sums over a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tallies {
    /// Units that were drawn.
    #[schemars(range(min = 0, max = 65_535))]
    pub units: u32,
    /// Votes that were given.
    #[schemars(range(min = 0, max = 65_535))]
    pub votes: u32,
    /// Votes that did not come in time.
    #[schemars(range(min = 0, max = 65_535))]
    pub absent: u32,
    /// Shards that went to the referee.
    #[schemars(range(min = 0, max = 65_535))]
    pub disputed: u32,
    /// Shards accepted.
    #[schemars(range(min = 0, max = 65_535))]
    pub accepted: u32,
    /// Shards rejected.
    #[schemars(range(min = 0, max = 65_535))]
    pub rejected: u32,
}

/// The verdict on one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The shard's number.
    #[schemars(range(min = 0, max = 16_777_215))]
    pub index: u32,
    /// Whether the whole shard is accepted.
    pub accepted: bool,
    /// Whether votes differed, so that the referee decided.
    #[serde(default)]
    pub disputed: bool,
    /// The drawn units, as an index set.
    #[schemars(length(max = 512))]
    pub drawn: String,
    /// Index of the RecordVerdict's leaf in the ledger's log.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub leaf: u64,
}

/// The seal that seeds a round's draw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundSeal {
    /// The ledger's block.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub height: u64,
    /// Leaves in the log.
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_u64))]
    pub size: u64,
    /// Root over them.
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    pub root: String,
}
