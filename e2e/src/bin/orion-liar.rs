//! `orion-liar`: the agent with another way to answer. It lies to jobs that ask for it, see [`orion_e2e::lies`], and is
//! honest to all others. For tests: it is in no image.

use anyhow::Context as _;
use clap::Parser as _;
use orion_e2e::Lie;
use orion_protocol::messages::AnswerBody;
use orion_protocol::statements::LeaseKind;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Reason, Refusal};
use orion_worker::agent::answer::{Answering, Honest};
use orion_worker::agent::config::{Config, Flags};
use orion_worker::agent::retry::{Deadline, Trouble};
use orion_worker::agent::shard::{self, Shard, Units};
use orion_worker::agent::verify::Lease;
use orion_worker::agent::{Agent, execute};
use tokio::sync::watch;

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let config = Config::from_flags(Flags::parse())?;
    let (_stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(orion_worker::agent::run(config, Liar, stopped))?;
    Ok(())
}

/// Answers leases, sometimes wrongly.
struct Liar;

impl Answering for Liar {
    async fn answer(&self, agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
        let kind = lease.core.kind;
        if !matches!(kind, LeaseKind::Work | LeaseKind::Audit) {
            return Honest.answer(agent, lease, deadline).await;
        }
        let spec = agent.source(deadline).task_spec(&lease.core.task).await?;
        match (kind, Lie::asked_by(&spec)) {
            (LeaseKind::Audit, Some(Lie::Votes)) => vote_wrongly(agent, lease, deadline).await,
            (LeaseKind::Work, Some(lie)) => work_wrongly(agent, lease, deadline, &spec, lie).await,
            _ => Honest.answer(agent, lease, deadline).await,
        }
    }
}

async fn vote_wrongly(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let mut units = execute::compute_audit(agent, lease, deadline).await?;
    for unit in &mut units {
        unit.digest = Digest::of(&unit.digest.0);
    }
    execute::vote(agent, lease, units)
}

async fn work_wrongly(
    agent: &Agent,
    lease: &Lease,
    deadline: Deadline,
    spec: &TaskSpec,
    lie: Lie,
) -> Result<AnswerBody, Trouble> {
    if lie == Lie::ClaimsFault {
        return Err(Trouble::Refused(Refusal::new(Reason::KernelFault, "this kernel is no good")));
    }
    let mut shard = execute::compute_work(agent, lease, deadline).await?;
    let honest = shard.clone();
    let (first, count) = (lease.core.first_unit, lease.core.units);
    match lie {
        Lie::Everywhere => (first..first + count).for_each(|unit| falsify(lease, spec, &mut shard, unit)),
        Lie::AtPlace(place) if place < count => falsify(lease, spec, &mut shard, first + place),
        Lie::SwapsOutputs => shard.outputs = shard.outputs.iter().map(|rows| vec![0; rows.len()]).collect(),
        Lie::AtPlace(_) | Lie::Votes | Lie::KeepsOutputs | Lie::ClaimsFault => {}
    }
    tracing::info!(?lie, shard = lease.core.shard, "lied: {}", shard != honest || lie == Lie::KeepsOutputs);
    if lie != Lie::KeepsOutputs {
        execute::store(agent, &shard, deadline).await?;
    }
    execute::commit(agent, lease, &shard)
}

/// Flips a bit of the unit's first row and commits to that. The jobs of these scenarios keep all their rows.
fn falsify(lease: &Lease, spec: &TaskSpec, shard: &mut Shard, unit: u64) {
    let (first, count) = (lease.core.first_unit, lease.core.units);
    let (begin, _) = spec.units.items_of(first, 0);
    let (item, _) = spec.units.items_of(unit, 1);
    let at = (item - begin) * spec.outputs[0].item_bytes();
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(byte) = shard.outputs.first_mut().and_then(|rows| rows.get_mut(place(at))) {
        *byte ^= 1;
    }
    let hashed = shard::digests(&lease.core.task, spec, Units { first, count }, &shard.outputs);
    let digest = hashed.ok().and_then(|mut hashed| hashed.nth(place(unit - first)));
    if let (Some(digest), Some(old)) = (digest, shard.digests.get_mut(place(unit - first))) {
        *old = digest;
    }
}
