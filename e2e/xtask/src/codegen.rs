//! `cargo xtask codegen`: everything that is generated and committed, through the crates that it comes from.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::programs;

/// The examples that write them.
const EXAMPLES: &[&str] = &["codegen", "codegen_onnx"];

/// Writes the files, or with `check` fails where they differ.
pub fn run(check: bool) -> Result<()> {
    // The whole workspace: with one package, dependencies would be compiled again with other features.
    let mut build = process::cargo();
    build.args(["build", "--quiet", "--workspace", "--locked"]);
    process::run(build.args(EXAMPLES.iter().flat_map(|example| ["--example", example])))?;
    let folder = programs::target()?.join("debug/examples");
    let mut current = true;
    for example in EXAMPLES {
        let mut command = Command::new(folder.join(example));
        command.args(check.then_some("--check"));
        current &= command.status().with_context(|| format!("start {example}"))?.success();
    }
    ensure!(current, "generated files are not up to date");
    Ok(())
}
