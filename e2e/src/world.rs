//! The platform that `cargo xtask e2e` has started: its API server, its ledger, its command line.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use orion_broker::permissions::{Role, inbox_prefix};
use orion_broker::{Broker, Settings};
use orion_crds::OrionJob;
use orion_ledger_core::chain::Chain;
use orion_ledger_core::report::{JobReport, Report};
use orion_ledger_core::{VerifierKey, verify};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobPhase, KeysView};
use orion_protocol::price::price_of;
use orion_protocol::{JobId, cbor};
use xtask::platform::NAMESPACE;
use xtask::{settings, tools};

use crate::fetch;
use crate::ground::Ground;

/// The running platform.
pub struct World {
    /// The API server.
    pub kube: Client,
    /// Where the platform runs.
    pub ground: Ground,
    /// Uid that stands for this cluster in ids.
    pub cluster: String,
    kubeconfig: PathBuf,
    programs: PathBuf,
}

/// A verified export: what the log says, and the chain as it was.
pub struct Ledger {
    /// What it says.
    pub report: Report,
    /// The chain.
    pub chain: Chain,
    cluster: String,
}

/// A connection to the API server, whatever else is there.
pub async fn connect() -> Result<Client> {
    // More than one scenario may be first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let kubeconfig = PathBuf::from(told("STATE")?).join("kubeconfig");
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("reading the kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("connecting to the API server")
}

/// What `cargo xtask e2e` says about the cluster.
fn told(what: &str) -> Result<String> {
    let name = format!("ORION_E2E_{what}");
    let value = std::env::var(&name);
    value.with_context(|| format!("{name} is not set: scenarios need a cluster; run them by `cargo xtask e2e`"))
}

impl World {
    /// Finds it by the environment.
    pub async fn find() -> Result<World> {
        let kube = connect().await?;
        let (state, programs) = (PathBuf::from(told("STATE")?), PathBuf::from(told("PROGRAMS")?));
        let ground = Ground::find(&kube, &told("MODE")?, &state).await?;
        let namespaces: Api<Namespace> = Api::all(kube.clone());
        let system = namespaces.get("kube-system").await.context("reading the namespace kube-system")?;
        let cluster = system.uid().context("kube-system has no uid")?;
        Ok(World { kube, ground, cluster, kubeconfig: state.join("kubeconfig"), programs })
    }

    /// One of our programs, as it was built.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The key of the ledger's log.
    pub fn log_key(&self) -> PathBuf {
        self.ground.key("orion-genesis", "checkpoint.vkey")
    }

    /// The genesis.
    pub fn genesis(&self) -> Result<Genesis> {
        let bytes = std::fs::read(self.ground.key("orion-genesis", "genesis")).context("reading the genesis")?;
        Genesis::from_bytes(&bytes).context("reading the genesis")
    }

    /// Whose keys do what, as the ledger says.
    pub fn keys(&self) -> Result<KeysView> {
        let host = self.ground.ledger();
        let (status, body) = fetch::get(host.trim_start_matches("http://"), "/v1/keys")?;
        ensure!(status == 200, "the ledger answers {status}");
        cbor::from_slice("keys", &body, body.len()).context("reading whose keys do what")
    }

    /// `orion` with these arguments, run to its end.
    pub fn orion(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.programs.join("orion"));
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).envs(self.ground.environment()?);
        command.output().context("running orion")
    }

    /// `orion` with these arguments must exit with `code`; its standard output and error.
    pub fn orion_exits(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let output = self.orion(arguments)?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        ensure!(output.status.code() == Some(code), "orion {arguments:?}: {} instead of {code}: {text}", output.status);
        Ok(text)
    }

    /// `orion run` with these arguments must give files with the digests of the job's status, on this machine's device and on the reference.
    pub fn runs_alike(&self, job: &OrionJob, arguments: &[&str]) -> Result<()> {
        let outputs = &job.status.as_ref().context("a job that is over has a status")?.outputs;
        let folder = tempfile::tempdir().context("making a folder")?;
        let folder = folder.path().to_str().context("the path of a folder")?;
        let begin: &[&str] = &["run", "--dir", folder, "--scratch", folder];
        // A kernel runs on devices alone.
        let ways: &[&[&str]] = if job.spec.workload.inference.is_some() { &[&[], &["--reference"]] } else { &[&[]] };
        for way in ways {
            let words = self.orion_exits(0, &[begin, way, arguments].concat())?;
            ensure!(words.contains("on the reference") != way.is_empty(), "orion run {way:?} ran elsewhere: {words}");
            for output in outputs {
                let digest = output.digest.as_deref().context("an output has a digest")?;
                ensure!(
                    words.contains(digest),
                    "the status says {digest} for {}, orion run {way:?}: {words}",
                    output.name
                );
            }
        }
        Ok(())
    }

    /// `kubectl apply` of a folder, as a consumer does it.
    pub fn apply(&self, namespace: &str, folder: &Path) -> Result<()> {
        let tools = tools::ensure(&settings::Settings::from_env()?, tools::Set::Client)?;
        let mut command = tools.command("kubectl")?;
        command.args(["apply", "--namespace", namespace, "--filename"]).arg(folder);
        self.as_a_person(&mut command)?;
        xtask::process::run(&mut command)
    }

    /// Lets a command find `kubectl`, `orion` and the cluster, as a person's shell does.
    pub fn as_a_person(&self, command: &mut Command) -> Result<()> {
        let tools = tools::ensure(&settings::Settings::from_env()?, tools::Set::Client)?;
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{}:{path}", self.programs.display(), tools.search_path()));
        command.env("KUBECONFIG", &self.kubeconfig).env_remove("KUBERNETES_SERVICE_HOST");
        // Its own cache would be in the user's home folder.
        command.env("KUBECACHEDIR", self.kubeconfig.with_file_name("kubectl-cache"));
        command.envs(self.ground.environment()?);
        Ok(())
    }

    /// Credits for a namespace, by the issuer's key.
    pub fn deposit(&self, namespace: &str, credits: &str) -> Result<()> {
        let mut command = Command::new(self.programs.join("orion-operator"));
        command.env("KUBECONFIG", &self.kubeconfig);
        command.args(["deposit", "--namespace", namespace, "--amount", credits]);
        command.args(["--ledger-url", &self.ground.ledger()]);
        command.arg("--genesis-file").arg(self.ground.key("orion-genesis", "genesis"));
        command.arg("--issuer-key-file").arg(self.ground.key("orion-issuer-keys", "issuer.key"));
        command.env("ORION_LEDGER_TOKEN_FILE", self.ground.key("orion-ledger-token-submit", "token"));
        xtask::process::run(&mut command)
    }

    /// Exports the ledger to a file.
    pub fn export(&self, file: &Path) -> Result<()> {
        let file = file.to_str().context("the path of the export")?;
        self.orion_exits(0, &["ledger", "export", file]).map(drop)
    }

    /// The ledger's metrics.
    pub fn ledger_metrics(&self) -> Result<String> {
        let token = self.ground.key("orion-ledger-token-metrics", "token");
        let token = std::fs::read_to_string(&token).with_context(|| format!("reading {}", token.display()))?;
        let host = self.ground.ledger();
        let (status, page) =
            fetch::get_with(host.trim_start_matches("http://"), "/metrics", "orion-token", token.trim())?;
        ensure!(status == 200, "the ledger answers {status}");
        String::from_utf8(page).context("reading the ledger's metrics")
    }

    /// The ledger, exported and verified anew.
    pub fn ledger(&self) -> Result<Ledger> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let file = folder.path().join("ledger.export");
        self.export(&file)?;
        let key = std::fs::read_to_string(self.log_key()).context("reading the log's key")?;
        let key = VerifierKey::parse(key.trim()).context("reading the log's key")?;
        let log = BufReader::new(File::open(&file).context("opening the export")?);
        let (checkpoint, chain) = verify::chain(log, &key).context("verifying the export")?;
        Ok(Ledger { report: Report::new(checkpoint, &chain), chain, cluster: self.cluster.clone() })
    }

    /// Whether every replica that the platform should have is ready. Plain processes are started again at once, and nobody counts them.
    pub async fn is_whole(&self) -> Result<bool> {
        let Ground::Pods { .. } = self.ground else { return Ok(true) };
        let deployments: Api<Deployment> = Api::namespaced(self.kube.clone(), NAMESPACE);
        let deployments =
            deployments.list(&ListParams::default()).await.context("listing the platform's Deployments")?;
        Ok(deployments.iter().all(|deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            ready >= wanted
        }))
    }

    /// Who leads: the replica's name.
    pub async fn leader(&self) -> Result<Option<String>> {
        let leases: Api<Lease> = Api::namespaced(self.kube.clone(), NAMESPACE);
        let lease = leases.get_opt("orion-operator").await.context("reading the election's Lease")?;
        Ok(lease.and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty()))
    }

    /// A connection to the broker with the operator's rights, to listen to what workers say.
    pub async fn broker(&self) -> Result<Broker> {
        let seed = self.ground.key("orion-operator-keys", "nats.seed");
        let seed = std::fs::read_to_string(seed).context("reading a seed")?;
        let settings = Settings {
            url: self.ground.nats(),
            seed: seed.trim().to_owned(),
            inbox_prefix: inbox_prefix(Role::Operator),
            name: "e2e".into(),
        };
        orion_broker::connect(&settings).await.context("connecting to the broker")
    }

    /// How many requests of these verbs on a resource the API server has answered.
    pub async fn requests(&self, resource: &str, verbs: &[&str]) -> Result<u64> {
        let request = http::Request::get("/metrics").body(Vec::new()).context("asking for metrics")?;
        let page = self.kube.request_text(request).await.context("reading the API server's metrics")?;
        let label = |name: &str, value: &str| format!("{name}=\"{value}\"");
        let counted = page.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains(&label("resource", resource))
                && verbs.iter().any(|verb| line.contains(&label("verb", verb)))
        });
        Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }
}

impl Ledger {
    /// A job's id.
    pub fn id(&self, job: &OrionJob) -> JobId {
        JobId::derive(&self.report.chain, &self.cluster, &job.uid().unwrap_or_default())
    }

    /// What the log says of a job.
    pub fn job(&self, job: &OrionJob) -> Result<&JobReport> {
        let found = self.report.job(&self.id(job));
        found.with_context(|| format!("the ledger does not know {}", job.name_any()))
    }

    /// The job, closed with its sums balanced.
    pub fn closed(&self, job: &OrionJob) -> Result<&JobReport> {
        let found = self.job(job)?;
        ensure!(found.phase == JobPhase::Closed, "{} is {:?}", job.name_any(), found.phase);
        ensure!(found.sums.add_up() && found.sums.locked == 0, "{} does not balance: {:?}", job.name_any(), found.sums);
        let paid = found.payouts.iter().fold((0, 0), |sum, one| (sum.0 + one.worker, sum.1 + one.validator));
        ensure!(paid == (found.sums.workers, found.sums.validators), "payouts {paid:?}, sums {:?}", found.sums);
        let accepted = found.shards.iter().filter_map(|shard| shard.accepted.as_ref());
        let work = accepted.map(|attempt| found.spec.units.work_of(attempt.lease.first_unit, attempt.lease.units));
        let price = price_of(work.map(u128::from).sum(), found.spec.price)?;
        ensure!(price == found.sums.workers, "accepted work is worth {price}, {:?} was paid", found.sums);
        Ok(found)
    }

    /// The job, closed with every slot accepted and so paid exactly once.
    pub fn complete(&self, job: &OrionJob) -> Result<&JobReport> {
        let found = self.closed(job)?;
        if found.accepted().is_none() {
            bail!("not every shard of {} has an accepted attempt", job.name_any());
        }
        let price = price_of(found.spec.units.work().into(), found.spec.price)?;
        ensure!(price == found.sums.workers, "the work is worth {price}, {} was paid", found.sums.workers);
        Ok(found)
    }
}
