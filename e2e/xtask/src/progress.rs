//! Visible progress for anything long: a spinner on a terminal, plain lines elsewhere.
//!
//! Everything goes to standard error, so that standard output stays clean for results.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, a long step says this often that it is still at work.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// A numbered list of steps under one title.
pub struct Steps {
    title: String,
    total: usize,
    done: usize,
    started: Instant,
}

/// The step at work: what it reports while it runs.
pub struct Step {
    label: String,
    started: Instant,
    bar: Option<ProgressBar>,
    last_beat: Mutex<Instant>,
}

impl Steps {
    /// Starts a list of `total` steps.
    pub fn new(title: &str, total: usize) -> Self {
        Self { title: title.to_owned(), total, done: 0, started: Instant::now() }
    }

    /// Runs one step, showing its number, name and time. A failed step's error names the step.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        self.done += 1;
        let label = format!("[{}/{}] {}: {name}", self.done, self.total, self.title);
        let step = Step::start(label);
        let result = work(&step);
        step.end(result.is_ok());
        result.with_context(|| format!("{}: {name}", self.title))
    }

    /// Says how long the whole list took.
    pub fn finish(self) {
        eprintln!("{}: done in {}", self.title, seconds(self.started.elapsed()));
    }
}

impl Step {
    fn start(label: String) -> Self {
        let bar = stderr().is_terminal().then(|| spinner(&label));
        let now = Instant::now();
        Self { label, started: now, bar, last_beat: Mutex::new(now) }
    }

    /// Shows a detail of the step, such as the file at hand.
    pub fn note(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(detail.chars().take(60).collect::<String>());
        }
    }

    /// To be called now and then: without a terminal it prints that the step is still at work.
    pub fn beat(&self) {
        if self.bar.is_some() {
            return;
        }
        if let Ok(mut last) = self.last_beat.lock()
            && last.elapsed() > HEARTBEAT
        {
            *last = Instant::now();
            eprintln!("{} ... {}", self.label, seconds(self.started.elapsed()));
        }
    }

    fn end(&self, ok: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let outcome = if ok { "" } else { " FAILED" };
        eprintln!("{} {}{outcome}", self.label, seconds(self.started.elapsed()));
    }
}

/// A duration as people read it.
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A size as people read it, in units of 1,000,000 bytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn spinner(label: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_in_the_error() {
        let mut steps = Steps::new("build", 1);
        let error = steps.run("etcd", |_| anyhow::bail!("no compiler") as Result<()>).unwrap_err();
        assert_eq!(format!("{error:#}"), "build: etcd: no compiler");
    }

    #[test]
    fn sizes_keep_one_digit() {
        assert_eq!(megabytes(254_870_000), "254.8 MB");
        assert_eq!(megabytes(99_999), "0.0 MB");
    }
}
