//! The executor as a process, on the real OpenCL runtime: it computes, it is contained, and it is believed no further than needed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use orion_engine::bench::Rates;
use orion_engine::wire::{self, LoadHead, Reply, Request};
use orion_engine::{DEFAULT_MEMORY, Load};
use orion_protocol::dtype::DType;
use orion_protocol::npy::Header;
use orion_protocol::task::{Argument, Builtin, KernelWorkload, Layout, OutputSpec, UnitTable, Workload};
use orion_protocol::{Digest, Reason, Refusal};
use orion_worker::executor::{BuiltInCache, Executor, ExecutorConfig, ExecutorError, Fault, Kernels};

const BINARY: &str = env!("CARGO_BIN_EXE_orion-executor");

/// An executor with a scratch directory of its own.
struct Bench {
    scratch: tempfile::TempDir,
    executor: Executor,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(Path::new(BINARY))
    }

    fn of(binary: &Path) -> Bench {
        let scratch = tempfile::tempdir().unwrap();
        let executor = Executor::spawn(&config(binary, scratch.path()), Kernels::Users).unwrap();
        Bench { scratch, executor }
    }

    /// An executor that says this and nothing else.
    fn saying(replies: &[Vec<u8>]) -> Bench {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("says.bin"), replies.concat()).unwrap();
        let executor = Executor::spawn(&config(&fake("says.sh"), scratch.path()), Kernels::Users).unwrap();
        Bench { scratch, executor }
    }

    async fn loaded(kernel: &Load) -> Bench {
        let mut bench = Bench::new();
        bench.executor.load(kernel, soon()).await.unwrap();
        bench
    }

    /// Loads and runs everything.
    async fn all(&mut self, load: &Load) -> Result<Vec<Vec<u8>>, Fault> {
        self.executor.load(load, soon()).await?;
        self.executor.run(0, load.units.units(), soon(), |_| {}).await
    }

    fn processes(&self) -> Vec<PathBuf> {
        processes_in(self.scratch.path())
    }

    /// No process is left and no directory.
    async fn assert_gone(&self) {
        let private =
            || std::fs::read_dir(self.scratch.path()).unwrap().flatten().filter(|e| e.path().is_dir()).count();
        eventually("processes and directory gone", || self.processes().is_empty() && private() == 0).await;
    }
}

fn fake(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakes").join(name)
}

#[test]
fn directories_of_agents_that_are_gone_are_cleared_and_no_others() {
    let scratch = tempfile::tempdir().unwrap();
    // A process that has ended and was waited for has a number that nobody has.
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let parent = std::os::unix::process::parent_id();
    let folder = |name: String| {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.join("cache/deep")).unwrap();
        path
    };
    let (ours, dead) =
        (folder(format!("executor-{}-a", std::process::id())), folder(format!("executor-{}-b", gone.id())));
    let (alive, foreign) = (folder(format!("executor-{parent}-c")), folder("executor-keep".into()));
    orion_worker::executor::clear_leftovers(scratch.path()).unwrap();
    assert_eq!([ours, dead, alive, foreign].map(|path| path.exists()), [false, false, true, true]);
}

fn config(binary: &Path, scratch: &Path) -> ExecutorConfig {
    let binary = binary.to_owned();
    ExecutorConfig {
        binary,
        scratch: scratch.to_owned(),
        icd_vendors: None,
        memory: DEFAULT_MEMORY,
        threads: None,
        unconfined: false,
        built_in: BuiltInCache::default(),
    }
}

/// Later than anything here takes.
fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

/// Waits for a state, with a deadline.
async fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !state() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// `/proc` entries of the processes that work below a directory.
fn processes_in(scratch: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let here = |path: &PathBuf| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(scratch));
    entries.filter(here).collect()
}

/// A kernel `run` over 32 items, 8 a unit, with one output of uint32.
fn kernel(body: &str) -> Load {
    let kernel = KernelWorkload {
        source: format!("__kernel void run(__global uint *out) {{ const uint i = get_global_id(0);\n{body}\n}}"),
        entry_point: "run".into(),
        global_size: vec![32],
        local_size: None,
        defines: Vec::new(),
        arguments: vec![Argument::Output(0)],
    };
    let units = UnitTable { items: 32, items_per_unit: 8, units_per_shard: 4, work_per_item: 1 };
    let outputs =
        vec![OutputSpec { name: "out".parse().unwrap(), dtype: DType::Uint32, shape: vec![32], layout: None }];
    Load { workload: Workload::Kernel(kernel), units, outputs, inputs: Vec::new() }
}

/// What an executor says once it has loaded such a kernel: 32 words, and as many beside them while units are put together.
fn loaded() -> Reply {
    Reply::Loaded { outputs: kernel("").outputs, work_per_item: 1, device_bytes: 256 }
}

fn words(rows: &[u8]) -> Vec<u32> {
    rows.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

/// The fault has this reason and these words, and the executor is gone.
async fn check_crashed(bench: &mut Bench, fault: Fault, reason: Reason, text: &str) {
    let refusal = fault.refusal().clone();
    assert!(!matches!(fault, Fault::Refused(_)), "{refusal}");
    assert_eq!(refusal.reason, reason, "{refusal}");
    assert!(refusal.message.contains(text), "{text:?} is not in: {refusal}");
    assert!(!bench.executor.is_usable());
    let again = bench.executor.probe(soon()).await.unwrap_err();
    assert_eq!(again, Fault::Crashed(refusal));
    bench.assert_gone().await;
}

#[tokio::test]
async fn a_job_is_tried_run_and_replaced_by_another() {
    let mut bench = Bench::new();
    let info = bench.executor.probe(soon()).await.unwrap();
    assert!(!info.driver.is_empty(), "{info:?}");

    let first = kernel("out[i] = i * 3;");
    bench.executor.load(&first, soon()).await.unwrap();
    assert!(bench.executor.preflight(soon()).await.unwrap() > 0);
    let rows = bench.executor.run(1, 2, soon(), |_| {}).await.unwrap();
    assert_eq!(words(&rows[0]), (8..24).map(|i| i * 3).collect::<Vec<_>>());

    // With inputs, and larger than any pipe.
    let data: Vec<u8> = (0..1_u32 << 20).flat_map(|i| (i * 7).to_le_bytes()).collect();
    let header = Header { dtype: DType::Uint32, shape: vec![1 << 20] };
    let mut second = kernel("out[i] = in[count - 1 - i];");
    second.inputs = vec![[header.to_bytes(), data].concat().into()];
    let Workload::Kernel(workload) = &mut second.workload else { panic!("it is a kernel") };
    workload.source = workload.source.replace("run(", "run(__global const uint *in, uint count, ");
    workload.arguments = vec![Argument::Input(0), Argument::Scalar(DType::Uint32, 1 << 20), Argument::Output(0)];
    let rows = bench.all(&second).await.unwrap();
    assert_eq!(words(&rows[0]), (0..32).map(|i| ((1 << 20) - 1 - i) * 7).collect::<Vec<_>>());
    bench.executor.close().await;
    assert_eq!(processes_in(bench.scratch.path()), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_dir(bench.scratch.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_refused_job_leaves_the_executor_usable() {
    let mut bench = Bench::new();
    for (load, reason) in [
        (kernel("out[i] = nowhere;"), Reason::CompileFailed),
        (kernel("out[i] = (uint)(i * 1.5f);"), Reason::NotExact),
        (kernel("printf(0);"), Reason::UnsupportedKernel),
    ] {
        let fault = bench.executor.load(&load, soon()).await.unwrap_err();
        assert!(matches!(&fault, Fault::Refused(refusal) if refusal.reason == reason), "{fault}");
        let fault = bench.executor.run(0, 1, soon(), |_| {}).await.unwrap_err();
        assert_eq!(fault.refusal().reason, Reason::LeaseRefused);
    }
    let impure = kernel("out[i] = out[31 - i] + 1;");
    bench.executor.load(&impure, soon()).await.unwrap();
    let fault = bench.executor.preflight(soon()).await.unwrap_err();
    assert!(matches!(&fault, Fault::Refused(refusal) if refusal.reason == Reason::KernelNotUnitPure), "{fault}");
    let fault = bench.executor.run(3, 2, soon(), |_| {}).await.unwrap_err();
    assert_eq!(fault.refusal().reason, Reason::LeaseRefused);
    assert_eq!(words(&bench.all(&kernel("out[i] = i;")).await.unwrap()[0]), (0..32).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_memory_bound_holds_before_anything_is_sent() {
    let scratch = tempfile::tempdir().unwrap();
    let small = ExecutorConfig { memory: 100, ..config(Path::new(BINARY), scratch.path()) };
    let mut executor = Executor::spawn(&small, Kernels::Users).unwrap();
    let fault = executor.load(&kernel("out[i] = i;"), soon()).await.unwrap_err();
    assert!(matches!(&fault, Fault::Refused(refusal) if refusal.reason == Reason::TooLarge), "{fault}");
    assert!(executor.is_usable());
}

#[tokio::test]
async fn progress_is_told_and_never_goes_back() {
    let slow = "uint x = i; for (uint k = 0; k < 30000000u; k++) x = x * (x | 5u) + i; out[i] = x;";
    let mut load = kernel(slow);
    load.units.items_per_unit = 1;
    let mut bench = Bench::loaded(&load).await;
    let mut told = Vec::new();
    bench.executor.run(0, 32, soon(), |units| told.push(units)).await.unwrap();
    assert!(!told.is_empty() && told.is_sorted_by(|a, b| a < b) && told.iter().all(|units| *units <= 32), "{told:?}");
}

#[tokio::test]
async fn rows_come_in_chunks_in_the_order_of_the_units() {
    let mut load = kernel("for (uint k = 0; k < WIDE; k++) out[i * WIDE + k] = i;");
    let Workload::Kernel(workload) = &mut load.workload else { panic!("it is a kernel") };
    // A unit's 8 rows have 3 MiB: two units' are below the bound, three are not.
    workload.defines.push(("WIDE".into(), "98304".into()));
    load.outputs[0].shape.push(98_304);
    let mut bench = Bench::loaded(&load).await;
    let (mut chunks, mut told, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let take = |units, rows: Vec<Vec<u8>>| {
        chunks.push(units);
        all.extend(words(&rows[0]));
        Ok::<(), Fault>(())
    };
    bench.executor.run_in_chunks(0..4, soon(), |units| told.push(units), take).await.unwrap();
    assert_eq!(chunks, [0..2, 2..4]);
    assert!(told.is_sorted() && told.last() == Some(&4), "{told:?}");
    assert!(all.chunks(98_304).zip(0..).all(|(row, item)| row.iter().all(|word| *word == item)));
    assert_eq!(all.len(), 32 * 98_304);
}

#[tokio::test]
async fn the_process_is_contained() {
    let bench = Bench::loaded(&kernel("out[i] = i;")).await;
    let [process] = bench.processes().try_into().unwrap();
    let read = |name: &str| String::from_utf8(std::fs::read(process.join(name)).unwrap()).unwrap();
    let environment = read("environ");
    let mut names: Vec<&str> =
        environment.split_terminator('\0').filter_map(|entry| Some(entry.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "PATH", "POCL_CACHE_DIR", "TMPDIR"]);
    let limits = read("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    assert_eq!(limit("Max file size"), ["67108864", "67108864"]);
    // What the job takes, and the driver: neither "unlimited" nor to be raised by a kernel.
    let [soft, hard]: [String; 2] = limit("Max data size").try_into().unwrap();
    assert_eq!(soft, hard);
    let bytes: u64 = soft.parse().unwrap();
    assert!(bytes > 512 << 20 && bytes < 8 << 30, "{bytes}");
    assert!(read("status").contains("NoNewPrivs:\t1"));
    let group = read("stat").rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().to_owned();
    assert_eq!(Some(group.as_str()), process.file_name().unwrap().to_str(), "its own process group");
    // What a kernel writes to stdout goes where stderr goes; the protocol has two pipes of its own, and nothing else is open
    // to the outside.
    let target = |number: &str| std::fs::read_link(process.join("fd").join(number)).unwrap().display().to_string();
    assert_eq!((target("0").as_str(), target("1")), ("/dev/null", target("2")));
    let descriptors = std::fs::read_dir(process.join("fd")).unwrap().flatten();
    let targets: Vec<String> = descriptors.map(|entry| target(entry.file_name().to_str().unwrap())).collect();
    let outward = |target: &&String| target.starts_with("pipe:") || target.starts_with("socket:");
    assert_eq!(targets.iter().filter(outward).count(), 4, "{targets:?}");
}

#[tokio::test]
async fn a_kernel_that_crashes_takes_only_its_executor_with_it() {
    let mut bench = Bench::loaded(&kernel("*(__global uint *)(size_t)(i & 0) = 1; out[i] = i;")).await;
    let fault = bench.executor.run(0, 1, soon(), |_| {}).await.unwrap_err();
    check_crashed(&mut bench, fault, Reason::KernelFault, "SIGSEGV").await;
}

#[tokio::test]
async fn an_executor_that_is_killed_or_ends_is_a_fault() {
    // The system kills so when memory runs out.
    let mut bench = Bench::loaded(&kernel("out[i] = i;")).await;
    let [process] = bench.processes().try_into().unwrap();
    let pid = process.file_name().unwrap().to_str().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let fault = bench.executor.run(0, 1, soon(), |_| {}).await.unwrap_err();
    check_crashed(&mut bench, fault, Reason::OutOfMemory, "SIGKILL").await;

    let mut bench = Bench::of(&fake("ends.sh"));
    let fault = bench.executor.probe(soon()).await.unwrap_err();
    assert!(fault.refusal().message.contains("code 7"), "{fault}");
    check_crashed(&mut bench, fault, Reason::KernelFault, "cannot find my feet").await;
    // Closing what is already gone is harmless.
    bench.executor.close().await;
}

#[tokio::test]
async fn an_executor_that_takes_all_memory_is_killed_for_that() {
    // Four million statements in a short text: the compiler, which is within this process, never sees the last of them.
    let level = |level: u32| {
        let before = format!(" X{}", level - 1).repeat(10);
        format!("#define X{level}{before}\n")
    };
    let levels: Vec<String> = (1..7).map(level).collect();
    let text = format!("#define X0 out[i] += i;\n{}X6 X6 X6 X6", levels.concat());
    let mut bench = Bench::new();
    let fault = bench.executor.load(&kernel(&text), soon()).await.unwrap_err();
    check_crashed(&mut bench, fault, Reason::OutOfMemory, "memory").await;
}

#[tokio::test]
async fn processor_time_is_bounded_by_the_time_that_is_left() {
    let mut looping = Looping::with(0);
    eventually("the executor ends", || looping.child.try_wait().unwrap().is_some()).await;
    let ended = looping.child.wait().unwrap().signal();
    assert_eq!(ended, Some(nix::sys::signal::Signal::SIGXCPU as i32));
    // Whoever asked hears that the time is over.
    let mut bench = Bench::of(&fake("spends.sh"));
    let fault = bench.executor.probe(soon()).await.unwrap_err();
    assert!(matches!(fault, Fault::TimedOut(_)), "{fault}");
    check_crashed(&mut bench, fault, Reason::LeaseExpired, "SIGXCPU").await;
}

#[tokio::test]
async fn a_kernel_that_never_ends_is_killed_at_the_deadline() {
    let forever = kernel("for (volatile uint k = 0; out[i] < 5; k++) out[i] = k & 1;");
    let mut bench = Bench::loaded(&forever).await;
    let deadline = Instant::now() + Duration::from_secs(2);
    let fault = bench.executor.run(0, 4, deadline, |_| {}).await.unwrap_err();
    assert!(matches!(fault, Fault::TimedOut(_)));
    assert!(deadline.elapsed() < Duration::from_secs(5));
    check_crashed(&mut bench, fault, Reason::LeaseExpired, "deadline").await;
    let mut bench = Bench::loaded(&forever).await;
    let fault = bench.executor.preflight(Instant::now() + Duration::from_secs(2)).await.unwrap_err();
    check_crashed(&mut bench, fault, Reason::PreflightTimeout, "deadline").await;
}

/// An executor without an agent, which runs a kernel that never ends.
struct Looping {
    child: Child,
    stdin: ChildStdin,
    _stdout: ChildStdout,
    _scratch: tempfile::TempDir,
}

impl Looping {
    /// It was told that so many seconds are left.
    fn with(seconds: u64) -> Looping {
        let load = kernel("for (volatile uint k = 0; out[i] < 5; k++) out[i] = k & 1;");
        let head = LoadHead {
            workload: load.workload,
            units: load.units,
            outputs: load.outputs,
            inputs: Vec::new(),
            memory: DEFAULT_MEMORY,
        };
        let scratch = tempfile::tempdir().unwrap();
        let mut child = Command::new(BINARY)
            .current_dir(scratch.path())
            .env("POCL_CACHE_DIR", scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        wire::write(&mut stdin, &Request::Load(Box::new(head)), &[]).unwrap();
        let mut stdout = child.stdout.take().unwrap();
        assert_eq!(wire::read::<Reply>(&mut stdout, wire::MAX_REPLY).unwrap(), Some(loaded()));
        wire::write(&mut stdin, &Request::Run { first: 0, count: 1, seconds }, &[]).unwrap();
        Looping { child, stdin, _stdout: stdout, _scratch: scratch }
    }
}

#[tokio::test]
async fn an_executor_ends_when_its_agent_does() {
    let Looping { mut child, stdin, _stdout, _scratch } = Looping::with(60);
    // The agent's end goes while the kernel loops.
    drop(stdin);
    eventually("the executor ends", || child.try_wait().unwrap().is_some()).await;
}

#[tokio::test]
async fn dropping_it_kills_the_process_and_removes_its_directory() {
    let mut bench = Bench::loaded(&kernel("for (volatile uint k = 0; out[i] < 5; k++) out[i] = k & 1;")).await;
    let run = bench.executor.run(0, 1, soon(), |_| {});
    assert!(tokio::time::timeout(Duration::from_millis(300), run).await.is_err());
    // An abandoned request cannot be answered any more.
    assert!(!bench.executor.is_usable());
    let Bench { scratch, executor } = bench;
    assert!(!processes_in(scratch.path()).is_empty());
    drop(executor);
    eventually("process gone", || processes_in(scratch.path()).is_empty()).await;
    eventually("directory gone", || std::fs::read_dir(scratch.path()).unwrap().count() == 0).await;
}

#[tokio::test]
async fn what_is_compiled_of_built_in_kernels_stays_and_of_users_goes() {
    let scratch = tempfile::tempdir().unwrap();
    let config = config(Path::new(BINARY), scratch.path());
    for (kernels, left) in [(Kernels::Users, 0), (Kernels::BuiltIn, 1)] {
        let mut executor = Executor::spawn(&config, kernels).unwrap();
        executor.probe(soon()).await.unwrap();
        executor.close().await;
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), left, "{kernels:?}");
    }
    let kept = std::fs::read_dir(scratch.path().join("built-in")).unwrap().count();
    assert!(kept > 0, "the self-test's kernels are not there");
}

#[tokio::test]
async fn an_executor_that_cannot_start_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let missing =
        Executor::spawn(&config(&scratch.path().join("missing"), scratch.path()), Kernels::Users).unwrap_err();
    assert!(matches!(missing, ExecutorError::Spawn { .. }), "{missing}");
    let nowhere =
        Executor::spawn(&config(Path::new(BINARY), &scratch.path().join("missing")), Kernels::Users).unwrap_err();
    assert!(matches!(nowhere, ExecutorError::Scratch { .. }), "{nowhere}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

fn says(reply: &Reply) -> Vec<u8> {
    wire::frame(reply)
}

/// After saying that the job is loaded, the fake says this when asked to run units 0 to 3 (4 x 8 x 4 bytes).
async fn check_lie(replies: &[Vec<u8>], reason: Reason, text: &str) {
    let mut bench = Bench::saying(&[&[says(&loaded())], replies].concat());
    bench.executor.load(&kernel("out[i] = i;"), soon()).await.unwrap();
    let fault = bench.executor.run(0, 4, soon(), |_| {}).await.unwrap_err();
    check_crashed(&mut bench, fault, reason, text).await;
}

#[tokio::test]
async fn lengths_are_not_believed() {
    let rows = |lengths: &[u64]| vec![says(&Reply::Rows { lengths: lengths.to_vec() })];
    check_lie(&[vec![0xff; 4]], Reason::KernelFault, "a frame of 4294967295 bytes").await;
    check_lie(&rows(&[1 << 62]), Reason::KernelFault, "rows").await;
    check_lie(&rows(&[127]), Reason::KernelFault, "rows").await;
    check_lie(&rows(&[128, 1]), Reason::KernelFault, "rows").await;
    check_lie(&rows(&[]), Reason::KernelFault, "rows").await;
    check_lie(&[vec![0, 0, 0, 2, 0xff, 0xff]], Reason::KernelFault, "no message").await;
}

#[tokio::test]
async fn tails_are_taken_out_on_this_side_and_lengths_of_items_are_not_believed() {
    let mut load = kernel("");
    load.outputs[0] = OutputSpec { shape: vec![32, 2], layout: Some(Layout::Lengths(1)), ..load.outputs[0].clone() };
    load.outputs.push(OutputSpec {
        name: "counts".parse().unwrap(),
        dtype: DType::Uint8,
        shape: vec![32],
        layout: None,
    });
    let Workload::Kernel(workload) = &mut load.workload else { panic!("it is a kernel") };
    workload.arguments.push(Argument::Output(1));
    let loaded = says(&Reply::Loaded { outputs: load.outputs.clone(), work_per_item: 1, device_bytes: 0 });
    // The first unit: 8 items with room for 2 entries of 4 bytes, and their lengths.
    let whole: Vec<u8> = (0..16_u32).flat_map(u32::to_le_bytes).collect();
    let run = async |lengths: [u64; 2], data: &[u8]| {
        let mut bench =
            Bench::saying(&[loaded.clone(), says(&Reply::Rows { lengths: lengths.to_vec() }), data.to_vec()]);
        bench.executor.load(&load, soon()).await.unwrap();
        let outcome = bench.executor.run(0, 1, soon(), |_| {}).await;
        (outcome, bench.executor.is_usable())
    };
    let counts = [0, 2, 1, 0, 0, 0, 0, 1];
    let (rows, _) = run([64, 8], &[whole.as_slice(), &counts].concat()).await;
    let rows = rows.unwrap();
    assert_eq!((words(&rows[0]), rows[1].as_slice()), (vec![2, 3, 4, 14], counts.as_slice()));
    let (refused, usable) = run([64, 8], &[whole.as_slice(), &[0, 3, 0, 0, 0, 0, 0, 0]].concat()).await;
    let words = "output out: item 1 has 3 entries, there is room for 2";
    assert_eq!(refused, Err(Fault::Refused(Refusal::new(Reason::OutputOverflow, words))));
    assert!(usable, "the kernel is at fault, not the executor");
    // Taken out on the far side, as far as anybody can tell.
    let (violation, usable) = run([16, 8], &[&whole[..16], &counts].concat()).await;
    assert!(matches!(violation, Err(Fault::Crashed(_))) && !usable, "{violation:?}");
}

#[tokio::test]
async fn answers_out_of_turn_or_beyond_the_possible_are_not_believed() {
    let progress = |units| says(&Reply::Progress { units });
    check_lie(&[progress(5)], Reason::KernelFault, "progress").await;
    check_lie(&[progress(2), progress(2)], Reason::KernelFault, "progress").await;
    check_lie(&[says(&loaded())], Reason::KernelFault, "loaded").await;
    check_lie(&[says(&Reply::Benched(Rates { peak: 1, gemm: 1 }))], Reason::KernelFault, "rates").await;
    let foreign = says(&Reply::Refused(Refusal::new(Reason::Succeeded, "all is well")));
    check_lie(&[foreign], Reason::KernelFault, "refusal").await;
    for driver in ["x".repeat(129), "a\nb".into()] {
        let mut bench =
            Bench::saying(&[says(&Reply::Probed { class: Digest::ZERO, driver, kernels: true, fault: None })]);
        let fault = bench.executor.probe(soon()).await.unwrap_err();
        check_crashed(&mut bench, fault, Reason::KernelFault, "name").await;
    }
    let mut bench = Bench::saying(&[says(&loaded()), says(&Reply::Preflighted { unit_nanos: u64::MAX })]);
    bench.executor.load(&kernel("out[i] = i;"), soon()).await.unwrap();
    let fault = bench.executor.preflight(soon()).await.unwrap_err();
    check_crashed(&mut bench, fault, Reason::KernelFault, "time").await;
}

#[tokio::test]
async fn a_refusal_is_passed_on_without_control_characters() {
    let refusal = Refusal::new(Reason::CompileFailed, "line\n\x1b[31mred\x07");
    let mut bench = Bench::saying(&[says(&Reply::Refused(refusal))]);
    let fault = bench.executor.load(&kernel("out[i] = i;"), soon()).await.unwrap_err();
    assert_eq!(fault, Fault::Refused(Refusal::new(Reason::CompileFailed, "line\n[31mred")));
}

#[tokio::test]
async fn builtins_reach_the_kernel() {
    let mut load = kernel("out[i] = first * 1000 + items;");
    let Workload::Kernel(workload) = &mut load.workload else { panic!("it is a kernel") };
    workload.source = workload.source.replace("__global uint *out", "__global uint *out, uint first, uint items");
    workload.arguments.extend([Argument::Builtin(Builtin::UnitFirst), Argument::Builtin(Builtin::UnitItems)]);
    let rows = Bench::new().all(&load).await.unwrap();
    assert_eq!(words(&rows[0]), (0..32).map(|i| i / 8 * 8000 + 8).collect::<Vec<_>>());
}
