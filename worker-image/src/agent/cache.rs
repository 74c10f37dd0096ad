//! Objects of bucket `in` that are likely to be needed again, bounded by bytes; the longest unused goes first.

use std::sync::{Arc, Mutex, PoisonError};

use orion_broker::{Broker, ObjectError};
use orion_protocol::Digest;
use orion_protocol::subjects::BUCKET_IN;

use crate::agent::retry::{self, Deadline, RetryError};

/// However small they are, no more objects are kept.
const MAX_OBJECTS: usize = 1024;

/// A bounded store of checked objects.
pub struct Cache {
    max_bytes: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Longest unused first.
    objects: Vec<(Digest, Arc<Vec<u8>>)>,
    bytes: u64,
}

impl Cache {
    /// An empty cache of so many bytes.
    pub fn new(max_bytes: u64) -> Cache {
        Cache { max_bytes, kept: Mutex::default() }
    }

    /// Bytes kept now.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// The object of bucket `in`, at most `max_bytes` long, from here or from the broker.
    pub async fn get(
        &self,
        broker: &Broker,
        digest: &Digest,
        max_bytes: u64,
        deadline: Deadline,
    ) -> Result<Arc<Vec<u8>>, RetryError> {
        if let Some(bytes) = self.find(digest) {
            let have = bytes.len() as u64;
            if have > max_bytes {
                let (bucket, digest) = (BUCKET_IN.into(), *digest);
                return Err(RetryError::Object(ObjectError::TooLarge { bucket, digest, have, max: max_bytes }));
            }
            return Ok(bytes);
        }
        let bytes = retry::objects(deadline, || broker.get(BUCKET_IN, digest, max_bytes)).await?;
        let bytes = Arc::new(bytes);
        self.keep(*digest, &bytes);
        Ok(bytes)
    }

    fn find(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.lock();
        let at = kept.objects.iter().position(|(have, _)| have == digest)?;
        let object = kept.objects.remove(at);
        let bytes = Arc::clone(&object.1);
        kept.objects.push(object);
        Some(bytes)
    }

    fn keep(&self, digest: Digest, bytes: &Arc<Vec<u8>>) {
        let size = bytes.len() as u64;
        let mut kept = self.lock();
        if size > self.max_bytes || kept.objects.iter().any(|(have, _)| *have == digest) {
            return;
        }
        while kept.bytes + size > self.max_bytes || kept.objects.len() >= MAX_OBJECTS {
            let (_, oldest) = kept.objects.remove(0);
            kept.bytes -= oldest.len() as u64;
        }
        kept.bytes += size;
        kept.objects.push((digest, Arc::clone(bytes)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first_and_the_bound_holds() {
        let cache = Cache::new(10);
        let [a, b, c] = [1_u8, 2, 3].map(|seed| Arc::new(vec![seed; 4]));
        for object in [&a, &b] {
            cache.keep(Digest::of(object), object);
        }
        assert!(cache.find(&Digest::of(&a)).is_some());
        cache.keep(Digest::of(&c), &c);
        let kept = [&a, &b, &c].map(|object| cache.find(&Digest::of(object)).is_some());
        assert_eq!((kept, cache.bytes()), ([true, false, true], 8));
        cache.keep(Digest::ZERO, &Arc::new(vec![0; 11]));
        assert_eq!(cache.bytes(), 8, "what is larger than the cache is not kept");
    }
}
