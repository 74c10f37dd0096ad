//! One CBOR profile for broker and ledger: RFC 8949 section 4.2.1, maps with ascending unsigned keys, no floats, tags, null
//! or indefinite lengths. A decoder re-encodes and compares, so each value has exactly one encoding that is accepted.
//!
//! It refuses trailing bytes, unknown, duplicate or unordered keys, long integers and anything over the caller's bound.

use minicbor::encode::Write;
use minicbor::{Decode, Encode, Encoder};

use crate::digest::{Digest, Hasher};

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Longer than the caller allows.
    #[error("{what} is {have} bytes long, at most {max} are allowed")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// Its length in bytes.
        have: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// Not CBOR, or not of the expected shape.
    #[error("{what} cannot be decoded")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The decoder's own words.
        #[source]
        source: minicbor::decode::Error,
    },
    /// Decodes, but is not the canonical encoding of what it decodes to.
    #[error("{what} is not canonically encoded")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
    /// Decodes, but a field is out of its bounds.
    #[error("{what}: {why}")]
    OutOfBounds {
        /// What was being read.
        what: &'static str,
        /// Which field, and which bound.
        why: String,
    },
}

/// The canonical bytes of `value`.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut Encoder::new(&mut out), value);
    out
}

/// Reads the one canonical encoding of a `T` of at most `max` bytes; `what` names it in errors.
pub fn from_slice<T>(what: &'static str, bytes: &[u8], max: usize) -> Result<T, CborError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    if bytes.len() > max {
        return Err(CborError::TooLong { what, have: bytes.len(), max });
    }
    let value: T = minicbor::decode(bytes).map_err(|source| CborError::Malformed { what, source })?;
    if to_vec(&value) != bytes {
        return Err(CborError::NotCanonical { what });
    }
    Ok(value)
}

/// One element of a [`frame`].
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// An unsigned integer.
    U64(u64),
    /// UTF-8 text.
    Text(&'a str),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A nested array.
    List(&'a [Part<'a>]),
}

impl<C> Encode<C> for Part<'_> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Part::U64(x) => e.u64(*x)?.ok(),
            Part::Text(x) => e.str(x)?.ok(),
            Part::Bytes(x) => e.bytes(x)?.ok(),
            Part::List(parts) => {
                e.array(parts.len() as u64)?;
                parts.iter().try_for_each(|part| part.encode(e, ctx))
            }
        }
    }
}

/// The deterministic CBOR array `[domain, parts...]`: what is hashed or signed always starts with what it is.
pub fn frame(domain: &str, parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut Encoder::new(&mut out), domain, parts);
    out
}

/// SHA3-256 of [`frame`], without building it in memory.
pub fn frame_digest(domain: &str, parts: &[Part<'_>]) -> Digest {
    let mut hasher = Hasher::default();
    write_frame(&mut Encoder::new(&mut hasher), domain, parts);
    hasher.finish()
}

fn write_frame<W: Write<Error = std::convert::Infallible>>(e: &mut Encoder<W>, domain: &str, parts: &[Part<'_>]) {
    let array = e.array(parts.len() as u64 + 1).and_then(|e| e.str(domain));
    never_fails(array.map(|_| ()));
    for part in parts {
        encode_into(e, part);
    }
}

fn encode_into<W: Write<Error = std::convert::Infallible>, T: Encode<()>>(e: &mut Encoder<W>, value: &T) {
    never_fails(e.encode(value).map(|_| ()));
}

/// Writing to memory cannot fail, and no type of this crate refuses to be encoded.
fn never_fails(result: Result<(), minicbor::encode::Error<std::convert::Infallible>>) {
    if let Err(error) = result {
        unreachable!("encoding to memory failed: {error}");
    }
}
