//! The node's link to the host, the pods' network, Service addresses and names.
//!
//! Pods are joined by routes (CNI plugin `ptp`), not by a bridge: between pods on one bridge, a Service's answers would
//! bypass the address translation unless the kernel has `br_netfilter`. NetworkPolicies are accepted and not enforced.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::{BASE, Node, READY_LIMIT};
use crate::cluster::addresses::Addresses;
use crate::cluster::daemons::{self, Daemons};
use crate::files;
use crate::{process, wait};

/// Where CoreDNS says that it has seen the API server.
const DNS_READY_PORT: u16 = 8181;

/// Joins the node to the host. The host can reach the node, its pods and its Services; nobody else can.
pub fn connect(addresses: &Addresses, pid: i32) -> Result<()> {
    let Addresses { link, host, node, pods, services } = addresses;
    let pid_text = pid.to_string();
    let on_host = |words: &[&str]| process::run(Command::new("ip").args(words));
    let on_node = |words: &[&str]| process::run(daemons::enter(pid, "ip").args(words));
    on_host(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", &pid_text])?;
    on_host(&["address", "add", &format!("{host}/24"), "dev", link])?;
    on_host(&["link", "set", link, "up"])?;
    on_node(&["link", "set", "lo", "up"])?;
    on_node(&["address", "add", &format!("{node}/24"), "dev", "eth0"])?;
    on_node(&["link", "set", "eth0", "up"])?;
    on_node(&["route", "add", "default", "via", host])?;
    for range in [pods, services] {
        on_host(&["route", "add", range, "via", node])?;
    }
    // In the node's own network namespace: the host's setting stays as it is.
    process::run(daemons::enter(pid, "sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]))
}

/// The pods' network, for containerd.
pub fn write_cni(node: &Node) -> Result<()> {
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "orion",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "dataDir": format!("{BASE}/cni-addresses"),
                "ranges": [[{"subnet": node.addresses.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    files::write(&node.state.join("cni/10-orion.conflist"), config.to_string())
}

/// Starts kube-proxy.
pub fn start_proxy(node: &Node, daemons: &mut Daemons) -> Result<()> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": node.addresses.node,
        "clusterCIDR": node.addresses.pods,
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": format!("{BASE}/proxy.kubeconfig")},
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
        // The connection table belongs to the host: leave its size and times alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    files::write(&node.state.join("proxy.json"), config.to_string())?;
    daemons.start("kube-proxy", &[format!("--config={BASE}/proxy.json")])
}

/// Starts CoreDNS on the node's address. It knows Services and pods; any other name does not exist.
pub fn start_dns(node: &Node, daemons: &mut Daemons) -> Result<()> {
    let address = &node.addresses.node;
    let config = format!(
        ".:53 {{
    bind {address}
    errors
    health 127.0.0.1:8080
    ready {address}:{DNS_READY_PORT}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {BASE}/dns.kubeconfig
        pods insecure
        ttl 5
    }}
    cache 5
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"
    );
    files::write(&node.state.join("Corefile"), config)?;
    daemons.start("coredns", &[format!("-conf={BASE}/Corefile")])
}

/// Waits until CoreDNS has seen the API server.
pub fn wait_dns(node: &Node, daemons: &mut Daemons) -> Result<()> {
    let address = format!("{}:{DNS_READY_PORT}", node.addresses.node);
    wait::until("readiness of coredns", READY_LIMIT, || {
        daemons.check()?;
        Ok(answers_ok(&address).unwrap_or(false).then_some(()))
    })
}

fn answers_ok(address: &str) -> Result<bool> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address.parse()?, limit).context("connect")?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n")?;
    let mut answer = [0; 16];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).contains(" 200"))
}
