//! kubectl and helm against one cluster: always with its own kubeconfig, never with the user's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A kubectl (or helm) command for the cluster in `state`.
pub fn command(program: &Path, state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("KUBECONFIG", state.join("kubeconfig"))
        .env("KUBECACHEDIR", state.join("kubectl-cache"))
        .env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// Runs a command that reads `input`, and returns its standard output.
pub fn output_with_input(command: &mut Command, input: &str) -> Result<String> {
    let shown = crate::process::line(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start `{shown}`"))?;
    let mut stdin = child.stdin.take().context("standard input was asked for")?;
    let text = input.to_owned();
    // From a thread of its own: a command that answers before it has read all would block us.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let done = child.wait_with_output()?;
    // A command that did not read all its input says why itself.
    writer.join().ok();
    if !done.status.success() {
        bail!("`{shown}` failed ({}): {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
