//! Child processes: commands that end, daemons that stay, and finding every daemon of a cluster again.
//!
//! A daemon is recognised by one environment variable that names its cluster's state folder, inherited by all that it
//! starts. So nothing is lost when a run is killed, and no recycled process id is ever hit: there are no pid files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::progress::Step;
use crate::{files, wait};

/// The environment variable that marks a daemon; its value is the cluster's state folder.
pub const MARKER: &str = "ORION_CLUSTER";

/// How much of a log goes into an error message.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Runs a command to its end and returns its standard output. The error holds the command and its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("start `{}`", line(command)))?;
    if !done.status.success() {
        bail!("`{}` failed ({}): {}", line(command), done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command to its end for its effect. The error holds the command and its standard error.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command whose output is for the reader.
pub fn show(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// The same for a command that may hang: after `limit` it is killed with all that it started.
pub fn show_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mark = tempfile::tempdir().context("making a folder")?;
    let owner = Owner::new(mark.path());
    let line = line(command);
    let mut child = command.env(MARKER, mark.path()).spawn().with_context(|| format!("start `{line}`"))?;
    let ended = wait::until(&format!("the end of `{line}`"), limit, || Ok(child.try_wait()?));
    if ended.is_err() {
        owner.kill_all()?;
        child.wait().ok();
    }
    match ended? {
        status if status.success() => Ok(()),
        status => bail!("`{line}` failed ({status})"),
    }
}

/// Runs a long command: its lines of standard error are shown by `step`, and kept for the error.
pub fn run_long(command: &mut Command, step: &Step) -> Result<()> {
    let shown = line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{shown}`"))?;
    let errors = child.stderr.take().context("standard error was asked for")?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| last_lines(errors, step));
        let status = wait::until(&shown, Duration::from_hours(2), || {
            step.beat();
            Ok(child.try_wait()?)
        });
        if status.is_err() {
            // Out of time: without this the reader below would wait for ever.
            child.kill().ok();
        }
        let tail = reader.join().unwrap_or_default();
        let status = status?;
        if !status.success() {
            bail!("`{shown}` failed ({status}):\n{tail}");
        }
        Ok(())
    })
}

/// cargo, as it would run by itself. What an outer `cargo run` has told this program about its package would count as a change
/// for every build script that looks at it, and half of the dependencies would be compiled again each time.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// The command, which leaves most of the processors to others who want them, and is not starved by them.
pub fn nice(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "5"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    nice
}

/// The command as one line, for messages.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Where the daemons of one cluster keep their logs and how they are marked.
#[derive(Debug, Clone)]
pub struct Owner {
    state: PathBuf,
}

/// A running daemon that belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    /// Process id as the host sees it.
    pub pid: i32,
    /// File name of the program.
    pub program: String,
    /// It carries the mark itself; otherwise it descends from one that does, as what runs in pods.
    pub marked: bool,
}

impl Owner {
    /// The owner of everything in `state`.
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Path of the log of the daemon `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    /// Starts a daemon that outlives this process: marked, logging to its file, deaf to the terminal's signals.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Child> {
        let path = self.log(name);
        files::make_folder(path.parent().context("a log needs a folder")?)?;
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("open the log {}", path.display()))?;
        command
            .env(MARKER, &self.state)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name} as `{}`", line(command)))
    }

    /// The end of a daemon's log, for an error message.
    pub fn log_tail(&self, name: &str) -> String {
        let path = self.log(name);
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_else(|error| format!("(no log: {error})"));
        format!("end of {}:\n{text}", path.display())
    }

    /// Every process that carries this owner's mark, and its descendants.
    pub fn processes(&self) -> Result<Vec<Owned>> {
        let mark = format!("{MARKER}={}", self.state.display());
        if Path::new("/proc/self/environ").exists() { marked_in_proc(&mark) } else { marked_by_ps(&mark) }
    }

    /// Names of the programs that run for this owner.
    pub fn programs(&self) -> Result<BTreeSet<String>> {
        Ok(self.processes()?.into_iter().map(|owned| owned.program).collect())
    }

    /// Kills the processes that run one program and waits until they have ended. Returns how many there were.
    pub fn kill_program(&self, program: &str) -> Result<usize> {
        self.kill_where(|owned| owned.program == program)
    }

    /// Kills every process with the mark and waits until none is left. Returns how many there were.
    pub fn kill_all(&self) -> Result<usize> {
        self.kill_where(|_| true)
    }

    fn kill_where(&self, wanted: impl Fn(&Owned) -> bool) -> Result<usize> {
        let mut seen = BTreeSet::new();
        wait::until("the end of the cluster's processes", Duration::from_mins(1), || {
            let mut left = self.processes()?;
            left.retain(&wanted);
            for owned in &left {
                seen.insert(owned.pid);
                // It may be gone by now, which is what we want.
                kill(Pid::from_raw(owned.pid), Signal::SIGKILL).ok();
            }
            // A dying process loses its environment, and so its mark, before it lets go of its files and ports.
            Ok((left.is_empty() && !seen.iter().copied().any(is_alive)).then_some(()))
        })?;
        Ok(seen.len())
    }
}

/// Whether any thread of a process still runs. A zombie, which only waits for its parent to look, has ended.
fn is_alive(pid: i32) -> bool {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let zombie = fs::read_to_string(folder.join("stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    let alone = || fs::read_dir(folder.join("task")).is_ok_and(|threads| threads.count() <= 1);
    kill(Pid::from_raw(pid), None).is_ok() && !(zombie && alone())
}

fn marked_in_proc(mark: &str) -> Result<Vec<Owned>> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("list processes")? {
        let folder = entry?.path();
        let Some(pid) = folder.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Some processes let nobody read theirs, and any may end while we look.
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        seen.insert(pid, (parent(&folder), marked));
    }
    // A child of a marked process is marked, whatever it did with its environment.
    let is_ours = |pid: &i32| {
        let mut ancestors = std::iter::successors(Some(*pid), |pid| Some(seen.get(pid)?.0)).take(seen.len());
        ancestors.any(|pid| seen.get(&pid).is_some_and(|(_, marked)| *marked))
    };
    let owned = |pid: i32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        let marked = seen.get(&pid).is_some_and(|(_, marked)| *marked);
        Owned { pid, program: base_name(&String::from_utf8_lossy(program)), marked }
    };
    Ok(seen.keys().copied().filter(is_ours).map(owned).collect())
}

/// The parent of the process whose folder in /proc this is; 0 when it has ended.
fn parent(folder: &Path) -> i32 {
    let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
    // The second field is the program's name in brackets, which may hold anything.
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    rest.split(' ').nth(1).and_then(|parent| parent.parse().ok()).unwrap_or_default()
}

/// For systems without /proc: `ps` prints the environment after the command.
fn marked_by_ps(mark: &str) -> Result<Vec<Owned>> {
    let listing = output(Command::new("ps").args(["-axEww", "-o", "pid=,command="]))?;
    let marked = listing.lines().filter(|line| line.split_whitespace().any(|word| word == mark));
    Ok(marked
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            Some(Owned { pid, program: base_name(words.next()?), marked: true })
        })
        .collect())
}

fn base_name(program: &str) -> String {
    program.rsplit('/').next().unwrap_or_default().to_owned()
}

fn last_lines(errors: impl Read, step: &Step) -> String {
    const KEPT: usize = 30;
    let mut lines = std::collections::VecDeque::new();
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        step.note(&line);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    Vec::from(lines).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_says_what_it_was_and_why() {
        let error = output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("broken"), "{text}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_all_that_it_started() {
        let began = std::time::Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]);
        let error = show_within(&mut command, Duration::from_millis(300)).unwrap_err();
        assert!(error.to_string().contains("sleep 600") && began.elapsed() < Duration::from_mins(1), "{error}");
        let marked = command.get_envs().find(|(name, _)| *name == MARKER).unwrap().1.unwrap();
        assert_eq!(Owner::new(Path::new(marked)).processes().unwrap(), []);
    }

    #[test]
    fn daemons_are_found_by_their_mark_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::new(folder.path());
        let mut child = owner.spawn("sleeper", Command::new("sleep").arg("600")).unwrap();
        wait::until("the sleeper to show", Duration::from_secs(5), || {
            Ok(owner.programs()?.contains("sleep").then_some(()))
        })
        .unwrap();
        let reaper = std::thread::spawn(move || child.wait());
        assert_eq!(owner.kill_all().unwrap(), 1);
        assert!(!reaper.join().unwrap().unwrap().success());
        assert_eq!(owner.processes().unwrap(), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn children_without_the_mark_are_found_by_their_parent() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::new(folder.path());
        let mut child = owner.spawn("shell", Command::new("sh").args(["-c", "env -i sleep 600; true"])).unwrap();
        wait::until("the sleeper to show", Duration::from_secs(5), || {
            Ok(owner.programs()?.contains("sleep").then_some(()))
        })
        .unwrap();
        let reaper = std::thread::spawn(move || child.wait());
        assert_eq!(owner.kill_all().unwrap(), 2);
        reaper.join().unwrap().unwrap();
    }

    #[test]
    fn another_clusters_daemons_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::new(&folder.path().join("one"));
        let other = Owner::new(&folder.path().join("one-more"));
        let mut child = other.spawn("sleeper", Command::new("sleep").arg("600")).unwrap();
        assert_eq!(owner.kill_all().unwrap(), 0);
        assert!(child.try_wait().unwrap().is_none(), "still running");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
