//! Memory that jobs take in agent and executors together: counted before it is taken, given back when what took it goes.

use std::sync::{Arc, Mutex, PoisonError};

/// A fixed number of bytes.
#[derive(Clone, Debug)]
pub struct Memory {
    limit: u64,
    free: Arc<Mutex<u64>>,
}

/// Some of it; dropping gives it back.
#[derive(Debug)]
pub struct Taken {
    bytes: u64,
    of: Memory,
}

impl Memory {
    /// So many bytes, all free.
    pub fn new(limit: u64) -> Memory {
        Memory { limit, free: Arc::new(Mutex::new(limit)) }
    }

    /// All there is.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes some, if so much is free.
    pub fn take(&self, bytes: u64) -> Option<Taken> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(bytes)?;
        Some(Taken { bytes, of: self.clone() })
    }
}

impl Taken {
    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a part out of it, at most all.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Taken {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Taken { bytes, of: self.of.clone() }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.of.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_part_by_part() {
        let memory = Memory::new(10);
        let mut job = memory.take(8).unwrap();
        assert!(memory.take(3).is_none());
        let rows = job.split(5);
        assert_eq!((job.bytes(), rows.bytes()), (3, 5));
        drop(job);
        assert!(memory.take(6).is_none());
        drop((memory.take(5).unwrap(), rows));
        assert!(memory.take(10).is_some());
    }
}
