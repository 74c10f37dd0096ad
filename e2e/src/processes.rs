//! The platform's processes: found by the mark of their cluster and by their arguments, killed, stopped and continued.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::process::Owner;

use crate::World;

/// A process of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(i32);

impl World {
    /// The one process that runs `program` with `value` after `flag`.
    pub fn process(&self, program: &str, flag: &str, value: &str) -> Result<Process> {
        let found = self.processes(program, flag, value)?;
        match found[..] {
            [one] => Ok(one),
            _ => bail!("{} processes run {program} {flag} {value}", found.len()),
        }
    }

    /// The processes that run `program` with `value` after `flag`.
    pub fn processes(&self, program: &str, flag: &str, value: &str) -> Result<Vec<Process>> {
        let owned = Owner::new(&self.state).processes()?;
        let fits = |pid: i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [flag.as_bytes(), value.as_bytes()])
        };
        let found = owned.into_iter().filter(|owned| owned.program == program && fits(owned.pid));
        Ok(found.map(|owned| Process(owned.pid)).collect())
    }
}

impl Process {
    /// SIGKILL.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// SIGSTOP.
    pub fn stop(self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn go_on(self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Whether it has not ended.
    pub fn is_there(self) -> bool {
        kill(Pid::from_raw(self.0), None).is_ok()
    }

    fn signal(self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.0), signal).with_context(|| format!("sending {signal} to process {}", self.0))
    }
}
