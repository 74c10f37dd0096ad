//! `orion run`: a job on this machine alone, without a cluster: parsed, tried out and computed by what a worker has for it, into the same files with
//! the same digests. Nobody else computes it, so nothing is validated, recorded or paid.
//!
//! Without an OpenCL device a model runs on the reference, in this process: safe Rust, the same bits, slowly. A kernel is native code and needs a
//! device; it never runs in this process.

mod files;
mod results;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use orion_crds::ValidatedJob;
use orion_engine::Load;
use orion_engine::inference::Model;
use orion_executor_client::{DeviceInfo, Executor, Fault, Kernels};
use orion_protocol::task::{InferenceWorkload, Workload};
use orion_protocol::{Reason, Refusal};
use serde_json::{Value, json};

use self::files::Files;
pub use self::files::workload;
use self::results::{Results, Written};
use crate::executor::ExecutorArgs;
use crate::{Format, Verdict};

/// `orion run`
#[derive(clap::Args)]
pub struct RunArgs {
    /// Files of YAML, or directories of them: an OrionJob and the ConfigMaps that it reads.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A file that the job names by its digest; may be given several times.
    #[arg(long = "object", value_name = "FILE")]
    objects: Vec<PathBuf>,
    /// Where the files go, as <output>.<format>, or <output>.<part>.<format> where an output has several.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Run a model on the reference, even where there is a device.
    #[arg(long)]
    reference: bool,
    #[command(flatten)]
    executor: ExecutorArgs,
}

/// A trial may take as long as the platform's.
const TRIAL_WAIT: Duration = Duration::from_mins(1);
/// Nobody waits for the units but who can stop this program.
const RUN_WAIT: Duration = Duration::from_hours(7 * 24);

/// Why there is no result.
pub enum Stop {
    /// The job is at fault, in the words of a cluster.
    Refused(Refusal),
    /// This machine is.
    Failed(anyhow::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        match refusal.reason {
            Reason::InternalError => Stop::Failed(anyhow::anyhow!(refusal.message)),
            _ => Stop::Refused(refusal),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        fault.into_refusal().into()
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Runs the command.
pub async fn run(format: Format, args: &RunArgs) -> anyhow::Result<Verdict> {
    // What is dropped then takes its executor with it.
    let outcome = tokio::select! {
        outcome = perform(format, args) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Stop::Failed(anyhow::anyhow!("interrupted; no file was written"))),
    };
    match outcome {
        Ok(()) => Ok(Verdict::Good),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Refused(refusal)) => {
            match format {
                Format::Text => eprintln!("run: REFUSED: {refusal}"),
                Format::Json => {
                    println!("{}", json!({"refused": {"reason": refusal.reason.as_str(), "message": refusal.message}}));
                }
            }
            Ok(Verdict::Bad)
        }
    }
}

async fn perform(format: Format, args: &RunArgs) -> Result<(), Stop> {
    let (job, load) = Files::read(&args.paths, &args.objects)?.job()?;
    let load = Arc::new(load);
    load.check(args.executor.memory)?;
    let bar = bar(format, load.units.units());
    let mut engine = Engine::open(args, &load).await?;
    let begun = Instant::now();
    let outcome = engine.compute(args, &job, &load, &bar).await;
    bar.finish_and_clear();
    let device = engine.close().await;
    let (Computed { files, device_bytes }, took) = (outcome?, begun.elapsed());
    let units = load.units.units();
    match format {
        Format::Text => {
            for Written { file, path, digest, .. } in &files {
                println!("{}  {} {:?}  sha3-256 {digest}", path.display(), file.dtype, file.shape);
            }
            let (name, seconds) = (&job.name, took.as_secs_f64());
            let on = device.as_ref().map_or("the reference", |device| device.driver.as_str());
            let memory =
                device_bytes.map_or_else(String::new, |bytes| format!(", in {} of its memory", HumanBytes(bytes)));
            eprintln!("run: {units} units of {name} on {on}{memory} in {seconds:.1} s; nobody else has checked them");
        }
        Format::Json => {
            let files: Vec<Value> = files.iter().map(file).collect();
            let about =
                |device: DeviceInfo| json!({"driver": device.driver, "class": device.class, "bytes": device_bytes});
            let device = device.map(about);
            println!("{}", json!({"job": job.name, "units": units, "device": device, "files": files}));
        }
    }
    Ok(())
}

/// What came out.
struct Computed {
    files: Vec<Written>,
    /// What the job took of a device's memory at most.
    device_bytes: Option<u64>,
}

/// What computes.
enum Engine {
    /// An executor, as a worker has it.
    Device(Box<Executor>, DeviceInfo),
    /// The model itself, bound to the job.
    Reference(Arc<Model>),
}

impl Engine {
    async fn open(args: &RunArgs, load: &Arc<Load>) -> Result<Engine, Stop> {
        match &load.workload {
            Workload::Kernel(_) => Ok(Engine::for_kernel(args).await?),
            Workload::Inference(workload) => Engine::for_model(args, load, workload.clone()).await,
        }
    }

    /// A device, and nothing else.
    async fn for_kernel(args: &RunArgs) -> anyhow::Result<Engine> {
        ensure!(
            !args.reference,
            "the reference runs models; a kernel in OpenCL C runs on a device: leave --reference out"
        );
        let why = "a kernel in OpenCL C runs on a device, the reference has only the kernels of models";
        let (executor, device) = sound(args, Kernels::Users).await.context(why)?;
        ensure!(
            device.kernels,
            "this system cannot keep a kernel from your files (Landlock: Linux 5.13 and later): --unconfined runs it all the same"
        );
        Ok(Engine::Device(executor, device))
    }

    /// A device where there is one; else, and where it is asked for, the reference.
    async fn for_model(args: &RunArgs, load: &Arc<Load>, workload: InferenceWorkload) -> Result<Engine, Stop> {
        if args.reference {
            eprintln!("run: on the reference, as asked for: the same bits, slowly");
        } else {
            match sound(args, Kernels::BuiltIn).await {
                Ok((executor, device)) => return Ok(Engine::Device(executor, device)),
                Err(error) => eprintln!("run: {error:#}\nrun: the model runs on the reference: the same bits, slowly"),
            }
        }
        let (load, memory) = (Arc::clone(load), args.executor.memory);
        let model = aside(move || Model::new(&load, &workload, memory)).await??;
        Ok(Engine::Reference(Arc::new(model)))
    }

    /// Tries the job out, runs all its units and writes their rows.
    async fn compute(
        &mut self,
        args: &RunArgs,
        job: &ValidatedJob,
        load: &Load,
        bar: &ProgressBar,
    ) -> Result<Computed, Stop> {
        let units = load.units.units();
        let begin = |outputs| Results::begin(&args.dir, outputs, &load.units, &job.formats);
        match self {
            Engine::Device(executor, _) => {
                bar.set_message("trial");
                let trial = Instant::now() + TRIAL_WAIT;
                let found = executor.load(load, trial).await?;
                executor.preflight(trial).await?;
                bar.set_message("run");
                let mut results = begin(&found.outputs)?;
                let append = |_, rows: Vec<Vec<u8>>| results.append(&rows).map_err(Stop::from);
                let progress = |done| bar.set_position(done);
                executor.run_in_chunks(0..units, Instant::now() + RUN_WAIT, progress, append).await?;
                Ok(Computed { files: results.finish()?, device_bytes: Some(found.device_bytes) })
            }
            Engine::Reference(model) => {
                let mut results = begin(&model.outputs)?;
                for unit in 0..units {
                    let model = Arc::clone(model);
                    let rows = aside(move || model.run_on_reference(unit, 1, |_| {})).await??;
                    results.append(&rows)?;
                    bar.set_position(unit + 1);
                }
                Ok(Computed { files: results.finish()?, device_bytes: None })
            }
        }
    }

    /// Ends it; gives the device that it was.
    async fn close(self) -> Option<DeviceInfo> {
        match self {
            Engine::Device(executor, device) => {
                executor.close().await;
                Some(device)
            }
            Engine::Reference(_) => None,
        }
    }
}

/// A device that computes as it must.
async fn sound(args: &RunArgs, kernels: Kernels) -> anyhow::Result<(Box<Executor>, DeviceInfo)> {
    let (executor, device) = args.executor.open(kernels).await?;
    if let Some(fault) = &device.fault {
        executor.close().await;
        anyhow::bail!("no OpenCL device answers as it must: {} computes wrongly: {fault}", device.driver);
    }
    Ok((Box::new(executor), device))
}

/// Computes on a thread of its own, for which nobody waits when this program is stopped.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("reference".into());
    // Who was stopped meanwhile does not hear it.
    thread.spawn(move || tell.send(work()).is_ok()).context("starting the reference")?;
    told.await.context("the reference came to an end")
}

fn bar(format: Format, units: u64) -> ProgressBar {
    let bar = ProgressBar::new(units);
    if format == Format::Json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{msg:5} {bar:30} {pos:>5}/{len} units  {elapsed}  {eta}") {
        bar.set_style(style);
    }
    bar
}

fn file(written: &Written) -> Value {
    let Written { file, path, digest, size } = written;
    json!({
        "name": file.name, "path": path, "digest": digest, "sizeBytes": size, "type": file.dtype.name(), "shape": file.shape,
    })
}
