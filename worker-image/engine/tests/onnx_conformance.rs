//! The public conformance suite: each of its tests within our operators and types gives what it expects on the reference, and the
//! reference's bits on a device.
//!
//! What counts was fixed beforehand: `onnx_conformance/list.txt` is made by `scripts/onnx_suite.py list`, `excluded.txt` names those that we
//! leave out, each with its reason. The suite's files come with the Python package `onnx` and are fetched once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use orion_engine::device::Device as _;
use orion_engine::graph::{Dim, Graph, ValueId};
use orion_engine::onnx::{self, proto::TensorProto};
use orion_engine::plan::{Tile, plan};
use orion_engine::session::{Library, Session};
use orion_engine::tensor::{Data, Facts, Kind, Tensor};
use orion_engine::{lower, reference};
use orion_opencl::{Kernel, OpenCl};
use orion_protocol::Digest;
use prost::Message;

const LIST: &str = include_str!("onnx_conformance/list.txt");
const EXCLUDED: &str = include_str!("onnx_conformance/excluded.txt");
/// What the suite allows itself.
const RELATIVE: f32 = 1e-3;
const ABSOLUTE: f32 = 1e-7;

/// Where the suite's files are.
fn suite() -> &'static Path {
    static SUITE: OnceLock<PathBuf> = OnceLock::new();
    SUITE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx-1.17.0");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/onnx_suite.py");
        let status = Command::new("python3").arg(script).arg("fetch").arg(&folder).status().unwrap();
        assert!(status.success(), "{script} fetch failed: is python3 with pip there, and a way to the package index?");
        folder.join("data")
    })
}

fn excluded() -> BTreeMap<&'static str, &'static str> {
    EXCLUDED.lines().map(|line| line.split_once(": ").unwrap()).collect()
}

/// A tensor in a file of the suite.
fn tensor(path: &Path) -> Tensor {
    let proto = TensorProto::decode(Bytes::from(std::fs::read(path).unwrap())).unwrap();
    let shape: Vec<usize> = proto.dims.iter().map(|dim| usize::try_from(*dim).unwrap()).collect();
    let kind = match proto.data_type.unwrap() {
        1 => Kind::F32,
        6 => Kind::I32,
        7 => Kind::I64,
        9 => Kind::Bool,
        other => panic!("{}: element type {other}", path.display()),
    };
    if let Some(raw) = proto.raw_data {
        return Tensor::from_le_bytes(Facts { kind, shape }, &raw).unwrap();
    }
    let data = match kind {
        Kind::F32 => Data::F32(proto.float_data),
        Kind::I64 => Data::I64(proto.int64_data),
        Kind::I32 => Data::I32(proto.int32_data),
        Kind::Bool => Data::Bool(proto.int32_data.iter().map(|value| *value != 0).collect()),
    };
    Tensor::new(shape, data).unwrap()
}

/// `input_0.pb`, `input_1.pb` ...
fn tensors(folder: &Path, name: &str) -> Vec<Tensor> {
    let paths = (0..).map(|at| folder.join(format!("{name}_{at}.pb")));
    paths.take_while(|path| path.exists()).map(|path| tensor(&path)).collect()
}

/// Inputs that ONNX defines as shapes, axes, bounds, lengths, repeats, pads and diagonals: an operator, and their positions. The shapes of results
/// come of them, so a model of ours has them as constants (docs/models.md). Everything else is data and goes to the device, whatever its type
/// and however small.
const SHAPES: [(&str, &[usize]); 16] = [
    ("ConstantOfShape", &[0]),
    ("CumSum", &[1]),
    // Whether it is for training.
    ("Dropout", &[2]),
    ("Expand", &[1]),
    ("Pad", &[1, 3]),
    ("Range", &[0, 1, 2]),
    ("ReduceMax", &[1]),
    ("ReduceMean", &[1]),
    ("ReduceSum", &[1]),
    ("Reshape", &[1]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("Squeeze", &[1]),
    ("Tile", &[1]),
    ("Trilu", &[1]),
    ("Unsqueeze", &[1]),
];
/// Tests whose results are known before anything runs, by their definition: constants, ranges, shapes of inputs, windows of a length.
const KNOWN_MAX: usize = 22;

/// The suite gives shapes, axes and bounds as data. Here they, and what they are computed from, become the constants that they are in models.
fn fix(graph: &mut Graph, inputs: Vec<Tensor>) -> Vec<Tensor> {
    let mut shapes: BTreeSet<ValueId> = BTreeSet::new();
    for node in graph.nodes.iter().rev() {
        let listed = SHAPES.iter().find(|(operator, _)| *operator == node.operator);
        let positions: &[usize] = listed.map_or(&[], |(_, positions)| *positions);
        // Of what `Shape` looks at only the shape matters.
        let all = node.operator != "Shape" && node.outputs.iter().flatten().any(|output| shapes.contains(output));
        let used = node.inputs.iter().enumerate().filter(|(at, _)| all || positions.contains(at));
        shapes.extend(used.filter_map(|(_, input)| *input));
    }
    let mut rest = Vec::new();
    let mut open = Vec::new();
    for (input, given) in std::mem::take(&mut graph.inputs).into_iter().zip(inputs) {
        if shapes.contains(&input.value) {
            graph.constants.insert(input.value, Arc::new(given));
        } else {
            rest.push(given);
            open.push(input);
        }
    }
    graph.inputs = open;
    rest
}

fn compare(have: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    if have.len() != expected.len() {
        return Err(format!("{} outputs, expected {}", have.len(), expected.len()));
    }
    for (at, (have, expected)) in have.iter().zip(expected).enumerate() {
        if have.facts() != expected.facts() {
            return Err(format!("output {at} is {}, expected {}", have.facts(), expected.facts()));
        }
        let wrong = match (have.data(), expected.data()) {
            (Data::F32(have), Data::F32(expected)) => have.iter().zip(expected).position(|(x, y)| !close(*x, *y)),
            (have, expected) => (have != expected).then_some(0),
        };
        if let Some(element) = wrong {
            return Err(format!("output {at} differs from element {element} on"));
        }
    }
    Ok(())
}

/// Equal, infinities included; both NaN; or near enough.
fn close(x: f32, y: f32) -> bool {
    x.to_bits() == y.to_bits()
        || (x.is_nan() && y.is_nan())
        || (y.is_finite() && (x - y).abs() <= ABSOLUTE + RELATIVE * y.abs())
}

/// A device, and how kernels are cut for it.
struct Bench {
    device: OpenCl,
    library: Library<Kernel>,
    lanes: &'static [u32],
}

impl Bench {
    /// `all` the ways of a CPU: for AVX2, for AVX-512, and for single elements. Elsewhere there is one.
    fn new(all: &'static [u32]) -> Bench {
        let device = OpenCl::open().unwrap();
        let lanes = if device.limits().lanes > 1 { all } else { &[1] };
        Bench { device, library: Library::default(), lanes }
    }
}

/// Runs a model on the reference and on the device: what the reference gave, if the device gave the same bits; and whether that was known before.
fn run(graph: &Graph, inputs: &[Tensor], on: &mut Bench) -> Result<(Vec<Tensor>, bool), String> {
    let facts: Vec<Facts> = inputs.iter().map(Tensor::facts).collect();
    let program = lower::lower(graph, &facts, lower::Limits::default()).map_err(|e| e.to_string())?;
    let expected = reference::run(&program, inputs).map_err(|e| e.to_string())?;
    for lanes in on.lanes {
        let plan = plan(&program, Tile::for_lanes(*lanes)).map_err(|e| e.to_string())?;
        let session = Session::new(&on.device, plan, &mut on.library).map_err(|e| e.to_string())?;
        let have = session.run(inputs).map_err(|e| e.to_string())?;
        for (at, (have, expected)) in have.iter().zip(&expected).enumerate() {
            if have.to_le_bytes() != expected.to_le_bytes() {
                return Err(format!("output {at} has other bits on {lanes} lanes than on the reference"));
            }
        }
    }
    let known = program.outputs.iter().all(|output| program.constants.contains_key(output));
    Ok((expected, known))
}

fn read(path: &Path) -> Result<Graph, String> {
    let bytes = Bytes::from(std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?);
    onnx::read(bytes, &onnx::Limits::default()).map_err(|e| e.to_string())
}

/// A digest of what the reference gave, and whether that was known before anything ran.
fn node(folder: &Path, on: &mut Bench) -> Result<(Digest, bool), String> {
    let mut graph = read(&folder.join("model.onnx"))?;
    let set = folder.join("test_data_set_0");
    let inputs = fix(&mut graph, tensors(&set, "input"));
    let (have, known) = run(&graph, &inputs, on)?;
    compare(&have, &tensors(&set, "output"))?;
    Ok((Digest::of(&have.iter().flat_map(Tensor::to_le_bytes).collect::<Vec<u8>>()), known))
}

#[test]
fn nodes_give_what_the_suite_expects_and_the_same_bits_everywhere() {
    let mut on = Bench::new(&[1, 8, 16]);
    let excluded = excluded();
    let (mut failed, mut known_before, mut digests) = (Vec::new(), Vec::new(), String::new());
    let counted: Vec<&str> = LIST.lines().filter(|name| !excluded.contains_key(name)).collect();
    for name in &counted {
        match node(&suite().join("node").join(name), &mut on) {
            Ok((digest, known)) => {
                digests.extend([name, " ", digest.to_string().as_str(), "\n"]);
                if known {
                    known_before.push(*name);
                }
            }
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    println!(
        "{} of {} listed tests passed, {} of them known before anything ran; {} excluded",
        counted.len() - failed.len(),
        LIST.lines().count(),
        known_before.len(),
        excluded.len()
    );
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(known_before.len() <= KNOWN_MAX, "nothing of these reaches a device: {known_before:#?}");
    golden::check("nodes.txt", &digests, on.device.driver());
}

#[test]
fn few_are_excluded_and_each_is_on_the_list() {
    let listed: BTreeSet<&str> = LIST.lines().collect();
    let excluded = excluded();
    let strangers: Vec<&&str> = excluded.keys().filter(|name| !listed.contains(*name)).collect();
    assert!(strangers.is_empty(), "not on the list: {strangers:?}");
    assert!(excluded.len() * 20 <= listed.len(), "{} of {} are more than 5 %", excluded.len(), listed.len());
}

/// Whole topologies whose weights the suite made constant; their input is 0, 1/n, 2/n ...
#[test]
fn whole_topologies_give_what_the_suite_expects_and_the_same_bits_everywhere() {
    let mut on = Bench::new(&[8, 16]);
    let mut failed = Vec::new();
    for name in [
        "bvlc_alexnet",
        "densenet121",
        "inception_v1",
        "inception_v2",
        "resnet50",
        "shufflenet",
        "squeezenet",
        "vgg19",
        "zfnet512",
    ] {
        let light = suite().join("light");
        let outcome = read(&light.join(format!("light_{name}.onnx"))).and_then(|graph| {
            let inputs: Vec<Tensor> = graph.inputs.iter().map(|input| ramp(input.shape.as_deref().unwrap())).collect();
            let (have, _) = run(&graph, &inputs, &mut on)?;
            compare(&have, &[tensor(&light.join(format!("light_{name}_output_0.pb")))])
        });
        println!("{name}: {outcome:?}");
        failed.extend(outcome.err().map(|why| format!("{name}: {why}")));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[expect(clippy::cast_precision_loss, reason = "what the suite computes in double precision, rounded once")]
#[expect(clippy::cast_possible_truncation, reason = "what the suite computes in double precision, rounded once")]
fn ramp(dims: &[Dim]) -> Tensor {
    let shape: Vec<usize> = dims.iter().map(|dim| if let Dim::Known(size) = dim { *size } else { 1 }).collect();
    let count: usize = shape.iter().product();
    Tensor::new(shape, (0..count).map(|at| (at as f64 / count as f64) as f32).collect::<Vec<f32>>()).unwrap()
}
