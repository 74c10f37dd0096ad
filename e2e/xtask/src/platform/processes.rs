//! The platform as plain processes on loopback: the same programs, keys and objects as the chart's, without pods.
//!
//! One process a role; two operators, so that the election is real. A healthy platform is left as it is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{AGENT, NAMESPACE, Platform, Provider};
use crate::cluster::{Cluster, free_ports};
use crate::programs::Programs;
use crate::progress::Steps;
use crate::{broker, files, process, wait};

/// How long each part may take to be ready.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Where everything listens; kept in the state folder, so that a second call finds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Layout {
    /// Broker.
    pub nats: SocketAddr,
    /// Ledger.
    pub ledger: SocketAddr,
    /// Health endpoints of the two operators.
    pub health: [SocketAddr; 2],
    /// Gateways of the two operators.
    pub gateway: [SocketAddr; 2],
}

/// One worker process.
#[derive(Debug, Clone)]
pub struct Worker<'a> {
    /// Its provider, or `platform`.
    pub provider: &'a str,
    /// Its role.
    pub role: &'a str,
    /// Its name among the provider's.
    pub name: &'a str,
    /// Leases at a time.
    pub slots: u32,
    /// The program: the agent, or a test's own.
    pub program: &'a str,
}

/// Starts what is missing and waits until all of it is ready.
pub fn install(cluster: &Cluster, programs: &Programs, providers: &[Provider]) -> Result<Platform> {
    let folder = cluster.state_dir.join("platform");
    let layout_file = folder.join("layout.json");
    if let Ok(text) = std::fs::read(&layout_file)
        && let Ok(layout) = serde_json::from_slice::<Layout>(&text)
        && ready(layout.health[0], "/readyz").is_some()
    {
        return platform(cluster, programs, &folder, &layout);
    }
    let layout = Layout::free()?;
    let mut steps = Steps::new("platform", 5);
    steps.run("CRDs and keys", |_| make_keys(cluster, programs, &folder, &layout, providers))?;
    steps.run("broker and ledger", |_| start_stores(cluster, programs, &folder, &layout))?;
    steps.run("two operators", |_| {
        (0..2).try_for_each(|replica| start_operator(cluster, programs, &folder, &layout, replica))
    })?;
    steps.run("workers and validators", |_| start_workers(cluster, programs, &folder, &layout, providers))?;
    steps.run("the demo's deposit", |_| deposit(cluster, programs, &folder, &layout, "default", "1000"))?;
    steps.finish();
    files::write(&layout_file, serde_json::to_vec_pretty(&layout)?)?;
    platform(cluster, programs, &folder, &layout)
}

impl Layout {
    fn free() -> Result<Layout> {
        let ports: [u16; 6] = free_ports()?;
        let [nats, ledger, health0, health1, gateway0, gateway1] =
            ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Ok(Layout { nats, ledger, health: [health0, health1], gateway: [gateway0, gateway1] })
    }
}

fn platform(cluster: &Cluster, programs: &Programs, folder: &Path, layout: &Layout) -> Result<Platform> {
    let token = key(folder, "orion-ledger-token-read", "token");
    let token = std::fs::read_to_string(&token).with_context(|| format!("reading {}", token.display()))?;
    Ok(Platform {
        log_key: key(folder, "orion-genesis", "checkpoint.vkey"),
        environment: vec![
            ("ORION_GATEWAY_URL".to_owned(), format!("http://{}", layout.gateway[0])),
            ("ORION_LEDGER_URL".to_owned(), format!("http://{}", layout.ledger)),
            ("ORION_LEDGER_TOKEN".to_owned(), token),
        ],
        orion: programs.path("orion"),
        kubeconfig: cluster.kubeconfig.clone(),
    })
}

/// A file that the key job wrote.
fn key(folder: &Path, object: &str, name: &str) -> PathBuf {
    folder.join("keys").join(object).join(name)
}

/// One of our programs against this cluster's API.
fn program(cluster: &Cluster, path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env("KUBECONFIG", &cluster.kubeconfig);
    command
}

fn make_keys(
    cluster: &Cluster,
    programs: &Programs,
    folder: &Path,
    layout: &Layout,
    providers: &[Provider],
) -> Result<()> {
    super::install_crds(cluster, programs)?;
    cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"))?;
    let mut keys = program(cluster, &programs.path("orion-operator"));
    keys.args(["keys", "--namespace", NAMESPACE]).arg("--out").arg(folder.join("keys"));
    keys.args(["--nats-listen", &layout.nats.to_string(), "--nats-http", "127.0.0.1:0"]);
    keys.arg("--nats-store").arg(folder.join("nats"));
    for Provider { name, .. } in providers {
        keys.args(["--provider", &format!("{name}={name}")]);
    }
    process::run(&mut keys)
}

fn start_stores(cluster: &Cluster, programs: &Programs, folder: &Path, layout: &Layout) -> Result<()> {
    let config = key(folder, "orion-nats-config", "nats.conf");
    broker::start(cluster, "nats", &config, layout.nats)?;
    let mut ledger = Command::new(programs.path("orion-ledger"));
    ledger.args(["serve", "--listen", &layout.ledger.to_string()]).arg("--data").arg(folder.join("ledger"));
    ledger.arg("--genesis").arg(key(folder, "orion-genesis", "genesis"));
    ledger.arg("--checkpoint-key").arg(key(folder, "orion-ledger-keys", "checkpoint.key"));
    ledger.env("ORION_LEDGER_TOKENS", key(folder, "orion-ledger-token-digests", "tokens"));
    // One that is killed starts again, as a pod would.
    cluster.spawn("ledger", &mut supervise(&ledger))?;
    wait_ready("the ledger", layout.ledger)
}

/// Starts one of the two operators.
pub fn start_operator(
    cluster: &Cluster,
    programs: &Programs,
    folder: &Path,
    layout: &Layout,
    replica: usize,
) -> Result<()> {
    let mut operator = program(cluster, &programs.path("orion-operator"));
    operator.args(["run", "--namespace", NAMESPACE, "--replica", &format!("operator-{replica}")]);
    operator.args(["--ledger-url", &format!("http://{}", layout.ledger)]);
    operator.args(["--nats-url", &format!("nats://{}", layout.nats)]);
    operator.args(["--health-listen", &layout.health[replica].to_string()]);
    operator.args(["--gateway-listen", &layout.gateway[replica].to_string()]);
    operator.arg("--nats-seed-file").arg(key(folder, "orion-operator-keys", "nats.seed"));
    operator.arg("--genesis-file").arg(key(folder, "orion-genesis", "genesis"));
    operator.arg("--operator-key-file").arg(key(folder, "orion-operator-keys", "operator.key"));
    operator.arg("--salt-key-file").arg(key(folder, "orion-operator-keys", "salt.key"));
    operator.env("ORION_LEDGER_TOKEN_FILE", key(folder, "orion-ledger-token-submit", "token"));
    // A leadership that ends ends the process; as a pod would, it starts again.
    let mut supervised = supervise(&operator);
    cluster.spawn(&format!("operator-{replica}"), &mut supervised)?;
    wait_ready("an operator", layout.health[replica])
}

fn start_workers(
    cluster: &Cluster,
    programs: &Programs,
    folder: &Path,
    layout: &Layout,
    providers: &[Provider],
) -> Result<()> {
    start_worker(
        cluster,
        programs,
        folder,
        layout,
        &Worker { provider: "platform", role: "platform", name: "platform-0", slots: 2, program: AGENT },
    )?;
    for Provider { name: provider, program } in providers {
        for role in ["worker", "validator"] {
            let name = format!("{provider}-{role}-0");
            start_worker(
                cluster,
                programs,
                folder,
                layout,
                &Worker { provider, role, name: &name, slots: 1, program },
            )?;
        }
    }
    Ok(())
}

/// Starts one worker process and waits until it is ready.
pub fn start_worker(
    cluster: &Cluster,
    programs: &Programs,
    folder: &Path,
    layout: &Layout,
    worker: &Worker<'_>,
) -> Result<()> {
    let secret = match worker.provider {
        "platform" => "orion-platform-keys".to_owned(),
        provider => format!("orion-provider-{provider}"),
    };
    let scratch = folder.join("scratch").join(worker.name);
    files::make_folder(&scratch)?;
    let [port] = free_ports()?;
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(programs.path(worker.program));
    command.args(["--role", worker.role, "--provider", worker.provider, "--worker", worker.name]);
    command.args(["--nats-url", &format!("nats://{}", layout.nats), "--listen", &listen.to_string()]);
    command.args(["--slots", &worker.slots.to_string()]);
    command.arg("--nats-seed").arg(key(folder, &secret, "nats.seed"));
    command.arg("--signing-key").arg(key(folder, &secret, "signing.key"));
    command.arg("--genesis").arg(key(folder, "orion-genesis", "genesis"));
    command.arg("--scratch").arg(&scratch).arg("--executor").arg(programs.executor());
    cluster.spawn(worker.name, &mut supervise(&command))?;
    wait_ready(worker.name, listen)
}

/// The command, started again whenever it ends.
fn supervise(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    // What is meant for this program is not meant for the platform's, which read variables of the same family.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ORION_")) {
        shell.env_remove(name);
    }
    shell.args(["-c", "while true; do \"$@\"; sleep 1; done", "supervise"]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

/// Credits for a namespace.
pub fn deposit(
    cluster: &Cluster,
    programs: &Programs,
    folder: &Path,
    layout: &Layout,
    namespace: &str,
    amount: &str,
) -> Result<()> {
    let mut deposit = program(cluster, &programs.path("orion-operator"));
    deposit.args(["deposit", "--namespace", namespace, "--amount", amount]);
    deposit.args(["--ledger-url", &format!("http://{}", layout.ledger)]);
    deposit.env("ORION_LEDGER_TOKEN_FILE", key(folder, "orion-ledger-token-submit", "token"));
    deposit.arg("--genesis-file").arg(key(folder, "orion-genesis", "genesis"));
    deposit.arg("--issuer-key-file").arg(key(folder, "orion-issuer-keys", "issuer.key"));
    process::run(&mut deposit)
}

fn wait_ready(what: &str, address: SocketAddr) -> Result<()> {
    wait::until(&format!("{what} to be ready"), READY_LIMIT, || Ok(ready(address, "/readyz")))
}

/// Whether a small HTTP endpoint says 200.
fn ready(address: SocketAddr, path: &str) -> Option<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    (&answer == b"HTTP/1.1 200").then_some(())
}
