//! `orion ledger balance`, `history` and `keys` as a program, against a ledger that is served here. What a person reads is in tests/golden, made
//! anew with `ORION_UPDATE_GOLDENS=1`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "the ledger's own tests use more of it")]
#[path = "../../ledger/tests/support/local.rs"]
mod local;
#[path = "../../ledger/core/tests/support/mod.rs"]
mod world;

mod said;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use orion_ledger::auth::Tokens;
use orion_ledger::http::{Limits, Shared, router};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{Ended, Past};
use orion_ledger::serve::{self, serve};
use orion_protocol::Digest;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::{Issuers, KeyRole, Rotate, Settle, Transaction};
use said::Said;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use world::{START_MS, World, key, spec};

/// A ledger with a log that is always the same.
struct Served {
    url: String,
    world: World,
    _runtime: Runtime,
    _ended: Ended,
    _directory: TempDir,
}

impl Served {
    fn new(tokens: Option<&str>) -> Served {
        let mut world = World::new();
        let task = spec(1, 4, 4, 2);
        world.pay(&task);
        let other = spec(2, 4, 4, 2);
        assert_eq!(world.open_escrow(&other), Code::Ok);
        assert_eq!(world.send(&Transaction::Settle(Settle { job: other.job, page: 1 })), Code::WrongSequence);
        Served::of(world, tokens)
    }

    fn of(world: World, tokens: Option<&str>) -> Served {
        let (runtime, directory) = (Runtime::new().unwrap(), local::stored(&world));
        // Before the deadline of the open job.
        let clock = Arc::new(|| START_MS + 1_000);
        let (node, ended) = local::open_at(&runtime, directory.path(), Past::Begun, clock).unwrap();
        let shared = Shared::new(Arc::new(Metrics::default()), Limits::default());
        let shared = match tokens {
            Some(tokens) => shared.with_tokens(Tokens::parse(tokens).unwrap()),
            None => shared,
        };
        shared.ready(node);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(serve(listener, router(shared), serve::Limits::default(), std::future::pending()));
        Served { url, world, _runtime: runtime, _ended: ended, _directory: directory }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        command.args(words.split(' ')).env("ORION_LEDGER_URL", &self.url);
        // There is no cluster, wherever this runs.
        command.env_remove("ORION_LEDGER_TOKEN").env("KUBECONFIG", "/nowhere").env_remove("KUBERNETES_SERVICE_HOST");
        command
    }

    fn call(&self, words: &str) -> Said {
        Said::of(&mut self.command(words))
    }

    fn json(&self, words: &str) -> Value {
        let said = self.call(&format!("-o json {words}"));
        assert_eq!(said.code, Some(0), "{said:?}");
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
}

fn golden(file: &str, said: &[Said]) {
    let have: Vec<&str> = said.iter().map(|said| said.out.as_str()).collect();
    for said in said {
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    }
    let (have, path) = (have.join("\n"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file));
    if std::env::var_os("ORION_UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &have).unwrap();
    }
    assert_eq!(have, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn balances_of_a_provider_the_treasury_and_any_account() {
    let served = Served::new(None);
    let provider = format!("ledger balance --provider {}", key(11).public());
    let account = format!("ledger balance {}", served.world.account());
    golden("balance.txt", &[served.call(&provider), served.call("ledger balance --treasury"), served.call(&account)]);
    let have = served.json(&account);
    let want = served.world.chain.account(served.world.account()).balance;
    assert_eq!(have["balance"], want);
    assert_eq!(have["account"], served.world.account().to_string());
}

#[test]
fn histories_of_an_account_and_of_a_job() {
    let served = Served::new(None);
    let account = served.world.account();
    let [first, second] = [1, 2].map(|number| spec(number, 4, 4, 2).job);
    golden(
        "history.txt",
        &[
            served.call(&format!("ledger history {account}")),
            served.call(&format!("ledger history --provider {}", key(11).public())),
            served.call(&format!("ledger history --job {first}")),
            served.call(&format!("ledger history --job {second}")),
            served.call(&format!("ledger history --job {}", "09".repeat(32))),
        ],
    );
}

#[test]
fn a_history_in_parts_is_the_whole() {
    let served = Served::new(None);
    let job = spec(1, 4, 4, 2).job;
    let whole = served.json(&format!("ledger history --job {job}"));
    assert_eq!(whole["next"], Value::Null);
    let whole = whole["rows"].as_array().unwrap();
    for limit in [1, 3, 5] {
        let (mut rows, mut from) = (Vec::new(), 0);
        loop {
            let part = served.json(&format!("ledger history --job {job} --limit {limit} --from {from}"));
            let some = part["rows"].as_array().unwrap();
            assert!(some.len() == limit || part["next"].is_null(), "{part}");
            rows.extend(some.iter().cloned());
            match part["next"].as_u64() {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(&rows, whole, "{limit} at a time");
    }
    let said = served.call(&format!("ledger history --job {job} --limit 3"));
    assert!(said.out.ends_with(&format!("3 entries; there are more: --from {}\n", 18 << 16)), "{}", said.out);
}

/// Puts a new operator in the place of another one.
fn rotate(world: &mut World, old: u8, new: u8, lost: bool) {
    let rotate = Rotate { role: KeyRole::Operator, old: key(old).public(), new: key(new).public(), lost };
    let issuer = [world.signers.keys.issuer.clone()];
    assert_eq!(world.approved(&Transaction::Rotate(rotate), &issuer).code, Code::Ok);
}

fn take_over(world: &mut World, operator: u8) {
    world.signers.keys.operator = key(operator);
    assert_eq!(world.open_epoch(world.chain.epoch() + 1), Code::Ok);
}

#[test]
fn whose_keys_do_what_and_from_which_epoch() {
    let mut world = World::new();
    rotate(&mut world, 1, 53, false);
    take_over(&mut world, 53);
    rotate(&mut world, 53, 54, false);
    let mut keys = vec![key(3).public(), key(9).public()];
    keys.sort_unstable();
    let issuers = Issuers { threshold: 2, keys };
    let issuer = [world.signers.keys.issuer.clone()];
    assert_eq!(world.approved(&Transaction::Issuers(issuers.clone()), &issuer).code, Code::Ok);
    // All is as a stranger may know it.
    let served = Served::of(world, Some(&format!("read {}\n", Digest::of(b"auditor"))));
    golden("keys.txt", &[served.call("ledger keys")]);
    let standings = |told: &Value| {
        let operators = told["operators"].as_array().unwrap().iter();
        operators.map(|one| (one["fromEpoch"].as_u64().unwrap(), one["standing"].clone())).collect::<Vec<_>>()
    };
    let told = served.json("ledger keys");
    assert_eq!(standings(&told), [(0, "replaced".into()), (2, "in force".into()), (3, "waits for its epoch".into())]);
    assert_eq!(told["operators"][1]["key"], json!(key(53).public()));
    assert_eq!((&told["epoch"], &told["platform"]), (&json!(2), &json!(key(2).public())));
    assert_eq!(told["issuers"], json!({"threshold": 2, "keys": issuers.keys}));

    // With a lost key nobody is in force until the next one has opened its epoch.
    let mut world = World::new();
    rotate(&mut world, 1, 53, true);
    let told = Served::of(world, None).json("ledger keys");
    assert_eq!(standings(&told), [(0, "lost".into()), (2, "waits for its epoch".into())]);
    let mut world = World::new();
    rotate(&mut world, 1, 53, true);
    take_over(&mut world, 53);
    let told = Served::of(world, None).json("ledger keys");
    assert_eq!(standings(&told), [(0, "lost".into()), (2, "in force".into())]);
}

#[test]
fn what_cannot_be_answered_says_why() {
    let served = Served::new(None);
    let account = served.world.account();
    served.call("ledger balance").check(3, &["--provider"]);
    served.call("ledger history").check(3, &["--job"]);
    served.call(&format!("ledger balance {account} --treasury")).check(3, &["cannot be used with"]);
    served.call(&format!("ledger history {account} --limit 0")).check(3, &["--limit"]);
    served.call("ledger balance 0123").check(3, &["0123"]);
    // A name takes a cluster to look it up in.
    served.call("ledger balance --provider nina").check(2, &["finding a cluster"]);
    served.call("ledger balance --consumer demo").check(2, &["finding a cluster"]);
    let mut nobody = served.command("ledger balance --treasury");
    Said::of(nobody.env("ORION_LEDGER_URL", "http://127.0.0.1:1")).check(2, &["127.0.0.1:1"]);
}

#[test]
fn a_ledger_that_asks_for_a_token_gets_it_from_the_environment() {
    let served = Served::new(Some(&format!("read {}\nmetrics {}\n", Digest::of(b"auditor"), Digest::of(b"scraper"))));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.export");
    let export = format!("ledger export {}", file.display());
    for words in ["ledger balance --treasury", export.as_str()] {
        served.call(words).check(2, &["401", "a token for read", "ORION_LEDGER_TOKEN"]);
        Said::of(served.command(words).env("ORION_LEDGER_TOKEN", "guess")).check(2, &["401", "not known here"]);
        Said::of(served.command(words).env("ORION_LEDGER_TOKEN", "scraper")).check(2, &["403", "for something else"]);
        assert!(!file.exists());
        let said = Said::of(served.command(words).env("ORION_LEDGER_TOKEN", "auditor"));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    }
    assert!(file.exists());
}
