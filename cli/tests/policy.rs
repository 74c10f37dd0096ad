//! `orion ledger policy` as a program: on files alone, and against a ledger in memory that judges by the real rules.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../ledger/core/tests/support/mod.rs"]
mod support;

mod said;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::tx::{Issuers, Mode, Policy, Split};
use orion_protocol::{bytes, cbor};
use said::Said;
use serde_json::{Value, json};
use support::{Keys, POLICY, World, key};
use tempfile::TempDir;

/// What examples/reward-policy says.
const EXAMPLE: Policy = Policy {
    price: 1_000,
    fee_ppm: 0,
    vesting_ms: 604_800_000,
    escrow_ms: 86_400_000,
    validator_ppm: None,
    mode: Mode::Pool(Split { workers: 850_000, validators: 120_000, treasury: 30_000 }),
};

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/reward-policy").join(file)
}

type Shared = Arc<Mutex<World>>;

/// The program in a folder with the issuer's key and the log's, and a ledger beside it.
struct Orion {
    folder: TempDir,
    world: Shared,
    url: String,
}

async fn submit(State(world): State<Shared>, body: Bytes) -> impl IntoResponse {
    let mut world = world.lock().unwrap();
    let Ok(tx) = world.admission.read(&body) else { return (StatusCode::BAD_REQUEST, b"unreadable".to_vec()) };
    if let Err(error) = world.chain.orderable(&tx) {
        return (StatusCode::BAD_REQUEST, error.to_string().into_bytes());
    }
    world.time_ms += 10;
    let time_ms = world.time_ms;
    let mut block = world.chain.finalize_block(time_ms, &[tx]).unwrap();
    world.log.append(&mut block.leaves);
    (StatusCode::OK, cbor::to_vec(&block.outcomes[0]))
}

async fn policies(State(world): State<Shared>) -> Vec<u8> {
    cbor::to_vec(&world.lock().unwrap().chain.policies())
}

impl Orion {
    fn new(world: World) -> Orion {
        let folder = tempfile::tempdir().unwrap();
        let (_, log_key) = world.export();
        std::fs::write(folder.path().join("orion.vkey"), format!("{log_key}\n")).unwrap();
        std::fs::write(folder.path().join("issuer.key"), format!("{}\n", bytes::hex(&[3; 32]))).unwrap();
        std::fs::copy(example("policy.yaml"), folder.path().join("pool.yaml")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (url, world) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(Mutex::new(world)));
        let routes = Router::new().route("/v1/transactions", post(submit)).route("/v1/policies", get(policies));
        let routes = routes.with_state(world.clone());
        // It ends with the test.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, routes).await.unwrap();
            });
        });
        Orion { folder, world, url }
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn call(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        command.args(words.split(' ')).current_dir(self.folder.path()).env("ORION_LEDGER_URL", &self.url);
        Said::of(&mut command)
    }

    fn json(&self, words: &str, code: i32) -> Value {
        let said = self.call(&format!("-o json ledger policy {words}"));
        assert_eq!(said.code, Some(code), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    fn fails(&self, words: &str, code: i32, why: &str) {
        let said = self.call(&format!("ledger policy {words}"));
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.out.contains(why) || said.err.contains(why), "{why:?} is not in {said:?}");
    }
}

#[test]
fn the_example_is_checked_as_its_readme_says() {
    let orion = Orion::new(World::new());
    let said = orion.call("ledger policy check pool.yaml");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let readme = std::fs::read_to_string(example("README.md")).unwrap();
    assert!(readme.contains(said.out.trim()), "the README does not say:\n{}", said.out);
    let checked = orion.json("check pool.yaml", 0);
    assert_eq!(checked["id"], json!(EXAMPLE.digest()));
    assert_eq!(checked["outOfBounds"], json!([]));
    let sample = &checked["sample"];
    let shares = sample["shares"].as_array().unwrap().iter().map(|share| share["amount"].as_u64().unwrap());
    let paid = shares.sum::<u64>() + sample["treasury"].as_u64().unwrap() + sample["refunded"].as_u64().unwrap();
    assert_eq!(Some(paid), sample["escrowed"].as_u64());
}

#[test]
fn what_is_shown_is_a_policy_again() {
    let orion = Orion::new(World::new());
    let said = orion.call("ledger policy check pool.yaml");
    let terms: Vec<&str> = said.out.lines().filter_map(|line| line.strip_prefix("  ")).take(5).collect();
    orion.put("again.yaml", &terms.join("\n"));
    assert_eq!(orion.json("check again.yaml", 0)["id"], json!(EXAMPLE.digest()));
    orion.put("again.json", &orion.json("check pool.yaml", 0)["policy"].to_string());
    assert_eq!(orion.json("check again.json", 0)["id"], json!(EXAMPLE.digest()));
}

#[test]
fn each_field_that_is_out_of_bounds_is_named_and_nothing_is_sent() {
    let orion = Orion::new(World::new());
    orion.put("wrong.yaml", "price: 1000000000001\nfeePpm: 1000001\nescrowMs: 0\nvestingMs: 31536000001\n");
    let checked = orion.json("check wrong.yaml", 1);
    let wrong = checked["outOfBounds"].as_array().unwrap().iter().map(|one| (&one["field"], &one["code"]));
    let wrong: Vec<String> = wrong.map(|(field, code)| format!("{field} {code}").replace('"', "")).collect();
    let want = ["price PolicyPrice", "feePpm PolicyShares", "vestingMs PolicyTimes", "escrowMs PolicyTimes"];
    assert_eq!((wrong, &checked["sample"]), (want.map(str::to_owned).to_vec(), &Value::Null));
    orion.fails("check wrong.yaml", 1, "policy: price: 1000000000001 is over 1000000000000 (PolicyPrice)");
    orion.fails("publish wrong.yaml --key issuer.key --log-key orion.vkey", 1, "nothing was published");
    assert_eq!(orion.world.lock().unwrap().chain.policies().policies, [POLICY]);
}

#[test]
fn what_is_no_policy_is_refused_with_what_is_wrong() {
    let orion = Orion::new(World::new());
    for (text, why) in [
        ("price: 1\nescrowMs: 1\nfee: 1\n", "unknown field `fee`"),
        ("price: 1\n", "escrowMs"),
        ("price: 1.5\nescrowMs: 1\n", "is no policy"),
        ("price: -1\nescrowMs: 1\n", "is no policy"),
        ("mode: Pool\nprice: 1\nescrowMs: 1\n", "mode: Pool needs splitPpm"),
        (
            "price: 1\nescrowMs: 1\nsplitPpm: {workers: 1000000, validators: 0, treasury: 0}\n",
            "splitPpm is for mode: Pool",
        ),
    ] {
        orion.put("none.yaml", text);
        orion.fails("check none.yaml", 2, why);
    }
    orion.fails("check nowhere.yaml", 2, "nowhere.yaml");
    orion.fails("publish pool.yaml", 3, "--key");
}

#[test]
fn an_issuer_publishes_makes_it_the_default_and_everybody_sees_it() {
    let orion = Orion::new(World::new());
    let (id, by) = (EXAMPLE.digest(), "--key issuer.key --log-key orion.vkey");
    orion.fails(&format!("default {id} {by}"), 1, "UnknownPolicy; publish it first");
    orion.fails(&format!("show {id}"), 2, "no policy that begins with");
    let sent = orion.json(&format!("publish pool.yaml {by}"), 0);
    assert_eq!((&sent["id"], &sent["code"]), (&json!(id), &json!("Ok")));
    assert_eq!(orion.json(&format!("publish pool.yaml {by}"), 0)["code"], "Ok", "again is harmless");
    let shown = orion.json(&format!("show {}", &id.to_string()[..8]), 0);
    assert_eq!(shown["policies"][0]["id"], json!(id));
    assert_eq!(shown["policies"][0]["default"], json!(false));
    assert_eq!(orion.json(&format!("default {id} {by}"), 0)["code"], "Ok");
    let said = orion.call("ledger policy show");
    assert!(said.out.contains(&format!("policy {id}, of jobs that name none\n  mode: Pool")), "{said:?}");
    assert!(said.out.contains(&format!("policy {}\n  mode: PerWork", POLICY.digest())), "{said:?}");
    // The same, out of a verified export and without the ledger.
    let (export, _) = {
        let world = orion.world.lock().unwrap();
        world.export()
    };
    std::fs::write(orion.folder.path().join("log.export"), export).unwrap();
    let offline = orion.call("ledger policy show --export log.export --log-key orion.vkey");
    assert_eq!((offline.code, &offline.out), (Some(0), &said.out));
    orion.fails("show 0123", 2, "at least 8 digits");
}

#[test]
fn where_it_takes_several_issuers_their_transaction_is_written_down() {
    let mut keys = vec![Keys::new().issuer.public(), key(31).public()];
    keys.sort_unstable();
    let issuers = Some(Issuers { threshold: 2, keys });
    let genesis = Genesis { issuers, ..Keys::new().genesis() };
    let orion = Orion::new(World::bare_of(&genesis));
    orion.fails("publish pool.yaml --key issuer.key --log-key orion.vkey", 1, "NotEnoughApprovals; several issuers");
    orion.put("second.key", &bytes::hex(&[31; 32]));
    orion.put("genesis", &bytes::hex(&genesis.to_bytes()));
    let id = EXAMPLE.digest();
    for (words, said) in [
        (
            "tx --genesis genesis --key issuer.key --out draft policy pool.yaml",
            format!("publish the reward policy {id}"),
        ),
        ("approve draft --key issuer.key", "approves".into()),
        ("approve draft --key second.key", "approves".into()),
        ("sign draft --key issuer.key --out signed", "is signed".into()),
        ("submit signed", "Ok".into()),
    ] {
        let have = orion.call(&format!("ledger {words}"));
        assert!(have.code == Some(0) && have.out.contains(&said), "{words}: {said:?} is not in {have:?}");
    }
    let world = orion.world.lock().unwrap();
    assert_eq!(world.chain.policy(&EXAMPLE.digest()), Some(&EXAMPLE));
}
