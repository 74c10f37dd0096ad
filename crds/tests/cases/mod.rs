//! One accepted and one refused object for each rule of the CRDs, as data: checked offline by `rules.rs`, and on a real API
//! server by [`server`](../server.rs) through the end-to-end tests.

mod job;

use serde_json::{Value, json};

pub use job::{job, model_job, with};

/// A rule with an object that it takes and one that it refuses.
pub struct Case {
    /// The kind, which is also in the objects.
    pub kind: &'static str,
    /// Where in the schema the rule is: `spec.workload`, `spec.inputs[].source`, empty for the whole object.
    pub path: &'static str,
    /// The rule's message, as people see it.
    pub message: &'static str,
    /// The object that is there before; `None` when the rule is about new ones.
    pub before: Option<Value>,
    /// The status that the object has before.
    pub status: Option<Value>,
    /// What the rule takes.
    pub accepted: Value,
    /// What it refuses, for this rule alone.
    pub refused: Value,
}

/// A bound of the schema that is no rule: an object that is refused, and words of the answer.
pub struct Bound {
    /// The object.
    pub refused: Value,
    /// Words of the API server's answer.
    pub words: &'static str,
}

/// A Shard.
pub fn shard() -> Value {
    json!({
        "apiVersion": "orion.dev/v1alpha1",
        "kind": "Shard",
        "metadata": {},
        "spec": {"job": "digits-knn", "index": 0, "firstUnit": 0, "units": 4},
    })
}

/// A ValidationRound.
pub fn round() -> Value {
    json!({
        "apiVersion": "orion.dev/v1alpha1",
        "kind": "ValidationRound",
        "metadata": {},
        "spec": {
            "job": "digits-knn",
            "sequence": 0,
            "roundId": "0".repeat(64),
            "shards": [{"index": 0, "attempt": 1, "provider": "alpha", "commitment": "1".repeat(64)}],
        },
    })
}

/// A Provider.
pub fn provider() -> Value {
    json!({
        "apiVersion": "orion.dev/v1alpha1",
        "kind": "Provider",
        "metadata": {},
        "spec": {
            "publicKey": "2".repeat(64),
            "brokerKey": format!("U{}", "A".repeat(55)),
            "owner": "ann",
            "validates": true,
        },
    })
}

/// Without what is at `pointer`.
fn without(mut object: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
    object.pointer_mut(parent).and_then(Value::as_object_mut).expect("the parent is there").remove(key);
    object
}

/// A rule about new objects.
fn new(kind: &'static str, path: &'static str, message: &'static str, accepted: Value, refused: Value) -> Case {
    Case { kind, path, message, before: None, status: None, accepted, refused }
}

/// A rule about changes: something else may change, this may not.
fn fixed(kind: &'static str, path: &'static str, before: Value, accepted: Value, refused: Value) -> Case {
    Case { kind, path, message: "is immutable", before: Some(before), status: None, accepted, refused }
}

/// Every rule.
pub fn cases() -> Vec<Case> {
    [of_names(), of_unions(), of_outputs(), of_changes(), of_money(), of_providers()].into_iter().flatten().collect()
}

fn of_names() -> Vec<Case> {
    let named = |length: usize| with(job(), "/metadata/name", json!("n".repeat(length)));
    let provider_named = |name: String| with(provider(), "/metadata/name", json!(name));
    vec![
        new("OrionJob", "", "metadata.name: at most 40 characters", named(40), named(41)),
        new(
            "Provider",
            "",
            "metadata.name: must be one DNS label (a-z, 0-9, '-'; at most 63)",
            provider_named("p".repeat(63)),
            provider_named("a.b".into()),
        ),
        new(
            "Provider",
            "",
            "metadata.name: platform is the name of the platform's own worker",
            provider_named("platforms".into()),
            provider_named("platform".into()),
        ),
    ]
}

/// An input's source: an object with this digest, repeated.
fn object(quarter: &str) -> Value {
    json!({"object": {"digest": quarter.repeat(4)}})
}

fn of_unions() -> Vec<Case> {
    let union = |path, message, pointer: &str| new("OrionJob", path, message, job(), with(job(), pointer, json!({})));
    let two = json!({"input": "digits", "output": "predictions"});
    vec![
        union("spec.workload", "exactly one must be set of: kernel, inference", "/spec/workload"),
        union("spec.workload.kernel.source", "exactly one must be set of: inline", "/spec/workload/kernel/source"),
        union("spec.inputs[].source", "exactly one must be set of: configMap, object", "/spec/inputs/1/source"),
        new(
            "OrionJob",
            "spec.inputs[].source",
            "exactly one must be set of: configMap, object",
            with(job(), "/spec/inputs/1/source", object("0123456789abcdef")),
            with(job(), "/spec/inputs/1/source/object", object("0123456789abcdef")["object"].clone()),
        ),
        union("spec.aggregation", "exactly one must be set of: concatenate", "/spec/aggregation"),
        new(
            "OrionJob",
            "spec.workload.kernel.arguments[]",
            "exactly one must be set of: input, scalar, builtin, local, output",
            job(),
            with(job(), "/spec/workload/kernel/arguments/1", two),
        ),
        new(
            "OrionJob",
            "spec.workload.inference.tensors[]",
            "exactly one must be set of: from, fill",
            model_job(),
            with(model_job(), "/spec/workload/inference/tensors/0", json!({"name": "input_ids"})),
        ),
        new(
            "OrionJob",
            "spec.workload.inference.tensors[]",
            "shared needs from: a filled tensor is the same for every item anyway",
            with(model_job(), "/spec/workload/inference/tensors/0/shared", json!({})),
            with(model_job(), "/spec/workload/inference/tensors/1/shared", json!({})),
        ),
        new(
            "OrionJob",
            "spec.workload.inference.tensors[]",
            "key needs from: it is a name in that input's file",
            with(model_job(), "/spec/workload/inference/tensors/0/key", json!("ids")),
            with(model_job(), "/spec/workload/inference/tensors/1/key", json!("ids")),
        ),
        new(
            "OrionJob",
            "",
            "spec.outputs: type and shape are needed, unless a model makes them",
            model_job(),
            without(job(), "/spec/outputs/0/type"),
        ),
    ]
}

fn of_outputs() -> Vec<Case> {
    let output = |object: Value, more: Value| {
        let mut output = object["spec"]["outputs"][0].clone();
        output.as_object_mut().expect("an output").extend(more.as_object().expect("fields").clone());
        with(object, "/spec/outputs/0", output)
    };
    let kept = || output(job(), json!({"lengths": "predictions"}));
    let copies = || output(job(), json!({"scope": "Unit", "combine": "Sum"}));
    let combine = "combine is needed with scope Unit, and only there";
    let refused = |message, object| new("OrionJob", "spec.outputs[]", message, copies(), object);
    let model = |more| {
        new("OrionJob", "", "spec.outputs: lengths and scope Unit are for kernels", kept(), output(model_job(), more))
    };
    vec![
        refused(combine, output(job(), json!({"scope": "Unit"}))),
        refused(combine, output(job(), json!({"combine": "Sum"}))),
        refused(combine, output(job(), json!({"scope": "PerItem", "combine": "Sum"}))),
        new(
            "OrionJob",
            "spec.outputs[]",
            "lengths is for rows of items, which scope Unit has not",
            output(job(), json!({"scope": "PerItem", "lengths": "predictions"})),
            output(copies(), json!({"lengths": "predictions"})),
        ),
        model(json!({"lengths": "predictions"})),
        model(json!({"scope": "Unit", "combine": "Sum"})),
    ]
}

fn of_changes() -> Vec<Case> {
    let more = || with(job(), "/spec/parallelism", json!(16));
    let job_field = |path, pointer: &str, value| fixed("OrionJob", path, job(), more(), with(more(), pointer, value));
    let mut swapped = more();
    swapped["spec"]["inputs"].as_array_mut().expect("inputs are a list").swap(0, 1);
    let output = |name: &str| json!({"name": name, "type": "uint8", "shape": [1797]});
    let pair = |first: &str, second: &str| with(job(), "/spec/outputs", json!([output(first), output(second)]));
    let in_order = "is immutable, its order too";
    let labelled = |object: Value| with(object, "/metadata/labels", json!({"touched": "yes"}));
    vec![
        job_field("spec.workload", "/spec/workload/kernel/entryPoint", json!("g")),
        job_field("spec.inputs", "/spec/inputs/0/source/configMap/key", json!("other.npy")),
        job_field("spec.outputs", "/spec/outputs/0/type", json!("int8")),
        job_field("spec.sharding", "/spec/sharding/itemsPerUnit", json!(8)),
        fixed("OrionJob", "spec.sharding", job(), more(), without(more(), "/spec/sharding/unitsPerShard")),
        job_field("spec.validation", "/spec/validation/auditsPerShard", json!(3)),
        job_field("spec.reward", "/spec/reward/policy", json!("0f".repeat(32))),
        job_field("spec.backoffLimitPerShard", "/spec/backoffLimitPerShard", json!(4)),
        // With one option there is no other valid value, so the union's own rule is broken, too.
        job_field("spec.aggregation", "/spec/aggregation", json!({})),
        Case { message: in_order, ..fixed("OrionJob", "spec.inputs", job(), more(), swapped) },
        Case { message: in_order, ..fixed("OrionJob", "spec.outputs", pair("a", "b"), pair("a", "b"), pair("b", "a")) },
        fixed("Shard", "spec", shard(), labelled(shard()), with(shard(), "/spec/units", json!(5))),
        fixed("ValidationRound", "spec", round(), labelled(round()), with(round(), "/spec/sequence", json!(1))),
    ]
}

fn of_money() -> Vec<Case> {
    let funded = |status: &str| {
        json!({"observedGeneration": 1, "conditions": [{
            "type": "Funded", "status": status, "reason": "Funded", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]})
    };
    let raised = || with(job(), "/spec/budget/maxCredits", json!("3"));
    let message = "spec.budget: is immutable once the job is Funded";
    let more = || with(job(), "/spec/parallelism", json!(16));
    let case = |status: Option<Value>, accepted, refused| Case {
        kind: "OrionJob",
        path: "",
        message,
        before: Some(job()),
        status,
        accepted,
        refused,
    };
    vec![
        // Once it is funded, parallelism may change and the budget may not.
        case(Some(funded("True")), more(), raised()),
    ]
}

/// What the budget's rule takes: changes before the job is funded. Pairs of status and changed object.
pub fn budget_changes() -> Vec<(Option<Value>, Value)> {
    let raised = || with(job(), "/spec/budget/maxCredits", json!("3"));
    let waiting = json!({"observedGeneration": 1, "conditions": [{
        "type": "Funded", "status": "False", "reason": "BudgetTooSmall", "message": "needs 2.9",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    vec![(None, raised()), (Some(waiting), raised()), (Some(json!({"observedGeneration": 1})), raised())]
}

fn of_providers() -> Vec<Case> {
    let idle = || with(provider(), "/spec/validates", json!(false));
    let change = |path, pointer: &str, value| fixed("Provider", path, provider(), idle(), with(idle(), pointer, value));
    vec![
        change("spec.publicKey", "/spec/publicKey", json!("3".repeat(64))),
        change("spec.owner", "/spec/owner", json!("bob")),
        new(
            "Provider",
            "spec.owner",
            "platform is the owner of the platform's own worker",
            provider(),
            with(provider(), "/spec/owner", json!("platform")),
        ),
    ]
}

/// Bounds that a person is likely to meet.
pub fn bounds() -> Vec<Bound> {
    let bound = |pointer: &str, value: Value, words| Bound { refused: with(job(), pointer, value), words };
    let input = |name: &str| json!({"name": name, "source": {"configMap": {"name": "a", "key": "b"}}});
    let many: Vec<Value> = (0..9).map(|at| input(&format!("i{at}"))).collect();
    vec![
        bound("/spec/inputs", json!([input("a"), input("a")]), "Duplicate value"),
        bound("/spec/inputs", json!(many), "must have at most 8 items"),
        bound("/spec/outputs", json!([]), "should have at least 1 items"),
        bound("/spec/outputs/0/type", json!("float16"), "Unsupported value"),
        bound("/spec/outputs/0/scope", json!("Job"), "Unsupported value"),
        bound("/spec/outputs/0/name", json!("hitCounts"), "spec.outputs[0].name"),
        bound("/spec/budget/maxCredits", json!("2.5 ORION"), "spec.budget.maxCredits"),
        bound("/spec/budget/maxCredits", json!(2), "spec.budget.maxCredits"),
        bound("/spec/workload/kernel/workPerItem", json!("0"), "spec.workload.kernel.workPerItem"),
        bound("/spec/workload/kernel/globalSize", json!([1, 1, 1, 1]), "must have at most 3 items"),
        bound("/spec/workload/kernel/globalSize", json!([0]), "should be greater than or equal to 1"),
        bound("/spec/workload/kernel/source/inline", json!("x".repeat(65_537)), "65536"),
        bound("/spec/inputs/0/source", object("0123456789ABCDEF"), "spec.inputs[0].source.object.digest"),
        bound("/spec/parallelism", json!(65), "should be less than or equal to 64"),
        bound("/spec/reward/policy", json!("sha3:0f"), "spec.reward.policy"),
        bound("/spec/validation/auditsPerShard", json!(33), "should be less than or equal to 32"),
    ]
}
