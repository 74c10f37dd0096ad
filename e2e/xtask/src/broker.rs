//! nats-server as a plain process beside a cluster, for the mode without pods.
//!
//! The configuration is the caller's; this only starts the server, waits until it answers, and leaves it to
//! `cluster down`.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cluster::Cluster;
use crate::{process, wait};

/// Where a started broker listens.
#[derive(Debug)]
pub struct Broker {
    /// Address for clients, as the caller gave it.
    pub address: SocketAddr,
    /// The process; `Broker` leaves it running when dropped, `cluster down` ends it.
    pub child: Child,
}

/// Starts nats-server with the configuration file, which says that it listens on `address`.
///
/// `name` names the log, so that several brokers can run beside one cluster. Waits until the server accepts clients.
pub fn start(cluster: &Cluster, name: &str, config: &Path, address: SocketAddr) -> Result<Broker> {
    let mut command = cluster.tools.command("nats-server")?;
    command.arg("--config").arg(config);
    let mut child = cluster.spawn(name, &mut command)?;
    wait::until("an answer of nats-server", Duration::from_secs(30), || {
        if let Some(status) = child.try_wait()? {
            bail!("nats-server ended ({status}); {}", process::Owner::new(&cluster.state_dir).log_tail(name));
        }
        Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok().then_some(()))
    })?;
    Ok(Broker { address, child })
}

/// An address on loopback whose port was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    let [port] = crate::cluster::free_ports()?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
