//! The one place where scenarios wait: for something that can be looked at, under a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is a value. An error of the look ends it; `Ok(None)` means "not yet".
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = look().await? {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks for as long as `span` lasts, and fails as soon as what is looked at is no longer so.
pub async fn holds(span: Duration, mut look: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < span {
        look().await?;
        tokio::time::sleep(PAUSE * 4).await;
    }
    look().await
}
