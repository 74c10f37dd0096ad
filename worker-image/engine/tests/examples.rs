//! The examples that run a model: their results have the bits that are written down beside them, on the reference and on this device.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "golden/machine.rs"]
mod machine;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orion_engine::device::Device as _;
use orion_engine::inference::Model;
use orion_engine::session::Library;
use orion_engine::{Job, Load};
use orion_opencl::OpenCl;
use orion_protocol::Digest;
use orion_protocol::dtype::DType;
use orion_protocol::npy::Header;
use orion_protocol::task::{Feed, FeedFrom, InferenceWorkload, OutputSpec, UnitTable, Workload};

/// Items a unit: those of the job, one, some that do not divide them, all.
const UNITS: [u64; 4] = [16, 1, 100, 597];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits-cnn")
}

/// The job of `job.yaml`, with another size of units.
fn load(unit: u64) -> Load {
    let read = |name: &str| Arc::new(std::fs::read(folder().join(name)).unwrap());
    let output =
        |name: &str| OutputSpec { name: name.parse().unwrap(), dtype: DType::Float32, shape: Vec::new(), layout: None };
    Load {
        workload: Workload::Inference(InferenceWorkload {
            model: 0,
            dims: Vec::new(),
            tensors: vec![Feed { tensor: "pixels".into(), from: FeedFrom::Rows(1), key: None }],
            results: vec!["digit".into(), "probabilities".into()],
        }),
        units: UnitTable { items: 597, items_per_unit: unit, units_per_shard: 1, work_per_item: 1 },
        outputs: vec![output("digit"), output("probabilities")],
        inputs: vec![read("model.onnx"), read("images.npy")],
    }
}

/// Name, type, shape and the digest of the whole npy file, as in the job's status.
fn lines(outputs: &[OutputSpec], rows: &[Vec<u8>]) -> Vec<String> {
    let line = |(output, rows): (&OutputSpec, &Vec<u8>)| {
        let file = [Header { dtype: output.dtype, shape: output.shape.clone() }.to_bytes(), rows.clone()].concat();
        format!("{} {} {:?} {}", output.name, output.dtype.name(), output.shape, Digest::of(&file))
    };
    outputs.iter().zip(rows).map(line).collect()
}

fn written_down() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("digests.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_device_gives_the_bits_that_are_written_down() {
    let device = OpenCl::open().unwrap();
    machine::print(device.driver());
    for unit in UNITS {
        let load = load(unit);
        let mut job = Job::load(&device, &load, 1 << 30, &mut Library::default()).unwrap();
        let outputs = job.found().outputs;
        let rows = job.run(0, load.units.units(), |_| {}).unwrap();
        assert_eq!(lines(&outputs, &rows), written_down(), "in units of {unit}");
    }
}

#[test]
fn the_reference_gives_the_bits_that_are_written_down() {
    for unit in UNITS {
        let load = load(unit);
        let Workload::Inference(workload) = &load.workload else { panic!("it is a model") };
        let model = Model::new(&load, workload, 1 << 30).unwrap();
        let rows = model.run_on_reference(0, load.units.units(), |_| {}).unwrap();
        assert_eq!(lines(&model.outputs, &rows), written_down(), "in units of {unit}");
    }
}

/// What a simulator ends in a minute.
#[test]
fn the_first_items_have_the_references_bits() {
    let device = OpenCl::open().unwrap();
    let load = load(1);
    let mut job = Job::load(&device, &load, 1 << 30, &mut Library::default()).unwrap();
    let rows = job.run(0, 2, |_| {}).unwrap();
    let Workload::Inference(workload) = &load.workload else { panic!("it is a model") };
    let model = Model::new(&load, workload, 1 << 30).unwrap();
    assert_eq!(model.run_on_reference(0, 2, |_| {}).unwrap(), rows);
}
