//! Writes the CRDs as YAML, where people and the chart look for them. Called by `cargo xtask codegen`.

use std::path::Path;
use std::process::ExitCode;

/// Folders that hold the same files.
const FOLDERS: &[&str] = &["crds/yaml", "charts/orion/crds"];

fn main() -> std::io::Result<ExitCode> {
    let check = std::env::args().any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut stale = false;
    for (name, text) in orion_crds::yaml() {
        for folder in FOLDERS {
            let path = root.join(folder).join(&name);
            if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
                continue;
            }
            stale = true;
            if check {
                eprintln!("{folder}/{name} is out of date: run `cargo xtask codegen`");
            } else {
                std::fs::write(&path, &text)?;
                println!("wrote {folder}/{name}");
            }
        }
    }
    Ok(ExitCode::from(u8::from(check && stale)))
}
