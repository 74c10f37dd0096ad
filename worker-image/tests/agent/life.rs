//! Starting, saying how it is, and stopping.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser as _;
use orion_protocol::bytes::hex;
use orion_protocol::messages::{Alive, Beat, Message as _, Role};
use orion_worker::agent::config::{Config, ConfigError, Flags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Job, Operator, WAIT, genesis, hear, key, name, run, started};

/// A page of the worker: its status line and its body; `None` while nobody listens.
async fn page(at: SocketAddr, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(at).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

/// Waits until a page says what is wanted.
async fn until(at: SocketAddr, path: &str, want: &str) -> String {
    let looking = async {
        loop {
            if let Some(text) = page(at, path).await.filter(|text| text.contains(want)) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, looking).await.unwrap_or_else(|_| panic!("{path} never says {want:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_device_lives_is_not_ready_and_stops_when_told() {
    let operator = Operator::start().await;
    let mut config = operator.config("p1", "w1", Role::Worker);
    config.executor.binary = "/bin/false".into();
    let worker = run(config);
    until(worker.listen, "/livez", "200 OK").await;
    until(worker.listen, "/readyz", "no OpenCL device").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_what_it_holds_and_counts_what_it_did() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    until(worker.listen, "/readyz", "200 OK").await;
    let mut heard = operator.broker.heartbeats().await.unwrap();
    operator.broker.flush().await.unwrap();
    let (_, task) = operator.work_task(&worker, &job, 0);
    operator.send(&worker, &task).await;
    let (mut started, mut progressed, mut alive) = (false, false, false);
    hear(&mut heard, |heard| {
        match Beat::from_bytes(&heard.bytes).unwrap() {
            Beat::Started(lease) => started |= lease == task.lease,
            Beat::Progress(lease, units) => {
                progressed |= lease == task.lease.digest(&operator.chain) && (1..=20).contains(&units);
            }
            Beat::Alive(Alive { version, .. }) => alive |= !version.is_empty(),
        }
        (started && progressed && alive).then_some(())
    })
    .await;
    let metrics =
        until(worker.listen, "/metrics", "orion_worker_leases_total{kind=\"work\",outcome=\"answered\"} 1").await;
    assert!(metrics.contains("orion_worker_units_total 20"), "{metrics}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_abandons_what_takes_too_long_and_others_do_not_notice() {
    let mut operator = Operator::start().await;
    let slow = Job::with_body("int s = 0; for (int a = 0; a < 2000000000; a++) { s = s * 3 + a + x[i]; } y[i] = s;");
    slow.store(&operator.broker).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let mut heard = operator.broker.heartbeats().await.unwrap();
    operator.broker.flush().await.unwrap();
    let (_, task) = operator.work_task(&worker, &slow, 0);
    operator.send(&worker, &task).await;
    hear(&mut heard, started).await;
    worker.stop().await;
    assert_eq!(operator.broker.stream_facts("COMMIT_p1").await.unwrap().unwrap().messages, 0);
}

#[test]
fn flags_become_checked_settings_or_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let write = |file: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(file), bytes).unwrap();
        dir.path().join(file).to_str().unwrap().to_owned()
    };
    let (seed, genesis_file) = (write("seed", b"SUSEED\n"), write("genesis", &genesis().to_bytes()));
    let genesis_hex = write("genesis.hex", format!("{}\n", hex(&genesis().to_bytes())).as_bytes());
    let secret = |owner: &str| hex(&orion_protocol::Digest::of(owner.as_bytes()).0) + "\n";
    let [platform, p1] = ["platform", "p1"].map(|owner| write(owner, secret(owner).as_bytes()));
    let config = |role: &str, provider: &str, key: &str, genesis: &str| {
        let flags = [
            ("--role", role),
            ("--nats-url", "nats://127.0.0.1:1"),
            ("--nats-seed", &seed),
            ("--provider", provider),
            ("--worker", "w1"),
            ("--signing-key", key),
            ("--genesis", genesis),
            ("--scratch", "/tmp"),
            ("--slots", "2"),
        ];
        let flags = flags.iter().flat_map(|(flag, value)| [*flag, *value]);
        Config::from_flags(Flags::try_parse_from(std::iter::once("orion-worker").chain(flags)).unwrap())
    };
    let worker = config("worker", "p1", &p1, &genesis_file).unwrap();
    assert_eq!(worker.identity.key.public(), key("p1").public());
    assert_eq!((worker.identity.provider, worker.identity.role), (name("p1"), Role::Worker));
    assert_eq!(worker.identity.chain, genesis().chain());
    assert_eq!((worker.broker.inbox_prefix.as_str(), worker.broker.seed.as_str()), ("_INBOX_p1", "SUSEED"));
    // 3 GiB without the cache, the agent itself, and two executors at work and three idle.
    assert_eq!(worker.memory, (3072 - 256 - 128 - 5 * 192) << 20);
    assert_eq!(worker.executor.memory, worker.memory);
    let of_platform = config("platform", "platform", &platform, &genesis_hex).unwrap();
    assert_eq!(of_platform.broker.inbox_prefix, "_INBOX_PLATFORM");
    assert!(matches!(config("worker", "platform", &p1, &genesis_file), Err(ConfigError::PlatformName)));
    assert!(matches!(config("platform", "p1", &platform, &genesis_file), Err(ConfigError::PlatformName)));
    // The log may have put it in the place of the genesis' key.
    assert_eq!(config("platform", "platform", &p1, &genesis_file).unwrap().identity.key.public(), key("p1").public());
    assert!(matches!(config("worker", "p1", &genesis_file, &genesis_file), Err(ConfigError::Content { .. })));
    assert!(matches!(config("worker", "p1", "/nowhere", &genesis_file), Err(ConfigError::Read { .. })));
    assert!(matches!(config("worker", "p1", &p1, &p1), Err(ConfigError::Content { .. })));
}
