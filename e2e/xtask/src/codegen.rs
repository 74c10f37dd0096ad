//! `cargo xtask codegen`: everything that is generated and committed, through the crates that it comes from.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Writes the files, or with `check` fails where they differ.
pub fn run(check: bool) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "-p", "orion-crds", "--example", "codegen", "--"]);
    command.args(check.then_some("--check"));
    ensure!(command.status().context("start cargo")?.success(), "generated files are not up to date");
    Ok(())
}
