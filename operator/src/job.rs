//! The Kubernetes side of one job, from when it is seen until its terminal status is stored: intake, finalizer, children,
//! status. It tells the core facts and shows what the core says; it decides nothing about work or money.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use orion_core::{Input, JobStatus as CoreStatus, Seen, Stage};
use orion_crds::{JobStatus, OrionJob, ValidatedJob};
use orion_protocol::JobId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::children::{self, Known, Parent};
use crate::clock;
use crate::edges::Edges;
use crate::events;
use crate::intake::{self, Intake};
use crate::render::{self, Picture, Taken};
use crate::writes::{self, WriteError};

/// Progress is written at most so often.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// First and longest pause before an intake that waits is tried again.
const INTAKE_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// A deleted object is held for so long at most.
const FINALIZER_LIMIT: Duration = Duration::from_mins(1);
/// Pause after a write that failed for no reason of ours.
const RETRY: Duration = Duration::from_millis(500);

/// What the leader gives to a job's task.
pub struct Channels {
    /// The object as it was last seen; `None` once it is gone.
    pub object: watch::Receiver<Option<Arc<OrionJob>>>,
    /// What the core says of the job.
    pub core: watch::Receiver<Option<CoreStatus>>,
    /// To the core.
    pub inputs: mpsc::Sender<Input>,
}

/// Serves one job to its end. Returns when nothing is left to write.
pub async fn serve(edges: Arc<Edges>, id: JobId, channels: Channels) {
    let Some(object) = channels.object.borrow().clone() else { return };
    let mut task = JobTask {
        parent: Parent {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        },
        shown: object.status.clone().unwrap_or_default(),
        object: (*object).clone(),
        known: Known::default(),
        written: None,
        terminating: false,
        edges,
        id,
        channels,
    };
    match task.run().await {
        Ok(()) | Err(WriteError::Gone | WriteError::Deposed) => {}
        Err(error) => tracing::error!(job = %task.parent.name, error = %Chain(&error), "a job's task ended"),
    }
}

struct JobTask {
    edges: Arc<Edges>,
    id: JobId,
    parent: Parent,
    channels: Channels,
    /// The newest version that we know.
    object: OrionJob,
    shown: JobStatus,
    known: Known,
    written: Option<Instant>,
    /// The namespace goes, and the object soon after.
    terminating: bool,
}

impl JobTask {
    async fn run(&mut self) -> Result<(), WriteError> {
        if render::is_terminal(&self.shown) {
            return self.release_object().await;
        }
        let seen = loop {
            match self.edges.ledger.job(&self.id).await {
                Ok(seen) => break seen,
                Err(error) => tracing::warn!(%error, "the ledger does not say what it knows of a job"),
            }
            tokio::time::sleep(RETRY).await;
        };
        let (spec, inputs) = match (&seen, self.parent.uid.parse()) {
            // Its escrow is open: it goes on as it was taken in, whatever became of its ConfigMaps.
            (Some(Seen { view, seal: _ }), Ok(uid)) => {
                let asked = ValidatedJob::try_from(&self.object).ok();
                let mut spec = intake::resumed(&self.edges, self.id, uid, view, asked);
                spec.first_try = self.shown.ledger.as_ref().map_or(0, |ledger| ledger.r#try);
                spec.input_bytes = self.shown.inputs.iter().map(|input| input.size_bytes).sum();
                (Box::new(spec), self.shown.inputs.clone())
            }
            _ => match self.intake().await? {
                Some(taken) => taken,
                None => return Ok(()),
            },
        };
        // Nobody may add a finalizer to what is being deleted; the escrow is wound up all the same.
        if self.object.metadata.deletion_timestamp.is_none() {
            self.with_object(|edges, object| async move { writes::set_finalizer(&edges, &object, true).await }).await?;
        }
        self.known = self.list_children().await?;
        self.send(Input::Job(spec, seen)).await;
        self.follow(Taken { inputs, core: None }).await
    }

    /// Until the job is ready for the core, refused, or gone.
    async fn intake(
        &mut self,
    ) -> Result<Option<(Box<orion_core::JobSpec>, Vec<orion_crds::job::InputStatus>)>, WriteError> {
        let mut pause = INTAKE_PAUSES.0;
        loop {
            // No money is locked yet: nothing holds it.
            if self.object.metadata.deletion_timestamp.is_some() {
                self.release_object().await?;
                return Ok(None);
            }
            match intake::take(&self.edges, &self.object).await {
                Intake::Ready(spec, inputs) => return Ok(Some((spec, inputs))),
                Intake::Refused(refusal) => {
                    self.show(&Picture::Refused(refusal)).await?;
                    self.release_object().await?;
                    return Ok(None);
                }
                Intake::Waiting(refusal) => self.show(&Picture::Waiting(refusal)).await?,
            }
            // Deleting or a change wakes it; what it waits for is looked for with growing pauses.
            let _ = tokio::time::timeout(pause, self.channels.object.changed()).await;
            pause = (pause * 2).min(INTAKE_PAUSES.1);
            self.take_object()?;
        }
    }

    /// Shows what the core says until it is over.
    async fn follow(&mut self, mut taken: Taken) -> Result<(), WriteError> {
        let mut deleted: Option<Instant> = None;
        let mut ending = false;
        let mut asked = self.asked();
        loop {
            if self.object.metadata.deletion_timestamp.is_some() && deleted.is_none() {
                deleted = Some(Instant::now());
            }
            if !ending && (deleted.is_some() || self.terminating) {
                ending = true;
                self.send(Input::Deleted(self.id)).await;
            }
            let now = self.asked();
            if now != asked {
                asked = now;
                if let Some((parallelism, budget)) = asked {
                    self.send(Input::Changed { job: self.id, parallelism, budget }).await;
                }
            }
            taken.core.clone_from(&self.channels.core.borrow_and_update());
            let over = taken.core.as_ref().is_some_and(|core| matches!(core.stage, Stage::Done | Stage::Refused(_)));
            self.show_all(&taken, ending).await?;
            if self.terminating && !ending {
                continue;
            }
            if over {
                self.release_object().await?;
                self.send(Input::Forget(self.id)).await;
                return Ok(());
            }
            if deleted.is_some_and(|since| since.elapsed() > FINALIZER_LIMIT) {
                // The leader goes on from the ledger's open escrow, without the object.
                return self.release_object().await;
            }
            self.wait(&taken, deleted).await?;
        }
    }

    /// Until something changed that should be shown now, and the second since the last write is over unless it is urgent.
    async fn wait(&mut self, taken: &Taken, deleted: Option<Instant>) -> Result<(), WriteError> {
        let limit = deleted.map_or(Duration::from_hours(1), |since| {
            (since + FINALIZER_LIMIT + RETRY).saturating_duration_since(Instant::now())
        });
        tokio::select! {
            changed = self.channels.core.changed() => changed.map_err(|_| WriteError::Deposed)?,
            changed = self.channels.object.changed() => changed.map_err(|_| WriteError::Deposed)?,
            () = tokio::time::sleep(limit) => {}
        }
        self.take_object()?;
        loop {
            let core = self.channels.core.borrow_and_update().clone();
            let next = Picture::Taken(Box::new(Taken { core, ..taken.clone() }));
            let status = self.rendered(&next);
            let due = self.written.map_or_else(Instant::now, |written| written + WRITE_EVERY);
            if render::is_urgent(&self.shown, &status) || due <= Instant::now() {
                return Ok(());
            }
            tokio::select! {
                changed = self.channels.core.changed() => changed.map_err(|_| WriteError::Deposed)?,
                changed = self.channels.object.changed() => {
                    changed.map_err(|_| WriteError::Deposed)?;
                    return self.take_object();
                }
                () = tokio::time::sleep_until(due) => return Ok(()),
            }
        }
    }

    /// The two fields that may change.
    fn asked(&self) -> Option<(u32, u64)> {
        let job = ValidatedJob::try_from(&self.object).ok()?;
        Some((job.parallelism, job.budget))
    }

    fn take_object(&mut self) -> Result<(), WriteError> {
        let seen = self.channels.object.borrow_and_update().clone().ok_or(WriteError::Gone)?;
        // Our own writes may be newer than what the watch has brought.
        let version = |object: &OrionJob| object.resource_version().and_then(|text| text.parse::<u64>().ok());
        if version(&seen) > version(&self.object) {
            self.object = (*seen).clone();
        }
        Ok(())
    }

    async fn show_all(&mut self, taken: &Taken, deleting: bool) -> Result<(), WriteError> {
        if let Some(core) = &taken.core {
            // Shards are folded into the status before they are deleted, and made before it speaks of them.
            let writes = children::plan(&self.parent, core, &self.known, clock::now());
            let (deletes, others): (Vec<_>, Vec<_>) = writes
                .into_iter()
                .partition(|write| matches!(write, children::Write::DeleteShard(_) | children::Write::DeleteRound(_)));
            if !deleting {
                self.write_children(&others).await?;
            }
            self.show(&Picture::Taken(Box::new(taken.clone()))).await?;
            return if deleting { Ok(()) } else { self.write_children(&deletes).await };
        }
        self.show(&Picture::Taken(Box::new(taken.clone()))).await
    }

    async fn write_children(&mut self, writes: &[children::Write]) -> Result<(), WriteError> {
        for write in writes {
            match writes::write_child(&self.edges, &self.parent, write).await {
                // Somebody deleted or replaced it: it is not made again, for it is only there to be looked at.
                Ok(()) | Err(WriteError::Gone | WriteError::Conflict) => self.known.done(write),
                Err(WriteError::Terminating) => {
                    self.terminating = true;
                    return Ok(());
                }
                Err(WriteError::Deposed) => return Err(WriteError::Deposed),
                Err(error) => {
                    tracing::warn!(job = %self.parent.name, error = %Chain(&error), "a child was not written");
                }
            }
        }
        Ok(())
    }

    fn rendered(&self, picture: &Picture) -> JobStatus {
        render::status(&self.shown, picture, self.object.metadata.generation.unwrap_or(1), clock::now())
    }

    /// Writes the status if it differs from what is there.
    async fn show(&mut self, picture: &Picture) -> Result<(), WriteError> {
        let status = self.rendered(picture);
        if status == self.shown {
            return Ok(());
        }
        let wanted = status.clone();
        self.with_object(move |edges, object| {
            let wanted = wanted.clone();
            async move { writes::apply_status(&edges, &object, &wanted).await }
        })
        .await?;
        events::tell(&self.edges, &self.object, events::between(&self.shown, &status));
        self.shown = status;
        self.written = Some(Instant::now());
        Ok(())
    }

    /// Takes the finalizer away.
    async fn release_object(&mut self) -> Result<(), WriteError> {
        self.with_object(|edges, object| async move { writes::set_finalizer(&edges, &object, false).await }).await
    }

    /// Writes to the newest version: on a conflict it is read again, on other trouble it is tried again.
    async fn with_object<F, W>(&mut self, write: F) -> Result<(), WriteError>
    where
        F: Fn(Arc<Edges>, OrionJob) -> W,
        W: Future<Output = Result<OrionJob, WriteError>>,
    {
        loop {
            match write(self.edges.clone(), self.object.clone()).await {
                Ok(object) => {
                    self.object = object;
                    return Ok(());
                }
                Err(WriteError::Conflict) => self.object = self.read_object().await?,
                Err(WriteError::Api(kube::Error::Api(status))) if status.code == 422 || status.code == 403 => {
                    // A namespace that is going, or a status that the schema refuses: writing it again would not help.
                    return Err(WriteError::Api(kube::Error::Api(status)));
                }
                Err(WriteError::Api(error)) => {
                    tracing::warn!(job = %self.parent.name, error = %Chain(&error), "a write is tried again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_object(&self) -> Result<OrionJob, WriteError> {
        loop {
            match writes::current(&self.edges, &self.object).await {
                Err(WriteError::Api(error)) => {
                    tracing::warn!(job = %self.parent.name, error = %Chain(&error), "a job is read again");
                    tokio::time::sleep(RETRY).await;
                }
                other => return other,
            }
        }
    }

    async fn list_children(&self) -> Result<Known, WriteError> {
        loop {
            match writes::children(&self.edges, &self.parent).await {
                Err(WriteError::Api(_) | WriteError::Conflict) => tokio::time::sleep(RETRY).await,
                other => return other,
            }
        }
    }

    async fn send(&self, input: Input) {
        // The other end goes only with the leadership, and then nothing matters here.
        let _ = self.channels.inputs.send(input).await;
    }
}

/// An error with its causes, on one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
