//! The executor: answers its agent over stdin and stdout, and runs strangers' kernels as native code of this process.
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
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};
use orion_engine::opencl::OpenCl;
use orion_engine::wire::{self, LoadHead, MAX_REQUEST, Reply, Request};
use orion_engine::{Device, DeviceError, Job, Load, selftest};
use orion_protocol::{Reason, Refusal};

/// Files that are larger than this are not written: compiled kernels are small.
const FILE_BYTES: u64 = 64 << 20;
/// Input files may be longer than their data by their headers.
const HEADERS: u64 = 1 << 20;
/// Progress is told no more often.
const PROGRESS: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    match isolate().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orion-executor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A request with the blocks that came with it.
type Asked = (Request, Vec<Vec<u8>>);

/// The protocol's own ends of the pipes.
struct Pipes {
    from_agent: File,
    to_agent: File,
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
    Ok(Pipes { from_agent: from_agent.into(), to_agent: to_agent.into() })
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
fn serve(pipes: Pipes) -> anyhow::Result<()> {
    let Pipes { from_agent, to_agent } = pipes;
    let (ask, asked) = sync_channel(1);
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || read(from_agent, &ask))
        .context("start the reader")?;
    answer_all(&asked, &mut BufWriter::new(to_agent))
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

fn answer_all(asked: &Receiver<Asked>, to_agent: &mut BufWriter<File>) -> anyhow::Result<()> {
    let device = OpenCl::open();
    let mut job = None;
    while let Ok((request, blocks)) = asked.recv() {
        let (reply, rows) = match answer(&device, &mut job, request, blocks, to_agent) {
            Ok(answer) => answer,
            Err(refusal) => (Reply::Refused(refusal), Vec::new()),
        };
        wire::write(to_agent, &reply, &rows).context("answer the agent")?;
    }
    Ok(())
}

fn answer<'d>(
    device: &'d Result<OpenCl, DeviceError>,
    job: &mut Option<Job<'d, OpenCl>>,
    request: Request,
    blocks: Vec<Vec<u8>>,
    to_agent: &mut BufWriter<File>,
) -> Result<(Reply, Vec<Vec<u8>>), Refusal> {
    // Without a device no kernel is at fault, whatever the driver says.
    let device = device.as_ref().map_err(|error| Refusal::new(Reason::InternalError, error.to_string()))?;
    let nothing = || Refusal::new(Reason::InternalError, "no job is loaded");
    let reply = match request {
        Request::Probe => Reply::Probed { class: selftest::class(device)?, driver: device.driver().to_owned() },
        Request::Load(head) => {
            // The job before goes first: both may not fit.
            *job = None;
            let LoadHead { workload, units, outputs, inputs: _, memory } = *head;
            let load = Load { workload, units, outputs, inputs: blocks.into_iter().map(Arc::new).collect() };
            *job = Some(Job::load(device, &load, memory)?);
            Reply::Loaded
        }
        Request::Preflight => Reply::Preflighted { unit_nanos: job.as_mut().ok_or_else(nothing)?.preflight()? },
        Request::Run { first, count } => {
            let rows = job.as_mut().ok_or_else(nothing)?.run(first, count, progress(to_agent))?;
            return Ok((Reply::Rows { lengths: rows.iter().map(|rows| rows.len() as u64).collect() }, rows));
        }
    };
    Ok((reply, Vec::new()))
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
