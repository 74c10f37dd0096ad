//! A node on this machine leaves nothing behind: the host is compared before `up` and after `down`.
//!
//! Compared: processes of clusters or in namespaces of their own, those namespaces, mounts, links, routes, nft rules,
//! cgroups, and every setting that can be written. One test, because nothing else may start a cluster meanwhile.

#![expect(clippy::unwrap_used, reason = "a helper of a test that cannot go on should say where")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Ground;
use xtask::cluster::{self, Status};
use xtask::mode::{Facts, Mode};
use xtask::process::{self, Owner, output, run};
use xtask::wait;

#[test]
fn clusters_come_and_go_without_a_trace() {
    let facts = Facts::look();
    if let Some(why) = facts.no_node {
        eprintln!("skipped: {why}");
        return;
    }
    if facts.cgroup_v2_only {
        eprintln!("skipped: only cgroup v2 here, where a node is untried");
        return;
    }
    let mut ground = Ground::new();
    let state_root = ground.settings.state_root.canonicalize().unwrap();
    let before = Host::look(&state_root);
    half_start_and_kill(&mut ground, "one");
    let one = ground.up("one", Mode::Cluster);
    let two = ground.up("two", Mode::Cluster);
    assert_ne!(one.number, two.number);
    for cluster in [&one, &two] {
        run(&mut cluster.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all"]).unwrap()).unwrap();
        run(&mut cluster.kubectl(&["get", "serviceaccount", "default"]).unwrap()).unwrap();
    }
    run_a_pod(&one, &ground);

    kill_the_node(&two.state_dir);
    assert!(matches!(cluster::status(&ground.settings, "two").unwrap(), Status::Broken(_)));
    assert!(matches!(cluster::status(&ground.settings, "one").unwrap(), Status::Healthy(_)), "they are independent");

    for name in ["one", "two"] {
        cluster::down(&ground.settings, name).unwrap();
    }
    Host::look(&state_root).assert_same_as(&before);
}

/// A pod under the strictest policy, with a volume of the default class, found by name through a Service.
fn run_a_pod(cluster: &cluster::Cluster, ground: &Ground) {
    let binaries = xtask::images::BinaryPaths::new();
    let images = xtask::images::build_and_load(&ground.settings, cluster, &binaries).unwrap();
    cluster.apply(&POD.replace("IMAGE", &images["nats"])).unwrap();
    let rollout = ["rollout", "status", "statefulset/broker", "--namespace=pods", "--timeout=90s"];
    run(&mut cluster.kubectl(&rollout).unwrap()).unwrap();
    let logs = output(&mut cluster.kubectl(&["logs", "--namespace=pods", "broker-0"]).unwrap()).unwrap();
    assert!(logs.contains("Server is ready"), "{logs}");
    let address = ["get", "service", "broker", "--namespace=pods", "--output=jsonpath={.spec.clusterIP}"];
    let address = output(&mut cluster.kubectl(&address).unwrap()).unwrap();
    let port = format!("{address}:4222").parse().unwrap();
    wait::until("an answer at the Service's address", Duration::from_secs(10), || {
        Ok(std::net::TcpStream::connect_timeout(&port, Duration::from_secs(1)).ok())
    })
    .unwrap();
}

const POD: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: pods, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Service
metadata: {name: broker, namespace: pods}
spec: {selector: {app: broker}, ports: [{port: 4222}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: broker, namespace: pods}
spec:
  serviceName: broker
  selector: {matchLabels: {app: broker}}
  template:
    metadata: {labels: {app: broker}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: broker
        image: IMAGE
        args: [--jetstream, --store_dir=/data, --http_port=8222]
        readinessProbe: {httpGet: {path: /healthz, port: 8222}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

/// Starts a cluster from a process of its own and kills that when the API server is there.
fn half_start_and_kill(ground: &mut Ground, name: &str) {
    ground.will_remove(name);
    let state = ground.settings.state_root.canonicalize().unwrap().join(name);
    let mut starting = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["cluster", "up", "--name", name])
        .env("ORION_MODE", "cluster")
        .env("ORION_STATE", &ground.settings.state_root)
        .env("ORION_CACHE", &ground.settings.cache)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the run to be half way", Duration::from_mins(15), || {
        Ok(Owner::new(&state).programs()?.contains("kube-apiserver").then_some(()))
    })
    .unwrap();
    starting.kill().unwrap();
    assert!(!starting.wait().unwrap().success(), "killed before it ended");
}

fn kill_the_node(state: &Path) {
    let processes = Owner::new(state).processes().unwrap();
    let node = processes.iter().find(|process| process.program == "pause").unwrap();
    run(Command::new("kill").args(["-KILL", &node.pid.to_string()])).unwrap();
    wait::until("the end of the node", Duration::from_secs(30), || {
        Ok((!Owner::new(state).programs()?.contains("kubelet")).then_some(()))
    })
    .unwrap();
}

/// What the host looks like: for each kind of thing, the set of its lines.
#[derive(Debug)]
struct Host {
    sets: BTreeMap<&'static str, BTreeSet<String>>,
    settings: BTreeMap<String, String>,
}

impl Host {
    fn look(state_root: &Path) -> Self {
        let lines = |program: &str, arguments: &[&str]| -> BTreeSet<String> {
            let text = output(Command::new(program).args(arguments)).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        };
        let mut settings = BTreeMap::new();
        collect_settings(Path::new("/proc/sys"), &mut settings);
        let mut cgroups = BTreeSet::new();
        collect_folders(Path::new("/sys/fs/cgroup"), &mut cgroups);
        let (processes, namespaces) = strangers(state_root);
        let sets = BTreeMap::from([
            ("processes", processes),
            ("namespaces", namespaces),
            ("mounts", mounts()),
            ("links", lines("ip", &["-brief", "link"])),
            ("routes", lines("ip", &["route", "show", "table", "all"])),
            ("nft rules", lines("nft", &["list", "ruleset"])),
            ("cgroups", cgroups),
        ]);
        Self { sets, settings }
    }

    fn assert_same_as(&self, before: &Self) {
        for (kind, set) in &self.sets {
            let more: Vec<_> = set.difference(&before.sets[kind]).collect();
            assert!(more.is_empty(), "{kind} left behind: {more:#?}");
            let fewer: Vec<_> = before.sets[kind].difference(set).filter(|_| *kind != "cgroups").collect();
            assert!(fewer.is_empty(), "{kind} gone: {fewer:#?}");
        }
        // Settings that came with a kernel module are new and no change of an old one.
        for (name, value) in &before.settings {
            let now = self.settings.get(name);
            assert!(now.is_none_or(|now| now == value), "setting {name} was {value}, is {now:?}");
        }
    }
}

/// Processes that are not in the host's own namespaces or carry the mark of a cluster of this test, zombies included;
/// and the namespaces that they are in.
fn strangers(state_root: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let mark = format!("{}={}", process::MARKER, state_root.display());
    let namespace = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let mut processes = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let foreign = ["net", "pid", "mnt"].iter().filter_map(|kind| {
            let theirs = namespace(&pid, kind)?;
            (Some(&theirs) != namespace("self", kind).as_ref()).then_some(theirs)
        });
        let foreign: Vec<_> = foreign.map(|path| path.to_string_lossy().into_owned()).collect();
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if !foreign.is_empty() || String::from_utf8_lossy(&environment).contains(&mark) {
            processes.insert(format!("{pid} {}", name.trim()));
        }
        namespaces.extend(foreign);
    }
    (processes, namespaces)
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap();
    text.lines().map(str::to_owned).collect()
}

fn collect_folders(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(entry.path().display().to_string());
            collect_folders(&entry.path(), found);
        }
    }
}

/// Every setting under /proc/sys that can be written, but one that counts processes.
fn collect_settings(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect_settings(&path, found);
        } else if meta.permissions().mode() & 0o600 == 0o600 && !path.ends_with("ns_last_pid") {
            let Ok(value) = fs::read_to_string(&path) else { continue };
            found.insert(path.display().to_string(), value);
        }
    }
}
