//! Keys that are replaced while jobs run, by the commands of docs/keys.md as they stand there.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use orion_crds::conditions::is_true;
use orion_crds::{ConditionType, Provider};
use orion_e2e::ground::Ground;
use orion_e2e::{Busy, Namespace, World, until};
use orion_protocol::bytes::{hex, unhex};
use orion_protocol::{PublicKey, SecretKey};
use serde_json::json;
use xtask::platform::NAMESPACE;

use crate::{LONG, RESTART, SHORT, alone};

const GUIDE: &str = include_str!("../../../docs/keys.md");
/// Whose key is replaced.
const PROVIDER: &str = "beta";

#[tokio::test]
async fn keys_of_operator_platform_and_a_provider_are_replaced_while_jobs_run() -> Result<()> {
    let (_ground, world) = alone().await?;
    if matches!(world.ground, Ground::Processes { .. }) {
        println!("there are no Secrets to change without pods");
        return Ok(());
    }
    let namespace = Namespace::with_credits(&world, "keys", "60").await?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let busy = |name: &str| Busy { units: 160, units_per_shard: 2, budget: "5".into(), ..Busy::named(name) };
    namespace.submit(&busy("across").job()?).await?;
    namespace.in_the_middle("across", LONG).await?;
    let guide = |heading: &str| follow(&world, folder.path(), heading);

    guide("## The operator")?;
    let operator = public(&folder.path().join("new.key"))?;
    let epoch = until("an epoch of the new operator", RESTART, async || {
        let chain = world.ledger()?.chain;
        Ok((chain.operator() == operator).then_some(chain.epoch()))
    })
    .await?;
    println!("{operator} leads in epoch {epoch}");
    let job = namespace.succeeded("across", RESTART).await?;
    world.ledger()?.complete(&job)?;

    namespace.submit(&busy("on-the-way").job()?).await?;
    namespace.in_the_middle("on-the-way", LONG).await?;
    guide("## The platform's worker")?;
    let job = namespace.succeeded("on-the-way", RESTART).await?;
    world.ledger()?.complete(&job)?;

    namespace.submit(&busy("still").job()?).await?;
    namespace.in_the_middle("still", LONG).await?;
    provider(&world, folder.path(), &guide).await?;
    let job = namespace.succeeded("still", RESTART).await?;
    world.ledger()?.complete(&job)?;
    namespace.submit(&busy("after").job()?).await?;
    let job = namespace.succeeded("after", RESTART).await?;
    let ledger = world.ledger()?;
    ledger.complete(&job)?;
    ensure!(ledger.chain.epoch() > epoch, "the leader began anew when the platform's key was replaced");
    let said = world.orion_exits(0, &["ledger", "keys"])?;
    for file in ["new.key", "new-platform.key"] {
        let key = public(&folder.path().join(file))?.to_string();
        ensure!(said.contains(&key), "{file}: {key} is not in {said}");
    }
    namespace.passed();
    Ok(())
}

/// Replaces a provider's key; its Provider is ready with the new one, and its old one is nobody's.
async fn provider(world: &World, folder: &Path, guide: &impl Fn(&str) -> Result<()>) -> Result<()> {
    let name = format!("orion-provider-{PROVIDER}");
    let secrets: Api<Secret> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let old = secrets.get(&name).await?.data.unwrap_or_default().remove("signing.key").context("the provider's key")?;
    let new = seed()?;
    for (file, text) in [("alice.key", old.0), ("alice-new.key", hex(&new).into_bytes())] {
        std::fs::write(folder.join(file), text).with_context(|| format!("writing {file}"))?;
    }
    guide("## A provider")?;
    let patch = Patch::Merge(json!({"stringData": {"signing.key": hex(&new)}}));
    secrets.patch(&name, &PatchParams::default(), &patch).await.context("changing the provider's key")?;
    let providers: Api<Provider> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let mut spec = providers.get(PROVIDER).await.context("finding the Provider")?.spec;
    providers.delete(PROVIDER, &DeleteParams::default()).await.context("removing the Provider")?;
    spec.public_key = SecretKey::from_seed(&new).public().to_string();
    let gone = async || Ok(providers.get_opt(PROVIDER).await?.is_none().then_some(()));
    until("the end of the Provider", SHORT, gone).await?;
    providers.create(&PostParams::default(), &Provider::new(PROVIDER, spec)).await.context("making the Provider")?;
    let pods: Api<Pod> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let own = ListParams::default().labels(&format!("orion.dev/provider={PROVIDER}"));
    let old: Vec<String> = pods.list(&own).await?.iter().map(ResourceExt::name_any).collect();
    pods.delete_collection(&DeleteParams::default(), &own).await.context("starting the provider's workers again")?;
    until("the provider with its new key", RESTART, async || {
        let status = providers.get(PROVIDER).await?.status.unwrap_or_default();
        let new = |name: &str| !old.iter().any(|old| old == name);
        let workers = status.workers.iter().filter(|worker| new(&worker.name)).count();
        Ok((is_true(&status.conditions, ConditionType::Ready) && workers == 2).then_some(()))
    })
    .await
}

/// Runs the commands below a heading of the guide, as a person would.
fn follow(world: &World, folder: &Path, heading: &str) -> Result<()> {
    let (_, below) = GUIDE.split_once(&format!("{heading}\n")).context("the guide has the heading")?;
    let (_, block) = below.split_once("```console\n").context("commands are below it")?;
    let (block, _) = block.split_once("```").context("the commands end")?;
    let script: Vec<&str> = block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line)).collect();
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script.join("\n")]).current_dir(folder);
    world.as_a_person(&mut command)?;
    xtask::process::run(&mut command).with_context(|| format!("{heading} of docs/keys.md"))
}

fn public(file: &Path) -> Result<PublicKey> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(SecretKey::from_seed(&unhex(text.trim()).context("reading a key")?).public())
}

fn seed() -> Result<[u8; 32]> {
    use std::io::Read as _;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed).context("drawing a key")?;
    Ok(seed)
}
