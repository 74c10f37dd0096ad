//! The far side of an executor, as a whole process: answers its agent over stdin and stdout, and runs strangers' kernels as native code of
//! this process, on whatever device its program opens.
//!
//! It holds no key, opens no connection, and dies with its agent. Kernels can write wherever they like, so before any driver
//! is loaded the protocol moves to descriptors of its own, and what is written to descriptor 1 goes to stderr.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::{Signal, raise};
use orion_engine::session::Library;
use orion_engine::wire::{self, LoadHead, MAX_REQUEST, Reply, Request};
use orion_engine::{Device, DeviceError, Found, Job, Load, bench, selftest};
use orion_protocol::task::Workload;
use orion_protocol::{Reason, Refusal};

/// Files that are larger than this are not written: compiled kernels are small.
const FILE_BYTES: u64 = 64 << 20;
/// Input files may be longer than their data by their headers.
const HEADERS: u64 = 1 << 20;
/// What a driver and its compiler may take beside a job: some 180 MiB were seen with PoCL.
const DRIVER_BYTES: u64 = 512 << 20;
/// Progress is told no more often.
const PROGRESS: Duration = Duration::from_millis(200);

/// The whole life of the process. The device is opened after everything that ties this process to others is cut.
pub fn run<D: Device>(open: impl FnOnce() -> Result<D, DeviceError>) -> ExitCode {
    let fits = crate::processor::check().map_err(anyhow::Error::msg);
    match fits.and_then(|()| isolate()).and_then(|pipes| serve(pipes, open)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orion-executor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A request with the blocks that came with it.
type Asked = (Request, Vec<Vec<u8>>);

/// The protocol's own ends of the pipes, and whether kernels of users may run here.
struct Pipes {
    from_agent: File,
    to_agent: File,
    confinement: Confinement,
}

/// How far this process is kept from what is not its own.
#[derive(Clone, Copy)]
struct Confinement {
    /// Files are out of reach.
    files: bool,
    /// Kernels of users run all the same.
    waived: bool,
}

/// Cuts what ties this process to others, while it is still alone and single-threaded.
fn isolate() -> anyhow::Result<Pipes> {
    close_inherited();
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("forbid core dumps")?;
    setrlimit(Resource::RLIMIT_FSIZE, FILE_BYTES, FILE_BYTES).context("bound the size of files")?;
    #[cfg(target_os = "linux")]
    die_with_parent()?;
    let from_agent = nix::unistd::dup(std::io::stdin()).context("move stdin away")?;
    let to_agent = nix::unistd::dup(std::io::stdout()).context("move stdout away")?;
    nix::unistd::dup2_stdin(File::open("/dev/null").context("open /dev/null")?).context("replace stdin")?;
    nix::unistd::dup2_stdout(std::io::stderr()).context("replace stdout")?;
    for end in [&from_agent, &to_agent] {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        // The linker that the driver starts has no business with them.
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).context("keep the pipes from children")?;
    }
    let confinement = Confinement { files: confine()?, waived: std::env::var_os("ORION_UNCONFINED").is_some() };
    Ok(Pipes { from_agent: from_agent.into(), to_agent: to_agent.into(), confinement })
}

impl Confinement {
    /// Whether kernels of users run here.
    fn runs_kernels(self) -> bool {
        self.files || self.waived
    }

    /// Refuses a user's native code where files are within its reach. What is built in may run: it is ours.
    fn check(self, workload: &Workload) -> Result<(), Refusal> {
        match workload {
            Workload::Kernel(_) if !self.runs_kernels() => {
                let why = "this worker has no Landlock (Linux 5.13 and later), so it runs no kernels of users";
                Err(Refusal::new(Reason::InternalError, why))
            }
            Workload::Kernel(_) | Workload::Inference(_) => Ok(()),
        }
    }
}

/// Gives up what the private directory and the cache do not hold.
#[cfg(target_os = "linux")]
fn confine() -> anyhow::Result<bool> {
    let private = std::env::current_dir().context("find the private directory")?;
    let vendors = std::env::var_os("OCL_ICD_VENDORS").map(std::path::PathBuf::from);
    // The agent's choice: within the private directory, or the one for built-in kernels.
    let cache = std::env::var_os("POCL_CACHE_DIR").map(std::path::PathBuf::from);
    let own: Vec<&std::path::Path> = std::iter::once(private.as_path()).chain(cache.as_deref()).collect();
    crate::sandbox::enter(&own, vendors.as_deref()).context("confine this process")
}

#[cfg(not(target_os = "linux"))]
fn confine() -> anyhow::Result<bool> {
    Ok(false)
}

/// Closes whatever is open besides the three standard descriptors.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/dev/fd") else { return };
    let numbers: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The directory's own descriptor is among them and already closed.
        let _ = nix::unistd::close(number);
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> anyhow::Result<()> {
    use nix::sys::prctl;
    prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with the agent")?;
    prctl::set_no_new_privs().context("give up new privileges")?;
    // Where the agent died before this, its end of stdin is closed, and the reader below ends this process.
    Ok(())
}

/// Answers requests until the agent goes.
fn serve<D: Device>(pipes: Pipes, open: impl FnOnce() -> Result<D, DeviceError>) -> anyhow::Result<()> {
    let Pipes { from_agent, to_agent, confinement } = pipes;
    let (ask, asked) = sync_channel(1);
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || read(from_agent, &ask))
        .context("start the reader")?;
    answer_all(&open(), &asked, &mut BufWriter::new(to_agent), confinement)
}

/// Reads requests. When the agent is gone this process has no purpose, whatever it is computing.
fn read(from_agent: File, ask: &SyncSender<Asked>) {
    let mut from_agent = BufReader::new(from_agent);
    loop {
        let asked = wire::read::<Request>(&mut from_agent, MAX_REQUEST).and_then(|request| {
            let Some(request) = request else { return Ok(None) };
            let blocks = match &request {
                Request::Load(head) => {
                    wire::read_blocks(&mut from_agent, &head.inputs, head.memory.saturating_add(HEADERS))?
                }
                _ => Vec::new(),
            };
            Ok(Some((request, blocks)))
        });
        match asked {
            Ok(Some(asked)) => {
                if ask.send(asked).is_ok() {
                    continue;
                }
            }
            Ok(None) => {}
            Err(error) => eprintln!("orion-executor: read a request: {:#}", anyhow::Error::new(error)),
        }
        let _ = raise(Signal::SIGKILL);
    }
}

fn answer_all<D: Device>(
    device: &Result<D, DeviceError>,
    asked: &Receiver<Asked>,
    to_agent: &mut BufWriter<File>,
    confinement: Confinement,
) -> anyhow::Result<()> {
    let mut state = State { job: None, library: Library::default(), confinement };
    while let Ok((request, blocks)) = asked.recv() {
        let (reply, rows) = match answer(device, &mut state, request, blocks, to_agent) {
            Ok(answer) => answer,
            Err(refusal) => (Reply::Refused(refusal), Vec::new()),
        };
        wire::write(to_agent, &reply, &rows).context("answer the agent")?;
    }
    Ok(())
}

/// What stays from one request to the next.
struct State<'d, D: Device> {
    job: Option<Job<'d, D>>,
    library: Library<D::Kernel>,
    confinement: Confinement,
}

fn answer<'d, D: Device>(
    device: &'d Result<D, DeviceError>,
    state: &mut State<'d, D>,
    request: Request,
    blocks: Vec<Vec<u8>>,
    to_agent: &mut BufWriter<File>,
) -> Result<(Reply, Vec<Vec<u8>>), Refusal> {
    // Without a device no kernel is at fault, whatever the driver says.
    let device = device.as_ref().map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
    let nothing = || Refusal::new(Reason::InternalError, "no job is loaded");
    let reply = match request {
        Request::Probe => {
            let (class, fault) = selftest::run(device)?;
            let kernels = state.confinement.runs_kernels();
            Reply::Probed { class, driver: device.driver().to_owned(), kernels, fault }
        }
        Request::Load(head) => {
            // The job before goes first: both may not fit.
            state.job = None;
            let LoadHead { workload, units, outputs, inputs: _, memory } = *head;
            let load = Load { workload, units, outputs, inputs: blocks.into_iter().map(Arc::new).collect() };
            state.confinement.check(&load.workload)?;
            bound_time(u64::MAX)?;
            bound_memory(&load, memory)?;
            let loaded = state.job.insert(Job::load(device, &load, memory, &mut state.library)?);
            let Found { outputs, work_per_item, device_bytes } = loaded.found();
            // A model's rows are known only now.
            bound_memory(&Load { outputs: outputs.clone(), ..load }, memory)?;
            Reply::Loaded { outputs, work_per_item, device_bytes }
        }
        Request::Bench => Reply::Benched(bench::rates(device, &mut state.library)?),
        Request::Preflight { seconds } => {
            bound_time(seconds)?;
            Reply::Preflighted { unit_nanos: state.job.as_mut().ok_or_else(nothing)?.preflight()? }
        }
        Request::Run { first, count, seconds } => {
            bound_time(seconds)?;
            let rows = state.job.as_mut().ok_or_else(nothing)?.run(first, count, progress(to_agent))?;
            return Ok((Reply::Rows { lengths: rows.iter().map(|rows| rows.len() as u64).collect() }, rows));
        }
    };
    Ok((reply, Vec::new()))
}

/// A job gets no more memory than it says, whatever it asks for: a user's kernel for good, a model until the next one, for it runs no code of its
/// own that could raise the limit.
fn bound_memory(load: &Load, memory: u64) -> Result<(), Refusal> {
    let need = load.check(memory)?;
    let bytes = need.all().saturating_add(DRIVER_BYTES).saturating_add(taken()?);
    let bound = getrlimit(Resource::RLIMIT_DATA).and_then(|(_, most)| match load.workload {
        // Loaded once more, it keeps what it has: only a limit that sinks is allowed.
        Workload::Kernel(_) => setrlimit(Resource::RLIMIT_DATA, bytes.min(most), bytes.min(most)),
        Workload::Inference(_) => setrlimit(Resource::RLIMIT_DATA, bytes.saturating_add(DRIVER_BYTES).min(most), most),
    });
    bound.map_err(|error| Refusal::new(Reason::InternalError, format!("bound this process's memory: {error}")))
}

/// From now on the process gets no more processor time than all processors that it sees have in so many seconds. What a user's native code raises
/// again ends by the agent's clock.
fn bound_time(seconds: u64) -> Result<(), Refusal> {
    // One more than seen: shares of a processor are rounded down.
    let processors = std::thread::available_parallelism().map_or(u64::MAX, |seen| seen.get() as u64 + 1);
    let bound = getrusage(UsageWho::RUSAGE_SELF).and_then(|used| {
        let used = used.user_time().tv_sec().saturating_add(used.system_time().tv_sec()).saturating_add(1);
        let limit = seconds.saturating_mul(processors).saturating_add(used.unsigned_abs());
        let (_, most) = getrlimit(Resource::RLIMIT_CPU)?;
        setrlimit(Resource::RLIMIT_CPU, limit.min(most), most)
    });
    bound.map_err(|error| Refusal::new(Reason::InternalError, format!("bound this process's time: {error}")))
}

/// What this process takes already: its driver has started its threads.
fn taken() -> Result<u64, Refusal> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let kib = kib.ok_or_else(|| Refusal::new(Reason::InternalError, "/proc/self/status does not say VmData"))?;
    Ok(kib.saturating_mul(1024))
}

/// Tells the agent how many units are done, now and then.
fn progress(to_agent: &mut BufWriter<File>) -> impl FnMut(u64) {
    let mut told = Instant::now();
    move |units| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            // A broken pipe shows at the answer.
            let _ = wire::write(to_agent, &Reply::Progress { units }, &[]);
        }
    }
}
