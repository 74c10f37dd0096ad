//! `orion-ledger serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use orion_ledger::auth::Tokens;
use orion_ledger::clock::Time;
use orion_ledger::http::{self, Shared, router};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{Node, Past};
use orion_ledger::publisher::Publishing;
use orion_ledger::witnesses::{self, Witnesses};
use orion_ledger::{mark, serve};
use orion_protocol::SecretKey;
use orion_protocol::ledger::Genesis;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::{read_genesis, read_seed};

/// `orion-ledger serve`.
#[derive(Args)]
pub struct Serve {
    /// Where to listen.
    #[arg(long, env = "ORION_LEDGER_LISTEN", default_value = "0.0.0.0:7070", value_name = "ADDR")]
    listen: SocketAddr,
    /// The directory of the store.
    #[arg(long, env = "ORION_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The genesis: its canonical bytes, or their hex.
    #[arg(long, env = "ORION_LEDGER_GENESIS", value_name = "FILE")]
    genesis: PathBuf,
    /// The checkpoint key's seed: 64 hex digits.
    #[arg(long, env = "ORION_LEDGER_CHECKPOINT_KEY", value_name = "FILE")]
    checkpoint_key: PathBuf,
    /// A file that exists once the log of this genesis was begun. With it an empty store is refused. It must lie elsewhere
    /// than the store, and is never written by the ledger.
    #[arg(long, env = "ORION_LEDGER_BEGUN", value_name = "FILE")]
    begun: Option<PathBuf>,
    /// Sign and publish a checkpoint at most once in so many milliseconds.
    #[arg(long, env = "ORION_LEDGER_PUBLISH_INTERVAL_MS", default_value_t = 1000, value_name = "MS")]
    publish_interval_ms: u64,
    /// A trust policy (c2sp.org/tlog-policy) whose witnesses have URLs: each checkpoint is sent to them, and is witnessed once
    /// its quorum has cosigned it. It must name this log's key.
    #[arg(long, env = "ORION_LEDGER_TRUST", value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Where what was signed last is kept, outside of the store: a directory, or unix: and the socket of a keeper. Moved before
    /// each signature; without it nothing new is published.
    #[arg(long, env = "ORION_LEDGER_MARK", value_name = "DIR|unix:PATH")]
    mark: Option<String>,
    /// Who may ask for what: a role (submit, read, metrics) and the SHA3-256 of its token a line. Without it everybody may.
    #[arg(long, env = "ORION_LEDGER_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Refuse to start when the last block is so many hours old: perhaps the clock was set forward.
    #[arg(long, env = "ORION_LEDGER_LONGEST_PAUSE_HOURS", default_value_t = 744, value_name = "HOURS")]
    longest_pause_hours: u64,
}

impl Serve {
    /// Serves until it is told to end, or has to.
    pub fn run(self) -> anyhow::Result<()> {
        let genesis = read_genesis(&self.genesis)?;
        let secret = read_seed(&self.checkpoint_key)?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let result = runtime.block_on(run(self, genesis, secret));
        // A replay or an export that still runs need not be waited for: nothing on disk is ever half written.
        runtime.shutdown_background();
        result
    }
}

/// Listens first, so that liveness is answered while a long log replays; transactions are taken once that is done.
async fn run(args: Serve, genesis: Genesis, secret: SecretKey) -> anyhow::Result<()> {
    let Serve { listen, data, begun, publish_interval_ms, trust, mark, tokens, longest_pause_hours, .. } = args;
    let tokens = tokens.as_deref().map(Tokens::read).transpose().context("learning who may ask")?;
    let trust = trust.as_deref().map(witnesses::read).transpose()?;
    let mark = mark.map(|mark| mark::named(&mark, &data, &Handle::current())).transpose()?;
    let publishing = Publishing { interval: Duration::from_millis(publish_interval_ms), mark };
    let past = past(begun.as_deref())?;
    let time = Time::of_computer(longest_pause_hours);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut told_to_end = pin!(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let metrics = Arc::new(Metrics::default());
    let shared = shared(metrics.clone(), tokens);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve::serve(listener, router(shared.clone()), serve::Limits::default(), stopped));
    let witnessing = metrics.witnesses.clone();
    let open = move || {
        let (node, ended) = Node::open(&data, past, &genesis, secret, time, metrics, publishing)?;
        let witnesses = trust.map(|trust| Witnesses::start(trust, &node, witnessing)).transpose()?;
        anyhow::Ok((node, ended, witnesses))
    };
    let (node, ended, witnesses) = tokio::select! {
        () = &mut told_to_end => return Ok(()),
        opened = tokio::task::spawn_blocking(open) => opened.context("the start was cut off")??,
    };
    if let Some(witnesses) = witnesses {
        shared.witnessed_by(witnesses);
    }
    shared.ready(node);
    tracing::info!(%address, "ready");
    // For whoever started it on port 0.
    println!("listening on {address}");
    let result = tokio::select! {
        () = &mut told_to_end => Ok(()),
        ended = ended => match ended {
            Ok(result) => result.context("the ledger had to stop"),
            Err(_) => Err(anyhow::anyhow!("the engine vanished")),
        },
    };
    let _ = stop.send(());
    server.await.context("the server was cut off")?;
    result
}

fn shared(metrics: Arc<Metrics>, tokens: Option<Tokens>) -> Shared {
    let shared = Shared::new(metrics, http::Limits::default());
    if let Some(tokens) = tokens {
        return shared.with_tokens(tokens);
    }
    tracing::warn!("without --tokens everybody who reaches this address may submit, read and export");
    shared
}

/// Whether the log was begun. That it cannot be told is no reason to begin another.
fn past(begun: Option<&Path>) -> anyhow::Result<Past> {
    let Some(begun) = begun else { return Ok(Past::Unknown) };
    let found = begun.try_exists().with_context(|| format!("cannot tell whether {} exists", begun.display()))?;
    Ok(if found { Past::Begun } else { Past::Unknown })
}
