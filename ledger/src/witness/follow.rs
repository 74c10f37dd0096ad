//! Goes after the log: looks at its checkpoint every second, or when somebody asks for a cosignature, and replays what is new.
//!
//! What it refuses for good is signed by the log: two checkpoints that no one log has, a leaf under a checkpoint that does not
//! follow from those before, a checkpoint below the one cosigned that stays. Files that are not what was signed are asked for
//! again first. All else is trouble, and tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orion_ledger_core::log::fork::{Claim, Evidence, Leaf};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::WitnessError;
use super::copy::{Copy, TakeError, Wrong};
use super::fetch::Log;
use super::remote::{Remote, RemoteError};
use super::shared::{Shared, forked};
use super::state::Point;
use crate::fetch::FetchError;
use crate::http::with_sources;
use crate::store::StoreError;

/// Between two looks in any case.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Entries of a bundle.
const BUNDLE: u64 = orion_ledger_core::log::tile::FULL as u64;

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum Turn {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Copy(#[from] TakeError),
    #[error("{}", .0.words())]
    Refuse(Box<Evidence>),
    #[error("the log shows {size} leaves, and had shown more: {taken} are here already")]
    Behind { size: u64, taken: u64 },
}

impl From<FetchError> for Turn {
    fn from(error: FetchError) -> Turn {
        Turn::Remote(error.into())
    }
}

impl From<StoreError> for Turn {
    fn from(error: StoreError) -> Turn {
        Turn::Copy(error.into())
    }
}

/// The loop.
pub(super) struct Follower {
    shared: Arc<Shared>,
    log: Arc<Log>,
    copy: Copy,
    runtime: Handle,
    end: watch::Receiver<bool>,
    /// A leaf that was wrong, and is not evidence yet.
    wrong: Option<Wrong>,
    /// Looks in a row at which a file contradicted what was signed.
    contradictions: u32,
    /// Since when the log shows less than was cosigned, at every look.
    smaller: Option<Instant>,
}

impl Follower {
    /// Must be made within a tokio runtime.
    pub(super) fn new(shared: Arc<Shared>, log: Log, copy: Copy, end: watch::Receiver<bool>) -> Follower {
        let (log, runtime) = (Arc::new(log), Handle::current());
        Follower { shared, log, copy, runtime, end, wrong: None, contradictions: 0, smaller: None }
    }

    /// Follows until the witness ends or has refused.
    pub(super) fn run(mut self) -> Result<(), WitnessError> {
        while self.shared.files.stopped().is_none() {
            let trouble = match self.turn() {
                Ok(()) => None,
                Err(Turn::Remote(RemoteError::Fetch(FetchError::Ended))) => return Ok(()),
                Err(Turn::Copy(TakeError::Store(error))) => return Err(error.into()),
                Err(Turn::Copy(TakeError::Tiles(error))) => return Err(error.into()),
                Err(Turn::Refuse(evidence)) => {
                    self.shared.refuse(&evidence);
                    return Ok(());
                }
                Err(error) => Some(error),
            };
            if self.judge(trouble) {
                return Ok(());
            }
            self.pause();
        }
        Ok(())
    }

    /// What a look came to; whether that is the end.
    fn judge(&mut self, trouble: Option<Turn>) -> bool {
        let Some(trouble) = trouble else {
            self.contradictions = 0;
            self.shared.saw(|seen| seen.trouble = None);
            return false;
        };
        let words = with_sources(&trouble);
        if self.shared.seen().trouble.as_ref() != Some(&words) {
            tracing::warn!(why = words, "the log cannot be followed for now");
        }
        self.shared.metrics.troubles.inc();
        self.shared.saw(|seen| seen.trouble = Some(words));
        let Turn::Remote(error @ RemoteError::Contradicts { .. }) = &trouble else { return false };
        self.contradictions += 1;
        let evidence = error.evidence();
        match evidence.filter(|_| self.contradictions >= self.shared.limits.tries) {
            Some(evidence) => {
                self.shared.refuse(&evidence);
                true
            }
            None => false,
        }
    }

    fn pause(&mut self) {
        // A file that contradicts is asked for again after a while: whoever wakes this would make evidence of a moment.
        let least = if self.contradictions > 0 { self.shared.limits.poll.max(LEAST_PAUSE) } else { LEAST_PAUSE };
        let rest = self.shared.limits.poll.saturating_sub(least);
        let until_next = async {
            tokio::time::sleep(least).await;
            // Either way it is time to look.
            let _ = tokio::time::timeout(rest, self.shared.wake.notified()).await;
        };
        self.runtime.block_on(async {
            tokio::select! {
                () = until_next => {}
                // The next look says that it is over.
                _ = self.end.wait_for(|end| *end) => {}
            }
        });
    }

    /// One look at the log.
    fn turn(&mut self) -> Result<(), Turn> {
        // What it shows after it was away may be as old as what it showed before: that is no proof that it stays.
        let shown = self.log.checkpoint(&self.shared.key).inspect_err(|_| self.smaller = None);
        let (note, checkpoint) = shown?;
        let point = Point { note: self.shared.stripped(&note), checkpoint };
        let size = point.checkpoint.size;
        self.shared.saw(|seen| seen.size = Some(size));
        let reached = self.shared.reached.borrow().clone();
        if let Some(reached) = reached.filter(|reached| size <= reached.checkpoint.size) {
            let evidence = self.shared.contradicts(&point, &reached, "shown by the log now")?;
            evidence.map_or(Ok(()), |evidence| Err(Turn::Refuse(Box::new(evidence))))?;
            return self.is_no_rollback(&point);
        }
        self.is_no_rollback(&point)?;
        let taken = self.copy.size();
        // They were taken under a larger checkpoint that was not cosigned: this is an old one, until it is larger.
        if size < taken { Err(Turn::Behind { size, taken }) } else { self.catch_up(point) }
    }

    /// A log that shows less than was cosigned, and goes on doing so, has lost or taken back what it had signed.
    fn is_no_rollback(&mut self, shown: &Point) -> Result<(), Turn> {
        let cosigned = self.shared.cosigned.borrow().clone();
        let Some(cosigned) = cosigned.filter(|cosigned| cosigned.checkpoint.size > shown.checkpoint.size) else {
            self.smaller = None;
            return Ok(());
        };
        if self.smaller.get_or_insert_with(Instant::now).elapsed() < self.shared.limits.stale {
            return Ok(());
        }
        let words = format!(
            "{} shows a checkpoint of {} leaves for {:?} now, after this witness had cosigned {} leaves. That the smaller one \
             came later is the witness's word",
            self.shared.key.name(),
            shown.checkpoint.size,
            self.shared.limits.stale,
            cosigned.checkpoint.size
        );
        let claim = Claim::Rollback { cosigned: cosigned.note.clone(), shown: shown.note.clone() };
        Err(Turn::Refuse(Box::new(Evidence::new(claim, &words))))
    }

    /// Replays what is new under a checkpoint of more leaves than were replayed.
    fn catch_up(&mut self, point: Point) -> Result<(), Turn> {
        let log = self.log.clone();
        let remote = Remote::open(&log, point)?;
        self.is_no_fork(&remote)?;
        self.accuse(&remote)?;
        self.shared.state.follow(&remote.point.note)?;
        while self.copy.size() < remote.size() {
            let at = self.copy.size();
            let leaves = remote.bundle(at / BUNDLE)?;
            let new = usize::try_from(at % BUNDLE).unwrap_or(usize::MAX);
            for leaf in leaves.into_iter().skip(new) {
                let taken = self.copy.take(leaf);
                self.taken(taken, &remote)?;
            }
        }
        let taken = self.copy.end();
        self.taken(taken, &remote)?;
        if self.copy.root() != remote.point.checkpoint.root {
            let why = format!("the copy of {} leaves is not what was compared", remote.size());
            return Err(StoreError::Damaged(why).into());
        }
        tracing::info!(size = remote.size(), "replayed");
        self.shared.reached.send_replace(Some(Arc::new(remote.point)));
        Ok(())
    }

    fn taken(&mut self, taken: Result<(), TakeError>, remote: &Remote<'_>) -> Result<(), Turn> {
        self.shared.metrics.replayed_size.set(self.copy.committed());
        match taken {
            Err(TakeError::Wrong(wrong)) => {
                self.wrong = Some(wrong);
                self.accuse(remote)
            }
            other => Ok(other?),
        }
    }

    /// Makes evidence of the leaf that was wrong, where one was.
    fn accuse(&self, remote: &Remote<'_>) -> Result<(), Turn> {
        let Some(Wrong { index, bytes, words }) = self.wrong.clone() else { return Ok(()) };
        let leaf = Leaf { index, bytes, path: remote.path(index)? };
        let words = format!(
            "leaf {index} is wrong: {words}. The log signed a checkpoint that holds it; that it is wrong follows from all leaves \
             before it, and `orion ledger verify log` on an export of the log finds it again"
        );
        Err(Turn::Refuse(Box::new(Evidence::new(Claim::Replay { note: remote.point.note.clone(), leaf }, &words))))
    }

    /// Whether the checkpoint that was followed last, and what was taken under it, is the start of this one.
    fn is_no_fork(&self, remote: &Remote<'_>) -> Result<(), Turn> {
        let Some(followed) = self.shared.state.followed()? else { return Ok(()) };
        let (size, root) = (followed.checkpoint.size, followed.checkpoint.root);
        let refuse = |nodes| {
            let evidence = forked(&self.shared.key, &remote.point, &followed, nodes, "shown by the log now");
            Err(Turn::Refuse(Box::new(evidence)))
        };
        if size > 0 && size < remote.size() {
            let (start, nodes) = remote.start(size)?;
            return if start == root { Ok(()) } else { refuse(nodes) };
        }
        if size == remote.size() {
            return if root == remote.point.checkpoint.root { Ok(()) } else { refuse(Vec::new()) };
        }
        // A smaller one than was followed, of which the copy has a part.
        let taken = self.copy.size();
        let same = match taken {
            0 => true,
            _ if taken == remote.size() => remote.point.checkpoint.root == self.copy.root(),
            _ => remote.start(taken)?.0 == self.copy.root(),
        };
        if same { Ok(()) } else { refuse(Vec::new()) }
    }
}
