//! What the service does with too much at a time, with readers that stall, and before it has a log.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use orion_ledger::http::{self, Shared, router};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{Ended, Node, Past};
use orion_ledger::serve::{self, serve};
use orion_protocol::JobId;
use orion_protocol::ledger::leaf::Code;
use support::Client;
use support::local::{open, open_at, stored};
use support::world::{START_MS, World};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Serves until it is dropped.
struct Served {
    client: Client,
    runtime: Runtime,
}

fn served(router: Router, limits: serve::Limits) -> Served {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let client = Client { address: listener.local_addr().unwrap() };
    runtime.spawn(serve(listener, router, limits, std::future::pending()));
    Served { client, runtime }
}

/// A node over a log of its own, for as long as the folder lives.
fn node(runtime: &Runtime) -> (Node, Ended, TempDir) {
    let directory = TempDir::new().unwrap();
    let (node, ended) = open(runtime, directory.path(), Past::Unknown).unwrap();
    assert!(runtime.block_on(node.published(Duration::from_secs(30))).unwrap().is_some(), "block 0 is published");
    (node, ended, directory)
}

fn shared(limits: http::Limits) -> Shared {
    Shared::new(Arc::new(Metrics::default()), limits)
}

fn busy(client: Client, path: &str, why: &str) {
    let answer = client.get(path);
    assert_eq!(answer.status, 503, "{path}");
    assert!(answer.head.to_lowercase().contains("retry-after: 1"), "{}", answer.head);
    let said = String::from_utf8(answer.body).unwrap();
    assert!(said.contains(why), "{path}: {said}");
}

#[test]
fn until_the_log_is_replayed_it_is_alive_but_not_ready() {
    let shared = shared(http::Limits::default());
    let Served { client, runtime } = served(router(shared.clone()), serve::Limits::default());
    assert_eq!(client.get("/livez").status, 200);
    for path in ["/readyz", "/v1/head", "/v1/keys", "/v1/proofs/0", "/v1/export", "/checkpoint"] {
        busy(client, path, "starting");
    }
    let (node, _ended, _directory) = node(&runtime);
    shared.ready(node);
    assert_eq!(client.get("/readyz").status, 200);
    assert_eq!(client.get("/v1/export").status, 200);
}

#[test]
fn what_costs_most_has_turns_and_the_rest_goes_on() {
    let shared = shared(http::Limits { exports: 0, views: 0, files: 0, bundles: 0, turn: Duration::from_millis(20) });
    let Served { client, runtime } = served(router(shared.clone()), serve::Limits::default());
    let (node, _ended, _directory) = node(&runtime);
    shared.ready(node);
    busy(client, "/v1/export", "too many exports");
    busy(client, &format!("/v1/jobs/{}", JobId([1; 32])), "too many views");
    busy(client, "/tile/0/000.p/1", "too many files");
    busy(client, "/v1/proofs/0", "too many files");
    for path in ["/readyz", "/v1/head", "/v1/keys", "/v1/jobs?open", "/checkpoint"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
}

/// A ledger over this world's log, with so many turns for files and for bundles.
fn over(world: &World, files: usize, bundles: usize) -> (Served, TempDir) {
    let turn = Duration::from_millis(20);
    let shared = shared(http::Limits { files, bundles, turn, ..http::Limits::default() });
    let served = served(router(shared.clone()), serve::Limits::default());
    let directory = stored(world);
    let clock = Arc::new(|| START_MS + 1_000);
    let (node, _ended) = open_at(&served.runtime, directory.path(), Past::Begun, clock).unwrap();
    shared.ready(node);
    (served, directory)
}

#[test]
fn who_reads_bundles_takes_no_turn_from_hash_tiles_and_from_the_end_of_the_log() {
    let mut world = World::new();
    while world.log.len() < 300 {
        assert_eq!(world.deposit(1), Code::Ok);
    }
    let last = format!("/tile/entries/001.p/{}", world.log.len() - 256);
    // What has become full is long whatever part of it is asked for.
    let short = ["/tile/0/000", "/tile/0/000.p/7", last.as_str()];
    let long = ["/tile/entries/000", "/tile/entries/000.p/255"];
    let check = |files, bundles, refused: &[&str], why, answered: &[&str]| {
        let (Served { client, runtime: _runtime }, _directory) = over(&world, files, bundles);
        for path in refused {
            busy(client, path, why);
        }
        for path in answered {
            assert_eq!(client.get(path).status, 200, "{path}");
        }
    };
    check(1, 0, &long, "too many bundles", &short);
    check(0, 1, &short, "too many files", &long);
}

#[test]
fn a_reader_that_stalls_loses_its_connection_to_the_next_one() {
    // More than the buffers of both sides hold.
    const LENGTH: usize = 64 << 20;
    let long = Router::new().route("/long", get(|| async { vec![0_u8; LENGTH] })).route("/short", get(|| async { "" }));
    let limits = serve::Limits { connections: 1, stall: Duration::from_millis(200), ..serve::Limits::default() };
    let Served { client, runtime: _runtime } = served(long, limits);
    let mut stalled = TcpStream::connect(client.address).unwrap();
    stalled.write_all(b"GET /long HTTP/1.1\r\nhost: ledger\r\n\r\n").unwrap();
    let started = Instant::now();
    assert_eq!(client.get("/short").status, 200, "the one connection is free again");
    assert!(started.elapsed() >= Duration::from_millis(200), "it was not cut off at once");
    let mut taken = Vec::new();
    // However it ends, it ends, and too early.
    let _ = stalled.read_to_end(&mut taken);
    assert!(taken.len() < LENGTH, "{} bytes", taken.len());
}
