//! `add-checkpoint` (c2sp.org/tlog-witness): judges a checkpoint that somebody sends, waits a while until it is replayed, and
//! cosigns. Whoever sends it, a checkpoint that the log signed and the copy contradicts is a fork.

use std::sync::Arc;

use orion_ledger_core::Checkpoint;
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer, Refusal};
use orion_protocol::ledger::{Leaf, LeafBody};

use super::shared::{Shared, forked};
use super::state::Point;
use crate::http::with_sources;
use crate::store::StoreError;

/// How a request looks, by what is known at this moment.
enum Look {
    /// It has its answer.
    Answered(Answer),
    /// It has none before so many leaves are replayed.
    Unreplayed(u64),
}

/// Answers a request; later than [`super::Limits::replay`] only by what it takes to read and write.
pub(super) async fn answer(shared: &Arc<Shared>, body: &[u8]) -> Result<Answer, StoreError> {
    let request = match AddCheckpoint::parse(body) {
        Ok(request) => Arc::new(request),
        Err(error) => return Ok(Answer::Refused(Refusal::BadRequest, with_sources(&error))),
    };
    let size = match look(shared, &request).await? {
        Look::Answered(answer) => return Ok(answer),
        Look::Unreplayed(size) => size,
    };
    shared.wake.notify_one();
    let mut reached = shared.reached.subscribe();
    let there = reached.wait_for(|reached| {
        let there = reached.as_ref().is_some_and(|reached| reached.checkpoint.size >= size);
        there || shared.files.stopped().is_some()
    });
    // The sender is in `shared`; and late is answered by the second look as well.
    let _ = tokio::time::timeout(shared.limits.replay, there).await.is_ok();
    Ok(match look(shared, &request).await? {
        Look::Answered(answer) => answer,
        Look::Unreplayed(size) => {
            let trouble = shared.seen().trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            Answer::Refused(Refusal::NotYet, format!("{size} leaves are not replayed yet; send it again{trouble}"))
        }
    })
}

/// As [`looked`], off the async threads.
async fn look(shared: &Arc<Shared>, request: &Arc<AddCheckpoint>) -> Result<Look, StoreError> {
    let (shared, request) = (shared.clone(), request.clone());
    let looked = tokio::task::spawn_blocking(move || looked(&shared, &request)).await;
    looked.unwrap_or_else(|_| Err(StoreError::Damaged("a request to cosign was cut off".into())))
}

fn looked(shared: &Shared, request: &AddCheckpoint) -> Result<Look, StoreError> {
    let keys = std::slice::from_ref(&shared.key);
    let Ok(checkpoint) = Checkpoint::of_note(&request.note, &shared.key) else {
        // Without a signature of the log nothing else is looked at.
        let refused = request.judge(keys, None).err();
        let unsigned = || Answer::Refused(Refusal::NotSigned, "the log did not sign the checkpoint".into());
        return Ok(Look::Answered(refused.unwrap_or_else(unsigned)));
    };
    if let Some(why) = shared.files.stopped() {
        let words = format!("this witness has stopped, and keeps evidence: {why}");
        return Ok(Look::Answered(Answer::Refused(Refusal::Inconsistent, words)));
    }
    let point = Point { note: shared.stripped(&request.note), checkpoint };
    let reached = shared.reached.borrow().clone();
    let reached = reached.filter(|reached| point.checkpoint.size <= reached.checkpoint.size);
    if let Some(reached) = &reached
        && let Some(evidence) = shared.contradicts(&point, reached, "sent to be cosigned")?
    {
        shared.refuse(&evidence);
        return Ok(Look::Answered(Answer::Refused(Refusal::Fork, evidence.words().to_owned())));
    }
    let cosigned = shared.cosigned.borrow().clone();
    if let Err(refusal) = request.judge(keys, cosigned.as_ref().map(|cosigned| &cosigned.checkpoint)) {
        if let (Answer::Refused(Refusal::Fork, _), Some(cosigned)) = (&refusal, &cosigned) {
            shared.refuse(&forked(&shared.key, &point, cosigned, Vec::new(), "sent to be cosigned"));
        }
        return Ok(Look::Answered(refusal));
    }
    if reached.is_none() {
        return Ok(Look::Unreplayed(point.checkpoint.size));
    }
    if !ends_block(shared, point.checkpoint.size)? {
        let words = format!("no block ends after {} leaves", point.checkpoint.size);
        return Ok(Look::Answered(Answer::Refused(Refusal::Inconsistent, words)));
    }
    Ok(Look::Answered(cosign(shared, request, &point)?))
}

/// Whether the last of so many leaves is a seal: the log signs nothing else.
fn ends_block(shared: &Shared, size: u64) -> Result<bool, StoreError> {
    let Some(last) = size.checked_sub(1) else { return Ok(false) };
    let mut ends = false;
    shared.store.snapshot()?.leaves_from(last, |leaf| {
        ends = Leaf::from_bytes(leaf).is_ok_and(|leaf| matches!(leaf.body, LeafBody::Seal(_)));
        false
    })?;
    Ok(ends)
}

/// Cosigns what was replayed, if it still follows what was cosigned last. The line leaves only once that is durable.
fn cosign(shared: &Shared, request: &AddCheckpoint, point: &Point) -> Result<Answer, StoreError> {
    let line = shared.signer.sign(point.note.text(), (shared.clock)() / 1000);
    let done = shared.state.cosign(|last| {
        request.judge(std::slice::from_ref(&shared.key), last)?;
        let mut note = point.note.clone();
        let full = |_| Answer::Refused(Refusal::BadRequest, "the note has no room for a cosignature".into());
        note.add(line.clone()).map_err(full)?;
        Ok(Point { note, checkpoint: point.checkpoint.clone() })
    })?;
    Ok(match done {
        Ok(cosigned) => {
            shared.show_cosigned(cosigned);
            Answer::Cosigned(vec![line])
        }
        Err(refusal) => refusal,
    })
}
