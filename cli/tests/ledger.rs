//! `orion ledger` as a program, on files alone: receipts, forks and rewards, each with its exit code. What a person reads is in
//! tests/golden, made anew with `ORION_UPDATE_GOLDENS=1`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../ledger/core/tests/support/mod.rs"]
mod support;

mod said;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use orion_ledger_core::log::fork::{Claim, Evidence};
use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::{Signer, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::dtype::DType;
use orion_protocol::ids::Account;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::{Bonds, Genesis, Policy};
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::npy::Header;
use orion_protocol::statements::Commitment;
use orion_protocol::task::{TaskSpec, UnitOutput, unit_digest, unit_salt};
use said::Said;
use serde_json::Value;
use support::{Ballot, Keys, POLICY, Work, World, key, spec_under};
use tempfile::TempDir;

/// A price under which shares have remainders.
const ODD: Policy = Policy { price: 333_333, ..POLICY };

/// The program in a folder of its own, with files of a log.
struct Orion {
    folder: TempDir,
}

impl Orion {
    fn new() -> Orion {
        Orion { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn call(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        Said::of(command.args(words.split(' ')).current_dir(self.folder.path()))
    }

    fn json(&self, words: &str, code: i32) -> Value {
        let said = self.call(&format!("-o json {words}"));
        assert_eq!(said.code, Some(code), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }
}

impl Said {
    /// It ended with this code and these words on stderr.
    fn check(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        for words in words {
            assert!(self.err.contains(words), "{words:?} is not in: {}", self.err);
        }
    }

    /// It was proven, and this is what a person reads.
    fn golden(&self, file: &str) {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        golden(file, &self.out);
    }
}

fn golden(file: &str, have: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("ORION_UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, have).unwrap();
    }
    assert_eq!(have, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

/// Shards of 5, 5 and 2 units; the first was refused once.
struct Case {
    world: World,
    task: TaskSpec,
    bad: Work,
    good: Work,
}

impl Case {
    /// All shards accepted, nothing paid.
    fn judged() -> Case {
        let mut world = World::under(ODD);
        let task = spec_under(&ODD, 0xa1, 12, 5, 2);
        assert_eq!(world.open_escrow(&task), Code::Ok);
        let bad = world.signers.work(&task, 0, 1, key(11).public(), &[0, 1, 2, 3, 4]);
        let closed = world.close_round(&task, &[&bad]);
        assert_eq!(world.judge(&task, &closed, &[&bad], &Ballot::default()), Code::Ok);
        let good = world.signers.work(&task, 0, 2, key(12).public(), &[]);
        let others = [(1, 13), (2, 11)].map(|(shard, by)| world.signers.work(&task, shard, 1, key(by).public(), &[]));
        let all = [&good, &others[0], &others[1]];
        let closed = world.close_round(&task, &all);
        let ballot = Ballot { liars: BTreeSet::from([key(11).public()]), ..Ballot::default() };
        assert_eq!(world.judge(&task, &closed, &all, &ballot), Code::Ok);
        Case { world, task, bad, good }
    }

    fn paid() -> Case {
        let mut case = Case::judged();
        assert_eq!(case.world.settle(&case.task, 0).code, Code::Ok);
        assert_eq!(case.world.close(&case.task).code, Code::Ok);
        case
    }

    /// Export and key as files.
    fn files(&self) -> Orion {
        let orion = Orion::new();
        let (export, key) = self.world.export();
        orion.put("log.export", export);
        orion.put("orion.vkey", format!("{key}\n"));
        orion
    }
}

/// The log's checkpoint, signed.
fn checkpoint(world: &World) -> String {
    let mut signer = Signer::new(&world.signers.chain, world.signers.keys.checkpoint.clone(), None);
    signer.sign(&world.chain.seal_ref()).unwrap()
}

fn prove(rest: &str) -> String {
    format!("ledger prove log.export --key orion.vkey {rest}")
}

/// A unit of the shard that was drawn.
fn drawn(orion: &Orion) -> u64 {
    let log = orion.json("ledger verify log log.export --key orion.vkey", 0);
    log["jobs"][0]["shards"][0]["accepted"]["drawn"][0]["unit"].as_u64().unwrap()
}

#[test]
fn a_receipt_states_what_was_computed_judged_and_paid() {
    let case = Case::paid();
    let orion = case.files();
    let unit = drawn(&orion);
    let made = orion.call(&prove(&format!("--job a1a1a1a1 --shard 0 --unit {unit} --out receipt")));
    made.golden("prove.txt");
    let said = orion.call("ledger verify receipt receipt --key orion.vkey");
    said.golden("receipt.txt");
    assert!(made.out.starts_with(&said.out), "prove says what the receipt says");
    let stated = orion.json("ledger verify receipt receipt --key orion.vkey", 0);
    let provider = key(12).public();
    let balance = case.world.balance(&Account::Available(provider));
    assert_eq!(stated["provider"], provider.to_string());
    assert_eq!((&stated["job"], &stated["unit"]["unit"]), (&case.task.job.to_string().into(), &unit.into()));
    assert_eq!((&stated["shard"], &stated["firstUnit"], &stated["units"]), (&0.into(), &0.into(), &5.into()));
    assert_eq!(stated["verdict"]["accepted"], true);
    let paid = &stated["payments"][0];
    assert_eq!((&paid["key"], &paid["earned"]), (&provider.to_string().into(), &balance.into()));
    // The folder moves, and nothing else of this machine is needed.
    std::fs::rename(orion.path("receipt"), orion.path("moved")).unwrap();
    std::fs::remove_file(orion.path("log.export")).unwrap();
    assert_eq!(orion.json("ledger verify receipt moved --key orion.vkey", 0), stated);
}

#[test]
fn an_attempt_that_was_rejected_has_a_receipt_without_payment() {
    let case = Case::paid();
    let orion = case.files();
    let log = orion.json("ledger verify log log.export --key orion.vkey", 0);
    let lease = log["jobs"][0]["shards"][0]["rejected"][0]["leaseDigest"].as_str().unwrap();
    assert_eq!(lease, case.bad.lease.to_string());
    let stated = orion.json(&prove(&format!("--job {} --lease {lease} --out bad", case.task.job)), 0);
    assert_eq!((&stated["verdict"]["accepted"], &stated["attempt"]), (&false.into(), &1.into()));
    assert_eq!(stated["payments"].as_array().map(Vec::len), Some(0));
    assert!(orion.path("bad/verdict.leaf").exists() && !orion.path("bad/settle.leaf").exists());
    let said = orion.call("ledger verify receipt bad --key orion.vkey");
    assert!(said.out.contains("rejected") && said.out.contains("no payment is in the receipt"), "{said:?}");
}

#[test]
fn what_cannot_be_proven_says_why_and_leaves_no_folder() {
    let case = Case::paid();
    let orion = case.files();
    let unit = (0..5).find(|unit| !drawn_units(&orion).contains(unit)).unwrap();
    let undecided = [
        ("--job b2b2b2b2 --shard 0".to_owned(), vec!["no job b2b2b2b2", "a1a1a1a1a1a1a1a1", "orion ledger export"]),
        ("--job a1 --shard 0".to_owned(), vec!["too short", "8 digits"]),
        ("--job a1a1a1a1 --shard 3".to_owned(), vec!["shard 3", "the job has 3", "--lease"]),
        (format!("--job a1a1a1a1 --lease {}", case.task.digest()), vec!["no round", "orion ledger verify log -o json"]),
        (format!("--job a1a1a1a1 --shard 0 --unit {unit}"), vec!["was not drawn, only ["]),
    ];
    for (words, says) in undecided {
        orion.call(&prove(&format!("{words} --out receipt"))).check(2, &says);
    }
    let usage = ["--job a1a1a1a1", "--job a1a1a1a1 --shard x", "--shard 0", "--job a1a1a1a1 --shard 0 --lease 00"];
    for words in usage {
        orion.call(&prove(&format!("{words} --out receipt"))).check(3, &["--help"]);
    }
    let mut export = std::fs::read(orion.path("log.export")).unwrap();
    let middle = export.len() / 2;
    export[middle] ^= 1;
    orion.put("log.export", &export);
    orion.call(&prove("--job a1a1a1a1 --shard 0 --out receipt")).check(1, &["NOT verified"]);
    let left = std::fs::read_dir(orion.folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<BTreeSet<_>>(), BTreeSet::from(["log.export".into(), "orion.vkey".into()]));
    let other = case.files();
    other.put("receipt", "mine");
    other.call(&prove("--job a1a1a1a1 --shard 0 --out receipt")).check(2, &["receipt exists", "--out"]);
    assert_eq!(std::fs::read(other.path("receipt")).unwrap(), b"mine");
}

/// A shard of five units whose commitment is over real results, with the files and the salt of the job in `orion`.
fn committed(orion: &Orion) -> Work {
    let mut world = World::under(ODD);
    let (task, salt) = (spec_under(&ODD, 0xa1, 7, 5, 1), Digest::of(b"the job's salt"));
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let plain = world.signers.work(&task, 0, 1, key(12).public(), &[]);
    let rows: Vec<[u8; 4]> = (0..7_i32).map(|item| (item * 3).to_le_bytes()).collect();
    let leaf = |unit: u64| {
        let bytes = rows[usize::try_from(unit).unwrap()].as_slice();
        let digest = unit_digest(&task.digest(), unit, &[UnitOutput { spec: &task.outputs[0], bytes }]);
        Sha3::unit_leaf(&unit_salt(&salt, unit), unit, &digest)
    };
    let root = Digest(merkle::root::<Sha3>(&(0..5).map(leaf).collect::<Vec<_>>()));
    let chain = &world.signers.chain;
    let commitment = plain.entry.commitment.verify(chain, &key(12).public()).unwrap().into_inner();
    let work = world.signers.committed(plain.core, BTreeSet::new(), &Commitment { root, ..commitment });
    let _ = world.close_round(&task, &[&work]);
    let (export, key) = world.export();
    orion.put("log.export", export);
    orion.put("orion.vkey", key.to_string());
    orion.put("salt", format!("{salt}\n"));
    let head = Header { dtype: DType::Int32, shape: vec![7] }.to_bytes();
    std::fs::create_dir(orion.path("results")).unwrap();
    orion.put("results/out.npy", [head, rows.concat()].concat());
    work
}

#[test]
fn whoever_has_results_and_salt_proves_any_unit() {
    let orion = Orion::new();
    let work = committed(&orion);
    let job = format!("--job a1a1a1a1 --lease {}", work.lease);
    for unit in 0..5 {
        let words = format!("{job} --unit {unit} --results results --salt salt --out receipt-{unit}");
        let stated = orion.json(&prove(&words), 0);
        assert_eq!((&stated["unit"]["unit"], &stated["verdict"]), (&unit.into(), &Value::Null));
        let verify = format!("ledger verify receipt receipt-{unit} --key orion.vkey");
        assert_eq!(orion.json(&verify, 0)["unit"], stated["unit"]);
    }
    let with = |rest: &str| prove(&format!("{job} {rest} --out receipt"));
    let given = with("--unit 1 --results results --salt salt");
    orion.call(&with("--unit 1")).check(2, &["was not drawn", "--results and --salt"]);
    orion.call(&given.replace("--unit 1", "--unit 5")).check(2, &["unit 5 is not of shard 0", "0 to 4"]);
    orion.call(&given.replace("--results results", "--results .")).check(2, &["no out.npy", "orion result"]);
    orion.call(&given.replace("--salt salt", "--salt log.export")).check(2, &["longer than 65 bytes"]);
    for usage in ["--unit 1 --results results", "--unit 1 --salt salt", "--results results --salt salt"] {
        orion.call(&with(usage)).check(3, &["--help"]);
    }
    orion.put("other", format!("{}\n", Digest::of(b"another salt")));
    let wrong = ["the unit 1 is not under the commitment's root", "the results or the salt"];
    orion.call(&given.replace("--salt salt", "--salt other")).check(1, &wrong);
    let good = std::fs::read(orion.path("results/out.npy")).unwrap();
    let mut bad = good.clone();
    bad[good.len() - 28] ^= 1;
    orion.put("results/out.npy", bad);
    orion.call(&given).check(1, &wrong);
    orion.put("results/out.npy", &good[1..]);
    orion.call(&given).check(2, &["are not this job's results", "out"]);
    assert!(!orion.path("receipt").exists());
}

fn drawn_units(orion: &Orion) -> Vec<u64> {
    let log = orion.json("ledger verify log log.export --key orion.vkey", 0);
    let drawn = log["jobs"][0]["shards"][0]["accepted"]["drawn"].as_array().unwrap();
    drawn.iter().map(|drawn| drawn["unit"].as_u64().unwrap()).collect()
}

#[test]
fn a_receipt_with_a_changed_file_is_not_proven_and_one_with_a_missing_file_not_decided() {
    const VERIFY: &str = "ledger verify receipt receipt --key orion.vkey";
    let case = Case::paid();
    let orion = case.files();
    let unit = drawn(&orion);
    let made = orion.call(&prove(&format!("--job a1a1a1a1 --shard 0 --unit {unit} --out receipt")));
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(orion.path("receipt")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 9);
    for file in &files {
        let good = std::fs::read(file).unwrap();
        let mut bad = good.clone();
        // Within the path of a proof, not in a signature's name.
        let at = if good.starts_with(b"c2sp.org/") { 40 } else { good.len() / 2 };
        bad[at] ^= 1;
        std::fs::write(file, &bad).unwrap();
        orion.call(VERIFY).check(1, &["receipt: NOT proven: "]);
        assert_eq!(orion.json(VERIFY, 1)["proven"], false, "{}", file.display());
        std::fs::write(file, &good).unwrap();
    }
    for name in ["lease", "close.leaf", "close.tlog-proof", "verdict.leaf", "settle.tlog-proof"] {
        let file = orion.path("receipt").join(name);
        std::fs::rename(&file, orion.path("away")).unwrap();
        orion.call(VERIFY).check(2, &["receipt is no whole receipt", name]);
        std::fs::rename(orion.path("away"), &file).unwrap();
    }
    std::fs::write(orion.path("receipt/unit.cbor"), vec![0; 5000]).unwrap();
    orion.call(VERIFY).check(2, &["longer than 4096 bytes"]);
    orion.call("ledger verify receipt nowhere --key orion.vkey").check(2, &["nowhere is no whole receipt"]);
    orion.call("ledger verify receipt receipt").check(3, &["--key", "--trust"]);
}

#[test]
fn whom_a_receipt_convinces_is_said_by_key_or_trust_policy() {
    let case = Case::paid();
    let orion = case.files();
    let made = orion.call(&prove("--job a1a1a1a1 --shard 0 --out receipt"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let log = std::fs::read_to_string(orion.path("orion.vkey")).unwrap();
    let witness = NoteSigner::new("witness.example", KeyType::Cosignature, key(50)).unwrap();
    let trust = format!("log {log}witness w {}\nquorum w\n", witness.key());
    orion.put("trust", &trust);
    let verify = "ledger verify receipt receipt --trust trust";
    orion.call(verify).check(2, &["undecided", "not the quorum", "later checkpoint"]);
    assert_eq!(orion.json(verify, 2)["proven"], Value::Null);
    // The witness cosigns what the receipt was made under.
    for name in ["close", "verdict", "settle"] {
        let file = orion.path(&format!("receipt/{name}.tlog-proof"));
        let text = std::fs::read_to_string(&file).unwrap();
        let start = text.find("orion.dev/").unwrap();
        let mut note = Note::parse(&text.as_bytes()[start..]).unwrap();
        note.add(witness.sign(note.text(), 77)).unwrap();
        std::fs::write(&file, format!("{}{note}", &text[..start])).unwrap();
    }
    let stated = orion.json(verify, 0);
    assert_eq!(stated["leaves"][2]["witnesses"][0]["name"], "w");
    assert!(orion.call(verify).out.contains("cosigned by w"));
    orion.put("other.vkey", VerifierKey::new(&support::Keys::new().genesis().chain(), key(9).public()).to_string());
    orion.call("ledger verify receipt receipt --key other.vkey").check(2, &["undecided", "The key of that log"]);
    orion.put("trust", "quorum w\n");
    orion.call(verify).check(2, &["reading the trust policy trust"]);
}

/// A log that ends with a deposit of this much, and then these many more.
fn story(amount: u64, more: u64) -> World {
    let mut world = World::new();
    for amount in (0..=more).map(|at| amount + at) {
        assert_eq!(world.deposit(amount), Code::Ok);
    }
    world
}

#[test]
fn two_logs_under_one_key_are_a_fork_and_the_evidence_stands_alone() {
    let orion = Orion::new();
    let (old, new) = (story(5, 0), story(6, 3));
    let (export, vkey) = new.export();
    orion.put("new.export", export);
    orion.put("old.export", old.export().0);
    orion.put("old.checkpoint", checkpoint(&old));
    orion.put("new.checkpoint", checkpoint(&new));
    orion.put("orion.vkey", vkey.to_string());
    let fork = |files: &str| format!("ledger verify fork {files} --key orion.vkey");
    let said = orion.call(&fork("old.checkpoint new.export --out evidence"));
    said.golden("fork.txt");
    for files in ["new.export old.checkpoint", "old.export new.export", "evidence"] {
        let found = orion.json(&fork(files), 0);
        assert_eq!((&found["fork"], &found["a"]["size"]), (&true.into(), &(old.log.len() as u64).into()), "{files}");
        assert_eq!(found["b"]["size"], new.log.len() as u64);
    }
    // The larger tree is not there.
    for files in ["old.checkpoint new.checkpoint", "old.export new.checkpoint"] {
        orion.call(&fork(files)).check(2, &["fork: undecided", "orion ledger export"]);
        assert_eq!(orion.json(&fork(files), 2)["fork"], Value::Null);
    }
    // Of one size, two checkpoints are enough.
    orion.put("same.checkpoint", checkpoint(&story(7, 0)));
    assert_eq!(orion.call(&fork("old.checkpoint same.checkpoint")).code, Some(0));
}

#[test]
fn one_log_at_two_times_is_no_fork_and_strangers_words_are_no_evidence() {
    let orion = Orion::new();
    let (old, new) = (story(5, 0), story(5, 3));
    let (export, vkey) = new.export();
    orion.put("new.export", &export);
    orion.put("old.checkpoint", checkpoint(&old));
    orion.put("orion.vkey", vkey.to_string());
    let fork = |files: &str| format!("ledger verify fork {files} --key orion.vkey");
    for files in ["old.checkpoint new.export", "new.export old.checkpoint", "new.export new.export"] {
        orion.call(&fork(&format!("{files} --out evidence"))).check(1, &["fork: NOT proven: the checkpoints agree"]);
        assert_eq!(orion.json(&fork(files), 1)["fork"], false);
    }
    assert!(!orion.path("evidence").exists());
    let checkpoint = checkpoint(&old);
    let stranger = NoteSigner::new(&old.signers.chain.log_origin(), KeyType::Ed25519, key(9)).unwrap();
    let text = Note::parse(checkpoint.as_bytes()).unwrap().text().to_owned();
    orion.put("forged", format!("{text}\n{}\n", stranger.sign(&text, 0)));
    orion.call(&fork("forged new.export")).check(1, &["the log did not sign checkpoint A"]);
    orion.put("other.vkey", NoteSigner::new("orion.dev/other", KeyType::Ed25519, key(9)).unwrap().key().to_string());
    let other = "ledger verify fork old.checkpoint old.checkpoint --key other.vkey";
    orion.call(other).check(2, &["undecided", "The key must be that log's"]);
    // What rests on a witness's word is not decided.
    let note = |text: &str| Note::parse(text.as_bytes()).unwrap();
    let claim = Claim::Rollback { cosigned: note(&self::checkpoint(&new)), shown: note(&checkpoint) };
    orion.put("rollback", Evidence::new(claim, "it went\u{1b}[2J back").to_bytes());
    orion.call(&fork("rollback")).check(2, &["the witness's word", "it went [2J back"]);
    orion.put("damaged", &export[..export.len() - 1]);
    orion.call(&fork("old.checkpoint damaged")).check(1, &["the export ends within a leaf"]);
    orion.put("noise", "noise");
    orion.call(&fork("old.checkpoint noise")).check(1, &["noise: expected text"]);
    orion.call(&fork("old.checkpoint nowhere")).check(2, &["opening nowhere"]);
    orion.call(&fork("old.checkpoint")).check(3, &["two files"]);
    orion.call(&fork("rollback new.export")).check(3, &["one file of evidence"]);
    orion.call("ledger verify fork old.checkpoint").check(3, &["--key"]);
}

#[test]
fn a_reward_is_a_table_that_can_be_redone_by_hand() {
    let case = Case::paid();
    let orion = case.files();
    let verify = format!("ledger verify reward log.export --key orion.vkey --job {}", case.task.job);
    orion.call(&verify).golden("reward.txt");
    let table = orion.json(&verify, 0);
    let job = &case.world.chain.jobs()[&case.task.job];
    let number = |value: &Value| value.as_u64().unwrap();
    let wide = |value: &Value| value.as_str().unwrap().parse::<u128>().unwrap();
    for (pool, paid) in [("computing", job.paid.workers), ("checking", job.paid.validators)] {
        let pool = &table[pool];
        let (work, amount) = (wide(&pool["work"]), number(&pool["amount"]));
        assert_eq!(u128::from(amount), work * 333_333 / 1_000_000);
        let mut sum = 0;
        for line in pool["lines"].as_array().unwrap() {
            let exact = u128::from(amount) * u128::from(number(&line["work"]));
            assert_eq!((wide(&line["numerator"]), u128::from(number(&line["floor"]))), (exact, exact / work));
            assert_eq!(wide(&line["remainder"]), exact % work);
            let share = number(&line["floor"]) + u64::from(line["raised"].as_bool().unwrap());
            assert_eq!((number(&line["share"]), number(&line["fixed"])), (share, share));
            sum += share;
        }
        assert_eq!((sum, amount), (paid, paid));
    }
    assert_eq!((&table["proven"], number(&table["fee"])), (&true.into(), job.paid.fee));
    let sums = &table["sums"];
    let parts = ["workers", "validators", "fee", "refunded", "locked"].map(|part| number(&sums[part]));
    assert_eq!(parts.iter().sum::<u64>(), number(&sums["escrowed"]));
    assert!(case.good.core.units == 5 && table.to_string().contains("\"raised\":true"));
}

/// The golden log in which alice is slashed for what she said about her second job.
#[test]
fn what_was_taken_back_is_not_just_called_paid() {
    let orion = Orion::new();
    let policy = Policy { vesting_ms: 20_000, ..POLICY };
    let bonds = Some(Bonds { unbonding_ms: 30_000, slash_ppm: 800_000 });
    let genesis = Genesis { bonds, ..Keys::new().genesis_under(policy) };
    orion.put("orion.vkey", format!("{}\n", VerifierKey::new(&genesis.chain(), genesis.checkpoint)));
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger/core/tests/golden/v3-stakes.export");
    orion.put("log.export", std::fs::read(log).unwrap());
    let alice = key(11).public().to_string();

    orion.call("ledger verify log log.export --key orion.vkey").golden("slashed-log.txt");
    let log = orion.json("ledger verify log log.export --key orion.vkey", 0);
    let [first, second] = [0, 1].map(|at| log["jobs"][at].clone());
    let taken = |payout: &Value| (payout["provider"] == alice.as_str(), payout["takenBack"].as_u64().unwrap());
    let taken: Vec<(bool, u64)> = second["payouts"].as_array().unwrap().iter().map(taken).collect();
    let of_alice: u64 = taken.iter().filter(|(alice, _)| *alice).map(|(_, taken)| taken).sum();
    assert!(of_alice > 0 && taken.iter().all(|(alice, taken)| *alice || *taken == 0), "{taken:?}");
    let sums = [&log["sums"], &second["sums"], &first["sums"]].map(|sums| sums["takenBack"].as_u64().unwrap());
    assert_eq!(sums, [of_alice, of_alice, 0]);

    let reward = format!("ledger verify reward log.export --key orion.vkey --job {}", second["job"].as_str().unwrap());
    orion.call(&reward).golden("slashed-reward.txt");
    let reward = orion.json(&reward, 0);
    let list = serde_json::json!([{"provider": alice, "owner": "alice", "amount": of_alice}]);
    assert_eq!((&reward["takenBack"], &reward["sums"]["takenBack"]), (&list, &of_alice.into()));
}

#[test]
fn a_reader_that_stops_ends_the_command_without_a_word() {
    let case = Case::paid();
    let orion = case.files();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let words = format!("ledger verify reward log.export --key orion.vkey --job {}", case.task.job);
    let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
    let output = command.args(words.split(' ')).current_dir(orion.folder.path()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn a_reward_of_a_job_that_is_not_settled_is_not_decided() {
    let case = Case::judged();
    let orion = case.files();
    let verify = format!("ledger verify reward log.export --key orion.vkey --job {}", case.task.job);
    let said = orion.call(&verify);
    assert_eq!((said.code, said.err.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.out.contains("not settled") && said.out.contains("orion ledger export"), "{said:?}");
    assert_eq!(orion.json(&verify, 2)["proven"], Value::Null);
    orion.put("log.export", "no export");
    orion.call(&verify).check(1, &["NOT verified"]);
    orion.call("ledger verify reward log.export --job a1a1a1a1").check(3, &["--key"]);
}

#[test]
fn the_help_says_what_exit_codes_mean() {
    let orion = Orion::new();
    for words in ["", "prove ", "verify ", "verify log ", "verify receipt ", "verify fork ", "verify reward "] {
        let said = orion.call(&format!("ledger {words}--help"));
        assert_eq!(said.code, Some(0), "{said:?}");
        for line in ["Exit codes:", "0  proven", "1  proven wrong", "2  cannot be decided", "3  usage"] {
            assert!(said.out.contains(line), "{words}: {line}");
        }
    }
}
