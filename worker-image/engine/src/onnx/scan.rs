//! A walk over a file's fields before anything is decoded: it allocates nothing, and adds up what decoding will.
//!
//! It is there because two bytes of a file can become hundreds in memory: an empty node is a tag and a length. A file whose
//! messages would take more than [`FREE_BYTES`] and [`PER_BYTE`] for each byte of the file is refused, and so is one that
//! nests deeply, uses groups, or has twice what can be there once (readers differ in which of the two they take).

use super::error::{Fault, Place, ReadError};
use super::generated::fields::MODEL_PROTO;

/// A message of the schema.
pub(super) struct Message {
    /// Its size in memory, without what it points to.
    pub bytes: usize,
    /// Its fields; others are skipped, as decoders do.
    pub fields: &'static [Field],
}

/// A field of a message.
pub(super) struct Field {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// Whether it is a list.
    pub many: bool,
    /// What it holds.
    pub of: Of,
}

/// What a field holds.
pub(super) enum Of {
    Message(&'static Message),
    Text,
    Bytes,
    /// A number of variable length, of so many bytes in memory.
    Varint(usize),
    /// A number of so many bytes.
    Fixed(usize),
}

/// What decoding may take however small the file is: some ten thousand nodes.
const FREE_BYTES: u64 = 32 << 20;
/// What it may take for each byte of the file. Files that hold weights need less than one.
const PER_BYTE: u64 = 8;
/// Messages in messages: a dimension of an input is seven deep, and graphs in graphs, refused later by name, add three each.
const DEPTH: u64 = 64;
/// No message of the schema has more fields than this: `codegen_onnx` looks.
const FIELDS: usize = 32;

/// Walks over a model.
pub(super) fn scan(file: &[u8]) -> Result<(), ReadError> {
    let mut scan = Scan { bytes: 0, growth: 0, max: FREE_BYTES + PER_BYTE * file.len() as u64 };
    scan.message(file, &MODEL_PROTO, 1).map_err(|broken| {
        let path: Vec<String> = broken.path.into_iter().rev().collect();
        broken.fault.at(if path.is_empty() { Place::Model } else { Place::Field(path.join(".")) })
    })
}

struct Scan {
    /// What messages and lists will take.
    bytes: u64,
    /// The largest list is copied while it grows.
    growth: u64,
    max: u64,
}

/// A fault with the path to it, innermost first.
struct Broken {
    path: Vec<String>,
    fault: Fault,
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Broken {
        Broken { path: Vec::new(), fault }
    }
}

impl Broken {
    fn within(mut self, field: &Field, index: u64) -> Broken {
        self.path.push(if field.many { format!("{}[{index}]", field.name) } else { field.name.to_owned() });
        self
    }
}

impl Scan {
    fn message(&mut self, bytes: &[u8], message: &Message, depth: u64) -> Result<(), Broken> {
        if depth > DEPTH {
            return Err(Fault::Limit { what: "messages within messages", have: depth, max: DEPTH }.into());
        }
        let mut counts = [0_u64; FIELDS];
        let mut rest = bytes;
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let (number, wire) = (key >> 3, key & 7);
            let payload = payload(&mut rest, wire)?;
            if number == 0 {
                return Err(Fault::Wire.into());
            }
            let known = message.fields.iter().zip(&mut counts).find(|(field, _)| field.number == number);
            let Some((field, count)) = known else { continue };
            let index = *count;
            *count += field.of.elements(wire, payload);
            if !field.many && index > 0 {
                return Err(Fault::Twice(field.name).into());
            }
            self.field(field, wire, payload, depth).map_err(|broken| broken.within(field, index))?;
            // Before the list is whole: the walk need not be longer than what is allowed.
            self.check(if field.many { *count * field.of.bytes() } else { 0 })?;
        }
        for (field, count) in message.fields.iter().zip(counts) {
            if field.many && count > 0 {
                // Lists grow by doubling, from four.
                let list = count.next_power_of_two().max(4) * field.of.bytes();
                self.bytes += list;
                self.growth = self.growth.max(list / 2);
            }
        }
        Ok(self.check(0)?)
    }

    /// What a field takes outside of the message that holds it, without its place in a list.
    fn field(&mut self, field: &Field, wire: u64, payload: &[u8], depth: u64) -> Result<(), Broken> {
        match &field.of {
            Of::Message(inner) if wire == LENGTH => {
                // Some are in boxes, the others counted twice.
                self.bytes += if field.many { 0 } else { inner.bytes as u64 };
                self.message(payload, inner, depth + 1)?;
            }
            Of::Text => self.bytes += payload.len().max(8) as u64,
            // Bytes stay in the file's buffer; numbers are in lists only. A wrong wire type is the decoder's to refuse.
            _ => (),
        }
        Ok(())
    }

    fn check(&self, list: u64) -> Result<(), Fault> {
        let have = self.bytes.saturating_add(self.growth).saturating_add(list);
        if have > self.max {
            return Err(Fault::Limit { what: "bytes that its messages take in memory", have, max: self.max });
        }
        Ok(())
    }
}

impl Of {
    /// The size of one in a list.
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Of::Message(message) => message.bytes,
            Of::Text => size_of::<String>(),
            Of::Bytes => size_of::<bytes::Bytes>(),
            Of::Varint(bytes) | Of::Fixed(bytes) => *bytes,
        };
        bytes as u64
    }

    /// How many there are in one field: numbers may be packed.
    fn elements(&self, wire: u64, payload: &[u8]) -> u64 {
        let elements = match self {
            Of::Varint(_) if wire == LENGTH => payload.iter().filter(|byte| **byte < 0x80).count(),
            Of::Fixed(bytes) if wire == LENGTH => payload.len() / bytes,
            _ => 1,
        };
        elements as u64
    }
}

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// What follows a key: the content of what has a length, nothing for numbers.
fn payload<'a>(rest: &mut &'a [u8], wire: u64) -> Result<&'a [u8], Fault> {
    let length = match wire {
        VARINT => {
            varint(rest)?;
            return Ok(&[]);
        }
        FIXED64 => 8,
        FIXED32 => 4,
        LENGTH => usize::try_from(varint(rest)?).map_err(|_| Fault::Cut)?,
        _ => return Err(Fault::Wire),
    };
    let (payload, after) = rest.split_at_checked(length).ok_or(Fault::Cut)?;
    *rest = after;
    Ok(payload)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0_u64;
    for (at, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 { Fault::Cut } else { Fault::Endless })
}
