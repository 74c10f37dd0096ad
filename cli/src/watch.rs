//! `orion watch`: a job's progress, until it succeeds or fails.

use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use orion_crds::conditions::{condition, is_true};
use orion_crds::{ConditionType, JobStatus, OrionJob};
use serde_json::json;

use crate::cluster::{Access, Cluster};
use crate::{Format, Verdict};

/// `orion watch`
#[derive(clap::Args)]
pub struct WatchArgs {
    /// The OrionJob.
    job: String,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

/// Runs the command.
pub async fn run(access: &Access, format: Format, args: &WatchArgs) -> anyhow::Result<Verdict> {
    let cluster = Cluster::connect(access).await?;
    // Says at once when there is no such job.
    cluster.job(&args.job).await?;
    let api: Api<OrionJob> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", args.job));
    let mut events = watcher(api, config).default_backoff().applied_objects().boxed();
    let mut view = View::new(format);
    let follow = async {
        while let Some(job) = events.try_next().await.context("watching the job")? {
            let status = job.status.unwrap_or_default();
            view.show(&args.job, &status);
            if is_true(&status.conditions, ConditionType::Succeeded) {
                return Ok(Verdict::Good);
            }
            if is_true(&status.conditions, ConditionType::Failed) {
                return Ok(Verdict::Bad);
            }
        }
        anyhow::bail!("the watch ended")
    };
    let outcome = tokio::time::timeout(Duration::from_secs(args.timeout), follow).await;
    view.bar.finish();
    outcome.unwrap_or_else(|_| {
        eprintln!("orion: {} was not over after {} s", args.job, args.timeout);
        Ok(Verdict::Undecided)
    })
}

struct View {
    format: Format,
    bar: ProgressBar,
    last: String,
}

impl View {
    fn new(format: Format) -> View {
        let bar = ProgressBar::new(0);
        if format == Format::Json {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos:>5}/{len} units  {msg}  {elapsed}") {
            bar.set_style(style);
        }
        View { format, bar, last: String::new() }
    }

    fn show(&mut self, name: &str, status: &JobStatus) {
        let line = line(status);
        let progress = status.progress.as_ref();
        self.bar.set_length(progress.map_or(0, |progress| progress.units.total));
        self.bar.set_position(progress.map_or(0, |progress| progress.units.accepted));
        self.bar.set_message(line.clone());
        if line == self.last {
            return;
        }
        match self.format {
            Format::Json => println!("{}", json!({"job": name, "status": status})),
            // On a terminal the bar says it; in a log every change is a line.
            Format::Text if self.bar.is_hidden() => println!("{name}: {line}"),
            Format::Text => {}
        }
        self.last = line;
    }
}

/// Where the job is, in one line.
fn line(status: &JobStatus) -> String {
    let state = condition(&status.conditions, ConditionType::Succeeded);
    let reason = state.map_or("Pending", |condition| condition.reason.as_str());
    let message = state.map_or("", |condition| condition.message.as_str());
    let units = status.progress.as_ref().map(|progress| {
        let units = progress.units;
        format!(
            " {}% ({} of {} units accepted, {} computing, {} being checked)",
            progress.percent, units.accepted, units.total, units.running, units.committed
        )
    });
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{reason}{}{message}", units.unwrap_or_default())
}
