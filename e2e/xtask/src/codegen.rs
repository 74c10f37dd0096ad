//! `cargo xtask codegen`: everything that is generated and committed, through the crates that it comes from.

use anyhow::{Context, Result, ensure};

use crate::process;

/// Writes the files, or with `check` fails where they differ.
pub fn run(check: bool) -> Result<()> {
    let mut command = process::cargo();
    command.args(["run", "--quiet", "-p", "orion-crds", "--example", "codegen", "--"]);
    command.args(check.then_some("--check"));
    ensure!(command.status().context("start cargo")?.success(), "generated files are not up to date");
    Ok(())
}
