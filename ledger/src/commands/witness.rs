//! `orion-ledger witness` and `orion-ledger witness-key`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;

use anyhow::Context as _;
use clap::Args;
use orion_ledger::witness::{Config, Door, Limits, router};
use orion_ledger::{clock, serve, witness};
use orion_ledger_core::log::note::{KeyType, NoteSigner};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{read_genesis, read_seed};

/// What a witness is told.
#[derive(Args)]
pub struct Witness {
    /// Where the log is, such as http://orion-ledger:7070: its checkpoint and tiles lie below.
    #[arg(long, env = "ORION_WITNESS_LOG", value_name = "URL")]
    log: String,
    /// The log's genesis, from whoever you trust about it: its canonical bytes, or their hex.
    #[arg(long, env = "ORION_WITNESS_GENESIS", value_name = "FILE")]
    genesis: PathBuf,
    #[command(flatten)]
    key: WitnessKey,
    /// The directory of the witness's copy, of what it cosigned, and of evidence.
    #[arg(long, env = "ORION_WITNESS_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Where to listen.
    #[arg(long, env = "ORION_WITNESS_LISTEN", default_value = "0.0.0.0:7071", value_name = "ADDR")]
    listen: SocketAddr,
}

/// Who cosigns.
#[derive(Args)]
pub struct WitnessKey {
    /// The witness's own key: a seed of 64 hex digits, used for nothing else and under no other name.
    #[arg(long, env = "ORION_WITNESS_KEY", value_name = "FILE")]
    key: PathBuf,
    /// The witness's name in its cosignatures, such as witness.example.org/orion.
    #[arg(long, env = "ORION_WITNESS_NAME", value_name = "NAME")]
    name: String,
}

impl WitnessKey {
    fn signer(&self) -> anyhow::Result<NoteSigner> {
        let secret = read_seed(&self.key)?;
        let signer = NoteSigner::new(&self.name, KeyType::Cosignature, secret);
        signer.with_context(|| format!("{:?} cannot be a witness's name", self.name))
    }

    /// Prints the key that verifies the witness's cosignatures.
    pub fn run(&self) -> anyhow::Result<()> {
        println!("{}", self.signer()?.key());
        Ok(())
    }
}

impl Witness {
    /// Witnesses until it is told to end.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let result = runtime.block_on(run(self));
        // A file that is still being fetched need not be waited for: nothing on disk is ever half written.
        runtime.shutdown_background();
        result
    }
}

/// Listens first, so that liveness is answered while a long copy replays.
async fn run(args: Witness) -> anyhow::Result<()> {
    let Witness { log, genesis, key, data, listen } = args;
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
    let open = move || witness::Witness::open(&data, Config { log, genesis, signer, clock: clock::wall(), limits });
    let (opened, ended) = tokio::select! {
        () = &mut told_to_end => return Ok(()),
        opened = tokio::task::spawn_blocking(open) => opened.context("the start was cut off")??,
    };
    door.ready(opened);
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
