//! The executor's process: a cleared environment, a private directory, a process group of its own. A thread stands for it from
//! its start to its end: it starts it (so that "dies with its parent" means the agent and not some passing thread), waits for
//! it, kills whatever is left of its group, and removes its directory.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pipe::printable;
use super::{ExecutorConfig, ExecutorError, tree};

/// So much of what it last wrote to stderr is kept, in bytes: enough for a refusal's message and no more.
const STDERR_KEPT: usize = 3 * 1024;
/// How long a process whose pipe broke may take to end by itself.
const ENDING: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone; memory is given back in that time.
const KILLING: Duration = Duration::from_secs(10);

/// How private directories are called: after it the agent's process id.
const PREFIX: &str = "executor-";

/// Removes private directories of agents that are gone: one that was killed could not do it. To be called before the first
/// executor is started, so that those of our own number are an earlier agent's.
pub fn clear_leftovers(scratch: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(scratch)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let Some(agent) = rest.split('-').next().and_then(|pid| pid.parse().ok()) else { continue };
        let is_ours = i64::from(std::process::id()) == i64::from(agent);
        if is_ours || kill(Pid::from_raw(agent), None) == Err(Errno::ESRCH) {
            // One that resists keeps none of the others.
            if let Err(error) = tree::remove(&path) {
                tracing::warn!(%error, path = %path.display(), "what an earlier executor left stays");
            }
        }
    }
    Ok(())
}

/// A running executor.
#[derive(Debug)]
pub(super) struct Process {
    /// Its process group, until it is reaped: after that the number may be somebody else's.
    group: Arc<Mutex<Option<Pid>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Process {
    /// Starts it, with a cache of its own unless another one is given.
    pub(super) fn spawn(
        config: &ExecutorConfig,
        cache: Option<&Path>,
    ) -> Result<(Process, ChildStdin, ChildStdout), ExecutorError> {
        let scratch = |source| ExecutorError::Scratch { path: config.scratch.clone(), source };
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let private = tempfile::Builder::new().prefix(&prefix).tempdir_in(&config.scratch).map_err(scratch)?;
        for name in ["cache", "tmp"] {
            std::fs::create_dir(private.path().join(name)).map_err(scratch)?;
        }
        let failed = |source| ExecutorError::Spawn { binary: config.binary.clone(), source };
        let group = Arc::new(Mutex::new(None));
        let (tell_end, ended) = watch::channel(None);
        let (tell_start, started) = std::sync::mpsc::sync_channel(1);
        let command = command(config, private.path(), cache);
        let reaper = Reaper { group: Arc::clone(&group), tell_end, private };
        let thread = std::thread::Builder::new().name("executor".into());
        thread.spawn(move || reaper.stand_for(command, &tell_start)).map_err(failed)?;
        let mut pipes = started.recv().map_err(|_| failed(std::io::ErrorKind::BrokenPipe.into()))?.map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (pipes.stdin.take(), pipes.stdout.take(), pipes.stderr.take())
        else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let tail = Arc::new(Mutex::new(Vec::new()));
        let from = ChildStderr::from_std(stderr).map_err(failed)?;
        let listener = tokio::spawn(keep_tail(from, Arc::clone(&tail)));
        let process = Process { group, ended, stderr: tail, listener };
        let stdin = ChildStdin::from_std(stdin).map_err(failed)?;
        let stdout = ChildStdout::from_std(stdout).map_err(failed)?;
        Ok((process, stdin, stdout))
    }

    /// Kills it and all of its group.
    pub(super) fn kill(&self) {
        kill_group(*self.group.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether it is known to have ended.
    pub(super) fn has_ended(&self) -> bool {
        // Without a sender its directory is gone already, and its status may never have been had.
        self.ended.borrow().is_some() || self.ended.has_changed().is_err()
    }

    /// Waits until it is gone, its directory is removed, and all it wrote to stderr was read; bounded.
    pub(super) async fn ended(&mut self) {
        // The sender goes when the directory is gone.
        let gone = async { while self.ended.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(KILLING, gone).await;
        // Whoever closes an executor after a fault comes here twice; a finished handle may not be asked again.
        if !self.listener.is_finished() {
            let _ = tokio::time::timeout(ENDING, &mut self.listener).await;
        }
    }

    /// Its status, if it ends by itself soon.
    pub(super) async fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        let status = tokio::time::timeout(ENDING, self.ended.wait_for(Option::is_some)).await;
        status.ok()?.ok().and_then(|status| *status)
    }

    /// The last of what it wrote to stderr, printable.
    pub(super) fn stderr(&self) -> String {
        let tail = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        printable(&String::from_utf8_lossy(&tail))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.listener.abort();
    }
}

/// What the thread holds that stands for a process.
struct Reaper {
    group: Arc<Mutex<Option<Pid>>>,
    tell_end: watch::Sender<Option<ExitStatus>>,
    private: TempDir,
}

impl Reaper {
    fn stand_for(self, mut command: Command, tell_start: &std::sync::mpsc::SyncSender<std::io::Result<Pipes>>) {
        let Reaper { group, tell_end, private } = self;
        let lock = || group.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let _ = private.close();
                let _ = tell_start.send(Err(error));
                return;
            }
        };
        let pid = i32::try_from(child.id()).ok().map(Pid::from_raw);
        *lock() = pid;
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() };
        if tell_start.send(Ok(pipes)).is_err() {
            kill_group(pid);
        }
        let status = reap(&mut child, pid, &group);
        tell_end.send_replace(status.ok());
        // What strangers left there may resist; the volume ends with the pod.
        let _ = tree::remove(&private.keep());
    }
}

struct Pipes {
    stdin: Option<std::process::ChildStdin>,
    stdout: Option<std::process::ChildStdout>,
    stderr: Option<std::process::ChildStderr>,
}

fn kill_group(group: Option<Pid>) {
    if let Some(group) = group {
        // Already gone is as good.
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// Waits for the end and kills what is left of the group while its number cannot yet be given to others.
#[cfg(target_os = "linux")]
fn reap(child: &mut Child, pid: Option<Pid>, group: &Mutex<Option<Pid>>) -> std::io::Result<ExitStatus> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    if let Some(pid) = pid {
        while let Err(nix::errno::Errno::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
    }
    let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
    kill_group(group.take());
    child.wait()
}

/// Waits for the end and kills what is left of the group; without `waitid` the number is free for an instant before.
#[cfg(not(target_os = "linux"))]
fn reap(child: &mut Child, _: Option<Pid>, group: &Mutex<Option<Pid>>) -> std::io::Result<ExitStatus> {
    let status = child.wait();
    kill_group(group.lock().unwrap_or_else(PoisonError::into_inner).take());
    status
}

/// The environment is cleared: no key, token or address that the agent knows reaches it.
fn command(config: &ExecutorConfig, private: &Path, cache: Option<&Path>) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    let mut command = Command::new(&config.binary);
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", private)
        .env("TMPDIR", private.join("tmp"))
        .env("POCL_CACHE_DIR", cache.map_or_else(|| private.join("cache"), Path::to_owned))
        .current_dir(private)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(vendors) = &config.icd_vendors {
        command.env("OCL_ICD_VENDORS", vendors);
    }
    if config.unconfined {
        command.env("ORION_UNCONFINED", "true");
    }
    if let Some(threads) = config.threads {
        command.env("POCL_MAX_PTHREAD_COUNT", threads.to_string());
    }
    command
}

/// Reads until the end and keeps the last of it.
async fn keep_tail(mut from: ChildStderr, tail: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; 4096];
    while let Ok(count) = from.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(&chunk[..count]);
        let surplus = tail.len().saturating_sub(STDERR_KEPT);
        tail.drain(..surplus);
    }
}
