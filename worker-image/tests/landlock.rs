//! A worker whose kernel has no Landlock: it runs what is ours and refuses what is a stranger's. The call that Landlock begins with is made to
//! look missing, as on Linux before 5.13.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;
use orion_engine::{DEFAULT_MEMORY, Load};
use orion_protocol::dtype::DType;
use orion_protocol::npy::Header;
use orion_protocol::task::{
    Argument, Feed, FeedFrom, InferenceWorkload, KernelWorkload, OutputSpec, UnitTable, Workload,
};
use orion_protocol::{Digest, Reason};
use orion_worker::executor::{BuiltInCache, Executor, ExecutorConfig, Fault, Kernels};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

const CHILD: &str = "ORION_TEST_CHILD";

/// No test of its own: what `fakes/without-landlock.sh` runs.
#[test]
fn becomes_an_executor_without_landlock() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let call = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
    let target: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(call, SeccompAction::Allow, missing, target).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
    let stdout = File::options().write(true).open("/proc/self/fd/3").unwrap();
    let error = Command::new(env!("CARGO_BIN_EXE_orion-executor")).stdout(stdout).exec();
    panic!("{error}");
}

/// Later than anything here takes.
fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn kernel() -> Load {
    let kernel = KernelWorkload {
        source: "__kernel void run(__global uint *out) { out[get_global_id(0)] = 1; }".into(),
        entry_point: "run".into(),
        global_size: vec![32],
        local_size: None,
        defines: Vec::new(),
        arguments: vec![Argument::Output(0)],
    };
    Load {
        workload: Workload::Kernel(kernel),
        units: UnitTable { items: 32, items_per_unit: 8, units_per_shard: 4, work_per_item: 1 },
        outputs: vec![OutputSpec { name: "out".parse().unwrap(), dtype: DType::Uint32, shape: vec![32], layout: None }],
        inputs: Vec::new(),
    }
}

/// The example with a network.
fn model(folder: &Path) -> Load {
    let read = |name: &str| Arc::new(std::fs::read(folder.join(name)).unwrap());
    let output =
        |name: &str| OutputSpec { name: name.parse().unwrap(), dtype: DType::Float32, shape: Vec::new(), layout: None };
    Load {
        workload: Workload::Inference(InferenceWorkload {
            model: 0,
            dims: Vec::new(),
            tensors: vec![Feed { tensor: "pixels".into(), from: FeedFrom::Rows(1), key: None }],
            results: vec!["digit".into(), "probabilities".into()],
        }),
        units: UnitTable { items: 597, items_per_unit: 100, units_per_shard: 1, work_per_item: 1 },
        outputs: vec![output("digit"), output("probabilities")],
        inputs: vec![read("model.onnx"), read("images.npy")],
    }
}

#[tokio::test]
async fn kernels_of_users_are_refused_with_the_reason_and_models_run() {
    let scratch = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    std::fs::write(scratch.path().join("test-binary"), this.as_os_str().as_encoded_bytes()).unwrap();
    let config = ExecutorConfig {
        binary: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakes/without-landlock.sh"),
        scratch: scratch.path().to_owned(),
        icd_vendors: None,
        memory: DEFAULT_MEMORY,
        threads: None,
        unconfined: false,
        built_in: BuiltInCache::default(),
    };
    let mut executor = Executor::spawn(&config, Kernels::BuiltIn).unwrap();
    assert!(!executor.probe(soon()).await.unwrap().kernels);
    let fault = executor.load(&kernel(), soon()).await.unwrap_err();
    let Fault::Refused(refusal) = &fault else { panic!("{fault}") };
    assert!(refusal.reason == Reason::InternalError && refusal.message.contains("no Landlock"), "{refusal}");

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits-cnn");
    let load = model(&folder);
    let found = executor.load(&load, soon()).await.unwrap();
    let rows = executor.run(0, load.units.units(), soon(), |_| {}).await.unwrap();
    let line = |(output, rows): (&OutputSpec, &Vec<u8>)| {
        let header = Header { dtype: output.dtype, shape: output.shape.clone() }.to_bytes();
        let digest = Digest::of(&[header, rows.clone()].concat());
        format!("{} {} {:?} {digest}", output.name, output.dtype.name(), output.shape)
    };
    let lines: Vec<String> = found.outputs.iter().zip(&rows).map(line).collect();
    let expected = std::fs::read_to_string(folder.join("digests.txt")).unwrap();
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    executor.close().await;
}
