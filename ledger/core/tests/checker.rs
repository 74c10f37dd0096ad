//! The checker in Python (`ledger/checker`) beside the ledger's own: it shares no code with it, and must say the same of every
//! log. `flip.py` changes a log field by field and makes everything around the field again, so that only a rule can notice; both
//! must refuse the same changes, at the same leaf.
//!
//! `ORION_CHECKER_CHANGES` asks for more changes a log, or for `all` of them; `ORION_SEED` runs the same ones again.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/history.rs"]
mod history;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use history::History;
use orion_ledger_core::{VerifierKey, verify};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt};
use orion_protocol::ledger::tx::*;
use orion_protocol::{PublicKey, Signature, Signed};
use support::{POLICY, World, export_of};
use tempfile::TempDir;

/// Changes a log in CI: one of each field is among them.
const CHANGES: &str = "120";
/// Random histories that the checker reads, and their steps.
const HISTORIES: u64 = 4;
const STEPS: u64 = 40;

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn checker(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../checker").join(script)
}

fn golden() -> Vec<PathBuf> {
    let files = std::fs::read_dir(tests().join("golden")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "export")).collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

/// An empty folder of this test's own, which goes with it: others may run beside it in the same target folder.
fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs Python; `None` where there is none to run, which CI does not allow.
fn python(arguments: &[&str]) -> Option<Output> {
    match Command::new("python3").arg("-B").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "python3 is missing, and CI must run {arguments:?}");
            eprintln!("skipped: there is no python3 to run {arguments:?}");
            None
        }
        Err(error) => panic!("python3 cannot be run: {error}"),
    }
}

fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What the checker says of a file: exit code and words.
fn check(file: &Path, key: &str) -> Option<(i32, String)> {
    let output = python(&[checker("check.py").to_str().unwrap(), file.to_str().unwrap(), "--key", key])?;
    Some((output.status.code().unwrap(), words(&output)))
}

/// The key of a log that the tests' keys signed.
fn key_of(export: &[u8]) -> VerifierKey {
    let piece = |at: usize| {
        let length = u32::from_be_bytes(export[at..at + 4].try_into().unwrap());
        &export[at + 4..at + 4 + usize::try_from(length).unwrap()]
    };
    let at = orion_ledger_core::export::MAGIC.len();
    let leaf = Leaf::from_bytes(piece(at + 4 + piece(at).len())).unwrap();
    let LeafBody::Genesis(genesis) = leaf.body else { panic!("no genesis") };
    let genesis = Genesis::from_bytes(&genesis).unwrap();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

#[test]
fn every_golden_log_is_proven() {
    for path in golden() {
        let bytes = std::fs::read(&path).unwrap();
        let key = key_of(&bytes);
        let (_, chain) = verify::chain(bytes.as_slice(), &key).unwrap();
        let Some((code, said)) = check(&path, &key.to_string()) else { return };
        assert_eq!(code, 0, "{}: {said}", path.display());
        let seal = chain.seal_ref();
        let want = format!("proven: {} leaves in {} blocks, ", seal.size, seal.height + 1);
        assert!(said.starts_with(&want), "{said}");
        let totals = chain.totals();
        let want = [("consumers", totals.consumers), ("providers", totals.providers), ("withdrawn", totals.withdrawn)];
        for (name, sum) in want {
            assert!(said.contains(&format!("'{name}': {sum}")), "{said}");
        }
    }
}

#[test]
fn random_histories_are_proven() {
    let seed = support::seed();
    let folder = folder();
    for number in 0..HISTORIES {
        let seed = seed.wrapping_add(number);
        println!("ORION_SEED={seed}");
        let policy = Policy { vesting_ms: 5_000 * (number % 2), ..POLICY };
        let mut history = History::new(seed, &policy);
        history.earn();
        (0..STEPS).for_each(|_| history.step());
        history.check();
        history.end();
        let (bytes, key) = history.world.export();
        let path = folder.path().join(format!("{seed}.export"));
        std::fs::write(&path, bytes).unwrap();
        let Some((code, said)) = check(&path, &key.to_string()) else { return };
        println!("{said}");
        assert_eq!(code, 0, "ORION_SEED={seed}: {said}");
    }
}

#[test]
fn every_changed_field_is_refused_by_both_or_is_said_to_be_free() {
    let folder = folder();
    let (script, out, seed) = (checker("flip.py"), folder.path().to_str().unwrap(), support::seed().to_string());
    println!("ORION_SEED={seed}");
    let changes = std::env::var("ORION_CHECKER_CHANGES").unwrap_or_else(|_| CHANGES.into());
    let many: &[&str] = if changes == "all" { &["--all"] } else { &["--some", &changes] };
    let logs = golden();
    let logs: Vec<&str> = logs.iter().map(|path| path.to_str().unwrap()).collect();
    let flags = [&["--seed", &seed, "--out", out], many].concat();
    let Some(output) = python(&[&[script.to_str().unwrap()], logs.as_slice(), &flags].concat()) else { return };
    println!("{}", words(&output));
    assert!(output.status.success(), "{}", words(&output));

    let mut judged = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let log =
            golden().into_iter().find(|log| name.starts_with(log.file_stem().unwrap().to_str().unwrap())).unwrap();
        let key = key_of(&std::fs::read(log).unwrap());
        let judgement = verify::chain(std::fs::read(&path).unwrap().as_slice(), &key);
        // flip.py names a file by what the checker says of it: `-taken`, or `-refused-` and the leaf.
        match (name.rsplit_once("-refused-"), judgement) {
            (None, judgement) => {
                assert!(name.ends_with("-taken"), "{name}");
                judgement.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            }
            (Some((_, leaf)), Err(error)) => {
                assert_eq!(error.leaf().map(|at| at.to_string()).as_deref(), Some(leaf), "{name}: {error:?}");
            }
            (Some(_), Ok(_)) => panic!("the checker refuses {name}, the ledger takes it"),
        }
        judged += 1;
    }
    println!("{judged} changed logs were judged alike, at the same leaves");
    assert!(judged > 300, "{judged}");
}

#[test]
fn what_the_checker_does_not_know_is_undecided_and_what_it_cannot_read_too() {
    let mut world = World::new();
    assert_eq!(world.deposit(1), Code::Ok);
    let folder = folder();
    let path = folder.path().join("log.export");
    // The last deposit becomes a transaction of a kind that there is not: `[200, [{}]]`.
    let envelope = Envelope {
        signer: world.signers.keys.issuer.public(),
        epoch: 0,
        id: world.id(),
        payload: vec![0x82, 0x18, 200, 0x81, 0xa0].into(),
    };
    let signed = Signed::new(&world.signers.chain, &world.signers.keys.issuer, &envelope);
    let at = world.log.len() - 2;
    let mut leaf = Leaf::from_bytes(&world.log[at]).unwrap();
    leaf.body = LeafBody::Transaction(signed, Receipt { code: Code::Ok, transfers: Vec::new() });
    world.log[at] = leaf.to_bytes();
    let (bytes, key) = signed_anew(&world);
    std::fs::write(&path, &bytes).unwrap();
    let Some((code, said)) = check(&path, &key.to_string()) else { return };
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&format!("leaf {at}: cannot judge kind 200")), "{said}");

    // What another log's key says of it, what is no key, and what is no file.
    let mut genesis = world.chain.genesis().clone();
    genesis.nonce = orion_protocol::Digest::ZERO;
    let other = VerifierKey::new(&genesis.chain(), genesis.checkpoint).to_string();
    for (file, key, want, what) in [
        (path.clone(), other, 1, "signature does not verify"),
        (path.clone(), "orion.dev/x+00000000+AAAA".into(), 2, "cannot be decided"),
        (folder.path().join("nothing"), key.to_string(), 2, "cannot be decided"),
    ] {
        let Some((code, said)) = check(&file, &key) else { return };
        assert!(code == want && said.contains(what), "{code}: {said}");
    }
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (code, said) = check(&path, &key.to_string()).unwrap();
    assert!(code == 1 && said.contains("the export ends within a leaf"), "{code}: {said}");
}

/// The export of a world whose leaves were replaced: its checkpoint is over the leaves as they are.
fn signed_anew(world: &World) -> (Vec<u8>, VerifierKey) {
    let mut tree = orion_protocol::merkle::Tree::<orion_protocol::merkle::Sha256>::default();
    world.log.iter().for_each(|leaf| tree.push(orion_protocol::merkle::Sha256::leaf(leaf)));
    let mut seal = world.chain.seal_ref();
    seal.root = orion_protocol::Digest(tree.root());
    export_of(&world.signers, &seal, &world.log)
}

#[test]
fn the_checker_takes_the_signatures_that_the_ledger_takes() {
    let cases =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../crds/protocol/vectors/outside/ed25519-edge-cases.json");
    let script = "import sys, json; sys.path.insert(0, sys.argv[1]); import helpers, strict\n\
                  for case in json.load(open(sys.argv[2])):\n\
                  \x20   key, signature = bytes.fromhex(case['key']), bytes.fromhex(case['sig'])\n\
                  \x20   if strict.verifies(key, case['msg'].encode(), signature): print(case['number'])";
    let folder = checker("");
    let Some(output) = python(&["-c", script, folder.to_str().unwrap(), cases.to_str().unwrap()]) else { return };
    assert!(output.status.success(), "{}", words(&output));
    let theirs: Vec<u64> = words(&output).lines().map(|line| line.parse().unwrap()).collect();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap();
    let ours = cases.iter().filter(|case| {
        let key: PublicKey = case["key"].as_str().unwrap().parse().unwrap();
        let signature: Signature = case["sig"].as_str().unwrap().parse().unwrap();
        key.verifies(case["msg"].as_str().unwrap().as_bytes(), &signature)
    });
    let ours: Vec<u64> = ours.map(|case| case["number"].as_u64().unwrap()).collect();
    assert_eq!((cases.len(), ours.len()), (914, 43));
    assert_eq!(theirs, ours);
}
