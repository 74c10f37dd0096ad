//! The table of invariants in `ledger/README.md` and the tests that are named after them are the same.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Invariants of what is not built, which have no row: proofs of absence, and engines of many.
const NOT_BUILT: [u32; 2] = [31, 36];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every function of the ledger's tests, and of those of its formats and arithmetic, with its file.
fn functions() -> BTreeMap<String, PathBuf> {
    let mut functions = BTreeMap::new();
    for folder in ["ledger/core/tests", "ledger/tests", "crds/protocol/tests", "cli/tests"] {
        read(&root().join(folder), &mut functions);
    }
    functions
}

fn read(folder: &Path, functions: &mut BTreeMap<String, PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, functions);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| {
                let name = line.trim_start().strip_prefix("fn ")?.split_once('(')?.0;
                Some((name.to_owned(), path.clone()))
            });
            functions.extend(names);
        }
    }
}

/// The numbers that a test's name begins with: 4 and 5 of `i04_i05_an_escrow_...`.
fn numbers(name: &str) -> Vec<u32> {
    let number = |part: &str| part.strip_prefix('i').filter(|rest| rest.len() == 2)?.parse().ok();
    name.split('_').map_while(number).collect()
}

/// The rows: invariant and names of tests, as they are written between backticks.
fn table() -> BTreeMap<u32, Vec<String>> {
    let readme = std::fs::read_to_string(root().join("ledger/README.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in readme.lines().filter(|line| line.starts_with("| I")) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, tests, _, _] = columns[..] else { panic!("not four columns: {line}") };
        let number = number.strip_prefix('I').unwrap().parse().unwrap();
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(rows.insert(number, tests).is_none(), "two rows for I{number}");
    }
    rows
}

#[test]
fn every_invariant_has_its_row_and_every_named_test_is_in_one() {
    let (functions, table) = (functions(), table());
    let mut wrong = Vec::new();
    for (number, tests) in &table {
        if tests.is_empty() {
            wrong.push(format!("ledger/README.md, row I{number}: names no test"));
        }
        for test in tests.iter().filter(|test| !functions.contains_key(*test)) {
            wrong.push(format!("ledger/README.md, row I{number}: there is no test `{test}`"));
        }
    }
    for (name, path) in &functions {
        for number in numbers(name) {
            if !table.get(&number).is_some_and(|tests| tests.contains(name)) {
                let file = path.strip_prefix(root()).unwrap_or(path).display();
                wrong.push(format!("{file}: `{name}` is missing from row I{number} of ledger/README.md"));
            }
        }
    }
    for number in (1..=36).filter(|number| !NOT_BUILT.contains(number)) {
        if !table.contains_key(&number) {
            wrong.push(format!("ledger/README.md has no row I{number}"));
        }
    }
    assert!(wrong.is_empty(), "{} things to mend:\n{}", wrong.len(), wrong.join("\n"));
    let named: BTreeSet<&String> = table.values().flatten().filter(|name| !numbers(name).is_empty()).collect();
    println!("{} rows, {} tests named after invariants", table.len(), named.len());
}
