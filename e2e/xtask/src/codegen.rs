//! `cargo xtask codegen`: everything that is generated and committed, through the crates that it comes from.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::programs;

/// Writes the files, or with `check` fails where they differ.
pub fn run(check: bool) -> Result<()> {
    // The whole workspace: with one package, dependencies would be compiled again with other features.
    process::run(process::cargo().args(["build", "--quiet", "--workspace", "--locked", "--example", "codegen"]))?;
    let mut command = Command::new(programs::target()?.join("debug/examples/codegen"));
    command.args(check.then_some("--check"));
    ensure!(command.status().context("start codegen")?.success(), "generated files are not up to date");
    Ok(())
}
