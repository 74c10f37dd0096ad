//! The ledger under attack and its witnesses: what a settlement needs to be final, who refuses what, and what a crash and an old
//! volume do to money.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Service};
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use orion_crds::conditions::condition;
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::ground::{Ground, service};
use orion_e2e::namespace::{accepted, is, reason};
use orion_e2e::processes::Process;
use orion_e2e::{Busy, Namespace, Part, World, fetch, until};
use orion_protocol::cbor;
use orion_protocol::ledger::api::Witnesses;
use serde_json::{Value, json};
use xtask::platform::NAMESPACE;

use crate::{LONG, RESTART, SHORT, alone};

/// A checkpoint comes each second, and whoever refuses is asked again after eight at most.
const SOON: Duration = Duration::from_secs(30);
/// Shards of a job, each with a vote, and the pages that pay for both, 200 a page.
const UNITS: i64 = 640;
const PAGES: u64 = 7;
/// The proxy before the third witness.
const TAMPER: &str = "orion-tamper";

#[tokio::test]
async fn settlements_are_final_once_witnessed_and_witnesses_refuse_a_tampered_tile_and_a_fork() -> Result<()> {
    let (_ground, world) = alone().await?;
    let Ground::Pods { state, .. } = &world.ground else {
        println!("there are no witnesses and no volumes without pods");
        return Ok(());
    };
    let namespace = Namespace::with_credits(&world, "witnessed", "30").await?;
    let tamper = start_tamper(&world).await?;
    // All three, the third by way of the proxy, which is honest so far.
    let all = |seen: &Witnesses| seen.witnesses.len() == 3 && seen.witnesses.iter().all(|one| one.size > 0);
    seen(&world, "all witnesses", LONG, all).await?;
    let job = settled(&namespace, "final").await?;
    let job = final_is(&namespace, &job, "True", "Witnessed").await?;
    let words = reason(&job, ConditionType::Final);
    ensure!(words.contains("cosigned by a, b"), "{words}");
    // Nobody has to believe the operator: the note convinces whoever has the policy.
    let witnessed = witnesses(&world)?.witnessed.context("there is a witnessed checkpoint")?;
    let needed =
        job.status.as_ref().and_then(|status| status.ledger.as_ref()?.settlement.as_ref()?.parse::<u64>().ok());
    ensure!(needed.is_some_and(|leaf| leaf < witnessed.size), "{needed:?} is not below {}", witnessed.size);

    let (status, _) = fetch::post(&tamper, "/tamper", &[])?;
    ensure!(status == 200, "the proxy says {status}");
    let before = settled(&namespace, "tampered").await?;
    // Two of three are still enough.
    final_is(&namespace, &before, "True", "Witnessed").await?;
    let shown = seen(&world, "the refusal of c", SOON, |seen| refused(seen, "c").is_some()).await?;
    ensure!(!shown.blocked, "{shown:?}");
    told(&world, "c refuses").await?;
    let (kind, file) = evidence(&world, "c").await?;
    ensure!(kind.contains("tile"), "the evidence of c is {kind}");
    // It is signed by nobody what a proxy serves: that is said, and not taken for a fork.
    let folder = tempfile::tempdir()?;
    verify_fork(&world, folder.path(), &file, 2)?;

    show_a_fork(&world, "b").await?;
    let (kind, file) = evidence(&world, "b").await?;
    ensure!(kind.contains("fork"), "the evidence of b is {kind}");
    verify_fork(&world, folder.path(), &file, 0)?;
    let after = settled(&namespace, "forked").await?;
    let job = final_is(&namespace, &after, "False", "WitnessRefused").await?;
    let words = reason(&job, ConditionType::Final);
    ensure!(words.contains("b refuses") && words.contains("c refuses"), "{words}");
    ensure!(is(&job, ConditionType::Succeeded), "who refuses delays no result");
    told(&world, "b refuses").await?;
    let blocked = metric(&world, "orion_ledger_witness_blocked")?;
    ensure!(blocked == Some(1), "orion_ledger_witness_blocked is {blocked:?}");
    world.ledger()?.complete(&job)?;

    // A person looks into it, and takes the evidence away.
    let pods: Api<Pod> = Api::namespaced(world.kube.clone(), NAMESPACE);
    pods.delete(TAMPER, &DeleteParams::default()).await.context("removing the proxy")?;
    until("the end of the proxy", SHORT, async || Ok(pods.get_opt(TAMPER).await?.is_none().then_some(()))).await?;
    start_tamper(&world).await?;
    for name in ["b", "c"] {
        let evidence = volume(&world, state, &format!("data-orion-witness-{name}-0")).await?.join("evidence");
        empty(&evidence)?;
        let pod = format!("orion-witness-{name}-0");
        pods.delete(&pod, &DeleteParams::default()).await.with_context(|| format!("starting {name} again"))?;
    }
    namespace.wait_for("forked", "Witnessed", LONG, |job| is(job, ConditionType::Final)).await?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_ledger_killed_in_the_middle_of_a_settlement_pays_once() -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "kill-ledger", "30").await?;
    let before = settles(&world)?;
    let busy = Busy { units: UNITS, units_per_shard: 1, steps: 150_000, parallelism: 64, ..Busy::named("pages") };
    namespace.submit(&busy.job()?).await?;
    // From then on the ledger is asked: the status is up to a second old, and the pages take less.
    namespace.wait_for("pages", "the first verdicts", LONG * 2, |job| accepted(job).0 > 0).await?;
    let name = world.leader().await?.context("nobody leads")?;
    let leader = world.process(Part::Operator(&name)).await?;
    let ledger = world.process(Part::Ledger).await?;
    let killed = match between_pages(&world, leader, before).await {
        Ok(pages) => ledger.kill().map(|()| pages),
        Err(error) => Err(error),
    };
    // Nobody may find a stopped operator later.
    leader.go_on()?;
    let pages = killed?;
    println!("the ledger is killed after page {pages}");
    ensure!(pages < PAGES, "the moment was missed: all {pages} pages are settled");
    let second = another(&world, ledger).await?;
    second.kill()?;
    another(&world, second).await?;
    let job = namespace.succeeded("pages", RESTART).await?;
    let ledger = world.ledger()?;
    let record = ledger.complete(&job)?;
    ensure!(record.shards.len() as u64 == UNITS.unsigned_abs(), "{} shards", record.shards.len());
    namespace.passed();
    Ok(())
}

/// Slows the leader down until it has submitted a page or two of a settlement: leaves it stopped, and says how many.
async fn between_pages(world: &World, leader: Process, before: u64) -> Result<u64> {
    let end = Instant::now() + LONG;
    loop {
        leader.stop()?;
        let pages = settles(world)? - before;
        if pages > 0 {
            return Ok(pages);
        }
        ensure!(Instant::now() < end, "nothing was settled");
        leader.go_on()?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The ledger that comes after one that was killed, once it takes transactions.
async fn another(world: &World, killed: Process) -> Result<Process> {
    until("another ledger", RESTART, async || {
        let now = world.process(Part::Ledger).await.ok().filter(|process| *process != killed);
        Ok(now.filter(|_| fetch::get(&host(world), "/readyz").is_ok_and(|(status, _)| status == 200)))
    })
    .await
}

/// Pages of settlements that the ledger has taken since it started.
fn settles(world: &World) -> Result<u64> {
    let page = world.ledger_metrics()?;
    let taken = |line: &&str| line.starts_with("orion_ledger_transactions_total{") && line.contains("kind=\"Settle\"");
    let counts = page.lines().filter(taken).filter(|line| line.contains("code=\"Ok\""));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

#[tokio::test]
async fn an_old_volume_is_refused_until_the_missing_entries_are_back() -> Result<()> {
    let (_ground, world) = alone().await?;
    let Ground::Pods { state, .. } = &world.ground else {
        println!("there are no witnesses and no volumes without pods");
        return Ok(());
    };
    let namespace = Namespace::with_credits(&world, "old-volume", "30").await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let volume = volume(&world, state, "data-orion-ledger-0").await?;
    world.export(&file("before"))?;
    scale(&world, 0).await?;
    copy(&volume, &file("old"))?;
    scale(&world, 1).await?;
    // Entries that the copy does not have.
    let job = settled(&namespace, "paid").await?;
    world.export(&file("after"))?;
    scale(&world, 0).await?;
    copy(&volume, &file("new"))?;
    copy(&file("old"), &volume)?;
    start(&world).await?;
    said(&world, "it is older than that").await?;
    scale(&world, 0).await?;
    let mut import = Command::new(world.program("orion-ledger"));
    import.args(["import", "--data"]).arg(&volume).arg("--from").arg(file("after"));
    import.arg("--genesis").arg(world.ground.key("orion-genesis", "genesis"));
    xtask::process::run(&mut import)?;
    owned(&volume)?;
    scale(&world, 1).await?;
    // What was paid is still paid, and the log goes on from there.
    world.ledger()?.complete(&job)?;
    let job = settled(&namespace, "after").await?;
    world.ledger()?.complete(&job)?;
    world.export(&file("end"))?;
    let key = world.log_key();
    let path = |path: &Path| path.to_str().map(str::to_owned).context("a path");
    for earlier in ["before", "after"] {
        // One log has both checkpoints: it never forked.
        let (earlier, end, key) = (path(&file(earlier))?, path(&file("end"))?, path(&key)?);
        world.orion_exits(1, &["ledger", "verify", "fork", &earlier, &end, "--key", &key])?;
    }
    namespace.passed();
    Ok(())
}

/// The volume of a claim as this machine sees it.
async fn volume(world: &World, state: &Path, claim: &str) -> Result<PathBuf> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let claim = claims.get(claim).await.with_context(|| format!("finding the claim {claim}"))?;
    let name = claim.spec.and_then(|spec| spec.volume_name).context("the claim has a volume")?;
    Ok(state.join("volumes").join(name))
}

/// Puts what is in one folder into another, in place of what is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    empty(to)?;
    let mut content = from.as_os_str().to_owned();
    content.push("/.");
    xtask::process::run(Command::new("cp").arg("-a").arg(content).arg(to))
}

fn empty(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("emptying {}", folder.display()))? {
        let path = entry.context("emptying a folder")?.path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Gives a volume's files to the user of our images.
fn owned(volume: &Path) -> Result<()> {
    xtask::process::run(Command::new("chown").args(["-R", "65532:65532"]).arg(volume))
}

/// Asks for the ledger's pod.
async fn start(world: &World) -> Result<()> {
    replicas(world, 1).await
}

/// As many ledgers as this, and waits until it is so.
async fn scale(world: &World, count: i32) -> Result<()> {
    replicas(world, count).await?;
    let pods: Api<Pod> = Api::namespaced(world.kube.clone(), NAMESPACE);
    until(&format!("{count} ledgers"), RESTART, async || {
        if count == 0 {
            let gone = pods.get_opt("orion-ledger-0").await.context("looking for the ledger's pod")?.is_none();
            return Ok(gone.then_some(()));
        }
        Ok(fetch::get(&host(world), "/readyz").is_ok_and(|(status, _)| status == 200).then_some(()))
    })
    .await
}

async fn replicas(world: &World, count: i32) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let patch = Patch::Merge(json!({"spec": {"replicas": count}}));
    sets.patch("orion-ledger", &PatchParams::default(), &patch).await.context("scaling the ledger")?;
    Ok(())
}

/// The ledger says this before it ends.
async fn said(world: &World, words: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(world.kube.clone(), NAMESPACE);
    until(words, LONG, async || {
        for previous in [false, true] {
            let params = LogParams { container: Some("ledger".into()), previous, ..LogParams::default() };
            // There is no log before there is a container.
            let log = pods.logs("orion-ledger-0", &params).await.unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains(words)) {
                println!("{line}");
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .await
}

/// Host and port of the ledger.
fn host(world: &World) -> String {
    world.ground.ledger().trim_start_matches("http://").to_owned()
}

fn witnesses(world: &World) -> Result<Witnesses> {
    let (status, body) = fetch::get(&host(world), "/v1/witnesses")?;
    ensure!(status == 200, "the ledger answers {status}");
    cbor::from_slice("witnesses", &body, body.len()).context("reading who has seen the log")
}

async fn seen(world: &World, what: &str, limit: Duration, wanted: impl Fn(&Witnesses) -> bool) -> Result<Witnesses> {
    let mut last = None;
    let found = until(what, limit, async || {
        let now = witnesses(world).ok();
        last.clone_from(&now);
        Ok(now.filter(&wanted))
    })
    .await;
    found.with_context(|| format!("last seen: {last:?}"))
}

fn refused(seen: &Witnesses, name: &str) -> Option<String> {
    seen.witnesses.iter().find(|one| one.name == name)?.refused.clone()
}

/// A job from its submission to its end.
async fn settled(namespace: &Namespace, name: &str) -> Result<OrionJob> {
    namespace.submit(&Busy { budget: "5".into(), ..Busy::named(name) }.job()?).await?;
    namespace.succeeded(name, LONG).await
}

/// The job once its condition Final is this.
async fn final_is(namespace: &Namespace, job: &OrionJob, status: &str, why: &str) -> Result<OrionJob> {
    let wanted = |job: &OrionJob| {
        let conditions = job.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let found = condition(conditions, ConditionType::Final);
        found.is_some_and(|found| found.status == status && found.reason == why)
    };
    namespace.wait_for(&job.name_any(), why, SOON, wanted).await
}

/// The proxy, from the image of the provider that lies; host and port where this machine reaches it.
async fn start_tamper(world: &World) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let liars =
        pods.list(&ListParams::default().labels("orion.dev/provider=mallory")).await.context("finding a liar")?;
    let spec = liars.items.into_iter().next().and_then(|pod| pod.spec).context("there is a liar")?;
    let image = spec.containers.first().and_then(|container| container.image.clone()).context("a liar has an image")?;
    let labels = json!({"app": TAMPER});
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": TAMPER, "labels": labels},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "tamper", "image": image, "imagePullPolicy": "IfNotPresent",
                "command": ["orion-tamper", "--log=orion-ledger:8080", "--listen=0.0.0.0:8080"],
                "readinessProbe": {"httpGet": {"path": "/livez", "port": 8080}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))?;
    let service_of_it: Service = serde_json::from_value(json!({
        "metadata": {"name": TAMPER}, "spec": {"selector": labels, "ports": [{"port": 8080}]},
    }))?;
    made(pods.create(&PostParams::default(), &pod).await).context("starting the proxy")?;
    let services: Api<Service> = Api::namespaced(world.kube.clone(), NAMESPACE);
    made(services.create(&PostParams::default(), &service_of_it).await).context("naming the proxy")?;
    service(&world.kube, TAMPER).await
}

/// It may be there from an earlier round.
fn made<K>(outcome: kube::Result<K>) -> kube::Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

/// Kind and bytes of the first evidence that a witness keeps.
async fn evidence(world: &World, name: &str) -> Result<(String, Vec<u8>)> {
    let host = service(&world.kube, &format!("orion-witness-{name}")).await?;
    let first = until("evidence", SOON, async || {
        let (_, list) = fetch::get(&host, "/evidence")?;
        let list: Vec<Value> = serde_json::from_slice(&list).context("reading the list of evidence")?;
        Ok(list.into_iter().next())
    })
    .await?;
    println!("{name} keeps {first}");
    let (status, file) = fetch::get(&host, &format!("/evidence/{}", first["number"]))?;
    ensure!(status == 200, "{name} answers {status}");
    Ok((first["kind"].to_string(), file))
}

fn verify_fork(world: &World, folder: &Path, evidence: &[u8], code: i32) -> Result<()> {
    let file = folder.join("evidence");
    std::fs::write(&file, evidence).context("writing evidence")?;
    let (file, key) = (file.to_str().context("a path")?, world.log_key());
    let key = key.to_str().context("a path")?;
    let words = world.orion_exits(code, &["ledger", "verify", "fork", file, "--key", key])?;
    println!("{}", words.trim_end());
    Ok(())
}

/// A second ledger with the same genesis and key begins a log of its own, and its checkpoint is shown to a witness.
async fn show_a_fork(world: &World, name: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_second, address) = second_ledger(world, folder.path())?;
    let note = until("a checkpoint of the second ledger", SHORT, async || {
        let (status, note) = fetch::get(&address, "/checkpoint")?;
        Ok((status == 200).then_some(note))
    })
    .await?;
    let witness = service(&world.kube, &format!("orion-witness-{name}")).await?;
    let (status, words) = fetch::post(&witness, "/add-checkpoint", &[b"old 0\n\n", note.as_slice()].concat())?;
    ensure!(status == 409, "{name} answers {status}: {}", String::from_utf8_lossy(&words));
    Ok(())
}

/// A process that goes when the scenario does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn second_ledger(world: &World, folder: &Path) -> Result<(Killed, String)> {
    let mut command = Command::new(world.program("orion-ledger"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).arg("--data").arg(folder);
    command.arg("--genesis").arg(world.ground.key("orion-genesis", "genesis"));
    command.arg("--checkpoint-key").arg(world.ground.key("orion-ledger-keys", "checkpoint.key"));
    let mut child = Killed(command.stdout(Stdio::piped()).spawn().context("starting a second ledger")?);
    let output = child.0.stdout.take().context("a second ledger speaks")?;
    let line = BufReader::new(output).lines().next().context("the second ledger ended")??;
    let address = line.strip_prefix("listening on ").with_context(|| format!("it says {line}"))?.to_owned();
    Ok((child, address))
}

/// An Event of the ledger's Service says this.
async fn told(world: &World, words: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(world.kube.clone(), NAMESPACE);
    until(words, SOON, async || {
        let all = events.list(&ListParams::default()).await.context("listing Events")?;
        let ours = |event: &Event| {
            event.reason.as_deref() == Some("WitnessRefused")
                && event.involved_object.name.as_deref() == Some("orion-ledger")
                && event.message.as_deref().is_some_and(|message| message.contains(words))
        };
        Ok(all.iter().any(ours).then_some(()))
    })
    .await
}

/// A metric of the ledger.
fn metric(world: &World, name: &str) -> Result<Option<u64>> {
    let page = world.ledger_metrics()?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.and_then(|value| value.parse().ok()))
}
