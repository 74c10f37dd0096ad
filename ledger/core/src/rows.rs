//! What a snapshot says of keys that were replaced, and of what providers have at stake.

use orion_protocol::{AccountId, Digest, JobId, PublicKey};

use crate::bonds::{Liable, Unbonding};
use crate::keys::{Keys, Revoked};
use crate::snapshot::ReserveRow;
use crate::state::State;

/// Whose keys do what: operators with their first epochs, platforms, and keys that were replaced: whether they are lost, and by which.
pub(crate) type KeysRow = (Vec<(u64, PublicKey)>, Vec<PublicKey>, Vec<(PublicKey, bool, PublicKey)>);
/// Job, task, consumer, what is lost in parts per million, who was slashed, ascending.
pub(crate) type LiableRow = (JobId, Digest, AccountId, u32, Vec<PublicKey>);

/// Keys that were replaced, and what providers have at stake.
pub(crate) fn bind(
    state: &mut State,
    keys: Option<KeysRow>,
    unbondings: Vec<ReserveRow>,
    liable: Vec<LiableRow>,
) -> Result<(), &'static str> {
    if !unbondings.is_sorted_by(|a, b| a.0 < b.0) || !liable.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("a list is not ascending");
    }
    if let Some((operators, platforms, revoked)) = keys {
        let sorted = operators.is_sorted_by(|(a, _), (b, _)| a < b) && revoked.is_sorted_by(|a, b| a.0 < b.0);
        if !sorted || operators.first().is_none_or(|(from, _)| *from != 0) || platforms.is_empty() {
            return Err("keys");
        }
        let revoked = revoked.into_iter().map(|(key, lost, heir)| (key, Revoked { lost, heir }));
        state.keys = Keys { operators, platforms, revoked: revoked.collect() };
        if !state.keys.ends() {
            return Err("keys replace each other in a circle");
        }
    }
    for (id, provider, amount, until_ms) in unbondings {
        state.unbond(id, Unbonding { provider, amount, until_ms });
    }
    for (job, task, consumer, slash_ppm, slashed) in liable {
        if !slashed.is_sorted_by(|a, b| a < b) {
            return Err("a list is not ascending");
        }
        state.liable.insert(job, Liable { task, consumer, slash_ppm, slashed: slashed.into_iter().collect() });
    }
    Ok(())
}

pub(crate) fn keys_row(state: &State) -> Option<KeysRow> {
    let Keys { operators, platforms, revoked } = &state.keys;
    let revoked_rows = revoked.iter().map(|(key, Revoked { lost, heir })| (*key, *lost, *heir));
    let changed = state.keys != Keys::new(&state.genesis);
    changed.then(|| (operators.clone(), platforms.clone(), revoked_rows.collect()))
}

pub(crate) fn liable_row((job, liable): (&JobId, &Liable)) -> LiableRow {
    let Liable { task, consumer, slash_ppm, slashed } = liable;
    (*job, *task, *consumer, *slash_ppm, slashed.iter().copied().collect())
}

/// The rows, if there are any.
pub(crate) fn some<T>(rows: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let rows: Vec<T> = rows.collect();
    (!rows.is_empty()).then_some(rows)
}
