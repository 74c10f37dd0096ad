//! `orion-ledger witness` and `orion-ledger witness-key`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;

use anyhow::Context as _;
use clap::Args;
use orion_ledger::witness::{Config, Door, Limits, Witness, router};
use orion_ledger::{clock, serve};
use orion_ledger_core::log::note::{KeyType, NoteSigner};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::{read_genesis, read_seed};

/// What a witness is told.
#[derive(Args)]
pub struct WitnessArgs {
    /// Where the log is, such as http://orion-ledger:7070: its checkpoint and tiles lie below.
    #[arg(long, env = "ORION_WITNESS_LOG", value_name = "URL")]
    log: String,
    /// The log's genesis, from whoever you trust about it: its canonical bytes, or their hex.
    #[arg(long, env = "ORION_WITNESS_GENESIS", value_name = "FILE")]
    genesis: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// The directory of the witness's copy, of what it cosigned, and of evidence.
    #[arg(long, env = "ORION_WITNESS_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Where to listen.
    #[arg(long, env = "ORION_WITNESS_LISTEN", default_value = "0.0.0.0:7071", value_name = "ADDR")]
    listen: SocketAddr,
}

/// Who cosigns.
#[derive(Args)]
pub struct KeyArgs {
    /// The witness's own key: a seed of 64 hex digits, used for nothing else and under no other name.
    #[arg(long, env = "ORION_WITNESS_KEY", value_name = "FILE")]
    key: PathBuf,
    /// The witness's name in its cosignatures, such as witness.example.org/orion.
    #[arg(long, env = "ORION_WITNESS_NAME", value_name = "NAME")]
    name: String,
}

impl KeyArgs {
    fn signer(&self) -> anyhow::Result<NoteSigner> {
        let secret = read_seed(&self.key)?;
        let signer = NoteSigner::new(&self.name, KeyType::Cosignature, secret);
        signer.with_context(|| format!("{:?} cannot be a witness's name", self.name))
    }
}

/// Prints the key that verifies the witness's cosignatures.
pub fn key(args: &KeyArgs) -> anyhow::Result<()> {
    println!("{}", args.signer()?.key());
    Ok(())
}

/// Listens first, so that liveness is answered while a long copy replays.
pub async fn run(args: WitnessArgs) -> anyhow::Result<()> {
    let WitnessArgs { log, genesis, key, data, listen } = args;
    let (genesis, signer, limits) = (read_genesis(&genesis)?, key.signer()?, Limits::default());
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
    let door = Door::new(&limits);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve::serve(listener, router(door.clone()), serve::Limits::default(), stopped));
    let vkey = signer.key().to_string();
    let open = move || Witness::open(&data, Config { log, genesis, signer, clock: clock::wall(), limits });
    let (witness, ended) = tokio::select! {
        () = &mut told_to_end => return Ok(()),
        opened = tokio::task::spawn_blocking(open) => opened.context("the start was cut off")??,
    };
    door.ready(witness);
    tracing::info!(%address, key = vkey, "ready");
    // For whoever started it on port 0.
    println!("listening on {address}");
    let mut refused = false;
    let mut ended = pin!(ended);
    let result = loop {
        tokio::select! {
            () = &mut told_to_end => break Ok(()),
            ended = &mut ended, if !refused => match ended {
                // It follows no more, and goes on saying why.
                Ok(Ok(())) => refused = true,
                Ok(Err(error)) => break Err(error).context("the witness had to stop"),
                Err(_) => break Err(anyhow::anyhow!("the witness's loop vanished")),
            },
        }
    };
    let _ = stop.send(());
    server.await.context("the server was cut off")?;
    result
}
