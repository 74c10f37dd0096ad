//! Many jobs at once.

use std::time::Duration;

use anyhow::Result;
use orion_e2e::{Busy, Namespace};

use crate::alone;

/// The platform's one worker tries all of them out, each in a process of its own: minutes on a busy machine.
const LIMIT: Duration = Duration::from_mins(10);

#[tokio::test]
async fn forty_jobs_at_once_all_succeed() -> Result<()> {
    let (_ground, world) = alone().await?;
    let namespace = Namespace::with_credits(&world, "crowd", "100").await?;
    let names: Vec<String> = (0..40).map(|number| format!("one-of-forty-{number}")).collect();
    let mut jobs = Vec::new();
    for name in &names {
        // One shard each: with more, most of the time goes into compiling the same kernel again.
        let busy = Busy { units: 2, budget: "2".into(), ..Busy::named(name) };
        jobs.push(namespace.submit(&busy.job()?).await?);
    }
    for name in &names {
        namespace.succeeded(name, LIMIT).await?;
    }
    let ledger = world.ledger()?;
    for job in &jobs {
        ledger.complete(job)?;
    }
    namespace.passed();
    Ok(())
}
