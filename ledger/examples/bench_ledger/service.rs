//! The service as a process of its own, with a store on the disk that is measured.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use orion_protocol::bytes::hex;
use orion_protocol::ledger::Genesis;

use crate::deposits::Deposits;

/// A running ledger; killed when it is dropped.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    /// From its start until it takes transactions.
    pub started_in: Duration,
}

impl Service {
    /// Starts `program` on what lies in `home`, and waits until it is ready.
    pub fn start(program: &Path, home: &Path, genesis: &Genesis) -> Result<Service> {
        let (genesis_file, key_file) = (home.join("genesis"), home.join("checkpoint.key"));
        std::fs::write(&genesis_file, hex(&genesis.to_bytes())).context("writing the genesis")?;
        std::fs::write(&key_file, hex(&Deposits::checkpoint_seed())).context("writing the key")?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg("--data").arg(data(home));
        command.arg("--genesis").arg(genesis_file).arg("--checkpoint-key").arg(key_file);
        let start = Instant::now();
        let child = command.env("RUST_LOG", "error").stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting {}", program.display()))?;
        let stdout = child.stdout.take().context("its output was asked for")?;
        // The line comes, or the process ends: both end this read.
        let line = BufReader::new(stdout).lines().next().transpose().context("reading its output")?;
        let started_in = start.elapsed();
        let address = line.as_deref().and_then(|line| line.strip_prefix("listening on "));
        let address =
            address.context("the ledger ended before it was ready")?.parse().context("reading its address")?;
        Ok(Service { child, address, started_in })
    }

    /// What it holds in memory, in bytes.
    pub fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).context("reading how much memory the ledger has")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 =
            line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).context("no VmRSS")?;
        Ok(kib * 1024)
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("killing the ledger")?;
        self.child.wait().context("waiting for its end").map(drop)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the store is.
pub fn data(home: &Path) -> PathBuf {
    home.join("data")
}

/// What all files below `directory` take on the disk, in bytes.
pub fn disk(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).context("reading the data directory")? {
        let entry = entry.context("reading the data directory")?;
        let about = entry.metadata().context("reading the data directory")?;
        bytes += if about.is_dir() { disk(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
