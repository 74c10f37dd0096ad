//! What Orion must do, against the real API server, broker, ledger and workers. Run by `cargo xtask e2e`.
//!
//! Each scenario has a namespace of its own. Those that break something of the platform, or count what it does, have it to
//! themselves.

mod crowd;
mod deletions;
mod digits;
mod embeddings;
mod floats;
mod hostile;
mod inputs;
mod keys;
mod kills;
mod layouts;
mod ledger;
mod liars;
mod models;
mod money;
mod objects;
mod payloads;
mod refusals;

use std::time::Duration;

use anyhow::Result;
use orion_e2e::{World, until};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Enough for a job of seconds on a busy machine, with a leader that is lost on the way.
const LONG: Duration = Duration::from_mins(3);
/// Enough for one step of a job.
const SHORT: Duration = Duration::from_mins(1);
/// The longest that a kubelet waits before it starts a container again, and what that takes.
const RESTART: Duration = Duration::from_mins(6);

static GROUND: RwLock<()> = RwLock::const_new(());

/// The platform, among others.
async fn shared() -> Result<(RwLockReadGuard<'static, ()>, World)> {
    Ok((GROUND.read().await, World::find().await?))
}

/// The platform, with nobody else on it, and whole: what an earlier scenario killed is there again, for it may have to take over.
async fn alone() -> Result<(RwLockWriteGuard<'static, ()>, World)> {
    let ground = GROUND.write().await;
    let world = World::find().await?;
    until("every replica of the platform", RESTART, async || Ok(world.is_whole().await?.then_some(()))).await?;
    Ok((ground, world))
}
