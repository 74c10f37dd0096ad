//! The key job against an API server in memory: what it makes, what it keeps, what it refuses to repair.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use orion_protocol::bytes::hex;
use orion_protocol::ledger::api::{Head, KeysView, OperatorKey, SealRef};
use orion_protocol::ledger::tx::Issuers;
use orion_protocol::{ChainId, SecretKey, cbor};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::*;

/// Objects by path, with as much of the API's manners as the job relies on.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    by_path: BTreeMap<String, Value>,
    writes: u64,
}

impl Store {
    fn cluster(&self) -> Cluster {
        let store = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let store = store.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("a body in memory").to_bytes();
                let object = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (status, answer) = store.answer(&parts.method, parts.uri.path(), object);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(Response::builder().status(status).body(answer).expect("a response"))
            }
        });
        Cluster::new(kube::Client::new(service, "orion-system"), "orion-system")
    }

    fn answer(&self, method: &Method, path: &str, mut object: Value) -> (StatusCode, Value) {
        let mut objects = self.0.lock().expect("the store");
        let refused = |code: u16, reason: &str| {
            let status =
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason});
            (StatusCode::from_u16(code).expect("a code"), status)
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let full = if *method == Method::POST { format!("{path}/{name}") } else { path.to_owned() };
        let there = objects.by_path.get(&full).cloned();
        match (method.as_str(), there) {
            ("GET", None) if path.ends_with("/providers") => {
                let items: Vec<_> =
                    objects.by_path.iter().filter(|(at, _)| at.starts_with(path)).map(|(_, it)| it).collect();
                (StatusCode::OK, json!({"kind": "ProviderList", "metadata": {}, "items": items}))
            }
            ("GET", Some(object)) => (StatusCode::OK, object),
            ("GET" | "PUT", None) => refused(404, "NotFound"),
            ("POST", Some(_)) => refused(409, "AlreadyExists"),
            ("PUT", Some(old)) if old["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] => {
                refused(409, "Conflict")
            }
            ("POST" | "PUT", _) => {
                objects.writes += 1;
                object["metadata"]["resourceVersion"] = json!(objects.writes.to_string());
                objects.by_path.insert(full, object.clone());
                (StatusCode::OK, object)
            }
            other => panic!("the job sent {other:?}"),
        }
    }

    /// Names of the objects of a kind.
    fn names(&self, plural: &str) -> Vec<String> {
        let objects = self.0.lock().expect("the store");
        let paths = objects.by_path.keys().filter_map(|path| path.split_once(&format!("/{plural}/")));
        paths.map(|(_, name)| name.to_owned()).collect()
    }

    fn writes(&self) -> u64 {
        self.0.lock().expect("the store").writes
    }

    fn with<T>(&self, end: &str, with: impl FnOnce(&mut Value) -> T) -> T {
        let mut objects = self.0.lock().expect("the store");
        let found = objects.by_path.iter_mut().find(|(path, _)| path.ends_with(end));
        with(found.expect("the object is there").1)
    }

    fn remove(&self, end: &str) {
        self.0.lock().expect("the store").by_path.retain(|path, _| !path.ends_with(end));
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    keys: KeysArgs,
}

fn args(providers: &[&str]) -> KeysArgs {
    let providers = providers.iter().map(|provider| format!("--provider={provider}"));
    Line::try_parse_from(std::iter::once("keys".to_owned()).chain(providers)).expect("good flags").keys
}

async fn refusal(store: &Store, args: &KeysArgs) -> String {
    format!("{:#}", install(&store.cluster(), args).await.expect_err("a contradiction is not repaired"))
}

#[test]
fn demo_providers_are_name_and_owner() {
    let good: DemoProvider = "alpha=ann".parse().unwrap();
    assert_eq!((good.name.as_str(), good.owner.as_str()), ("alpha", "ann"));
    for text in ["alpha", "alpha=", "=ann", "platform=ann", "alpha=platform", "Al=ann", "a=b=c"] {
        assert!(text.parse::<DemoProvider>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let store = Store::default();
    install(&store.cluster(), &args(&["alpha=ann"])).await.unwrap();
    // Four Secrets of the platform and one of the provider, the genesis, the mark, the Provider, the broker's configuration,
    // the ledger's three tokens and their digests, the trust policy.
    assert_eq!(store.writes(), 14);
    store.with("/orion-ledger-signed", |map| map["data"] = json!({"size": "5"}));
    install(&store.cluster(), &args(&["alpha=ann"])).await.unwrap();
    assert_eq!(store.writes(), 14);
    assert_eq!(
        store.with("/orion-ledger-signed", |map| map["data"].clone()),
        json!({"size": "5"}),
        "it is not begun anew"
    );
}

#[tokio::test]
async fn another_provider_extends_what_is_there() {
    let store = Store::default();
    install(&store.cluster(), &args(&["alpha=ann"])).await.unwrap();
    let genesis = store.with("/orion-genesis", |map| map.clone());
    install(&store.cluster(), &args(&["alpha=ann", "beta=bob"])).await.unwrap();
    assert_eq!(store.with("/orion-genesis", |map| map.clone()), genesis);
    assert_eq!(store.with("/providers/beta", |it| it["spec"]["owner"].clone()), "bob");
    // A Provider that is taken out of the values keeps its place.
    install(&store.cluster(), &args(&["beta=bob"])).await.unwrap();
    let config = store.with("/orion-nats-config", |secret| secret["data"]["nats.conf"].clone());
    let config: k8s_openapi::ByteString = serde_json::from_value(config).unwrap();
    let config = String::from_utf8(config.0).unwrap();
    for provider in ["alpha", "beta"] {
        let key = store.with(&format!("/providers/{provider}"), |it| it["spec"]["brokerKey"].clone());
        assert!(config.contains(key.as_str().unwrap()), "{provider}");
        assert!(config.contains(&format!("WORK_{provider}")), "{provider}");
    }
}

#[tokio::test]
async fn a_missing_key_is_added_and_the_others_stay() {
    let store = Store::default();
    install(&store.cluster(), &args(&[])).await.unwrap();
    let operator = store.with("/orion-operator-keys", |secret| {
        secret["data"].as_object_mut().unwrap().remove("salt.key");
        secret["data"]["operator.key"].clone()
    });
    install(&store.cluster(), &args(&[])).await.unwrap();
    let data = store.with("/orion-operator-keys", |secret| secret["data"].clone());
    assert_eq!(data["operator.key"], operator);
    assert!(data["salt.key"].is_string());
}

#[tokio::test]
async fn contradictions_are_named_and_left() {
    let store = Store::default();
    install(&store.cluster(), &args(&["alpha=ann"])).await.unwrap();
    let why = refusal(&store, &args(&["alpha=bob"])).await;
    assert!(why.contains("Provider alpha belongs to ann, not to bob"), "{why}");
    store.remove("/orion-provider-alpha");
    let why = refusal(&store, &args(&["alpha=ann"])).await;
    assert!(why.contains("Provider alpha has other keys than Secret orion-provider-alpha"), "{why}");
    store.remove("/orion-ledger-keys");
    let why = refusal(&store, &args(&[])).await;
    assert!(why.contains("names the checkpoint key") && why.contains("Secret orion-ledger-keys"), "{why}");
    assert!(why.contains("orion-ledger-begun and orion-ledger-signed"), "a new chain needs both gone: {why}");
}

/// A ledger in epoch 6 that knows these keys and nothing else; its address.
async fn ledger_with(keys: KeysView) -> String {
    let seal = SealRef { height: 1, size: 1, root: orion_protocol::Digest::ZERO, time_ms: 1 };
    let head = Head { chain: ChainId::of_genesis(b"any"), seal, epoch: 6, providers: Vec::new() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = axum::routing::get(async move || cbor::to_vec(&keys));
    let head = axum::routing::get(async move || cbor::to_vec(&head));
    let routes = axum::Router::new().route("/v1/keys", answer).route("/v1/head", head);
    tokio::spawn(axum::serve(listener, routes).into_future());
    url
}

#[tokio::test]
async fn a_key_that_the_log_has_put_in_the_place_of_the_genesis_is_taken() {
    let store = Store::default();
    let nobody = "--ledger-url=http://127.0.0.1:1";
    let args = |url: &str| Line::try_parse_from(["keys", url]).expect("good flags").keys;
    install(&store.cluster(), &args(nobody)).await.unwrap();
    let genesis = store.with("/orion-genesis", |map| map["binaryData"]["genesis"].clone());
    let genesis: k8s_openapi::ByteString = serde_json::from_value(genesis).unwrap();
    let genesis = Genesis::from_bytes(&genesis.0).unwrap();
    let operator = |from_epoch, key| OperatorKey { from_epoch, key, lost: false };
    let before = KeysView {
        operators: vec![operator(0, genesis.operator)],
        platform: genesis.platform,
        issuers: Issuers::alone(genesis.issuer),
        replaced: Vec::new(),
    };
    for (secret, field, role) in [
        ("orion-operator-keys", "operator.key", "operator"),
        ("orion-platform-keys", "signing.key", "platform"),
        ("orion-issuer-keys", "issuer.key", "issuer"),
    ] {
        let seed = [u8::try_from(secret.len()).unwrap(); 32];
        let put = |text: String| {
            let text = serde_json::to_value(k8s_openapi::ByteString(text.into_bytes())).unwrap();
            store.with(&format!("/{secret}"), |object| std::mem::replace(&mut object["data"][field], text))
        };
        let old = put(hex(&seed));
        let new = SecretKey::from_seed(&seed).public();
        // Before an install there is nobody to ask, and an install has to go on.
        install(&store.cluster(), &args(nobody)).await.unwrap();
        let url = ledger_with(before.clone()).await;
        let why = refusal(&store, &args(&format!("--ledger-url={url}"))).await;
        assert!(why.contains(&format!("names the {role} key")), "{why}");
        assert!(why.contains("is not in force either: restore that Secret"), "{why}");
        let mut after = before.clone();
        match role {
            // It waits for its epoch, or is in force and another one waits.
            "operator" => after.operators.push(operator(7, new)),
            "platform" => after.platform = new,
            _ => after.issuers = Issuers::alone(new),
        }
        let url = ledger_with(after.clone()).await;
        install(&store.cluster(), &args(&format!("--ledger-url={url}"))).await.unwrap();
        if role == "operator" {
            after.operators = vec![operator(0, genesis.operator), operator(5, new), operator(7, genesis.issuer)];
            let url = ledger_with(after.clone()).await;
            install(&store.cluster(), &args(&format!("--ledger-url={url}"))).await.unwrap();
            after.operators[1].lost = true;
            let url = ledger_with(after).await;
            let why = refusal(&store, &args(&format!("--ledger-url={url}"))).await;
            assert!(why.contains("is not in force either"), "{why}");
        }
        store.with(&format!("/{secret}"), |object| object["data"][field] = old);
    }
}

#[tokio::test]
async fn a_new_chain_says_what_is_at_stake_where_that_is_not_the_default() {
    for (flags, want) in [
        (vec!["--unbonding-hours=168", "--slash-ppm=0"], None),
        (vec!["--slash-ppm=250000"], Some(Bonds { slash_ppm: 250_000, ..Bonds::default() })),
        (vec!["--unbonding-hours=1"], Some(Bonds { unbonding_ms: 3_600_000, slash_ppm: 0 })),
    ] {
        let (store, dir) = (Store::default(), tempfile::tempdir().unwrap());
        let line = Line::try_parse_from(std::iter::once("keys").chain(flags)).expect("good flags");
        let args = KeysArgs { out: Some(dir.path().to_owned()), ..line.keys };
        install(&store.cluster(), &args).await.unwrap();
        let genesis = std::fs::read(dir.path().join("orion-genesis/genesis")).unwrap();
        assert_eq!(Genesis::from_bytes(&genesis).unwrap().bonds, want);
    }
    assert!(Line::try_parse_from(["keys", "--slash-ppm=1000001"]).is_err());
    assert!(Line::try_parse_from(["keys", "--unbonding-hours=0"]).is_err());
}

#[tokio::test]
async fn the_folder_holds_what_pods_mount() {
    let store = Store::default();
    let dir = tempfile::tempdir().unwrap();
    let args = KeysArgs { out: Some(dir.path().to_owned()), ..args(&["alpha=ann"]) };
    install(&store.cluster(), &args).await.unwrap();
    let read = |path: &str| std::fs::read(dir.path().join(path)).unwrap();
    let genesis = Genesis::from_bytes(&read("orion-genesis/genesis")).unwrap();
    assert!(read("orion-genesis/checkpoint.vkey").starts_with(genesis.chain().log_origin().as_bytes()));
    for path in [
        "orion-operator-keys/operator.key",
        "orion-operator-keys/salt.key",
        "orion-operator-keys/nats.seed",
        "orion-platform-keys/signing.key",
        "orion-platform-keys/nats.seed",
        "orion-ledger-keys/checkpoint.key",
        "orion-issuer-keys/issuer.key",
        "orion-provider-alpha/signing.key",
        "orion-provider-alpha/nats.seed",
        "orion-nats-config/nats.conf",
        "orion-ledger-token-submit/token",
        "orion-ledger-token-read/token",
        "orion-ledger-token-metrics/token",
        "orion-ledger-token-digests/tokens",
        "orion-witness-policy/policy",
    ] {
        assert!(!read(path).is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_chart_grants_the_job_each_secret_that_it_makes() {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/orion/templates/keys.yaml");
    let template = std::fs::read_to_string(template).unwrap();
    let list = template.lines().find(|line| line.starts_with("{{- $secrets := list ")).unwrap();
    let granted: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let store = Store::default();
    install(&store.cluster(), &args(&[])).await.unwrap();
    let made = store.names("secrets");
    assert!(made.len() > 8, "{made:?}");
    for name in &made {
        assert!(granted.contains(&name.as_str()), "{name} is not in {granted:?}");
    }
    assert_eq!(granted.len(), made.len(), "{granted:?} has more than {made:?}");
}

/// What the ledger lets somebody in for.
const ROLES: [&str; 3] = ["submit", "read", "metrics"];

#[tokio::test]
async fn an_install_of_before_gets_tokens_and_the_ledger_only_their_digests() {
    let store = Store::default();
    install(&store.cluster(), &args(&[])).await.unwrap();
    // As a release without tokens and witnesses left it.
    for role in ROLES {
        store.remove(&format!("/orion-ledger-token-{role}"));
    }
    for object in ["/orion-ledger-token-digests", "/orion-witness-policy"] {
        store.remove(object);
    }
    let genesis = store.with("/orion-genesis", |map| map.clone());
    install(&store.cluster(), &args(&[])).await.unwrap();
    assert_eq!(store.with("/orion-genesis", |map| map.clone()), genesis);
    let tokens = tokens_of(&store);
    let digests = decoded(&store, "/orion-ledger-token-digests").remove("tokens").unwrap();
    let lines: Vec<&str> = digests.lines().collect();
    assert_eq!(lines.len(), 3);
    for role in ROLES {
        let digest = orion_protocol::Digest::of(tokens[role].as_bytes());
        assert!(lines.contains(&format!("{role} {digest}").as_str()), "{digests}");
        assert!(!digests.contains(&tokens[role]));
    }
    // One that was deleted is made anew, and the others stay.
    store.remove("/orion-ledger-token-read");
    install(&store.cluster(), &args(&[])).await.unwrap();
    let after = tokens_of(&store);
    assert!(after["read"] != tokens["read"] && after["submit"] == tokens["submit"]);
    let digests = decoded(&store, "/orion-ledger-token-digests").remove("tokens").unwrap();
    assert!(digests.contains(&orion_protocol::Digest::of(after["read"].as_bytes()).to_string()));
}

#[tokio::test]
async fn the_policy_names_the_log_and_every_witness_and_follows_the_values() {
    let store = Store::default();
    let witnessed = |names: &[&str], quorum| KeysArgs {
        demo_witnesses: names.iter().map(|name| format!("{name}=http://w-{name}:8080").parse().unwrap()).collect(),
        quorum,
        ..args(&[])
    };
    install(&store.cluster(), &witnessed(&["a", "b", "c"], 2)).await.unwrap();
    let policy = |store: &Store| store.with("/orion-witness-policy", |map| map["data"]["policy"].clone());
    let first = policy(&store).as_str().unwrap().to_owned();
    let vkey = store.with("/orion-genesis", |map| map["data"]["checkpoint.vkey"].clone());
    assert!(first.contains(&format!("\nlog {}\n", vkey.as_str().unwrap())), "{first}");
    assert!(first.ends_with("\ngroup witnesses 2 a b c\nquorum witnesses\n"), "{first}");
    assert!(first.contains("\nwitness b orion-witness-b+"), "{first}");
    // Keys stay, whoever leaves the policy and comes back.
    install(&store.cluster(), &witnessed(&["a"], 0)).await.unwrap();
    assert!(policy(&store).as_str().unwrap().ends_with("\ngroup witnesses 1 a\nquorum witnesses\n"));
    install(&store.cluster(), &witnessed(&["a", "b", "c"], 2)).await.unwrap();
    assert_eq!(policy(&store).as_str().unwrap(), first);
    let why = refusal(&store, &witnessed(&["a"], 2)).await;
    assert!(why.contains("a quorum of 2 is asked for, and there are 1 witnesses"), "{why}");
}

/// The ledger's tokens by role: each in a Secret of its own, which holds nothing else.
fn tokens_of(store: &Store) -> BTreeMap<&'static str, String> {
    let token = |role| {
        let mut secret = decoded(store, &format!("/orion-ledger-token-{role}"));
        let token = secret.remove("token").unwrap();
        assert!(secret.is_empty(), "the Secret of {role} holds more than its token");
        (role, token)
    };
    ROLES.map(token).into()
}

fn decoded(store: &Store, end: &str) -> BTreeMap<String, String> {
    let data = store.with(end, |secret| secret["data"].clone());
    let data: BTreeMap<String, k8s_openapi::ByteString> = serde_json::from_value(data).unwrap();
    data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect()
}
