//! SHA3-256, the digest of everything that is Orion's own (SHA-256 appears only where RFC 6962 or signed notes fix it).

use sha3::{Digest as _, Sha3_256};

use crate::bytes::fixed_bytes;

fixed_bytes!(
    /// A SHA3-256 digest (or, where said, the SHA-256 root of the log), shown as 64 lower-case hex digits.
    Digest, 32
);

impl Digest {
    /// 32 zero bytes: "none" in places that have no option.
    pub const ZERO: Digest = Digest([0; 32]);

    /// SHA3-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// SHA3-256 over bytes that arrive in pieces; also a CBOR sink.
#[derive(Clone, Default)]
pub struct Hasher(Sha3_256);

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl minicbor::encode::Write for Hasher {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, buf: &[u8]) -> Result<(), Self::Error> {
        self.update(buf);
        Ok(())
    }
}
