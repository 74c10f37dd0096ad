//! `bench_ledger --ledger PROGRAM`: what the ledger does a second, what it makes people wait, and what a log takes, beside bare
//! loops of what it cannot do without. `cargo xtask bench-ledger` builds what is measured, and says what each figure is to be.

mod deposits;
mod load;
mod loops;
mod proof;
mod report;
mod service;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use orion_ledger_core::{VerifierKey, verify};

use crate::deposits::Deposits;
use crate::load::Load;
use crate::report::{Machine, Replay, Report, Size};
use crate::service::Service;

/// No machine acknowledges more a second: so many deposits are signed beforehand.
const RATE_MAX: u64 = 20_000;
/// Deposits that are signed and then submitted at a time while the log is filled.
const BATCH: u64 = 50_000;
/// How long the load that the ledger is killed under runs before.
const BEFORE_THE_KILL: Duration = Duration::from_millis(500);

#[derive(Parser)]
struct Args {
    /// The ledger, built in release mode.
    #[arg(long, value_name = "PROGRAM")]
    ledger: PathBuf,
    /// The ledger as it is shipped.
    #[arg(long, value_name = "PROGRAM")]
    shipped: Option<PathBuf>,
    /// A folder on the disk that is measured.
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// Where the table goes.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Seconds of each load.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// At how many entries memory and disk are looked at: early, when the store's cache is full, and at the end.
    #[arg(long, num_args = 3, default_values_t = [100_000, 500_000, 1_000_000])]
    entries: Vec<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let table = measure(&args)?.markdown();
    println!("{table}");
    match &args.markdown {
        Some(file) => std::fs::write(file, &table).with_context(|| format!("writing {}", file.display())),
        None => Ok(()),
    }
}

/// A ledger with its home, and how many entries it has acknowledged.
struct Bench {
    deposits: Deposits,
    home: tempfile::TempDir,
    service: Service,
    entries: u64,
}

impl Bench {
    fn start(program: &Path, scratch: &Path) -> Result<Bench> {
        let deposits = Deposits::new();
        let home = tempfile::tempdir_in(scratch).context("making a folder")?;
        let service = Service::start(program, home.path(), &deposits.genesis)?;
        Ok(Bench { deposits, home, service, entries: 0 })
    }

    /// Submits for so long.
    fn load(&mut self, time: Duration) -> Result<Load> {
        let signed = self.deposits.sign(RATE_MAX * time.as_secs())?;
        let load = load::run(self.service.address, &signed, Some(time))?;
        ensure!(load.entries < signed.len() as u64, "more than {RATE_MAX} a second: sign more of them beforehand");
        self.entries += load.entries;
        Ok(load)
    }

    /// Submits until there are so many entries.
    fn fill(&mut self, entries: u64) -> Result<Size> {
        while self.entries < entries {
            let signed = self.deposits.sign(BATCH.min(entries - self.entries))?;
            self.entries += load::run(self.service.address, &signed, None)?.entries;
            say(&format!("{} entries", self.entries));
        }
        let (memory, disk) = (self.service.memory()?, service::disk(&service::data(self.home.path()))?);
        Ok(Size { entries: self.entries, memory, disk })
    }

    /// Fetches the log and checks all of it.
    fn replay(&self) -> Result<Replay> {
        let export = fetch(&format!("http://{}/v1/export", self.service.address))?;
        let key = VerifierKey::new(self.deposits.chain(), Deposits::checkpoint_key().public());
        let start = Instant::now();
        verify::log(export.as_ref(), &key).context("checking the log")?;
        Ok(Replay { entries: self.entries, time: start.elapsed() })
    }

    /// Kills the ledger under load; gives how long its next start takes.
    fn restart(&mut self, program: &Path) -> Result<Duration> {
        let signed = self.deposits.sign(RATE_MAX)?;
        let address = self.service.address;
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || end.send(load::run(address, &signed, None).is_ok()));
        let early = ended.recv_timeout(BEFORE_THE_KILL);
        ensure!(early == Err(RecvTimeoutError::Timeout), "the load that the ledger is killed under ended by itself");
        self.service.kill()?;
        self.service = Service::start(program, self.home.path(), &self.deposits.genesis)?;
        Ok(self.service.started_in)
    }
}

fn measure(args: &Args) -> Result<Report> {
    let machine = machine(&args.scratch)?;
    let time = Duration::from_secs(args.seconds);
    say("bare loops");
    let bare = (time / 10).max(Duration::from_secs(1));
    let two_threads = loops::verify(2, bare);
    let sync = loops::sync(&args.scratch, bare)?;
    say("the shipped build under load");
    let shipped = args.shipped.as_ref().map(|shipped| Bench::start(shipped, &args.scratch)?.load(time)).transpose()?;
    say("the release build");
    let mut bench = Bench::start(&args.ledger, &args.scratch)?;
    let early = bench.fill(args.entries[0])?;
    let release = bench.load(time)?;
    say("a check of the log");
    // Beside what it is compared with.
    let verify = [loops::verify(1, bare), two_threads];
    let replay = bench.replay()?;
    let sizes = [early, bench.fill(args.entries[1])?, bench.fill(args.entries[2])?];
    say("a kill");
    let restart = bench.restart(&args.ledger)?;
    bench.service.kill()?;
    say("proofs");
    let chain = bench.deposits.chain();
    let proofs = [proof::real(&service::data(bench.home.path()), chain)?, proof::computed(chain)?];
    Ok(Report { machine, verify, sync, release, shipped, replay, proofs, sizes, restart })
}

fn fetch(url: &str) -> Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let uri = url.parse().context("reading a URL")?;
    runtime.block_on(async {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.get(uri).await.with_context(|| format!("fetching {url}"))?;
        ensure!(answer.status().is_success(), "fetching {url}: {}", answer.status());
        Ok(answer.into_body().collect().await.with_context(|| format!("fetching {url}"))?.to_bytes())
    })
}

/// What the kernel says of this machine.
fn machine(scratch: &Path) -> Result<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let after = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches([' ', '\t', ':']).trim().to_owned()
    };
    let kib = after(&read("/proc/meminfo")?, "MemTotal:");
    let kib: u32 = kib.strip_suffix(" kB").and_then(|kib| kib.parse().ok()).context("no MemTotal")?;
    let df = std::process::Command::new("df").arg("--output=fstype").arg(scratch).output();
    let df = df.map(|df| String::from_utf8_lossy(&df.stdout).into_owned()).unwrap_or_default();
    let filesystem = df.lines().last().unwrap_or_default().trim().to_owned();
    Ok(Machine {
        processor: after(&read("/proc/cpuinfo")?, "model name"),
        processors: std::thread::available_parallelism().context("counting processors")?.get(),
        memory_gib: f64::from(kib) / f64::from(1 << 20),
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        filesystem,
        load: read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
    })
}

/// Of `count` things in `time`.
fn per_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let count = count as f64;
    count / time.as_secs_f64()
}

fn say(what: &str) {
    eprintln!("bench-ledger: {what}");
}
