//! The near side of an executor, for worker and command line: starts it, asks one thing at a time, bounds every answer, kills it. OpenCL is on
//! the far side alone: nothing here links it.
//!
//! An executor runs code of strangers. Nothing it says is believed further than the job allows: lengths of rows follow from
//! the job's units, times from our own clock. Whoever breaks the protocol, dies, or is late is killed with its whole
//! process group, and its private directory is removed; the executor is of no use after that.

mod cache;
mod fault;
mod pipe;
mod process;
mod tree;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use orion_engine::bench::Rates;
use orion_engine::job::keep;
use orion_engine::need::CHUNK_BYTES;
use orion_engine::wire::{LoadHead, Reply, Request};
use orion_engine::{Found, Load};
use orion_protocol::messages::Alive;
use orion_protocol::rows::Span;
use orion_protocol::statements::Commitment;
use orion_protocol::task::{OutputSpec, UnitTable, Workload, check_outputs};
use orion_protocol::{Digest, Reason, Refusal};

pub use cache::BuiltInCache;
use cache::InUse;
pub use fault::Fault;
use pipe::{Answer, Pipe, PipeError};
use process::Process;
pub use process::clear_leftovers;

/// Units whose rows are asked for at a time.
const CHUNK_UNITS: u64 = 65_536;

/// How executors are started.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// The program `orion-executor`.
    pub binary: PathBuf,
    /// Where each executor gets a private directory. Must allow execution: OpenCL runtimes load what they compile there.
    pub scratch: PathBuf,
    /// Where the OpenCL loader looks for drivers, if not where it usually does.
    pub icd_vendors: Option<OsString>,
    /// Bound of what one job takes in all, in bytes; [`orion_engine::DEFAULT_MEMORY`] is a good one.
    pub memory: u64,
    /// Threads for a CPU runtime that understands it (PoCL), if not one for each core it sees.
    pub threads: Option<NonZeroUsize>,
    /// Run user kernels even where files cannot be kept from them.
    pub unconfined: bool,
    /// What was compiled of built-in kernels.
    pub built_in: BuiltInCache,
}

/// Whose kernels an executor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// A stranger's: what is compiled stays in the executor's own directory, and goes with it.
    Users,
    /// Ours: what is compiled serves the next executor too. No stranger's code can write there.
    BuiltIn,
}

impl Kernels {
    /// Those of a workload.
    pub fn of(workload: &Workload) -> Kernels {
        match workload {
            Workload::Kernel(_) => Kernels::Users,
            Workload::Inference(_) => Kernels::BuiltIn,
        }
    }
}

/// Why there is no executor.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// No private directory.
    #[error("make a private directory under {path}")]
    Scratch {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The program does not start.
    #[error("start {binary}")]
    Spawn {
        /// Which program.
        binary: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Digest of its answers to the self-test: a label of compatibility, no proof.
    pub class: Digest,
    /// Platform, driver and device, for people: at most [`Commitment::MAX_DRIVER`] bytes of printable ASCII.
    pub driver: String,
    /// Whether kernels of users run here.
    pub kernels: bool,
    /// What it computes wrongly: at most [`Alive::MAX_FAULT`] bytes of printable ASCII.
    pub fault: Option<String>,
}

/// A running executor, at first without a job. Dropping it kills it.
#[derive(Debug)]
pub struct Executor {
    process: Process,
    pipe: Pipe,
    memory: u64,
    job: Option<Shape>,
    #[expect(dead_code, reason = "held, not read: it says that the cache of built-in kernels is in use")]
    cache: Option<InUse>,
    /// Why nothing can be asked any more; set while something is being asked, so that an abandoned request leaves it set.
    broken: Option<Refusal>,
}

/// What the lengths of answers follow from.
#[derive(Clone, Debug)]
struct Shape {
    units: UnitTable,
    outputs: Vec<OutputSpec>,
}

impl Executor {
    /// Starts an executor; must be called within a tokio runtime.
    pub fn spawn(config: &ExecutorConfig, kernels: Kernels) -> Result<Executor, ExecutorError> {
        let shared = match kernels {
            // Where files cannot be kept from strangers' kernels, nothing that they could write is shared.
            Kernels::BuiltIn if !config.unconfined => {
                let scratch = |source| ExecutorError::Scratch { path: config.scratch.clone(), source };
                config.built_in.enter(&config.scratch).map_err(scratch)?
            }
            Kernels::BuiltIn | Kernels::Users => None,
        };
        let (path, cache) = shared.unzip();
        let (process, stdin, stdout) = Process::spawn(config, path.as_deref())?;
        Ok(Executor { process, pipe: Pipe::new(stdin, stdout), memory: config.memory, job: None, cache, broken: None })
    }

    /// Whether anything can still be asked. Its process may end the moment after.
    pub fn is_usable(&self) -> bool {
        self.broken.is_none() && !self.process.has_ended()
    }

    /// Asks for the device's class and driver; runs the self-test.
    pub async fn probe(&mut self, deadline: Instant) -> Result<DeviceInfo, Fault> {
        let answer = self.ask(&Request::Probe, &[], deadline, Reason::LeaseExpired, |_| false).await?;
        match answer.reply {
            Reply::Probed { class, driver, kernels, fault }
                if is_text(&driver, Commitment::MAX_DRIVER)
                    && fault.as_ref().is_none_or(|fault| is_text(fault, Alive::MAX_FAULT)) =>
            {
                Ok(DeviceInfo { class, driver, kernels, fault })
            }
            other => Err(self.violation(&other).await),
        }
    }

    /// Asks how fast the device is. Its word alone stands for that: a rate is for people.
    pub async fn bench(&mut self, deadline: Instant) -> Result<Rates, Fault> {
        let answer = self.ask(&Request::Bench, &[], deadline, Reason::LeaseExpired, |_| false).await?;
        match answer.reply {
            Reply::Benched(rates) => Ok(rates),
            other => Err(self.violation(&other).await),
        }
    }

    /// Gives it a job, instead of any job before: it compiles, checks the arguments and uploads the inputs. Returns what it found out, which
    /// fits what the job says.
    pub async fn load(&mut self, load: &Load, deadline: Instant) -> Result<Found, Fault> {
        self.job = None;
        load.check(self.memory).map_err(Fault::Refused)?;
        let head = LoadHead {
            workload: load.workload.clone(),
            units: load.units,
            outputs: load.outputs.clone(),
            inputs: load.inputs.iter().map(|file| file.len() as u64).collect(),
            memory: self.memory,
        };
        let request = Request::Load(Box::new(head));
        let answer = self.ask(&request, &load.inputs, deadline, Reason::LeaseExpired, |_| false).await?;
        match answer.reply {
            Reply::Loaded { outputs, work_per_item, device_bytes } if fits(load, &outputs, work_per_item) => {
                self.job = Some(Shape { units: load.units, outputs: outputs.clone() });
                Ok(Found { outputs, work_per_item, device_bytes })
            }
            other => Err(self.violation(&other).await),
        }
    }

    /// Tries the loaded job out; returns the median time of a unit in nanoseconds.
    pub async fn preflight(&mut self, deadline: Instant) -> Result<u64, Fault> {
        self.shape()?;
        let started = Instant::now();
        let request = Request::Preflight { seconds: seconds_until(deadline) };
        let answer = self.ask(&request, &[], deadline, Reason::PreflightTimeout, |_| false).await?;
        match answer.reply {
            Reply::Preflighted { unit_nanos } if (1..=started.elapsed().as_nanos()).contains(&unit_nanos.into()) => {
                Ok(unit_nanos)
            }
            other => Err(self.violation(&other).await),
        }
    }

    /// Runs units of the loaded job in chunks, so that few rows are on their way at a time. `take` is given the units of each chunk and each output's
    /// rows, in order; `progress` hears how many units are done in all.
    pub async fn run_in_chunks<E: From<Fault>>(
        &mut self,
        units: Range<u64>,
        deadline: Instant,
        mut progress: impl FnMut(u64),
        mut take: impl FnMut(Range<u64>, Vec<Vec<u8>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let unit_bytes = self.shape()?.span(units.start, 1)?.room().into_iter().fold(0, u64::saturating_add);
        let chunk = (CHUNK_BYTES / unit_bytes.max(1)).clamp(1, CHUNK_UNITS);
        let mut at = units.start;
        while at < units.end {
            let next = units.end.min(at.saturating_add(chunk));
            let done = at - units.start;
            let rows = self.run(at, next - at, deadline, |units| progress(done + units)).await?;
            take(at..next, rows)?;
            at = next;
            progress(at - units.start);
            // Whoever takes rows hashes them for a while; others want to live too.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Runs the units `[first, first + count)` of the loaded job and returns what each output keeps of them; `progress` hears how many units
    /// are done, at most every 200 ms. Tails come over the pipe too, so that lengths of rows never depend on what an executor says.
    pub async fn run(
        &mut self,
        first: u64,
        count: u64,
        deadline: Instant,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let want = self.shape()?.span(first, count)?.room();
        let mut done = 0;
        let advance = |units| {
            let good = units > done && units <= count;
            if good {
                done = units;
                progress(units);
            }
            good
        };
        let request = Request::Run { first, count, seconds: seconds_until(deadline) };
        self.pipe.expect_rows(want.clone());
        let answer = self.ask(&request, &[], deadline, Reason::LeaseExpired, advance).await?;
        match answer.reply {
            Reply::Rows { lengths } if lengths == want => {
                let mut rows = answer.rows;
                keep(&self.shape()?.span(first, count)?, &mut rows).map_err(Fault::Refused)?;
                Ok(rows)
            }
            other => Err(self.violation(&other).await),
        }
    }

    /// Kills it and waits until its processes are gone and its directory is removed.
    pub async fn close(mut self) {
        self.process.kill();
        self.process.ended().await;
    }

    fn shape(&self) -> Result<&Shape, Fault> {
        let refusal = || Fault::Refused(Refusal::new(Reason::LeaseRefused, "the executor has no job loaded"));
        self.job.as_ref().ok_or_else(refusal)
    }

    /// One request and its answer. A refusal is an answer that leaves the executor usable; everything else ends it.
    async fn ask(
        &mut self,
        request: &Request,
        data: &[Arc<Vec<u8>>],
        deadline: Instant,
        late: Reason,
        progress: impl FnMut(u64) -> bool,
    ) -> Result<Answer, Fault> {
        if let Some(refusal) = &self.broken {
            self.process.kill();
            return Err(Fault::Crashed(refusal.clone()));
        }
        self.broken = Some(Refusal::new(Reason::InternalError, "an earlier request to the executor was abandoned"));
        let exchange = self.pipe.exchange(request, data, progress);
        let fault = match tokio::time::timeout_at(deadline.into(), exchange).await {
            Ok(Ok(answer)) => {
                self.broken = None;
                return match answer.reply {
                    Reply::Refused(refusal) => Err(Fault::Refused(refusal)),
                    _ => Ok(answer),
                };
            }
            Ok(Err(PipeError::Violation(what))) => fault::violation(&mut self.process, &what).await,
            Ok(Err(PipeError::Broken(error))) => fault::crash(&mut self.process, &error, late).await,
            Err(_) => fault::late(&mut self.process, late),
        };
        self.broken = Some(fault.refusal().clone());
        Err(fault)
    }

    /// Ends an executor that answered something else than was asked for.
    async fn violation(&mut self, reply: &Reply) -> Fault {
        let what = match reply {
            Reply::Probed { .. } => "a device nobody asked for, or one whose name is too long or not printable",
            Reply::Loaded { .. } => "that a job is loaded, which nobody asked for, or whose outputs are not the job's",
            Reply::Preflighted { .. } => "a unit's time nobody asked for, or an impossible one",
            Reply::Benched(_) => "rates nobody asked for",
            Reply::Rows { .. } => "rows nobody asked for, or of other lengths than the units have",
            Reply::Progress { .. } | Reply::Refused(_) => "an answer out of turn",
        };
        let fault = fault::violation(&mut self.process, what).await;
        self.broken = Some(fault.refusal().clone());
        fault
    }
}

impl Shape {
    /// Units of the job.
    fn span(&self, first: u64, count: u64) -> Result<Span<'_>, Fault> {
        let end = first.checked_add(count);
        if count == 0 || end.is_none_or(|end| end > self.units.units()) {
            let why = format!("{count} units from {first} on, of a job of {} units", self.units.units());
            return Err(Fault::Refused(Refusal::new(Reason::LeaseRefused, why)));
        }
        Ok(Span::new(&self.outputs, &self.units, first, count))
    }
}

/// Whether what an executor found out about a job can be true: a kernel's outputs and work are declared, a model's may not contradict the spec.
fn fits(load: &Load, outputs: &[OutputSpec], work_per_item: u64) -> bool {
    let same = outputs.len() == load.outputs.len()
        && load.outputs.iter().zip(outputs).all(|(asked, found)| asked.is_met_by(found));
    let units = UnitTable { work_per_item, ..load.units };
    same && units.check().is_ok() && check_outputs(outputs, units.items, units.units()).is_ok()
}

/// Rounded up.
fn seconds_until(deadline: Instant) -> u64 {
    deadline.saturating_duration_since(Instant::now()).as_secs().saturating_add(1)
}

fn is_text(text: &str, most: usize) -> bool {
    text.len() <= most && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}
