//! From a job as it was written to one that is known to be good: what comes out, and which field a refusal names.

#[path = "cases/job.rs"]
mod cases;

use cases::{job, model_job, with};
use orion_crds::validated::{InputRef, InputSource, Items, default_units_per_shard};
use orion_crds::{OrionJob, ValidatedJob};
use orion_protocol::dtype::DType;
use orion_protocol::task::{
    Argument, Builtin, Combine, Feed, FeedFrom, InferenceWorkload, KernelWorkload, Layout, OutputSpec, UnitTable,
    Workload,
};
use orion_protocol::{Digest, Format, Reason, Refusal};
use serde_json::{Value, json};

fn validate(mut object: Value) -> Result<ValidatedJob, Refusal> {
    let given = object["metadata"].as_object_mut().expect("metadata is a map");
    for (key, value) in [
        ("name", json!("digits-knn")),
        ("namespace", json!("demo")),
        ("uid", json!("8a3c2f1e-0000-4000-8000-000000000001")),
        ("generation", json!(1)),
    ] {
        given.entry(key).or_insert(value);
    }
    let job: OrionJob = serde_json::from_value(object).expect("the raw types take it");
    ValidatedJob::try_from(&job)
}

/// The spec with one value replaced is refused, and the message starts with this.
fn check(pointer: &str, value: Value, message: &str) {
    let at = format!("{pointer} = {value}");
    let refusal = validate(with(job(), pointer, value)).expect_err(&at);
    assert_eq!(refusal.reason, Reason::InvalidSpec);
    assert!(refusal.message.starts_with(message), "{at}: {}", refusal.message);
}

#[test]
fn the_example_becomes_checked_types() {
    let name = |text: &str| text.parse().unwrap();
    let map = |key: &str| InputSource::ConfigMap { name: "digits".into(), key: key.into() };
    let input = |text: &str, key: &str| InputRef { name: name(text), source: map(key) };
    let spec = &job()["spec"];
    let source = spec["workload"]["kernel"]["source"]["inline"].as_str().unwrap();
    let want = ValidatedJob {
        name: "digits-knn".into(),
        namespace: "demo".into(),
        uid: name("8a3c2f1e-0000-4000-8000-000000000001"),
        generation: 1,
        workload: Workload::Kernel(KernelWorkload {
            source: source.into(),
            entry_point: "f".into(),
            global_size: vec![1797],
            local_size: Some(vec![1]),
            defines: vec![("K".into(), "3".into())],
            arguments: vec![
                Argument::Input(0),
                Argument::Input(1),
                Argument::Scalar(DType::Uint32, 64),
                Argument::Builtin(Builtin::Items),
                Argument::Local(64),
                Argument::Output(0),
            ],
        }),
        inputs: vec![input("digits", "digits.npy"), input("labels", "labels.npy")],
        outputs: vec![OutputSpec { name: name("predictions"), dtype: DType::Uint8, shape: vec![1797], layout: None }],
        formats: vec![Format::Npy],
        items: Items::Known(1797),
        items_per_unit: 16,
        units_per_shard: Some(4),
        work_per_item: Some(115_008),
        parallelism: 8,
        audits_per_shard: 2,
        policy: None,
        budget: 2_500_000,
        backoff_limit_per_shard: 3,
    };
    let units = UnitTable { items: 1797, items_per_unit: 16, units_per_shard: 4, work_per_item: 115_008 };
    assert_eq!(want.units(1797), Ok(units));
    assert_eq!(validate(job()), Ok(want));
}

#[test]
fn what_is_left_out_has_its_default() {
    let mut object = job();
    let spec = object["spec"].as_object_mut().unwrap();
    for field in ["parallelism", "validation", "aggregation", "backoffLimitPerShard"] {
        spec.remove(field);
    }
    spec["sharding"].as_object_mut().unwrap().remove("unitsPerShard");
    let have = validate(object).unwrap();
    assert_eq!((have.parallelism, have.audits_per_shard, have.backoff_limit_per_shard), (8, 2, 3));
    // 113 units over 8 leases, four rounds each.
    assert_eq!(have.units(1797).unwrap().units_per_shard, 4);
}

#[test]
fn units_per_shard_follows_from_units_and_parallelism() {
    assert_eq!(default_units_per_shard(1, 8), 1);
    assert_eq!(default_units_per_shard(33, 8), 2);
    assert_eq!(default_units_per_shard(1 << 40, 1), 100_000);
}

#[test]
fn the_index_space_is_checked() {
    let kernel = |field: &str| format!("/spec/workload/kernel/{field}");
    check(&kernel("globalSize"), json!([]), "spec.workload.kernel.globalSize: ");
    check(&kernel("globalSize"), json!([1, 2, 3, 4]), "spec.workload.kernel.globalSize: ");
    check(&kernel("globalSize"), json!([0]), "spec.workload.kernel.globalSize: ");
    check(&kernel("globalSize"), json!([-5]), "spec.workload.kernel.globalSize: ");
    check(&kernel("globalSize"), json!([1_i64 << 53, 1_i64 << 53]), "spec.workload.kernel.globalSize: ");
    check(&kernel("globalSize"), json!([1800]), "spec.outputs[predictions].shape: ");
    check(&kernel("localSize"), json!([1, 1]), "spec.workload.kernel.localSize: must have as many dimensions");
    check(&kernel("localSize"), json!([2]), "spec.workload.kernel.localSize: 2 does not divide 1797 of globalSize");
    check(&kernel("localSize"), json!([599]), "spec.workload.kernel.localSize: 599 does not divide the 16 of");
    check(&kernel("workPerItem"), json!("0"), "spec.workload.kernel.workPerItem: ");
    check(&kernel("workPerItem"), json!("1.5"), "spec.workload.kernel.workPerItem: ");
    check(&kernel("workPerItem"), json!("9999999999999999999"), "spec.workload.kernel.workPerItem: times");
    check("/spec/sharding/itemsPerUnit", json!(0), "spec.sharding.itemsPerUnit: ");
    check("/spec/sharding/itemsPerUnit", json!(1798), "spec.sharding.itemsPerUnit: ");
    check("/spec/sharding/unitsPerShard", json!(100_001), "spec.sharding.unitsPerShard: ");
}

#[test]
fn the_kernel_is_checked() {
    let kernel = |field: &str| format!("/spec/workload/kernel/{field}");
    check("/spec/workload", json!({}), "spec.workload: exactly one must be set of: kernel");
    check(&kernel("source"), json!({}), "spec.workload.kernel.source: ");
    check(&kernel("source"), json!({"inline": ""}), "spec.workload.kernel.source.inline: ");
    check(&kernel("source"), json!({"inline": "x".repeat(65_537)}), "spec.workload.kernel.source.inline: ");
    check(&kernel("entryPoint"), json!("f()"), "spec.workload.kernel.entryPoint: ");
    for value in ["3 -cl-fast-relaxed-math", "\"x\"", "a\\b", "a\nb", "é"] {
        check(&kernel("defines"), json!({"K": value}), "spec.workload.kernel.defines[K]: ");
    }
    for name in ["1K", "", "K K", "__K", "get_global_size", "ORION_K", "-K"] {
        check(&kernel("defines"), json!({name: "3"}), &format!("spec.workload.kernel.defines[{name}]: "));
    }
}

#[test]
fn arguments_refer_to_what_there_is() {
    let argument = |at: usize| format!("/spec/workload/kernel/arguments/{at}");
    let field = "spec.workload.kernel.arguments";
    check(&argument(0), json!({}), &format!("{field}[0]: exactly one must be set of: "));
    check(&argument(0), json!({"input": "digits", "output": "predictions"}), &format!("{field}[0]: exactly one"));
    check(&argument(0), json!({"input": "nothing"}), &format!("{field}[0].input: there is no input \"nothing\""));
    check(&argument(5), json!({"output": "nothing"}), &format!("{field}[5].output: there is no output \"nothing\""));
    check(
        &argument(0),
        json!({"output": "predictions"}),
        &format!("{field}: output predictions is bound more than once"),
    );
    check(&argument(5), json!({"builtin": "Items"}), "spec.outputs[predictions]: no argument");
    check(&argument(0), json!({"input": "labels"}), "spec.inputs[digits]: no argument");
    check(&argument(3), json!({"builtin": "Devices"}), &format!("{field}[3].builtin: "));
    check(&argument(2), json!({"scalar": {"type": "half", "value": "1"}}), &format!("{field}[2].scalar.type: "));
    check(
        &argument(2),
        json!({"scalar": {"type": "uint", "value": "-1"}}),
        &format!("{field}[2].scalar.value: -1 does not"),
    );
    check(&argument(2), json!({"scalar": {"type": "uint", "value": "1.0"}}), &format!("{field}[2].scalar.value: "));
    check(&argument(4), json!({"local": {"bytes": 0}}), &format!("{field}[4].local.bytes: "));
    check("/spec/workload/kernel/localSize", json!(null), &format!("{field}[4].local: needs localSize"));
    check("/spec/workload/kernel/arguments", json!([]), &format!("{field}: "));
}

#[test]
fn inputs_outputs_and_numbers_are_checked() {
    let output = |name: &str, kind: &str, shape: Value| json!([{"name": name, "type": kind, "shape": shape}]);
    check("/spec/outputs", json!([]), "spec.outputs: ");
    check("/spec/outputs", output("Predictions", "uint8", json!([1797])), "spec.outputs[Predictions].name: ");
    check("/spec/outputs", output("predictions", "uint7", json!([1797])), "spec.outputs[predictions].type: ");
    check("/spec/outputs", output("predictions", "uint8", json!([1797, 0])), "spec.outputs[predictions].shape: ");
    check("/spec/outputs", output("predictions", "uint8", json!([1796])), "spec.outputs[predictions].shape: ");
    check("/spec/inputs/1/name", json!("digits"), "spec.inputs[digits]: is there twice");
    check("/spec/inputs/1/name", json!("a b"), "spec.inputs[a b].name: ");
    check("/spec/inputs/1/source", json!({}), "spec.inputs[labels].source: ");
    check("/spec/inputs/1/source/configMap/name", json!("A"), "spec.inputs[labels].source.configMap.name: ");
    check("/spec/inputs/1/source/configMap/key", json!("a/b"), "spec.inputs[labels].source.configMap.key: ");
    check("/spec/inputs/1/source/object", json!({"digest": "0".repeat(64)}), "spec.inputs[labels].source: exactly one");
    for wrong in ["", "0", &"A".repeat(64), &"0".repeat(65)] {
        check(
            "/spec/inputs/1/source",
            json!({"object": {"digest": wrong}}),
            "spec.inputs[labels].source.object.digest: ",
        );
    }
    check("/spec/parallelism", json!(0), "spec.parallelism: ");
    check("/spec/parallelism", json!(65), "spec.parallelism: ");
    check("/spec/validation/auditsPerShard", json!(0), "spec.validation.auditsPerShard: ");
    check("/spec/aggregation", json!({}), "spec.aggregation: ");
    check("/spec/budget/maxCredits", json!("1.2345678"), "spec.budget.maxCredits: ");
    check("/spec/backoffLimitPerShard", json!(-1), "spec.backoffLimitPerShard: ");
    check("/metadata/name", json!("n".repeat(41)), "metadata.name: at most 40 characters");
}

#[test]
fn an_object_is_an_input_by_its_digest() {
    let have = validate(with(job(), "/spec/inputs/1/source", json!({"object": {"digest": "0f".repeat(32)}}))).unwrap();
    assert_eq!(have.inputs[1].source, InputSource::Object(Digest([15; 32])));
}

#[test]
fn a_reward_policy_is_named_by_its_id() {
    let have = validate(with(job(), "/spec/reward/policy", json!("0f".repeat(32)))).unwrap();
    assert_eq!(have.policy, Some(Digest([15; 32])));
    for wrong in ["", "0f", &"0F".repeat(32), &format!("sha3:{}", "0f".repeat(32))] {
        check("/spec/reward/policy", json!(wrong), "spec.reward.policy: 64 lower-case hex digits are needed");
    }
}

/// The model's spec with one value replaced is refused, and the message starts with this.
fn check_model(pointer: &str, value: Value, message: &str) {
    let at = format!("{pointer} = {value}");
    let refusal = validate(with(model_job(), pointer, value)).expect_err(&at);
    assert_eq!(refusal.reason, Reason::InvalidSpec);
    assert!(refusal.message.starts_with(message), "{at}: {}", refusal.message);
}

#[test]
fn a_model_becomes_checked_types() {
    let feed = |tensor: &str, from| Feed { tensor: tensor.into(), from, key: None };
    let want = InferenceWorkload {
        model: 0,
        dims: vec![("seq".into(), 128)],
        tensors: vec![feed("input_ids", FeedFrom::Rows(1)), feed("token_type_ids", FeedFrom::Fill("0".into()))],
        results: vec!["last_hidden_state".into()],
    };
    let have = validate(model_job()).unwrap();
    assert_eq!(have.workload, Workload::Inference(want));
    assert_eq!((have.items, have.work_per_item, have.model()), (Items::RowsOf(1), None, Some(0)));
    assert_eq!(have.outputs[0].shape, Vec::<u64>::new());
    assert_eq!(have.key_of(1), None);
    let keyed = validate(with(model_job(), "/spec/workload/inference/tensors/0/key", json!("ids"))).unwrap();
    assert_eq!(keyed.key_of(1), Some("ids"));
    let units = UnitTable { items: 100, items_per_unit: 16, units_per_shard: 4, work_per_item: 1 };
    assert_eq!(have.units(100), Ok(units));
    // Where types and shapes are said, they are kept: the preflight compares.
    let said = json!([{"name": "predictions", "type": "float32", "shape": [100, 384]}]);
    let have = validate(with(model_job(), "/spec/outputs", said)).unwrap();
    assert_eq!(have.outputs[0].shape, [100, 384]);
    assert_eq!(have.units(5).unwrap_err().message, "spec.sharding.itemsPerUnit: is over the 5 items of the job");
}

#[test]
fn the_model_is_checked() {
    let inference = |field: &str| format!("/spec/workload/inference/{field}");
    let at = "spec.workload.inference";
    check_model(&inference("model"), json!({"input": "other"}), &format!("{at}.model.input: there is no input"));
    check_model(&inference("dims"), json!({"seq": 0}), &format!("{at}.dims[seq]: "));
    check_model(&inference("tensors"), json!([]), &format!("{at}.tensors: "));
    let tensor = |value: Value| json!([value, {"name": "token_type_ids", "fill": "0"}]);
    let tensors = inference("tensors");
    let named = format!("{at}.tensors[input_ids]");
    check_model(&tensors, tensor(json!({"name": "input_ids", "from": "other"})), &format!("{named}.from: there is no"));
    check_model(
        &tensors,
        tensor(json!({"name": "input_ids", "from": "digits"})),
        &format!("{named}.from: is the model"),
    );
    let keyless = json!({"name": "input_ids", "fill": "1", "key": "ids"});
    check_model(&tensors, tensor(keyless), &format!("{named}.key: only with from"));
    check_model(&tensors, tensor(json!({"name": "input_ids"})), &format!("{named}: exactly one must be set of"));
    check_model(&tensors, tensor(json!({"name": "input_ids", "fill": ""})), &format!("{named}.fill: is no number"));
    check_model(&tensors, tensor(json!({"name": "input_ids", "fill": "1"})), &format!("{at}.tensors: none has a row"));
    let twice = json!({"name": "token_type_ids", "from": "labels"});
    check_model(&tensors, tensor(twice), &format!("{at}.tensors[token_type_ids]: is there twice"));
    let shared = json!({"name": "input_ids", "from": "labels", "shared": {}});
    check_model(&tensors, tensor(shared), &format!("{at}.tensors: none has a row"));
    check_model(
        &inference("results"),
        json!([{"tensor": "y", "output": "other"}]),
        &format!("{at}.results: there is no"),
    );
    check_model("/spec/outputs", json!([{"name": "predictions", "type": "uint8"}]), "spec.outputs[predictions]: type");
    check("/spec/outputs", json!([{"name": "predictions"}]), "spec.outputs[predictions]: type and shape are needed");
    let third = json!({"name": "third", "source": {"configMap": {"name": "a", "key": "b"}}});
    let mut inputs = model_job()["spec"]["inputs"].clone();
    inputs.as_array_mut().unwrap().push(third);
    check_model("/spec/inputs", inputs, "spec.inputs[third]: no tensor of the model is given it");
}

/// The outputs `hits`, `counts` and `sums`, and the arguments that bind them.
fn layouts() -> Value {
    let outputs = json!([
        {"name": "hits", "type": "uint32", "shape": [1797, 16], "lengths": "counts"},
        {"name": "counts", "type": "uint8", "shape": [1797], "scope": "PerItem"},
        {"name": "sums", "type": "int64", "shape": [10], "scope": "Unit", "combine": "Sum"},
    ]);
    let bound = ["digits", "labels"].map(|input| json!({"input": input}));
    let filled = ["hits", "counts", "sums"].map(|output| json!({"output": output}));
    let arguments: Vec<Value> = bound.into_iter().chain(filled).collect();
    with(with(job(), "/spec/workload/kernel/arguments", json!(arguments)), "/spec/outputs", outputs)
}

#[test]
fn rows_of_variable_length_and_copies_of_units_become_layouts() {
    let layouts: Vec<_> = validate(layouts()).unwrap().outputs.into_iter().map(|output| output.layout).collect();
    assert_eq!(layouts, [Some(Layout::Lengths(1)), None, Some(Layout::Unit(Combine::Sum))]);
    for (word, combine) in [("Min", Combine::Min), ("Max", Combine::Max)] {
        let job = with(self::layouts(), "/spec/outputs/2/combine", json!(word));
        assert_eq!(validate(job).unwrap().outputs[2].layout, Some(Layout::Unit(combine)));
    }
}

#[test]
fn layouts_are_refused_by_field() {
    for (pointer, value, message) in [
        ("0/lengths", json!("lost"), "hits].lengths: there is no output \"lost\""),
        ("0/lengths", json!("hits"), "hits].lengths: hits must be one number an item"),
        ("0/shape", json!([1797]), "hits].shape: the second dimension"),
        ("1/type", json!("int32"), "hits].lengths: counts must be one number an item"),
        ("1/scope", json!("Job"), "counts].scope: must be"),
        ("1/scope", json!("Unit"), "counts].combine: is needed"),
        ("1/combine", json!("Sum"), "counts].combine: is needed with scope Unit, and only there"),
        ("2/combine", json!("Mean"), "sums].combine: must be"),
        ("2/scope", json!("PerItem"), "sums].combine: is needed with scope Unit, and only there"),
        ("2/lengths", json!("counts"), "sums].lengths: is for rows of items"),
        ("2/shape", json!([1_i64 << 20, 1 << 17]), "sums].shape: over a tebibyte"),
    ] {
        let refusal = validate(with(layouts(), &format!("/spec/outputs/{pointer}"), value)).expect_err(message);
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert!(refusal.message.starts_with(&format!("spec.outputs[{message}")), "{message}: {refusal}");
    }
    let float = with(layouts(), "/spec/outputs/2/type", json!("float32"));
    assert!(validate(float.clone()).is_ok());
    let refusal = validate(with(float, "/spec/outputs/2/combine", json!("Min"))).unwrap_err();
    assert!(refusal.message.starts_with("spec.outputs[sums].combine: float32"), "{refusal}");
    for layout in [json!({"lengths": "predictions"}), json!({"scope": "Unit", "combine": "Sum"})] {
        let mut output = layout;
        output["name"] = json!("predictions");
        check_model("/spec/outputs", json!([output]), "spec.outputs[predictions]: lengths and scope Unit are for");
    }
}
