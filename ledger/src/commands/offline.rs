//! Commands on the data of a ledger that does not run: import, backup, audit. The store's lock refuses them beside one that does.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use orion_ledger::audit::{self, Audited};
use orion_ledger::import::{self, Imported};
use orion_ledger::{backup, fetch};
use orion_ledger_core::VerifierKey;
use orion_protocol::ledger::Genesis;

use super::read_genesis;

/// What is fetched, within the data directory, until it is imported.
const FETCHED: &str = ".fetched";

/// A stopped ledger.
#[derive(Args)]
pub struct Stopped {
    /// The directory of the store.
    #[arg(long, env = "ORION_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The genesis: its canonical bytes, or their hex.
    #[arg(long, env = "ORION_LEDGER_GENESIS", value_name = "FILE")]
    genesis: PathBuf,
}

/// `orion-ledger import`.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    into: Stopped,
    /// An export, or the URL below which a log or a witness serves /checkpoint and /tile (http only).
    #[arg(long, value_name = "FILE|URL")]
    from: String,
}

/// `orion-ledger backup`.
#[derive(Args)]
pub struct Backup {
    /// The directory of the store.
    #[arg(long, env = "ORION_LEDGER_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The file that is written. It must not lie on the same volume to be of use.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Import {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<()> {
        let Import { into: Stopped { data, genesis }, from } = self;
        let genesis = read_genesis(&genesis)?;
        let imported = if from.starts_with("http://") {
            let fetched = data.join(FETCHED);
            let imported =
                fetch(&from, &genesis, &fetched).and_then(|()| Ok(import::import(&data, &genesis, &fetched)?));
            // What cannot be removed costs space only, and is written over by the next one.
            let _ = std::fs::remove_file(&fetched);
            imported
        } else {
            Ok(import::import(&data, &genesis, Path::new(&from))?)
        };
        let Imported { before, size } = imported.with_context(|| format!("importing {from}"))?;
        println!("{before} leaves were there, {size} are now");
        Ok(())
    }
}

fn fetch(url: &str, genesis: &Genesis, to: &Path) -> anyhow::Result<()> {
    let writing = || format!("cannot write {}", to.display());
    if let Some(directory) = to.parent() {
        std::fs::create_dir_all(directory).with_context(writing)?;
    }
    let mut file = BufWriter::new(File::create(to).with_context(writing)?);
    let key = VerifierKey::new(&genesis.chain(), genesis.checkpoint);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(fetch::log(url, &key, &mut file))?;
    file.flush().with_context(writing)
}

impl Backup {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<()> {
        let size = backup::backup(&self.data, &self.to)?;
        println!("{size} leaves are in {}", self.to.display());
        Ok(())
    }
}

impl Stopped {
    /// `orion-ledger audit`.
    pub fn audit(self) -> anyhow::Result<()> {
        let genesis = read_genesis(&self.genesis)?;
        let Audited { head, published } = audit::audit(&self.data, &genesis)?;
        println!(
            "{} blocks of {} leaves replay from the genesis; {published} leaves are published",
            head.height + 1,
            head.size
        );
        Ok(())
    }
}
