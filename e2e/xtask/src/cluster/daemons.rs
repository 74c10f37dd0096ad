//! The daemons of a cluster while it starts: spawned on the host or inside the node, watched until all are ready.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{Owner, output};
use crate::tools::Tools;
use crate::wait;

/// Starts daemons and notices when one of them dies.
pub struct Daemons<'a> {
    owner: Owner,
    tools: &'a Tools,
    /// Process id of the node's first process; daemons start in its namespaces.
    node: Option<i32>,
    children: Vec<(String, Child)>,
}

impl<'a> Daemons<'a> {
    /// Daemons on the host.
    pub fn new(state: &Path, tools: &'a Tools) -> Self {
        Self { owner: Owner::new(state), tools, node: None, children: Vec::new() }
    }

    /// From here on, daemons start inside the node.
    pub fn enter_node(&mut self, pid: i32) {
        self.node = Some(pid);
    }

    /// Starts one of the tools as a daemon of that name.
    pub fn start(&mut self, name: &str, arguments: &[String]) -> Result<()> {
        let mut command = match self.node {
            None => self.tools.command(name)?,
            Some(pid) => enter(pid, self.tools.path(name)?),
        };
        command.args(arguments);
        self.start_command(name, &mut command)
    }

    /// Starts any command as a daemon.
    pub fn start_command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:/usr/sbin:/sbin:{path}", self.tools.search_path()));
        let child = self.owner.spawn(name, command)?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// Fails with the end of its log when a daemon has died.
    pub fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended ({status}); {}", self.owner.log_tail(name));
            }
        }
        Ok(())
    }

    /// Waits for `probe` to succeed while all daemons live; `name`'s log is shown when time is up.
    pub fn wait_for(&mut self, name: &str, limit: Duration, mut probe: impl FnMut() -> Command) -> Result<()> {
        let mut last = String::new();
        let waited = wait::until(&format!("readiness of {name}"), limit, || {
            self.check()?;
            match output(&mut probe()) {
                Ok(_) => Ok(Some(())),
                Err(error) => {
                    last = format!("{error:#}");
                    Ok(None)
                }
            }
        });
        waited.map_err(|error| error.context(format!("{last}\n{}", self.owner.log_tail(name))))
    }
}

impl Drop for Daemons<'_> {
    /// The daemons go on. Should they end while this process lives, it takes note, so that no zombie stays.
    fn drop(&mut self) {
        for (_, mut child) in self.children.drain(..) {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// A command that runs `program` in the namespaces of the node.
///
/// Not `ip netns exec`: that remounts `/sys`, and the kubelet no longer finds the cgroups.
pub fn enter(pid: i32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid.to_string(), "--mount", "--net", "--pid", "--"]).arg(program);
    command
}
