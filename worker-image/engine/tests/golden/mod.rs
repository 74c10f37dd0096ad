//! Digests that are written down: what kernel set 1 gives, on whatever machine. Where the set changes, its number does, and they are made anew with
//! `ORION_UPDATE_GOLDENS=1`.

mod machine;

use std::path::Path;

/// Compares lines of names and digests, which `by` gave, with those in a file of this folder.
pub fn check(file: &str, have: &str, by: &str) {
    machine::print(by);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("ORION_UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, have).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    let differing: Vec<&str> = have.lines().filter(|line| !want.lines().any(|other| other == *line)).collect();
    assert!(differing.is_empty(), "other bits than {} says: {differing:#?}", path.display());
    assert_eq!(have.lines().count(), want.lines().count(), "lines of {}", path.display());
}
