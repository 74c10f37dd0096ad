//! `orion ledger tx`, `approve`, `sign` and `submit` as a program, with keys in files, against a ledger that is served in the test's own
//! process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "the ledger's own tests use all of it")]
#[path = "../../ledger/tests/support/local.rs"]
mod local;
#[path = "../../ledger/core/tests/support/mod.rs"]
mod world;

mod said;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use orion_ledger::http::{Limits, Shared, router};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::Past;
use orion_protocol::bytes::hex;
use said::Said;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use world::{Keys, World, key, spec};

/// A ledger in which alice (11) has 40 micro-credits, keys in files, and the program in the folder with them.
struct Desk {
    folder: TempDir,
    url: String,
    /// The ledger, and its store.
    _served: (Runtime, TempDir),
}

impl Desk {
    fn new() -> Desk {
        let mut world = World::new();
        world.pay(&spec(1, 4, 4, 1));
        let store = local::stored(&world);
        let runtime = Runtime::new().unwrap();
        let (node, _) = local::open(&runtime, store.path(), Past::Unknown).unwrap();
        let shared = Shared::new(Arc::new(Metrics::default()), Limits::default());
        shared.ready(node);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router(shared)).await });
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("genesis"), hex(&Keys::new().genesis().to_bytes())).unwrap();
        for (name, number) in [("operator", 1), ("issuer", 3), ("alice", 11), ("second", 31), ("heir", 51)] {
            std::fs::write(folder.path().join(format!("{name}.key")), format!("{}\n", hex(&[number; 32]))).unwrap();
        }
        Desk { folder, url, _served: (runtime, store) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn call(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        command.args(["--ledger-url", &self.url, "ledger"]).args(words.split_whitespace());
        Said::of(command.current_dir(self.folder.path()))
    }

    /// It ended with this code and these words.
    fn check(&self, words: &str, code: i32, said: &str) {
        let Said { code: have, out, err } = self.call(words);
        assert_eq!(have, Some(code), "{words}: {out}{err}");
        assert!(out.contains(said) || err.contains(said), "{said:?} is not in: {out}{err}");
    }

    fn draft(&self, file: &str, sender: &str, what: &str) {
        self.check(&format!("tx --genesis genesis --key {sender}.key --out {file} {what}"), 0, "has a draft");
    }

    /// Writes, approves, signs and sends a transaction; it ends with this code and says this.
    fn send(&self, sender: &str, what: &str, approve: &[&str], code: i32, said: &str) {
        self.draft("draft", sender, what);
        for by in approve {
            self.check(&format!("approve draft --key {by}.key"), 0, "approves");
        }
        self.check(&format!("sign draft --key {sender}.key --out signed"), 0, "is signed");
        self.check("submit signed", code, said);
    }
}

fn public(number: u8) -> String {
    key(number).public().to_string()
}

#[test]
fn a_provider_stakes_and_takes_back_with_its_own_word() {
    let desk = Desk::new();
    desk.check("public-key alice.key", 0, &public(11));
    desk.send("alice", "stake --amount 0.000030", &[], 0, "ledger: Ok, in leaf ");
    let again = desk.call("submit signed");
    assert_eq!((again.code, &again.out), (Some(0), &desk.call("submit signed").out), "harmless");
    let json = serde_json::from_str::<Value>(&desk.call("-o json submit signed").out).unwrap();
    assert_eq!((&json["code"], &json["moved"]), (&"Ok".into(), &30.into()));
    desk.send("alice", "stake --amount 0.000011", &[], 1, "InsufficientCredits");
    desk.send("alice", "unstake", &[], 0, "Ok");
    desk.send("alice", "reserve --amount 0.00001 --hours 720", &[], 0, "Ok");
    desk.send("alice", "reserve --amount 0.000001 --hours 1", &[], 1, "InsufficientCredits");
    desk.send("second", "unstake", &[], 2, "may not sign transactions on this chain");
    desk.draft("draft", "alice", "unstake");
    desk.check("approve draft --key issuer.key", 2, "its sender signs it");
    desk.check("sign draft --key issuer.key --out signed", 2, "start again with --sender");
}

#[test]
fn issuers_collect_their_words_in_files_and_a_key_is_replaced() {
    let desk = Desk::new();
    let issuers = format!("issuers --threshold 2 --issuer {} --issuer {}", public(31), public(3));
    desk.send("issuer", &issuers, &["issuer"], 0, "Ok");
    desk.send("alice", "stake --amount 0.00002", &[], 0, "Ok");

    // Each issuer has a copy; the provider's word is needed too.
    let rotate = format!("rotate provider --old {} --new {}", public(11), public(51));
    desk.draft("one", "second", &rotate);
    std::fs::copy(desk.path("one"), desk.path("two")).unwrap();
    desk.check("approve one --key issuer.key --dry-run", 0, "would approve to put the Provider key");
    for (file, by) in [("one", "issuer"), ("two", "second"), ("two", "alice")] {
        desk.check(&format!("approve {file} --key {by}.key"), 0, "approves to put the Provider key");
    }
    desk.check("sign one --key second.key --out few", 0, "approvals: 1");
    desk.check("submit few", 1, "NotEnoughApprovals");
    // That id is used up.
    desk.check("sign one two --key second.key --out all", 0, "approvals: 3");
    desk.check("submit all", 1, "ExistsWithDifferentBytes");
    desk.send("second", &rotate, &["issuer", "second", "alice"], 0, "Ok");

    desk.send("alice", "unstake", &[], 2, "may not sign");
    let withdraw = format!("withdraw --provider {} --amount 0.00001 --to {}", public(11), "ab".repeat(32));
    desk.send("heir", &withdraw, &["issuer", "second", "alice"], 1, "BadApproval");
    desk.send("heir", &withdraw, &["issuer", "heir"], 1, "NotEnoughApprovals");
    desk.send("heir", &withdraw, &["issuer", "second", "heir"], 0, "Ok");
    let deposit = format!("deposit --account {} --amount 5", "cd".repeat(32));
    desk.send("issuer", &deposit, &[], 1, "NotEnoughApprovals");
    desk.send("issuer", &deposit, &["second", "issuer"], 0, "Ok");
    let again = format!("rotate operator --old {} --new {}", public(1), public(11));
    desk.send("issuer", &again, &["second", "issuer"], 1, "KeyInUse");
}

#[test]
fn drafts_that_were_changed_are_found_out() {
    let desk = Desk::new();
    let withdraw = |amount| format!("withdraw --treasury --amount {amount} --to {}", "ab".repeat(32));
    desk.draft("draft", "issuer", &withdraw("0.000001"));
    desk.check("approve draft --key operator.key", 0, "withdraw 0.000001 credits of the treasury");
    desk.draft("other", "issuer", &withdraw("0.00002"));
    desk.check("sign draft other --key issuer.key --out signed", 2, "is a draft of another transaction");
    let read = |file| serde_json::from_slice::<Value>(&std::fs::read(desk.path(file)).unwrap()).unwrap();
    let (mut mixed, other) = (read("draft"), read("other"));
    mixed["transaction"] = other["transaction"].clone();
    std::fs::write(desk.path("mixed"), mixed.to_string()).unwrap();
    desk.check("sign mixed --key issuer.key --out signed", 2, "is about something else");
    for (text, words) in [("{}", "the field chain is missing"), ("noise", "reading JSON"), ("", "reading JSON")] {
        std::fs::write(desk.path("bad"), text).unwrap();
        desk.check("approve bad --key issuer.key", 2, words);
    }
    std::fs::write(desk.path("bad"), "beef").unwrap();
    desk.check("approve draft --key bad", 2, "expected 64 hex digits");
    desk.check("submit draft", 2, "the ledger does not take it: 400");
    desk.check("approve nowhere --key issuer.key", 2, "opening nowhere");
    let tx = "tx --genesis genesis --key issuer.key --out draft";
    desk.check(&format!("{tx} rotate checkpoint --old {0} --new {0}", public(4)), 3, "checkpoint");
    desk.check(&format!("{tx} stake --amount -1"), 3, "--amount");
    desk.check(&format!("{tx} withdraw --amount 1 --to {}", "ab".repeat(32)), 3, "--treasury");
    desk.check(&format!("{tx} issuers --threshold 2 --issuer {}", public(3)), 2, "the threshold is between 1 and 1");
    desk.check("tx --genesis genesis --out draft unstake", 3, "--sender");
}
