//! A disk whose power fails: what was written since the last sync may be there afterwards or not, each sector by itself.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::world::Random;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Something that was asked for since the last sync.
#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(length) => to.resize(*length, 0),
            Change::Write(at, bytes) => write(to, *at, bytes),
        }
    }
}

fn write(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[at..end].copy_from_slice(bytes);
}

#[derive(Debug, Default)]
struct State {
    /// What survives.
    durable: Vec<u8>,
    /// What is read.
    seen: Vec<u8>,
    unsynced: Vec<Change>,
    /// Changes and syncs until the power fails.
    left: Option<u64>,
    dead: bool,
}

/// A disk that can be opened again after its power failed. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The power fails with the change or sync after so many more.
    pub fn fails_after(&self, operations: u64) {
        self.state().left = Some(operations);
    }

    /// Whether it failed.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Brings the power back: of what was not synced, some sectors are written, in order.
    pub fn restart(&self, random: &mut Random) {
        let state = &mut *self.state();
        // Most of them, few of them, or half.
        let (written, of) = [(7, 8), (1, 8), (1, 2)][usize::try_from(random.below(3)).unwrap()];
        let mut kept = || random.below(of) < written;
        for change in std::mem::take(&mut state.unsynced) {
            match change {
                Change::Length(_) => {
                    if kept() {
                        change.apply(&mut state.durable);
                    }
                }
                Change::Write(at, bytes) => {
                    let (mut from, end) = (at, at + bytes.len());
                    while from < end {
                        let to = end.min((from / SECTOR + 1) * SECTOR);
                        if kept() {
                            write(&mut state.durable, from, &bytes[from - at..to - at]);
                        }
                        from = to;
                    }
                }
            }
        }
        state.seen.clone_from(&state.durable);
        (state.left, state.dead) = (None, false);
    }

    /// Counts a change or a sync.
    fn step(state: &mut State) -> io::Result<()> {
        if !state.dead {
            state.dead = state.left == Some(0);
            state.left = state.left.map(|left| left.saturating_sub(1));
        }
        if state.dead { Err(io::Error::other("the power failed")) } else { Ok(()) }
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state();
        if state.dead {
            return Err(io::Error::other("the power failed"));
        }
        change.apply(&mut state.seen);
        // Whoever is in the middle of a write when the power fails has written some of it.
        state.unsynced.push(change);
        Disk::step(&mut state)
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let from = place(offset);
        let bytes = state.seen.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(place(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        Disk::step(&mut state)?;
        for change in std::mem::take(&mut state.unsynced) {
            change.apply(&mut state.durable);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(place(offset), data.to_vec()))
    }
}
