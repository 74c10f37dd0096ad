//! The engine as a candidate of `bench/engine.py`: `time_model MODEL INPUTS` loads a model and the npy files named after its inputs, says `ready`, and
//! answers every line `run` with the milliseconds of processor time that one run took. `time_model --fast MODEL INPUTS` lets the compiler reorder
//! and contract, as it would without our rules; `time_model --profile MODEL INPUTS` says where the time goes; `time_model --peak` answers with the fused multiply-adds that one core does, in GFLOP/s.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use orion_engine::device::Device as _;
use orion_engine::plan::{Tile, plan};
use orion_engine::session::{Library, Session};
use orion_engine::tensor::{Facts, Kind, Tensor};
use orion_engine::{lower, onnx};
use orion_opencl::OpenCl;
use orion_protocol::dtype::DType;
use orion_protocol::npy;

/// How every text of ours begins, and what it begins with where anything goes.
const EXACT: &str = "#pragma OPENCL FP_CONTRACT OFF\n";
const FAST: &str = "#pragma OPENCL FP_CONTRACT ON\n#pragma clang fp reassociate(on) contract(fast)\n";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    match args.as_slice() {
        [_, flag] if flag == "--peak" => answer(|| Ok(peak())),
        [_, flag, model, inputs] if flag == "--fast" => time(Path::new(model), Path::new(inputs), Mode::Fast),
        [_, flag, model, inputs] if flag == "--profile" => time(Path::new(model), Path::new(inputs), Mode::Profile),
        [_, model, inputs] => time(Path::new(model), Path::new(inputs), Mode::Exact),
        _ => bail!("usage: time_model [--fast | --profile] MODEL INPUTS | --peak"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exact,
    Fast,
    Profile,
}

fn time(model: &Path, inputs: &Path, mode: Mode) -> Result<()> {
    let begin = Instant::now();
    let graph = onnx::read(Bytes::from(std::fs::read(model)?), &onnx::Limits::default())?;
    let given = graph.inputs.iter().map(|input| read(&inputs.join(format!("{}.npy", graph.name(input.value)))));
    let given: Vec<Tensor> = given.collect::<Result<_>>()?;
    let facts: Vec<Facts> = given.iter().map(Tensor::facts).collect();
    let program = lower::lower(&graph, &facts, lower::Limits::default())?;
    let device = OpenCl::open()?;
    let lanes = std::env::var("ORION_BENCH_LANES").ok().and_then(|lanes| lanes.parse().ok());
    let mut plan = plan(&program, Tile::for_lanes(lanes.unwrap_or(device.limits().lanes)))?;
    if mode == Mode::Fast {
        for text in &mut plan.texts {
            text.source = text.source.replace(EXACT, FAST);
        }
    }
    let (launches, memory) = (plan.launches.len(), plan.memory());
    let session = Session::new(&device, plan, &mut Library::default())?;
    drop((program, Arc::new(graph)));
    eprintln!("{launches} launches, {} MB, loaded in {:.2} s", memory >> 20, begin.elapsed().as_secs_f64());
    let rows: Vec<Vec<u8>> = given.iter().map(Tensor::to_le_bytes).collect();
    let results = session.plan().outputs.iter().map(|(_, facts)| facts.elements().unwrap_or(0) * facts.kind.bytes());
    let mut results: Vec<Vec<u8>> = results.map(|bytes| vec![0; bytes]).collect();
    // What a worker does for every batch.
    let mut run = |launch: &mut dyn FnMut() -> Result<()>| {
        let begin = cpu_ms()?;
        for (at, row) in rows.iter().enumerate() {
            session.write(at, row)?;
        }
        launch()?;
        for (at, result) in results.iter_mut().enumerate() {
            session.read(at, result)?;
        }
        Ok(cpu_ms()? - begin)
    };
    if mode == Mode::Profile {
        return profile(&session, run);
    }
    answer(|| run(&mut || Ok(session.launch()?)))
}

/// How often a profile runs the model; of each launch the fastest counts.
const PROFILES: usize = 5;
/// Kernels that a profile shows.
const SHOWN: usize = 8;

/// Where the time goes: kernels by what they take of a run, with the first of their sizes (of a contraction: channels, taps, rows of a line, lines, columns,
/// panels of columns).
fn profile(
    session: &Session<OpenCl>,
    mut run: impl FnMut(&mut dyn FnMut() -> Result<()>) -> Result<f64>,
) -> Result<()> {
    let plan = session.plan();
    let mut best = vec![f64::MAX; plan.launches.len()];
    let mut whole = f64::MAX;
    for _ in 0..=PROFILES {
        whole = whole.min(run(&mut || Ok(session.launch()?))?);
        run(&mut || {
            let mut last = Instant::now();
            session.launch_each(|at| {
                best[at] = best[at].min(last.elapsed().as_secs_f64() * 1e3);
                last = Instant::now();
            })?;
            Ok(())
        })?;
    }
    let mut kinds: BTreeMap<(&str, [i64; 6]), (usize, f64)> = BTreeMap::new();
    for (launch, ms) in plan.launches.iter().zip(&best) {
        let text = &plan.texts[launch.text];
        let sizes = std::array::from_fn(|at| plan.meta.get(launch.meta + at).copied().unwrap_or(0));
        let kind = kinds.entry((text.entry, sizes)).or_insert((0, 0.0));
        *kind = (kind.0 + 1, kind.1 + ms);
    }
    let mut rows: Vec<_> = kinds.into_iter().collect();
    rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let sum: f64 = best.iter().sum();
    println!("{whole:.2} ms a run; {sum:.2} ms in launches, one by one:");
    for ((entry, sizes), (count, ms)) in rows.iter().take(SHOWN) {
        let sizes = sizes.map(|size| size.to_string()).join(" ");
        println!("{ms:8.2} ms {:3.0} %  {count:3} x {entry} {sizes}", ms / sum * 100.0);
    }
    Ok(())
}

/// Says `ready`, then answers line by line.
fn answer(mut run: impl FnMut() -> Result<f64>) -> Result<()> {
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{:.4}", run()?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Tensor> {
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let (header, data) = npy::parse(&file)?;
    let kind = match header.dtype {
        DType::Float32 => Kind::F32,
        DType::Int64 => Kind::I64,
        other => bail!("{}: {other} is no type of these models", path.display()),
    };
    let shape = header.shape.iter().map(|dim| Ok(usize::try_from(*dim)?)).collect::<Result<_>>()?;
    Ok(Tensor::from_le_bytes(Facts { kind, shape }, data)?)
}

/// Processor time of this process so far, in milliseconds.
fn cpu_ms() -> Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a benchmark")]
    Ok(time.tv_sec() as f64 * 1e3 + time.tv_nsec() as f64 / 1e6)
}

/// Fused multiply-adds of one core in GFLOP/s: as many chains side by side as hide their latency, the best of some runs.
fn peak() -> f64 {
    const CHAINS: usize = 12 * 8;
    const STEPS: usize = 2_000_000;
    let run = || {
        let mut sums = std::hint::black_box([0.5_f32; CHAINS]);
        let (x, y) = std::hint::black_box((0.999_f32, 0.001_f32));
        let begin = Instant::now();
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = sum.mul_add(x, y);
            }
        }
        let took = begin.elapsed().as_secs_f64();
        std::hint::black_box(sums);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let done = (CHAINS * STEPS * 2) as f64;
        done / took / 1e9
    };
    (0..5).map(|_| run()).fold(0.0, f64::max)
}
