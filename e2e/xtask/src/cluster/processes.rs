//! The API as plain processes on loopback, for any user anywhere: etcd, API server, controllers. No pods.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::control_plane::ControlPlane;
use super::daemons::Daemons;
use super::kubectl;
use super::pki::Pki;
use crate::progress::Steps;
use crate::tools::Tools;

/// The programs that run while such a cluster is healthy.
pub const PROGRAMS: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager"];

const READY_LIMIT: Duration = Duration::from_mins(2);

/// Starts everything in an empty state folder and waits until objects can be created.
pub fn start(state: &Path, tools: &Tools) -> Result<()> {
    let [api, etcd, peer] = free_ports()?;
    let plane = ControlPlane {
        base: state.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: api,
        etcd_ports: (etcd, peer),
        services: "198.19.0.0/24".to_owned(),
        nodes: false,
    };
    let mut steps = Steps::new("processes", 3);
    let mut daemons = Daemons::new(state, tools);
    steps.run("certificates", |_| plane.issue(&Pki::create(state)?, state))?;
    steps.run("etcd and API server", |_| start_api(&plane, &mut daemons, state, tools))?;
    steps.run("controllers", |_| start_controllers(&plane, &mut daemons, state, tools))?;
    steps.finish();
    Ok(())
}

/// Starts etcd and the API server and waits until it says it is ready.
pub fn start_api(plane: &ControlPlane, daemons: &mut Daemons, state: &Path, tools: &Tools) -> Result<()> {
    for (name, arguments) in [plane.etcd(), plane.api_server()] {
        daemons.start(name, &arguments)?;
    }
    let kubectl = tools.path("kubectl")?;
    daemons.wait_for("kube-apiserver", READY_LIMIT, || kubectl::command(kubectl, state, &["get", "--raw", "/readyz"]))
}

/// Starts the controllers and waits for the first trace of their work: without the `default` service account, which
/// they make, no pod can be created.
pub fn start_controllers(plane: &ControlPlane, daemons: &mut Daemons, state: &Path, tools: &Tools) -> Result<()> {
    let (name, arguments) = plane.controllers();
    daemons.start(name, &arguments)?;
    let kubectl = tools.path("kubectl")?;
    daemons.wait_for(name, READY_LIMIT, || kubectl::command(kubectl, state, &["get", "serviceaccount", "default"]))
}

/// Where [`free_ports`] looks: below what systems give to outgoing connections, any of which could take a port before its daemon
/// listens, and below the NodePorts of Kubernetes.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Ports that were free a moment ago, all different, from a random one on.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let first = usize::try_from(RandomState::new().hash_one(0) % u64::from(PORTS.end - PORTS.start))?;
    let mut free = PORTS.cycle().skip(first).take(PORTS.len()).filter(|port| {
        let listener = TcpListener::bind(("127.0.0.1", *port));
        listener.map(|listener| held.push(listener)).is_ok()
    });
    let mut ports = [0; N];
    for port in &mut ports {
        *port = free.next().with_context(|| format!("no port of {PORTS:?} is free on 127.0.0.1"))?;
    }
    Ok(ports)
}
