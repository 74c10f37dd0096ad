//! The API as plain processes: for any user, with authorisation and admission, found again, cleared after a kill.

#![expect(clippy::unwrap_used, reason = "a helper of a test that cannot go on should say where")]

mod common;

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Ground;
use xtask::cluster::{self, Status};
use xtask::mode::Mode;
use xtask::process::{self, Owner, output, run};
use xtask::tools::{self, Set};
use xtask::{broker, wait};

/// The user `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn the_api_is_real_and_goes_away() {
    let mut ground = Ground::new();
    let cluster = ground.up("api", Mode::Processes);
    let token = output(&mut cluster.kubectl(&["create", "token", "default"]).unwrap()).unwrap();
    assert_eq!(token.trim().split('.').count(), 3, "a signed token");
    let may = ["auth", "can-i", "list", "pods", "--as=system:serviceaccount:default:default"];
    assert!(run(&mut cluster.kubectl(&may).unwrap()).is_err(), "RBAC is on");

    let again = ground.up("api", Mode::Processes);
    let pids = Owner::new(&cluster.state_dir).processes().unwrap();
    assert_eq!(pids, Owner::new(&again.state_dir).processes().unwrap(), "a healthy cluster is left alone");

    cluster::down(&ground.settings, "api").unwrap();
    assert_eq!(Owner::new(&cluster.state_dir).processes().unwrap(), []);
    assert!(!cluster.state_dir.exists());
    assert!(matches!(cluster::status(&ground.settings, "api").unwrap(), Status::Absent));
}

#[test]
fn admission_policies_are_enforced() {
    let mut ground = Ground::new();
    let cluster = ground.up("admission", Mode::Processes);
    cluster
        .apply(
            r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-red}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "object.metadata.name != 'red'", message: "red is refused"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-red}
spec: {policyName: no-red, validationActions: [Deny]}
"#,
        )
        .unwrap();
    let create = ["create", "configmap", "red", "--dry-run=server"];
    wait::until("the policy to be in force", Duration::from_mins(1), || {
        let refused = run(&mut cluster.kubectl(&create)?).err().map(|error| error.to_string());
        Ok(refused.filter(|text| text.contains("red is refused")))
    })
    .unwrap();
    run(&mut cluster.kubectl(&["create", "configmap", "blue"]).unwrap()).unwrap();
}

#[test]
fn a_broker_runs_beside_it_and_ends_with_it() {
    let mut ground = Ground::new();
    let cluster = ground.up("broker", Mode::Processes);
    let config = cluster.state_dir.join("nats.conf");
    let address = broker::free_address().unwrap();
    let store = cluster.state_dir.join("nats");
    fs::write(&config, format!("listen: \"{address}\"\njetstream {{ store_dir: {store:?} }}\n")).unwrap();
    let mut broker = broker::start(&cluster, "nats", &config, address).unwrap();
    assert!(broker.child.try_wait().unwrap().is_none());
    cluster::down(&ground.settings, "broker").unwrap();
    assert!(broker.child.wait().unwrap().code().is_none(), "killed");
}

#[test]
fn a_killed_run_is_cleared_by_the_next_one() {
    let mut ground = Ground::new();
    ground.will_remove("killed");
    let state = ground.settings.state_root.canonicalize().unwrap().join("killed");
    let mut starting = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["cluster", "up", "--name", "killed"])
        .env("ORION_MODE", "processes")
        .env("ORION_STATE", &ground.settings.state_root)
        .env("ORION_CACHE", &ground.settings.cache)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the run to be half way", Duration::from_mins(1), || {
        Ok(Owner::new(&state).programs()?.contains("kube-apiserver").then_some(()))
    })
    .unwrap();
    starting.kill().unwrap();
    assert!(!starting.wait().unwrap().success(), "killed before it ended");
    let before = Owner::new(&state).processes().unwrap();
    assert!(!before.is_empty(), "it left daemons behind");

    ground.up("killed", Mode::Processes);
    let after = Owner::new(&state).processes().unwrap();
    assert!(before.iter().all(|old| !after.contains(old)), "none of them is left: {after:?}");
}

#[test]
fn a_user_without_rights_gets_a_cluster() {
    let Some(others) = as_nobody() else { return };
    let text = output(&mut others.command(&["cluster", "up", "--name", "mine"])).unwrap();
    let kubeconfig = text.trim().strip_prefix("export KUBECONFIG=").unwrap();
    assert!(Path::new(kubeconfig).starts_with(others.folder.path()));
    let status = output(&mut others.command(&["cluster", "status", "--name", "mine"])).unwrap();
    assert_eq!(status, "mine: healthy (processes)\n");
    run(&mut others.command(&["cluster", "down", "--name", "mine"])).unwrap();
    assert!(!Path::new(kubeconfig).exists());
}

struct Nobody {
    folder: tempfile::TempDir,
}

/// A home folder for an unprivileged user with a cache of its own and a copy of this program; `None`, with the reason
/// printed, where this test cannot become that user.
fn as_nobody() -> Option<Nobody> {
    if !process::is_root() {
        eprintln!("skipped: the other tests ran as a user without rights already");
        return None;
    }
    if run(Command::new("setpriv").args(nobody_flags()).args(["ls", env!("CARGO_MANIFEST_DIR")])).is_err() {
        eprintln!("skipped: setpriv is missing, or this checkout is closed to other users");
        return None;
    }
    let settings = xtask::settings::Settings::from_env().unwrap();
    let tools = tools::ensure(&settings, Set::Processes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (_, path) in tools.iter() {
        let target = folder.path().join("cache").join(path.strip_prefix(&settings.cache).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // A link is free; another file system needs a copy.
        if fs::hard_link(path, &target).is_err() {
            fs::copy(path, &target).unwrap();
        }
    }
    fs::copy(env!("CARGO_BIN_EXE_xtask"), folder.path().join("xtask")).unwrap();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    Some(Nobody { folder })
}

fn nobody_flags() -> [String; 3] {
    [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]
}

impl Nobody {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(nobody_flags()).arg(self.folder.path().join("xtask")).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.folder.path()).env("ORION_CACHE", self.folder.path().join("cache"));
        command.current_dir("/");
        command
    }
}
