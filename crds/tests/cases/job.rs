//! A job without a flaw, and the way to give it one.

use serde_json::{Value, json};

/// An OrionJob without a flaw, every default written out. Without a name: whoever creates it gives one.
pub fn job() -> Value {
    json!({
        "apiVersion": "orion.dev/v1alpha1",
        "kind": "OrionJob",
        "metadata": {},
        "spec": {
            "workload": {"kernel": {
                "source": {"inline": "__kernel void f(__global const uchar* x, uint n, __global uchar* y) { y[0] = x[0] + n; }"},
                "entryPoint": "f",
                "globalSize": [1797],
                "localSize": [1],
                "defines": {"K": "3"},
                "workPerItem": "115008",
                "arguments": [
                    {"input": "digits"},
                    {"input": "labels"},
                    {"scalar": {"type": "uint", "value": "64"}},
                    {"builtin": "Items"},
                    {"local": {"bytes": 64}},
                    {"output": "predictions"},
                ],
            }},
            "inputs": [
                {"name": "digits", "source": {"configMap": {"name": "digits", "key": "digits.npy"}}},
                {"name": "labels", "source": {"configMap": {"name": "digits", "key": "labels.npy"}}},
            ],
            "outputs": [{"name": "predictions", "type": "uint8", "shape": [1797]}],
            "sharding": {"itemsPerUnit": 16, "unitsPerShard": 4},
            "parallelism": 8,
            "validation": {"auditsPerShard": 2},
            "aggregation": {"concatenate": {}},
            "reward": {},
            "budget": {"maxCredits": "2.5"},
            "backoffLimitPerShard": 3,
        },
    })
}

/// A job that runs a model, without a flaw.
pub fn model_job() -> Value {
    let mut object = with(
        job(),
        "/spec/workload",
        json!({"inference": {
            "model": {"input": "digits"},
            "dims": {"seq": 128},
            "tensors": [
                {"name": "input_ids", "from": "labels"},
                {"name": "token_type_ids", "fill": "0"},
            ],
            "results": [{"tensor": "last_hidden_state", "output": "predictions"}],
        }}),
    );
    object["spec"]["outputs"] = json!([{"name": "predictions"}]);
    object
}

/// `object` with the value at `pointer` replaced, or added to its parent.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
    match object.pointer_mut(parent).expect("the parent is there") {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
        other => panic!("{other} has no parts"),
    }
    object
}
