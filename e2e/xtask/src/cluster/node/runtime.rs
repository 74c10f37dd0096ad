//! containerd and the kubelet.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{BASE, Node, cgroups, network};
use crate::cluster::daemons::Daemons;
use crate::files;
use crate::process;

/// containerd's socket, inside the node.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// Pods on the node; its range of addresses has 253.
const PODS_MAX: u32 = 200;
/// Processes and threads of a pod: as many as managed clusters allow, and enough for an executor with a thread a core on each of a worker's slots.
const POD_PIDS_MAX: u32 = 4096;

/// Starts containerd and gives it the pause image.
pub fn start(node: &Node, daemons: &mut Daemons) -> Result<()> {
    network::write_cni(node)?;
    let reference = crate::images::pause_reference(node.tools.path("pause")?)?;
    files::write(&node.state.join("containerd.toml"), config(node, &reference)?)?;
    daemons.start("containerd", &["--config".to_owned(), format!("{BASE}/containerd.toml")])?;
    let (state, tools) = (node.state, node.tools);
    daemons.wait_for("containerd", Duration::from_mins(1), || match super::ctr(state, tools) {
        Ok(mut command) => {
            command.arg("version");
            command
        }
        // Cannot be while containerd starts; `false` fails and the wait goes on.
        Err(_) => Command::new("false"),
    })?;
    super::import_pause(node).map(drop)
}

fn config(node: &Node, pause: &str) -> Result<String> {
    let runc = node.tools.path("runc")?.display();
    let snapshotter = if overlay_works(node) { "overlayfs" } else { "native" };
    // volatile: without it every unmount writes the whole disk's caches back, seconds each on a busy machine.
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE (unprivileged outer containers) every sandbox fails otherwise.
    Ok(format!(
        r#"version = 3
root = "{BASE}/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.snapshotter.v1.overlayfs"]
mount_options = ["volatile"]

[plugins."io.containerd.cri.v1.images"]
snapshotter = "{snapshotter}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{BASE}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#
    ))
}

/// An overlay cannot lie on another one: inside a container, layers are copied instead.
fn overlay_works(node: &Node) -> bool {
    let base = node.state.join("run/overlay");
    let folders = ["lower", "upper", "work", "merged"].map(|name| base.join(name));
    if folders.iter().any(|folder| files::make_folder(folder).is_err()) {
        return false;
    }
    let [lower, upper, work, merged] = folders.each_ref().map(|folder| folder.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "mount", "-t", "overlay", "overlay", "-o", &options, &merged]);
    let works = process::run(&mut command).is_ok();
    files::remove(&base).ok();
    works
}

/// Starts the kubelet.
pub fn start_kubelet(node: &Node, daemons: &mut Daemons) -> Result<()> {
    let address = &node.addresses.node;
    files::write(&node.state.join("resolv.conf"), format!("nameserver {address}\n"))?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{BASE}/pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{BASE}/pki/kubelet-server.crt"),
        "tlsPrivateKeyFile": format!("{BASE}/pki/kubelet-server.key"),
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroups::name(node.state)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDNS": [address],
        "clusterDomain": "cluster.local",
        "resolvConf": format!("{BASE}/resolv.conf"),
        "podLogsDir": format!("{BASE}/pod-logs"),
        "maxPods": PODS_MAX,
        "podPidsLimit": POD_PIDS_MAX,
        // Scenarios kill the same containers again and again; the usual five minutes of waiting would tell nobody anything.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
        // The disk is the developer's: never evict for a full one before it is really full, never delete our images.
        "evictionHard": {
            "memory.available": "64Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    });
    files::write(&node.state.join("kubelet.json"), config.to_string())?;
    let arguments = crate::cluster::control_plane::flags([
        ("config", format!("{BASE}/kubelet.json")),
        ("kubeconfig", format!("{BASE}/kubelet.kubeconfig")),
        ("root-dir", format!("{BASE}/kubelet")),
        ("cert-dir", format!("{BASE}/kubelet/pki")),
        ("node-ip", address.clone()),
        ("hostname-override", node.name.to_owned()),
    ]);
    daemons.start("kubelet", &arguments)
}
