//! Models over rows: every item gets what the model gives for it alone, whatever the units, and what does not fit together is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "onnx/models.rs"]
mod models;

use std::sync::Arc;

use models::{constant, dim, floats, int, model, node, param, raw, regraphed, tensor_attribute, value};
use orion_engine::onnx::proto::tensor_proto::DataType;
use orion_engine::onnx::proto::{GraphProto, ModelProto, NodeProto};
use orion_engine::session::Library;
use orion_engine::{Found, Job, Load};
use orion_opencl::OpenCl;
use orion_protocol::dtype::DType;
use orion_protocol::npy::Header;
use orion_protocol::task::{Combine, Feed, FeedFrom, InferenceWorkload, Layout, OutputSpec, UnitTable, Workload};
use orion_protocol::{Reason, Refusal};
use prost::Message;

const MEMORY: u64 = 1 << 30;

/// A job whose input 0 is a model and whose input 1 has rows of two floats for `x`.
fn load(model: &ModelProto, items: u64, unit: u64) -> Load {
    let rows: Vec<f32> = (0..items * 2).map(|at| (f32::from(u16::try_from(at).unwrap()) * 0.37).sin()).collect();
    let workload = InferenceWorkload {
        model: 0,
        dims: Vec::new(),
        tensors: vec![Feed { tensor: "x".into(), from: FeedFrom::Rows(1), key: None }],
        results: vec!["y".into()],
    };
    Load {
        workload: Workload::Inference(workload),
        units: UnitTable { items, items_per_unit: unit, units_per_shard: 1, work_per_item: 1 },
        outputs: vec![OutputSpec {
            name: "y".parse().unwrap(),
            dtype: DType::Float32,
            shape: Vec::new(),
            layout: None,
        }],
        inputs: vec![Arc::new(model.encode_to_vec()), Arc::new(npy(DType::Float32, &[items, 2], &floats(&rows)))],
    }
}

fn edited(mut load: Load, edit: impl FnOnce(&mut InferenceWorkload)) -> Load {
    if let Workload::Inference(workload) = &mut load.workload {
        edit(workload);
    }
    load
}

fn npy(dtype: DType, shape: &[u64], data: &[u8]) -> Vec<u8> {
    [Header { dtype, shape: shape.to_vec() }.to_bytes(), data.to_vec()].concat()
}

fn open<'d>(device: &'d OpenCl, load: &Load) -> Result<Job<'d, OpenCl>, Refusal> {
    Job::load(device, load, MEMORY, &mut Library::default())
}

/// The whole job's first output.
fn run(device: &OpenCl, load: &Load) -> Vec<f32> {
    let mut job = open(device, load).unwrap();
    let rows = job.run(0, load.units.units(), |_| {}).unwrap();
    rows[0].as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn refused(device: &OpenCl, load: &Load, reason: Reason, words: &str) {
    let refusal = open(device, load).err().expect("the job should be refused");
    assert_eq!(refusal.reason, reason, "{refusal}");
    assert!(refusal.message.contains(words), "{words:?} is not in: {refusal}");
}

/// `y` made of `x`, `[batch, 2]`, by these nodes; `y` has `wide` columns.
fn graph(nodes: Vec<NodeProto>, wide: i64) -> ModelProto {
    model(GraphProto {
        name: Some("test".to_owned()),
        input: vec![value("x", DataType::Float, &[param("batch"), dim(2)])],
        node: nodes,
        output: vec![value("y", DataType::Float, &[param("batch"), dim(wide)])],
        ..GraphProto::default()
    })
}

#[test]
fn every_item_gets_what_the_model_gives_for_it_alone() {
    let device = OpenCl::open().unwrap();
    let whole = load(&models::plain(), 100, 100);
    let expected = run(&device, &whole);
    assert_eq!(expected.len(), 200);
    assert!(expected.iter().any(|y| *y > 0.5) && expected.contains(&0.0), "{expected:?}");
    for unit in [1, 7, 32, 99] {
        let mut cut = whole.clone();
        cut.units.items_per_unit = unit;
        assert_eq!(run(&device, &cut), expected, "in units of {unit}");
        // A unit alone, the last one too.
        let mut job = open(&device, &cut).unwrap();
        let last = cut.units.units() - 1;
        let rows = job.run(last, 1, |_| {}).unwrap();
        let from = usize::try_from(last * unit * 2).unwrap();
        assert_eq!(rows[0], floats(&expected[from..]), "the last unit of {unit} alone");
        assert!(job.preflight().unwrap() > 0);
    }
}

#[test]
fn what_comes_out_and_how_much_work_it_is_are_found_out() {
    let device = OpenCl::open().unwrap();
    let job = load(&models::plain(), 10, 5);
    let output = OutputSpec { name: "y".parse().unwrap(), dtype: DType::Float32, shape: vec![10, 2], layout: None };
    // 2 x 2 products and two elements of Relu.
    let Found { outputs, work_per_item, device_bytes } = open(&device, &job).unwrap().found();
    assert_eq!((outputs.as_slice(), work_per_item), (std::slice::from_ref(&output), 6));
    // Ten rows of two and their results; how weights are packed is the device's.
    assert!((160..100_000).contains(&device_bytes), "{device_bytes}");
    let said = Load { outputs: vec![output.clone()], ..job.clone() };
    assert_eq!(open(&device, &said).unwrap().found(), Found { outputs, work_per_item, device_bytes });
    let wrong = Load { outputs: vec![OutputSpec { shape: vec![10, 3], ..output.clone() }], ..job.clone() };
    refused(&device, &wrong, Reason::InvalidSpec, "outputs[y]: the model gives float32 [10, 2]");
    let copies = Load { outputs: vec![OutputSpec { layout: Some(Layout::Unit(Combine::Sum)), ..output }], ..job };
    refused(&device, &copies, Reason::InvalidSpec, "outputs[y]: lengths and scope Unit are for kernels");
}

#[test]
fn a_model_in_which_items_meet_is_run_for_one_after_the_other() {
    let device = OpenCl::open().unwrap();
    // Over the items: alone, each is all there is.
    let softmax =
        graph(vec![NodeProto { attribute: vec![int("axis", 0)], ..node("over", "Softmax", &["x"], &["y"]) }], 2);
    assert_eq!(run(&device, &load(&softmax, 20, 10)), vec![1.0; 40]);
    // Divided by how many there are.
    let shape = |name: &str, output: &str| node(name, "Shape", &["x"], &[output]);
    let zero =
        constant("zero", "zero", tensor_attribute("value", raw("", DataType::Int64, &[1], &0_i64.to_le_bytes())));
    let cast = NodeProto { attribute: vec![int("to", 1)], ..node("cast", "Cast", &["count"], &["number"]) };
    let divided = graph(
        vec![
            shape("shape", "dims"),
            zero,
            node("pick", "Gather", &["dims", "zero"], &["count"]),
            cast,
            node("div", "Div", &["x", "number"], &["y"]),
        ],
        2,
    );
    let job = load(&divided, 20, 10);
    assert_eq!(floats(&run(&device, &job)), job.inputs[1][job.inputs[1].len() - 160..]);
}

#[test]
fn a_model_that_asks_how_many_items_there_are_answers_as_for_one() {
    let device = OpenCl::open().unwrap();
    let whole = |value: i64| raw("", DataType::Int64, &[1], &value.to_le_bytes());
    let number = |name: &str, value: i64| constant(name, name, tensor_attribute("value", whole(value)));
    let count = || {
        vec![
            node("shape", "Shape", &["x"], &["dims"]),
            number("zero", 0),
            number("one", 1),
            number("two", 2),
            node("pick", "Gather", &["dims", "zero"], &["count"]),
        ]
    };
    let with = |nodes: &[NodeProto]| load(&graph([count(), nodes.to_vec()].concat(), 1), 20, 10);
    let x = run(&device, &load(&graph(vec![node("same", "Identity", &["x"], &["y"])], 2), 20, 10));
    let first: Vec<f32> = x.as_chunks::<2>().0.iter().map(|row| row[0]).collect();
    let sum = |from: &str| node("sum", "ReduceSum", &[from, "one"], &["y"]);
    // As many columns as items.
    let cut = with(&[node("cut", "Slice", &["x", "zero", "count", "one"], &["s"]), sum("s")]);
    assert_eq!(run(&device, &cut), first);
    // The column that the number of items names, but the second at most.
    let named = with(&[
        node("end", "Min", &["count", "two"], &["end"]),
        node("begin", "Sub", &["end", "one"], &["begin"]),
        node("cut", "Slice", &["x", "begin", "end", "one"], &["s"]),
        sum("s"),
    ]);
    assert_eq!(run(&device, &named), first);
    // Another function for one than for several.
    let either = with(&[
        node("is", "Equal", &["count", "one"], &["alone"]),
        node("both", "ReduceSum", &["x", "one"], &["both"]),
        node("first", "Slice", &["x", "zero", "one", "one"], &["first"]),
        node("either", "Where", &["alone", "first", "both"], &["y"]),
    ]);
    assert_eq!(run(&device, &either), first);
}

#[test]
fn a_model_of_a_fixed_batch_is_padded_with_its_last_row() {
    let device = OpenCl::open().unwrap();
    let fixed = |length| regraphed(|graph| graph.input = vec![value("x", DataType::Float, &[dim(length), dim(2)])]);
    let expected = run(&device, &load(&models::plain(), 10, 5));
    for (length, unit) in [(1, 5), (4, 4), (4, 8), (5, 10)] {
        assert_eq!(run(&device, &load(&fixed(length), 10, unit)), expected, "a batch of {length} in units of {unit}");
    }
    // Rows that nobody pays for.
    refused(&device, &load(&fixed(4), 10, 5), Reason::InvalidSpec, "5 is no multiple of the 4 items");
    let mut over =
        graph(vec![NodeProto { attribute: vec![int("axis", 0)], ..node("over", "Softmax", &["x"], &["y"]) }], 2);
    over.graph.get_or_insert_default().input = vec![value("x", DataType::Float, &[dim(4), dim(2)])];
    refused(&device, &load(&over, 10, 4), Reason::KernelNotUnitPure, "items meet in node over (Softmax)");
}

#[test]
fn tensors_are_shared_filled_and_have_named_lengths() {
    let device = OpenCl::open().unwrap();
    let summed = model(GraphProto {
        name: Some("test".to_owned()),
        input: vec![
            value("x", DataType::Float, &[param("batch"), param("wide")]),
            value("scale", DataType::Float, &[param("wide")]),
            value("ones", DataType::Float, &[param("batch"), param("long")]),
        ],
        node: vec![
            node("scaled", "Mul", &["x", "scale"], &["s"]),
            NodeProto { attribute: vec![int("axis", 1)], ..node("both", "Concat", &["s", "ones"], &["y"]) },
        ],
        output: vec![value("y", DataType::Float, &[param("batch"), param("all")])],
        ..GraphProto::default()
    });
    let mut job = load(&summed, 6, 3);
    job.inputs.push(Arc::new(npy(DType::Float32, &[2], &floats(&[2.0, 3.0]))));
    let feed = |tensor: &str, from| Feed { tensor: tensor.into(), from, key: None };
    let bound = edited(job.clone(), |workload| {
        workload.dims = vec![("long".into(), 1)];
        workload.tensors.push(feed("scale", FeedFrom::Shared(2)));
        workload.tensors.push(feed("ones", FeedFrom::Fill("0.5".into())));
    });
    let have = run(&device, &bound);
    let x = run(&device, &load(&graph(vec![node("same", "Identity", &["x"], &["y"])], 2), 6, 3));
    let expected: Vec<f32> = x.as_chunks::<2>().0.iter().flat_map(|row| [row[0] * 2.0, row[1] * 3.0, 0.5]).collect();
    assert_eq!(have, expected);

    // The same tensors, out of one file.
    let text = r#"{"odd":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"s":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}"#;
    let parts = [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &[7], &floats(&[2.0, 3.0])];
    let mut keyed = bound.clone();
    keyed.inputs[2] = Arc::new(parts.concat());
    let key = |name: &'static str| edited(keyed.clone(), move |workload| workload.tensors[1].key = Some(name.into()));
    assert_eq!(run(&device, &key("s")), expected);
    let other = "tensors[scale]: the safetensors file has no tensor \"t\"; it has odd, s";
    refused(&device, &key("t"), Reason::InvalidSpec, other);
    refused(&device, &key("odd"), Reason::InvalidSpec, "tensors[scale]: the input is uint8, the model takes float32");

    let missing = edited(bound.clone(), |workload| drop(workload.tensors.pop()));
    refused(&device, &missing, Reason::InvalidSpec, "tensors: the model's input ones is not there");
    let unbound = edited(bound.clone(), |workload| workload.dims.clear());
    refused(&device, &unbound, Reason::InvalidSpec, "dims: long has no length");
    let strange = edited(bound.clone(), |workload| workload.dims.push(("other".into(), 3)));
    refused(&device, &strange, Reason::InvalidSpec, "dims[other]: the model has no dimension of that name");
    let other = edited(bound.clone(), |workload| workload.dims.push(("wide".into(), 3)));
    refused(&device, &other, Reason::InvalidSpec, "tensors[x]: a dimension is 2, the model has 3");
    let text = edited(bound, |workload| workload.tensors[2].from = FeedFrom::Fill("much".into()));
    refused(&device, &text, Reason::InvalidSpec, "tensors[ones].fill: \"much\" is no float32");
}

#[test]
fn what_does_not_fit_together_is_refused_with_its_place() {
    let device = OpenCl::open().unwrap();
    let job = load(&models::plain(), 10, 5);
    let with = |edit: fn(&mut InferenceWorkload)| edited(job.clone(), edit);
    let invalid = |load: &Load, words: &str| refused(&device, load, Reason::InvalidSpec, words);
    invalid(&with(|w| w.results = vec!["z".into()]), "results: the model has no output z");
    invalid(&with(|w| w.model = 9), "there is no such model");
    invalid(&with(|w| w.tensors[0].tensor = "z".into()), "tensors: the model's input x is not there");
    invalid(&with(|w| w.tensors.push(w.tensors[0].clone())), "tensors[x]: is there twice");
    invalid(&with(|w| w.tensors[0].from = FeedFrom::Rows(7)), "tensors[x]: there is no such input");
    let mut other = job.clone();
    other.inputs[1] = Arc::new(npy(DType::Int64, &[10, 2], &[0; 160]));
    invalid(&other, "tensors[x]: the input is int64, the model takes float32");
    other.inputs[1] = Arc::new(npy(DType::Float32, &[11, 2], &[0; 88]));
    invalid(&other, "tensors[x]: it has 11 rows, the job 10 items");
    other.inputs[1] = Arc::new(npy(DType::Float32, &[10, 3], &[0; 120]));
    invalid(&other, "tensors[x]: a dimension is 3, the model has 2");
    other.inputs[1] = Arc::new(npy(DType::Float32, &[10], &[0; 40]));
    invalid(&other, "tensors[x]: the input has 1 dimensions, the model 2");
    other.inputs[0] = Arc::new(b"no model".to_vec());
    refused(&device, &other, Reason::InvalidInput, "the model: ");
    let unknown = load(&graph(vec![node("odd", "Einsum", &["x"], &["y"])], 2), 10, 5);
    refused(&device, &unknown, Reason::UnsupportedOperator, "node odd (Einsum): this operator is not supported");
    let sum = NodeProto { attribute: vec![int("keepdims", 0)], ..node("sum", "ReduceSum", &["x"], &["y"]) };
    invalid(
        &load(&graph(vec![sum], 2), 10, 5),
        "outputs[y]: y is float32 [] for 1 items: its first dimension must be the items",
    );
}
