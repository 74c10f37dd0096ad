//! Jobs that wait for money, and go on when there is some.

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::namespace::reason;
use orion_e2e::{Busy, Namespace};
use orion_protocol::price::{escrow_of, format_credits};
use serde_json::json;

use crate::{LONG, SHORT, shared};

#[tokio::test]
async fn a_budget_that_is_too_small_is_named_and_can_be_raised() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "budget", "30").await?;
    namespace.submit(&Busy { budget: "0.001".into(), ..Busy::named("cheap") }.job()?).await?;
    let job = unfunded(&namespace, "cheap", "BudgetTooSmall").await?;
    let words = reason(&job, ConditionType::Funded);
    raise(&namespace, "cheap", "10").await?;
    let job = namespace.succeeded("cheap", LONG).await?;
    let ledger = world.ledger()?;
    let record = ledger.complete(&job)?;
    let policy = ledger.chain.policy(&record.spec.policy).context("the log has no such policy")?;
    let locked = escrow_of(&record.spec, policy)?;
    let need = format_credits(locked);
    ensure!(words.contains(&format!("0.001 is below {need},")), "{words}; {need} is needed");
    ensure!(record.sums.escrowed == locked, "{:?}", record.sums);
    let refused = raise(&namespace, "cheap", "20").await;
    ensure!(refused.is_err(), "the budget of a funded job was changed");
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn an_empty_account_is_named_and_a_deposit_makes_the_job_go_on() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::poor(&world, "poor").await?;
    namespace.submit(&Busy::named("poor").job()?).await?;
    unfunded(&namespace, "poor", "InsufficientCredits").await?;
    world.deposit(&namespace.name, "10")?;
    let job = namespace.succeeded("poor", LONG).await?;
    world.ledger()?.complete(&job)?;
    namespace.passed();
    Ok(())
}

async fn unfunded(namespace: &Namespace, job: &str, why: &str) -> Result<OrionJob> {
    let wanted = format!("False {why}: ");
    namespace.wait_for(job, why, SHORT, |job| reason(job, ConditionType::Funded).starts_with(&wanted)).await
}

async fn raise(namespace: &Namespace, job: &str, credits: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"budget": {"maxCredits": credits}}}));
    namespace.jobs.patch(job, &PatchParams::default(), &patch).await.context("raising the budget")?;
    Ok(())
}
