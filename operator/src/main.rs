//! The operator: splits jobs, leases shards, closes rounds, asks validators, settles. One replica leads; the others wait.
//!
//! It runs nobody's code and holds no results: workers compute, the ledger remembers.

mod children;
mod clock;
mod contradiction;
mod edges;
mod epoch;
mod events;
mod finality;
mod gateway;
mod health;
mod housekeeping;
mod intake;
mod job;
mod keeper;
mod keys;
mod leader;
mod leadership;
mod ledger;
mod metrics;
mod perform;
mod providers;
mod render;
mod seldom;
mod settings;
mod writes;

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client, ResourceExt};
use orion_broker::Bounds;
use orion_broker::permissions::{Role, inbox_prefix};
use orion_crds::names;
use tokio::net::TcpListener;

use crate::edges::Edges;
use crate::leadership::Guard;
use crate::metrics::Metrics;
use crate::settings::{Identity, RunArgs};

#[derive(Parser)]
#[command(name = "orion-operator", version, about = "Runs OrionJobs on workers that nobody has to trust.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lead, or wait to lead.
    Run(RunArgs),
    /// Make the keys of an install, where they are missing.
    Keys(keys::KeysArgs),
    /// Send the demo's deposit.
    Deposit(keys::DepositArgs),
    /// Keep the ledger's mark, beside the ledger.
    Keeper(keeper::KeeperArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    anyhow::ensure!(rustls::crypto::ring::default_provider().install_default().is_ok(), "TLS was set up twice");
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    match Args::parse().command {
        Command::Run(args) => run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Deposit(args) => keys::deposit(args).await,
        Command::Keeper(args) => keeper::run(args).await,
    }
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    let health = Arc::new(health::Health::default());
    let listener = TcpListener::bind(args.health_listen).await.context("listening for health checks")?;
    tokio::spawn(axum::serve(listener, health::router(health.clone())).into_future());
    let edges = Arc::new(connect(&args, health.metrics.clone()).await?);
    let listener = TcpListener::bind(args.gateway_listen).await.context("listening for the gateway")?;
    tokio::spawn(axum::serve(listener, gateway::router(edges.clone())).into_future());
    tokio::spawn(health::watch(health.clone(), edges.clone()));
    tokio::select! {
        outcome = campaign(&args, &edges) => outcome,
        signal = terminated() => signal,
    }
}

/// Waits for the Lease, leads while it is ours. A leadership that ended ends the process: a fresh one knows nothing stale.
async fn campaign(args: &RunArgs, edges: &Arc<Edges>) -> anyhow::Result<()> {
    let manager = leadership::candidate(edges.kube.clone(), &args.namespace, &args.replica)
        .await
        .context("preparing the election")?;
    let (mut elected, _task) = manager.watch().await;
    elected.wait_for(|elected| *elected).await.context("the election ended")?;
    edges.metrics.lead();
    // The guard counts from the leadership's beginning.
    let edges = Arc::new(Edges { guard: Guard::default(), ..(**edges).clone() });
    let outcome = tokio::select! {
        outcome = leader::lead(edges.clone(), args.min_price_per_second) => outcome,
        lost = elected.wait_for(|elected| !*elected) => {
            lost.context("the election ended")?;
            Err(anyhow::anyhow!("the Lease was lost"))
        }
    };
    edges.guard.depose();
    outcome
}

async fn connect(args: &RunArgs, metrics: Arc<Metrics>) -> anyhow::Result<Edges> {
    let identity = Arc::new(Identity::load(args)?);
    let kube = Client::try_default().await.context("finding the API server")?;
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    let system = namespaces.get("kube-system").await.context("reading the namespace kube-system")?;
    let seed = std::fs::read_to_string(&args.nats_seed_file)
        .with_context(|| format!("reading the broker's key from {}", args.nats_seed_file.display()))?;
    let settings = orion_broker::Settings {
        url: args.nats_url.clone(),
        seed: seed.trim().to_owned(),
        inbox_prefix: inbox_prefix(Role::Operator),
        name: format!("operator {}", args.replica),
    };
    let broker = orion_broker::connect(&settings).await.context("connecting to the broker")?;
    let token = args.ledger_token_file.as_deref().map(ledger::LedgerToken::read).transpose()?;
    let reporter = Reporter { controller: names::MANAGER.into(), instance: Some(args.replica.clone()) };
    Ok(Edges {
        events: Recorder::new(kube.clone(), reporter),
        metrics,
        cluster: system.uid().unwrap_or_default(),
        kube,
        broker,
        bounds: Bounds { in_bytes: args.input_bytes, ..Bounds::default() },
        ledger: ledger::Ledger::new(&args.ledger_url, token),
        identity,
        namespace: args.namespace.clone(),
        guard: Guard::default(),
    })
}

/// SIGTERM or Ctrl-C.
async fn terminated() -> anyhow::Result<()> {
    let mut term =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = term.recv() => {}
        outcome = tokio::signal::ctrl_c() => outcome.context("listening for Ctrl-C")?,
    }
    Ok(())
}
