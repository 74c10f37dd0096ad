//! Leaves read ahead of the machine: decoded, and what is signed in them verified, on several threads. Signatures are most of
//! the time that a replay takes, and the one part of it that needs no state. The machine then judges leaf after leaf as ever, so
//! the same comes out with one thread and with many, errors included.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use orion_protocol::CborError;
use orion_protocol::ledger::leaf::{Leaf, LeafBody};

use crate::admission::{Admission, Prepared};
use crate::chain::Chain;
use crate::replay::{Replay, ReplayError};

/// So many leaves are read ahead at most,
const MAX_LEAVES: usize = 512;
/// and so many bytes of them; decoded they take a few times as much.
const MAX_BYTES: usize = 4 << 20;

/// A leaf as the machine takes it.
pub(crate) struct ReadLeaf {
    pub(crate) height: u64,
    pub(crate) index: u64,
    pub(crate) content: Content,
}

/// What replay needs of a leaf.
pub(crate) enum Content {
    Genesis(Vec<u8>),
    Transaction(Box<Prepared>),
    /// The ledger's own act.
    Own,
    /// At this block time.
    Seal(u64),
}

/// Reads a leaf; verifies nothing if there is nothing to verify, and judges nothing.
pub(crate) fn read(bytes: &[u8], admission: &Admission) -> Result<ReadLeaf, CborError> {
    let Leaf { height, index, body } = Leaf::from_bytes(bytes)?;
    let content = match body {
        LeafBody::Genesis(genesis) => Content::Genesis(genesis.into()),
        LeafBody::Transaction(signed, _) => Content::Transaction(Box::new(admission.prepare(signed))),
        // The machine expires, matures and lapses by itself; the comparison finds what it did not do.
        LeafBody::Expire(..) | LeafBody::Mature(..) | LeafBody::Lapse(..) => Content::Own,
        LeafBody::Seal(seal) => Content::Seal(seal.time_ms),
    };
    Ok(ReadLeaf { height, index, content })
}

/// A replay that is given leaves faster than it judges them.
pub struct Ahead {
    replay: Replay,
    threads: NonZeroUsize,
    leaves: Vec<Vec<u8>>,
    bytes: usize,
}

impl Ahead {
    /// Reads ahead of `replay` on so many threads.
    pub fn new(replay: Replay, threads: NonZeroUsize) -> Ahead {
        Ahead { replay, threads, leaves: Vec::new(), bytes: 0 }
    }

    /// Takes the next leaf. An error may be about one that came before; it is the first there is.
    pub fn leaf(&mut self, bytes: &[u8]) -> Result<(), ReplayError> {
        self.leaves.push(bytes.to_vec());
        self.bytes += bytes.len();
        if self.leaves.len() >= MAX_LEAVES || self.bytes >= MAX_BYTES { self.judge() } else { Ok(()) }
    }

    /// Judges what was read so far.
    pub fn judge(&mut self) -> Result<(), ReplayError> {
        self.bytes = 0;
        let leaves = std::mem::take(&mut self.leaves);
        let read = read_all(&leaves, &self.replay.admission(), self.threads);
        for (bytes, read) in leaves.into_iter().zip(read) {
            self.replay.take_read(bytes, read)?;
        }
        Ok(())
    }

    /// Ends the log: see [`Replay::finish`].
    pub fn finish(mut self) -> Result<Chain, ReplayError> {
        self.judge()?;
        self.replay.finish()
    }
}

/// In the order of `leaves`.
fn read_all(leaves: &[Vec<u8>], admission: &Admission, threads: NonZeroUsize) -> Vec<Result<ReadLeaf, CborError>> {
    let threads = threads.get().min(leaves.len());
    if threads <= 1 {
        return leaves.iter().map(|leaf| read(leaf, admission)).collect();
    }
    // Leaves differ in what is signed in them, so each thread takes the next one that nobody has.
    let next = AtomicUsize::new(0);
    let some = || {
        let mut mine = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(leaf) = leaves.get(at) else { return mine };
            mine.push((at, read(leaf, admission)));
        }
    };
    let mut all: Vec<(usize, Result<ReadLeaf, CborError>)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        let done = running.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.flatten().collect()
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, read)| read).collect()
}
