//! `orion-ledger`: serves the ledger, waits for one that is served, witnesses one, prints the keys that verify checkpoints and
//! cosignatures, or works on the data of one that is stopped.

mod commands;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use orion_ledger::ready;
use orion_ledger_core::VerifierKey;

use crate::commands::offline::{Backup, Import, Stopped};
use crate::commands::read_genesis;
use crate::commands::serve::Serve;
use crate::commands::witness::{Witness, WitnessKey};

/// The ledger of Orion.
#[derive(Parser)]
#[command(name = "orion-ledger", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the ledger.
    Serve(Serve),
    /// Wait until a ledger takes transactions.
    Await {
        /// Where it is, such as http://orion-ledger:8080.
        #[arg(long, value_name = "URL")]
        url: String,
        /// Give up after so many seconds.
        #[arg(long, default_value_t = 540, value_name = "SECONDS")]
        for_seconds: u64,
    },
    /// Print the key that verifies this chain's checkpoints.
    Key {
        /// The genesis: its canonical bytes, or their hex.
        #[arg(long, env = "ORION_LEDGER_GENESIS", value_name = "FILE")]
        genesis: PathBuf,
    },
    /// Bring missing entries into the store of a stopped ledger, from an export or from whoever serves the log.
    Import(Import),
    /// Write the log of a stopped ledger to a file, as an export; of one that runs, take GET /v1/export.
    Backup(Backup),
    /// Check all that a stopped ledger has on its disk, from the genesis.
    Audit(Stopped),
    /// Follow a log, replay it, and cosign its checkpoints.
    Witness(Witness),
    /// Print the key that verifies a witness's cosignatures.
    WitnessKey(WitnessKey),
}

fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Await { url, for_seconds } => {
            let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
            let ready = ready::wait(&url, Duration::from_secs(for_seconds));
            runtime.block_on(ready).with_context(|| format!("waiting for the ledger at {url}"))
        }
        Command::Key { genesis } => {
            let genesis = read_genesis(&genesis)?;
            println!("{}", VerifierKey::new(&genesis.chain(), genesis.checkpoint));
            Ok(())
        }
        Command::Import(import) => import.run(),
        Command::Backup(backup) => backup.run(),
        Command::Audit(stopped) => stopped.audit(),
        Command::Witness(witness) => witness.run(),
        Command::WitnessKey(key) => key.run(),
    }
}
