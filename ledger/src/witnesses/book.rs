//! What witnesses have answered. Pure: it is told what happened and when, and says what is to be asked, stored and shown.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use orion_ledger_core::log::note::{Checked, Note, NoteSignature};
use orion_ledger_core::log::trust::{Judged, Trust};
use orion_protocol::ledger::api::{WitnessView, Witnessed, Witnesses as View};
use tokio::time::Instant;

use super::ask::{Answered, Outcome};
use crate::publisher::Published;

/// So long a quorum is waited for before the next checkpoint is asked about.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of one witness's words no more is kept, in bytes.
const MAX_WORDS_BYTES: usize = 1024;

/// So many checkpoints are remembered for answers that come late.
const RECENT: usize = 4;

/// A checkpoint that is or was asked about.
struct Target {
    published: Arc<Published>,
    /// With the cosignatures that came.
    note: Note,
    quorum: bool,
    /// Who cosigned a larger one, by their places: they never cosign this one.
    ahead: BTreeSet<usize>,
    since: Instant,
}

pub(super) struct Book {
    trust: Trust,
    /// The last one is asked about now.
    recent: VecDeque<Target>,
    witnessed: Option<Witnessed>,
    /// Whether what is witnessed is not stored yet.
    unstored: bool,
    /// The newest checkpoint's size.
    published: u64,
    /// In the policy's order.
    witnesses: Vec<WitnessView>,
    /// Since when checkpoints after the last one with its quorum are without theirs.
    waiting: Option<Instant>,
}

impl Book {
    /// `kept`: the note that had its quorum last. It counts if it has it under this policy.
    pub(super) fn new(trust: Trust, kept: Option<String>) -> Book {
        let view = |name: &str| WitnessView { name: name.to_owned(), size: 0, seconds: 0, refused: None, error: None };
        let witnesses = trust.witnesses().iter().map(|witness| view(&witness.name)).collect();
        let note = kept.and_then(|note| Note::parse(note.as_bytes()).ok());
        let last = note.and_then(|note| judged(&trust, &note));
        Book {
            trust,
            recent: VecDeque::new(),
            witnessed: last,
            unstored: false,
            published: 0,
            witnesses,
            waiting: None,
        }
    }

    /// The newest checkpoint has this size.
    pub(super) fn published(&mut self, size: u64) {
        self.published = size;
    }

    /// What is to be asked about now, if that is another checkpoint than before.
    pub(super) fn aim(&mut self, newest: &Arc<Published>, now: Instant) -> Option<Arc<Published>> {
        let due = match self.recent.back() {
            None => true,
            Some(target) => {
                let over = target.quorum || self.lost(target) || now.duration_since(target.since) >= PATIENCE;
                newest.size > target.published.size && over
            }
        };
        if !due {
            return None;
        }
        let Ok(note) = Note::parse(newest.note.as_bytes()) else { return None };
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        let (published, ahead) = (newest.clone(), BTreeSet::new());
        self.recent.push_back(Target { published, note, quorum: false, ahead, since: now });
        self.waiting.get_or_insert(now);
        self.judge(self.recent.len() - 1);
        Some(newest.clone())
    }

    /// Whether some are ahead of a checkpoint, and the others, as they answer now, are no quorum. Where they are, one that only
    /// says that it is ahead does not take it from them.
    fn lost(&self, target: &Target) -> bool {
        let mut left = Vec::new();
        for (at, view) in self.witnesses.iter().enumerate() {
            if !target.ahead.contains(&at) && view.refused.is_none() && view.error.is_none() {
                left.push(view.name.as_str());
            }
        }
        !target.ahead.is_empty() && !self.trust.is_enough(|witness| left.contains(&witness.name.as_str()))
    }

    /// Writes an answer down; says whether a cosignature came to what is asked about.
    pub(super) fn answered(&mut self, answered: Answered) -> bool {
        let Answered { at, size, outcome } = answered;
        let Some(view) = self.witnesses.get_mut(at) else { return false };
        match outcome {
            Outcome::Refused(words) => {
                if view.refused.is_none() {
                    tracing::error!(witness = view.name, size, words, "a witness refuses to cosign the log");
                }
                (view.refused, view.error) = (Some(cut(&words)), None);
                false
            }
            Outcome::Failed(why) => {
                if view.error.is_none() {
                    tracing::warn!(witness = view.name, size, why, "a witness did not cosign; it is asked again");
                }
                view.error = Some(cut(&why));
                false
            }
            Outcome::Ahead => {
                view.error = None;
                if let Some(target) = self.recent.iter_mut().find(|target| target.published.size == size) {
                    target.ahead.insert(at);
                }
                false
            }
            Outcome::Cosigned(lines) => self.cosign(at, size, lines),
        }
    }

    fn cosign(&mut self, at: usize, size: u64, lines: Vec<NoteSignature>) -> bool {
        let (witness, view) = (&self.trust.witnesses()[at], &mut self.witnesses[at]);
        // One that was asked about long ago cannot be checked any more.
        let Some(place) = self.recent.iter().position(|target| target.published.size == size) else { return false };
        for line in lines {
            let mut note = self.recent[place].note.clone();
            let added = note.add(line);
            if let (Ok(()), Checked::Good { seconds }) = (added, witness.key.verify(&note)) {
                (view.size, view.seconds) = (view.size.max(size), seconds.unwrap_or(0));
                (view.refused, view.error) = (None, None);
                let new = note != self.recent[place].note;
                self.recent[place].note = note;
                self.judge(place);
                return new;
            }
        }
        view.error = Some("its answer has no cosignature that verifies with the policy's key".to_owned());
        false
    }

    /// Looks whether one of those asked about has its quorum.
    fn judge(&mut self, place: usize) {
        let target = &mut self.recent[place];
        let Some(witnessed) = judged(&self.trust, &target.note) else { return };
        target.quorum = true;
        let larger = self.witnessed.as_ref().is_none_or(|before| before.size <= witnessed.size && *before != witnessed);
        if larger {
            (self.witnessed, self.unstored) = (Some(witnessed), true);
        }
        // What was asked about before the last one that has its quorum is waited for no more.
        let open = self.recent.iter().rposition(|target| target.quorum).map_or(0, |last| last + 1);
        self.waiting = self.recent.get(open).map(|target| target.since);
    }

    /// What is asked about, with the cosignatures so far.
    pub(super) fn cosigned(&self) -> Option<Published> {
        let Target { published, note, .. } = self.recent.back()?;
        Some(Published { size: published.size, root: published.root, note: note.to_string() })
    }

    /// What is witnessed, if it has to be stored.
    pub(super) fn take_witnessed(&mut self) -> Option<Witnessed> {
        let unstored = std::mem::take(&mut self.unstored);
        self.witnessed.clone().filter(|_| unstored)
    }

    /// Since when checkpoints after the last one with its quorum have been without theirs; nothing when none is.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting
    }

    /// As it is answered to whoever asks.
    pub(super) fn view(&self) -> View {
        let quorum = !self.trust.is_enough(|_| false);
        let refuses = |name: &str| self.witnesses.iter().any(|one| one.name == name && one.refused.is_some());
        View {
            quorum,
            blocked: quorum && !self.trust.is_enough(|witness| !refuses(&witness.name)),
            published: self.published,
            witnessed: self.witnessed.clone(),
            witnesses: self.witnesses.clone(),
        }
    }
}

/// A note that has its quorum.
fn judged(trust: &Trust, note: &Note) -> Option<Witnessed> {
    let judged = trust.judge(note).ok().filter(Judged::accepted)?;
    let by = judged.witnessed.into_iter().map(|one| one.name).collect();
    Some(Witnessed { size: judged.checkpoint.size, note: note.to_string(), by })
}

fn cut(words: &str) -> String {
    words[..words.floor_char_boundary(MAX_WORDS_BYTES)].to_owned()
}
