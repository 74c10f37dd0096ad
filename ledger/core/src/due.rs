//! What the ledger does by itself, and when: the first block whose time is *past* a moment does what was due then. Block time
//! decides, so every replica does it in the same block.

use std::collections::BTreeSet;

use orion_protocol::{Digest, JobId};

/// Nothing but escrows is done more often in one block: after a long outage the rest follows in the next ones, which are cut at once. A page has at
/// most 200 transfers, so these leaves stay below 5 MiB.
const MAX_OTHERS: usize = 256;

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// An escrow's deadline.
    Escrow(JobId),
    /// A page of a job's settlement has vested.
    Mature(JobId, u64),
    /// The end of a reserve, or of the time of a stake that was taken back.
    Lapse(Digest),
}

/// Everything that is due at some time, in milliseconds of block time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(BTreeSet<(u64, Due)>);

impl Queue {
    pub(crate) fn insert(&mut self, at_ms: u64, due: Due) {
        self.0.insert((at_ms, due));
    }

    pub(crate) fn remove(&mut self, at_ms: u64, due: Due) {
        self.0.remove(&(at_ms, due));
    }

    /// The next moment.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.0.first().map(|(at_ms, _)| *at_ms)
    }

    /// What a block with this time does: escrows ascending by job, all of them, as they always did; then everything else by its time.
    pub(crate) fn past(&self, time_ms: u64) -> Vec<Due> {
        let mut escrows = BTreeSet::new();
        let mut others = Vec::new();
        for (_, due) in self.0.iter().take_while(|(at_ms, _)| *at_ms < time_ms) {
            match due {
                Due::Escrow(_) => {
                    escrows.insert(*due);
                }
                Due::Mature(..) | Due::Lapse(_) if others.len() < MAX_OTHERS => others.push(*due),
                Due::Mature(..) | Due::Lapse(_) => {}
            }
        }
        escrows.into_iter().chain(others).collect()
    }

    /// Jobs with an open escrow.
    pub(crate) fn escrows(&self) -> impl Iterator<Item = JobId> {
        self.0.iter().filter_map(|(_, due)| match due {
            Due::Escrow(job) => Some(*job),
            Due::Mature(..) | Due::Lapse(_) => None,
        })
    }
}
