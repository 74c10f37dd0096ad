//! `orion-worker`: the agent. Flags in, a worker until SIGTERM out.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Parser as _;
use orion_worker::agent::answer::Honest;
use orion_worker::agent::config::{Config, Flags};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

fn main() -> anyhow::Result<()> {
    orion_worker::processor::check().map_err(anyhow::Error::msg)?;
    // Executors run strangers' code under our user: they may neither trace this process nor read its memory, keys and all.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).context("cannot close this process to others")?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,async_nats=warn"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    let config = Config::from_flags(Flags::parse())?;
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
    });
    orion_worker::agent::run(config, Honest, stopped).await?;
    Ok(())
}
