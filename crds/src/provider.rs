//! Provider: an identity that runs workers and validators. Its owner is set by whoever approved it and never changes: whom a
//! machine belongs to decides who may audit it. Stake and earnings live in the ledger.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::schema::{self, HEX64, LABEL};

/// An identity that runs workers and validators.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orion.dev",
    version = "v1alpha1",
    kind = "Provider",
    plural = "providers",
    shortname = "opr",
    category = "orion",
    namespaced,
    status = "ProviderStatus",
    derive = "PartialEq",
    doc = "An identity that runs workers and validators, as approved by the platform.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("metadata.name: must be one DNS label (a-z, 0-9, '-'; at most 63)"),
    validation = Rule::new("self.metadata.name != 'platform'")
        .message("metadata.name: platform is the name of the platform's own worker"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner"),
    printcolumn(name = "Validates", type_ = "boolean", json_path = ".spec.validates"),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".status.alive"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.publicKey", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// The ed25519 key that signs its commitments and votes, in hex. It is the identity: another key is another Provider.
    #[schemars(regex(pattern = HEX64), length(max = 64))]
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub public_key: String,
    /// The broker's nkey (user, public).
    #[schemars(regex(pattern = "^U[A-Z2-7]{55}$"), length(max = 56))]
    pub broker_key: String,
    /// Whom it belongs to: nobody audits the work of their own machines.
    #[schemars(regex(pattern = LABEL), length(min = 1, max = 63))]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
        ("self == oldSelf", "is immutable"),
        ("self != 'platform'", "platform is the owner of the platform's own worker"),
    ])))]
    pub owner: String,
    /// Whether it may audit others.
    #[serde(default)]
    pub validates: bool,
}

/// What the platform sees of a provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({"observedGeneration": -1})))]
pub struct ProviderStatus {
    /// The generation that this status is about; -1 before there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready is True when the ledger knows the key and the broker its streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many of its workers and validators are alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub alive: Option<u32>,
    /// Some of them, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub workers: Vec<WorkerStatus>,
}

/// One process of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Its name, one DNS label.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What it does: Worker or Validator.
    #[schemars(extend("enum" = ["Worker", "Validator", "Platform"]))]
    pub role: String,
    /// Its device class: a label of compatibility, no proof.
    #[schemars(length(max = 64))]
    pub class: String,
    /// OpenCL driver and device.
    #[schemars(length(max = 256))]
    pub driver: String,
    /// What its device computes wrongly; such a worker is given nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub fault: Option<String>,
    /// When it was last heard of, to the minute at best, so that nothing is written for a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_seen: Option<Time>,
}
