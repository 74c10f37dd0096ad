//! The platform under SIGKILL and SIGSTOP, each at a moment that was seen: some units accepted, not all.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use orion_broker::Heartbeats;
use orion_crds::{OrionJob, Provider, Shard, ValidationRound};
use orion_e2e::processes::Process;
use orion_e2e::{Busy, Lie, Namespace, Part, World, jobs, until};
use orion_protocol::messages::{Beat, Message as _};
use orion_protocol::statements::LeaseKind;
use orion_protocol::subjects::commit_stream;
use orion_protocol::{Digest, Name};
use serde::de::DeserializeOwned;
use xtask::platform::NAMESPACE;

use crate::{LONG, SHORT, alone};

/// Longer than anything that a leader does from time to time.
const QUIET: Duration = Duration::from_secs(6);

/// How a part of the platform is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Without a warning.
    Killed,
    /// As by `kubectl delete pod`: it may end what it is at.
    Deleted,
}

#[tokio::test]
async fn a_killed_leader_loses_no_work_and_pays_nothing_twice() -> Result<()> {
    lost_leader("kill-leader", Loss::Killed).await
}

#[tokio::test]
async fn nor_does_a_leader_whose_pod_is_deleted() -> Result<()> {
    lost_leader("delete-leader", Loss::Deleted).await
}

async fn lost_leader(scenario: &str, loss: Loss) -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, scenario, "30").await?;
    namespace.submit(&jobs::slow()?).await?;
    namespace.in_the_middle("slow", LONG).await?;
    let (name, process) = leader(&world).await?;
    lose(&world, Part::Operator(&name), loss).await?;
    ended(process).await?;
    let job = namespace.succeeded("slow", LONG).await?;
    world.ledger()?.complete(&job)?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_leader_that_wakes_up_after_the_job_changes_nothing_and_ends() -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "stop-leader", "30").await?;
    namespace.submit(&jobs::slow()?).await?;
    namespace.in_the_middle("slow", LONG).await?;
    let (name, process) = leader(&world).await?;
    process.stop()?;
    let woken = async {
        other_leads(&world, &name).await?;
        let job = namespace.succeeded("slow", LONG).await?;
        let before = once_quiet(&world, &namespace.name).await?;
        process.go_on()?;
        ended(process).await?;
        let after = look(&world, &namespace.name).await?;
        ensure!(after == before, "the leader of before wrote: {before:?} became {after:?}");
        world.ledger()?.complete(&job)?;
        anyhow::Ok(())
    };
    let outcome = woken.await;
    // Nobody may find a stopped operator later.
    process.go_on().ok();
    outcome?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_leader_that_wakes_up_in_the_middle_of_the_job_does_no_harm() -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "wake-leader", "30").await?;
    namespace.submit(&jobs::slow()?).await?;
    namespace.in_the_middle("slow", LONG).await?;
    let (name, process) = leader(&world).await?;
    process.stop()?;
    let taken = other_leads(&world, &name).await;
    process.go_on()?;
    taken?;
    ended(process).await?;
    let job = namespace.succeeded("slow", LONG).await?;
    let ledger = world.ledger()?;
    ledger.complete(&job)?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn the_work_of_a_worker_killed_while_it_holds_a_lease_is_done_by_others() -> Result<()> {
    lost_worker("kill-worker", Loss::Killed).await
}

#[tokio::test]
async fn nothing_is_lost_or_paid_twice_with_a_worker_whose_pod_is_deleted_while_it_holds_a_lease() -> Result<()> {
    lost_worker("delete-worker", Loss::Deleted).await
}

async fn lost_worker(scenario: &str, loss: Loss) -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, scenario, "30").await?;
    let broker = world.broker().await?;
    namespace.submit(&jobs::slow()?).await?;
    namespace.in_the_middle("slow", LONG).await?;
    // What was said before now may be of leases that have ended.
    let mut heartbeats = broker.heartbeats().await?;
    let (worker, lease, task) = starts_work(&world, &mut heartbeats).await?;
    let part = Part::Worker(worker.as_str());
    let process = world.process(part).await?;
    lose(&world, part, loss).await?;
    ended(process).await?;
    let job = namespace.succeeded("slow", LONG).await?;
    let ledger = world.ledger()?;
    let record = ledger.complete(&job)?;
    // Replaying the log takes longer than the job, once the log is long: so only now.
    ensure!(record.task == task, "the worker was at another job");
    // A worker that is warned may answer before it ends.
    let mut done = record.shards.iter().filter_map(|shard| shard.accepted.as_ref());
    ensure!(
        loss == Loss::Deleted || done.all(|attempt| attempt.commitment.lease != lease),
        "the killed worker was not at it"
    );
    namespace.passed();
    Ok(())
}

async fn lose(world: &World, part: Part<'_>, loss: Loss) -> Result<()> {
    match loss {
        Loss::Killed => world.process(part).await?.kill()?,
        Loss::Deleted => world.delete(part).await?,
    }
    println!("{part:?} is {loss:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_the_broker_has_lost_is_made_anew() -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "lost-stream", "30").await?;
    let provider: Name = "mallory".parse().context("a name")?;
    let broker = world.broker().await?;
    broker.delete_provider(&provider).await.context("deleting what the broker has of a provider")?;
    // The leader finds out by itself, and whoever leads next sets up everything.
    until("the streams", SHORT, async || {
        Ok(broker.stream_facts(&commit_stream(&provider)).await.context("looking for the stream")?.map(drop))
    })
    .await?;
    // The provider's worker and validator take part again: without them there is nothing to be caught.
    let job = Busy { output: Lie::Everywhere.output(), units: 24, parallelism: 6, ..Busy::named("after") };
    namespace.submit(&job.job()?).await?;
    let job = namespace.succeeded("after", LONG).await?;
    let ledger = world.ledger()?;
    let rejected = ledger.complete(&job)?.shards.iter().flat_map(|shard| &shard.rejected).count();
    ensure!(rejected > 0, "the provider got no work");
    namespace.passed();
    Ok(())
}

/// The next worker, but the liar's, that says it has begun work; the lease and its task.
async fn starts_work(world: &World, heartbeats: &mut Heartbeats) -> Result<(Name, Digest, Digest)> {
    // An earlier scenario may have replaced the operator's key.
    let (chain, keys) = (world.genesis()?.chain(), world.keys()?);
    let listening = async {
        while let Some(heard) = heartbeats.next().await {
            let Ok(Beat::Started(signed)) = Beat::from_bytes(&heard.bytes) else { continue };
            let lease = keys.lease(&chain, &signed).context("a lease in a heartbeat")?;
            if lease.kind == LeaseKind::Work && heard.provider.as_str() != "mallory" {
                return Ok((heard.worker, lease.digest(), lease.task));
            }
        }
        bail!("the heartbeats ended")
    };
    tokio::time::timeout(SHORT, listening).await.context("nobody started work any more: the moment was missed")?
}

async fn leader(world: &World) -> Result<(String, Process)> {
    let name = world.leader().await?.context("nobody leads")?;
    let process = world.process(Part::Operator(&name)).await?;
    Ok((name, process))
}

async fn other_leads(world: &World, old: &str) -> Result<()> {
    until("another leader", SHORT, async || Ok(world.leader().await?.filter(|name| name != old).map(drop))).await
}

async fn ended(process: Process) -> Result<()> {
    until("the end of the process", Duration::from_secs(40), async || Ok((!process.is_there()).then_some(()))).await
}

/// What is there in a scenario's namespace and of the providers, with versions; and the length of the log.
type Seen = (BTreeMap<String, Option<String>>, u64);

async fn look(world: &World, namespace: &str) -> Result<Seen> {
    let mut versions = BTreeMap::new();
    add::<OrionJob>(world, namespace, &mut versions).await?;
    add::<Shard>(world, namespace, &mut versions).await?;
    add::<ValidationRound>(world, namespace, &mut versions).await?;
    add::<Provider>(world, NAMESPACE, &mut versions).await?;
    Ok((versions, world.ledger()?.report.entries))
}

async fn add<K>(world: &World, namespace: &str, versions: &mut BTreeMap<String, Option<String>>) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let all = Api::<K>::namespaced(world.kube.clone(), namespace).list(&ListParams::default()).await?;
    versions.extend(all.iter().map(|one| (format!("{} {}", K::kind(&()), one.name_any()), one.resource_version())));
    Ok(())
}

/// What is there once the leader of now has nothing left to write.
async fn once_quiet(world: &World, namespace: &str) -> Result<Seen> {
    let mut last = (Instant::now(), look(world, namespace).await?);
    until("the last write", SHORT, async || {
        let now = look(world, namespace).await?;
        if now != last.1 {
            last = (Instant::now(), now);
        }
        Ok((last.0.elapsed() > QUIET).then(|| last.1.clone()))
    })
    .await
}
