//! One Kubernetes node of our own: every daemon in namespaces (mounts, network, processes) that end with one process.
//!
//! The node's first process holds the namespaces. It is killed to stop the node, and the kernel takes all the rest with
//! it: daemons, pods, mounts, routes, nft rules. Inside, the cluster's folder is mounted at [`BASE`], so that paths of
//! sockets stay short, and `/run`, `/var/lib` and `/var/log` are private, so that nothing is written to the host's.

pub mod cgroups;
mod manifests;
mod network;
mod runtime;
mod volumes;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::addresses::Addresses;
use super::control_plane::ControlPlane;
use super::daemons::{self, Daemons};
use super::pki::{Identity, Pki};
use super::{kubectl, processes};
use crate::process::{self, Owner};
use crate::progress::Steps;
use crate::tools::Tools;
use crate::{files, images, wait};

/// The cluster's folder as the node sees it.
pub const BASE: &str = "/run/orion";

/// The program that holds a node's namespaces.
pub const FIRST_PROGRAM: &str = "pause";

/// The programs that run while a node is healthy.
pub const PROGRAMS: &[&str] = &[
    FIRST_PROGRAM,
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "coredns",
];

const READY_LIMIT: Duration = Duration::from_mins(2);

/// What the parts of a node need to know.
struct Node<'a> {
    name: &'a str,
    state: &'a Path,
    tools: &'a Tools,
    addresses: Addresses,
    plane: ControlPlane,
}

/// Starts a node in an empty state folder and waits until pods can be scheduled to it.
pub fn start(name: &str, number: u8, state: &Path, tools: &Tools) -> Result<()> {
    check_folders(state, tools)?;
    let addresses = Addresses::of(number);
    let plane = ControlPlane {
        base: PathBuf::from(BASE),
        address: addresses.node.clone(),
        port: 6443,
        etcd_ports: (2379, 2380),
        services: addresses.services.clone(),
        nodes: true,
    };
    let node = Node { name, state, tools, addresses, plane };
    let mut daemons = Daemons::new(state, tools);
    let mut steps = Steps::new(&format!("cluster {name}"), 6);
    steps.run("certificates", |_| node.issue())?;
    steps.run("namespaces, link, cgroups", |_| node.make_namespaces(&mut daemons))?;
    steps.run("containerd", |_| runtime::start(&node, &mut daemons))?;
    steps.run("etcd and API server", |_| processes::start_api(&node.plane, &mut daemons, state, tools))?;
    steps.run("controllers, scheduler, kubelet, proxy, DNS", |_| node.start_rest(&mut daemons))?;
    steps.run("node Ready", |_| node.wait_ready(&mut daemons))?;
    steps.finish();
    Ok(())
}

/// Makes volumes usable again whose claims are gone.
pub fn refresh(state: &Path, tools: &Tools) -> Result<()> {
    volumes::recycle(state, tools)
}

/// Imports an OCI archive into the node's containerd.
pub fn import_images(state: &Path, tools: &Tools, archive: &Path) -> Result<()> {
    process::run(ctr(state, tools)?.args(["images", "import", "--local"]).arg(archive))
}

/// References of the images in the node's containerd.
pub fn list_images(state: &Path, tools: &Tools) -> Result<BTreeSet<String>> {
    let listing = process::output(ctr(state, tools)?.args(["images", "list", "--quiet"]))?;
    Ok(listing.lines().map(str::to_owned).collect())
}

fn ctr(state: &Path, tools: &Tools) -> Result<Command> {
    let pid = first_process(state)?.context("find the node: it does not run (cluster up starts it)")?;
    let mut command = daemons::enter(pid, tools.path("ctr")?);
    command.args(["--address", runtime::SOCKET, "--namespace", "k8s.io"]);
    Ok(command)
}

/// The process that holds the node's namespaces. Every pod has one of the same program, which is not ours by its own mark.
fn first_process(state: &Path) -> Result<Option<i32>> {
    let owned = Owner::new(state).processes()?;
    let first = owned.into_iter().find(|process| process.marked && process.program == FIRST_PROGRAM);
    Ok(first.map(|process| process.pid))
}

/// What the node hides behind its own mounts cannot hold what it needs from the host.
fn check_folders(state: &Path, tools: &Tools) -> Result<()> {
    let hidden = ["/run", "/var/run", "/var/lib", "/var/log"];
    for path in tools.iter().map(|(_, path)| path).chain([state]) {
        if let Some(parent) = hidden.iter().find(|parent| path.starts_with(parent)) {
            bail!(
                "{} is under {parent}, which a node hides; set ORION_CACHE and ORION_STATE elsewhere",
                path.display()
            );
        }
    }
    Ok(())
}

impl Node<'_> {
    fn issue(&self) -> Result<()> {
        let pki = Pki::create(self.state)?;
        self.plane.issue(&pki, self.state)?;
        let url = self.plane.url();
        for (file, user, group) in [
            ("scheduler", "system:kube-scheduler", None),
            ("proxy", "system:kube-proxy", None),
            ("dns", "system:coredns", None),
            ("kubelet", &format!("system:node:{}", self.name), Some("system:nodes")),
        ] {
            pki.issue_kubeconfig(file, user, group, &url)?;
        }
        let hosts = vec![self.name.to_owned(), self.addresses.node.clone()];
        pki.issue(&Identity { file: "kubelet-server", user: self.name, group: None, hosts })
    }

    fn make_namespaces(&self, daemons: &mut Daemons) -> Result<()> {
        for folder in ["var-lib", "var-log", "run"] {
            files::make_folder(&self.state.join(folder))?;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave"]);
        daemons.start_command("node", command.arg(self.tools.path(FIRST_PROGRAM)?))?;
        let pid = wait::until("the node's first process", Duration::from_secs(10), || {
            daemons.check()?;
            first_process(self.state)
        })?;
        daemons.enter_node(pid);
        process::run(daemons::enter(pid, "sh").args(["-euc", &self.mount_script()?]))?;
        network::connect(&self.addresses, pid)?;
        cgroups::create(&cgroups::name(self.state))
    }

    /// Mounts what is private to the node. The kubelet insists on some of the host's settings: it gets files that say
    /// what it wants to read, so that the host's own are never changed.
    fn mount_script(&self) -> Result<String> {
        let mut lines = vec![
            "mount --make-rshared /".to_owned(),
            "mount -t tmpfs -o mode=0755 tmpfs /run".to_owned(),
            format!("mkdir {BASE}"),
        ];
        let state = self.state.display();
        for (from, to) in [("", BASE), ("/var-lib", "/var/lib"), ("/var-log", "/var/log")] {
            lines.push(format!("mount --bind '{state}{from}' {to}"));
        }
        for (name, value) in KUBELET_SYSCTLS {
            let file = self.state.join("sysctl").join(name);
            files::write(&file, format!("{value}\n"))?;
            let target = format!("/proc/sys/{}", name.replace('.', "/"));
            lines.push(format!("if [ -e {target} ]; then mount --bind '{}' {target}; fi", file.display()));
        }
        Ok(lines.join("\n"))
    }

    fn start_rest(&self, daemons: &mut Daemons) -> Result<()> {
        runtime::start_kubelet(self, daemons)?;
        network::start_proxy(self, daemons)?;
        network::start_dns(self, daemons)?;
        let scheduler = super::control_plane::flags([
            ("kubeconfig", format!("{BASE}/scheduler.kubeconfig")),
            ("leader-elect", "false".to_owned()),
            ("secure-port", "0".to_owned()),
        ]);
        daemons.start("kube-scheduler", &scheduler)?;
        processes::start_controllers(&self.plane, daemons, self.state, self.tools)
    }

    fn wait_ready(&self, daemons: &mut Daemons) -> Result<()> {
        let manifests = manifests::base(self.name, &volumes::make(self.state)?);
        let mut apply = self.kubectl(&["apply", "--filename=-"])?;
        kubectl::output_with_input(&mut apply, &manifests)?;
        let node = format!("node/{}", self.name);
        let wait = ["wait", "--for=condition=Ready", &node, "--timeout=5s"];
        let kubectl = self.tools.path("kubectl")?;
        daemons.wait_for("kubelet", READY_LIMIT, || kubectl::command(kubectl, self.state, &wait))?;
        network::wait_dns(self, daemons)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        Ok(kubectl::command(self.tools.path("kubectl")?, self.state, arguments))
    }
}

/// Settings that the kubelet writes unless they already have these values.
const KUBELET_SYSCTLS: &[(&str, &str)] = &[
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.keys.root_maxbytes", "25000000"),
];

/// Makes the image of the pause program, which every pod's sandbox needs, and imports it.
fn import_pause(node: &Node) -> Result<String> {
    let archive = node.state.join("run/pause.tar");
    let reference = images::pause_archive(node.tools.path(FIRST_PROGRAM)?, &archive)?;
    import_images(node.state, node.tools, &archive)?;
    files::remove(&archive)?;
    Ok(reference)
}
