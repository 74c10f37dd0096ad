//! Providers that lie. Mallory's worker and validator lie to jobs that ask for it, see `orion_e2e::lies`.

use anyhow::{Result, ensure};
use orion_crds::OrionJob;
use orion_e2e::world::Ledger;
use orion_e2e::{Busy, Lie, Namespace, World};
use orion_ledger_core::report::{Attempt, JobReport};
use orion_protocol::draw::Draw;

use crate::{LONG, shared};

const MALLORY: &str = "mallory";

#[tokio::test]
async fn who_lies_in_every_unit_is_caught_in_the_first_round_and_not_paid() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "lies", "30").await?;
    let job = submit(&namespace, "lies", Lie::Everywhere, 2).await?;
    let job = namespace.succeeded(job.metadata.name.as_deref().unwrap_or_default(), LONG).await?;
    let ledger = world.ledger()?;
    let record = ledger.complete(&job)?;
    let lied: Vec<&Attempt> = attempts(record).filter(|attempt| is_mallorys(attempt)).collect();
    ensure!(!lied.is_empty(), "mallory got no shard");
    for attempt in lied {
        ensure!(attempt.drawn.iter().all(|(_, right)| !right), "a wrong unit passed: {:?}", attempt.drawn);
        let shard = record.shards.iter().find(|shard| shard.shard == attempt.lease.shard);
        let accepted = shard.and_then(|shard| shard.accepted.as_ref());
        ensure!(accepted.is_some_and(|accepted| !is_mallorys(accepted)), "the shard was not done by another owner");
    }
    ensure!(paid(record) == (0, mallorys_votes(record)), "mallory was paid for lies: {:?}", record.payouts);
    right_result(&world, &namespace, &job, "lies")?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_lie_in_one_unit_is_caught_if_and_only_if_that_unit_is_drawn() -> Result<()> {
    /// So many jobs are tried until both outcomes were seen: with two to four lies a job, each found at evens, more than
    /// enough.
    const JOBS: u32 = 10;
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "one-lie", "300").await?;
    let (mut caught, mut missed) = (0, 0);
    for number in 0..JOBS {
        let place = u64::from(std::process::id() + number) % 4;
        println!("job {number}: the unit at place {place} of mallory's shards is wrong");
        let name = format!("one-lie-{number}");
        let job = submit(&namespace, &name, Lie::AtPlace(place), 2).await?;
        namespace.succeeded(&name, LONG).await?;
        let ledger = world.ledger()?;
        let record = ledger.complete(&job)?;
        for attempt in attempts(record).filter(|attempt| is_mallorys(attempt)) {
            let drawn = drawn(&ledger, &job, record, attempt)?;
            let stated: Vec<u64> = attempt.drawn.iter().map(|(unit, _)| *unit).collect();
            ensure!(drawn == stated, "the draw is {drawn:?}, the log says {stated:?}");
            let is_drawn = drawn.contains(&(attempt.lease.first_unit + place));
            let accepted = record.shards.iter().filter_map(|shard| shard.accepted.as_ref());
            let is_accepted = accepted.into_iter().any(|other| other.lease == attempt.lease);
            ensure!(is_accepted != is_drawn, "drawn: {is_drawn}, accepted: {is_accepted}");
            if is_drawn {
                caught += 1;
            } else {
                missed += 1;
            }
        }
        if caught > 0 && missed > 0 {
            println!("{caught} lies were caught, {missed} were not");
            namespace.passed();
            return Ok(());
        }
    }
    anyhow::bail!("after {JOBS} jobs {caught} lies were caught and {missed} were not")
}

#[tokio::test]
async fn a_validator_that_lies_is_overruled_and_the_honest_worker_paid() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "votes", "30").await?;
    submit(&namespace, "votes", Lie::Votes, 2).await?;
    let job = namespace.succeeded("votes", LONG).await?;
    let ledger = world.ledger()?;
    let record = ledger.complete(&job)?;
    let overruled: Vec<&Attempt> = attempts(record)
        .filter(|attempt| attempt.auditors.iter().any(|one| one.owner.as_ref().is_some_and(|o| o.as_str() == MALLORY)))
        .collect();
    ensure!(!overruled.is_empty(), "mallory was asked nothing");
    for attempt in &overruled {
        for auditor in &attempt.auditors {
            let liar = auditor.owner.as_ref().is_some_and(|owner| owner.as_str() == MALLORY);
            ensure!(auditor.upheld != liar && (!liar || !auditor.paid), "{auditor:?}");
            ensure!(
                !liar || auditor.units.iter().all(|unit| attempt.refereed.contains(unit)),
                "the referee did not decide"
            );
        }
        ensure!(attempt.drawn.iter().all(|(_, right)| *right), "an honest unit was refused");
    }
    ensure!(record.shards.iter().all(|shard| shard.rejected.is_empty()), "an honest worker was refused");
    ensure!(paid(record).1 == 0, "mallory was paid for wrong votes: {:?}", record.payouts);
    right_result(&world, &namespace, &job, "votes")?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn outputs_that_are_not_stored_are_refused_at_ingest_and_done_by_another() -> Result<()> {
    refused_at_ingest("keeps", Lie::KeepsOutputs).await
}

#[tokio::test]
async fn outputs_other_than_committed_are_refused_at_ingest_and_done_by_another() -> Result<()> {
    refused_at_ingest("swaps", Lie::SwapsOutputs).await
}

#[tokio::test]
async fn a_provider_that_says_the_kernel_fails_does_nothing_to_the_job() -> Result<()> {
    refused_at_ingest("claims", Lie::ClaimsFault).await
}

/// The job succeeds, and nothing of mallory's ever came into a round.
async fn refused_at_ingest(name: &str, lie: Lie) -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, name, "30").await?;
    submit(&namespace, name, lie, 2).await?;
    let job = namespace.succeeded(name, LONG).await?;
    let ledger = world.ledger()?;
    let record = ledger.complete(&job)?;
    ensure!(!attempts(record).any(is_mallorys), "something of mallory's was judged");
    // Somebody tried before the one who was accepted.
    let attempts = record.shards.iter().filter_map(|shard| shard.accepted.as_ref());
    ensure!(attempts.into_iter().any(|attempt| attempt.lease.token.attempt > 1), "mallory got no shard");
    ensure!(paid(record).0 == 0, "mallory was paid for nothing: {:?}", record.payouts);
    right_result(&world, &namespace, &job, name)?;
    namespace.passed();
    Ok(())
}

/// Twelve shards of four units: enough for everybody to get some.
async fn submit(namespace: &Namespace, name: &str, lie: Lie, audits: i32) -> Result<OrionJob> {
    namespace.submit(&busy(name, lie, audits).job()?).await
}

fn busy(name: &str, lie: Lie, audits: i32) -> Busy {
    let output = lie.output();
    Busy { output, units: 48, units_per_shard: 4, steps: 6_000_000, audits, parallelism: 6, ..Busy::named(name) }
}

/// The result is what the kernel computes, liars or not.
fn right_result(world: &World, namespace: &Namespace, job: &OrionJob, name: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().to_str().unwrap_or_default();
    world.orion_exits(0, &["result", name, "-n", &namespace.name, "--dir", directory])?;
    let output = &job.spec.outputs[0].name;
    let bytes = std::fs::read(folder.path().join(format!("{output}.npy")))?;
    let (_, data) = orion_protocol::npy::parse(&bytes)?;
    let expected: Vec<u8> = busy(name, Lie::Votes, 2).expected().into_iter().flat_map(u32::to_le_bytes).collect();
    ensure!(*data == *expected, "the result is wrong");
    Ok(())
}

/// Every judged attempt.
fn attempts(record: &JobReport) -> impl Iterator<Item = &Attempt> {
    record.shards.iter().flat_map(|shard| shard.rejected.iter().chain(&shard.accepted))
}

fn is_mallorys(attempt: &Attempt) -> bool {
    attempt.owner.as_ref().is_some_and(|owner| owner.as_str() == MALLORY)
}

/// What mallory was paid for work and for votes.
fn paid(record: &JobReport) -> (u64, u64) {
    let own = record.payouts.iter().filter(|one| one.owner.as_ref().is_some_and(|owner| owner.as_str() == MALLORY));
    own.fold((0, 0), |sum, one| (sum.0 + one.worker, sum.1 + one.validator))
}

/// What mallory's votes of this job earned: its validator is honest here.
fn mallorys_votes(record: &JobReport) -> u64 {
    paid(record).1
}

/// The drawn units of an attempt, recomputed from the log's root at the round's seal.
fn drawn(ledger: &Ledger, job: &OrionJob, record: &JobReport, attempt: &Attempt) -> Result<Vec<u64>> {
    let id = ledger.id(job);
    let view = ledger.chain.job(&id).ok_or_else(|| anyhow::anyhow!("no job {id}"))?;
    let round = view.rounds.iter().find(|round| round.round == attempt.round);
    let seal = round.ok_or_else(|| anyhow::anyhow!("no round {}", attempt.round))?.seal;
    let seed = orion_protocol::draw::seed(&ledger.report.chain, seal.size, &seal.root.0, &attempt.round);
    let draw = Draw { seed, shard: attempt.lease.shard, attempt: attempt.lease.token.attempt };
    let places = draw.places(attempt.lease.units, record.spec.audits_per_shard);
    Ok(places.into_iter().map(|place| attempt.lease.first_unit + place).collect())
}
