//! A CBOR value as a tree, read from canonical bytes and written again with one thing wrong: what another encoder might
//! do, and no reader of Orion's may take.

use proptest::prelude::*;
use proptest::sample::select;

/// A value of the profile.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Bool(bool),
}

/// One thing that is wrong with one item of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The head in one byte more than it needs.
    LongHead,
    /// The longest head there is.
    LongestHead,
    /// An indefinite length, for what has a length.
    Indefinite,
    /// The item within a tag.
    Tagged,
    /// A float in its place.
    Float,
    /// Null in its place.
    Null,
    /// Undefined in its place.
    Undefined,
    /// A negative number in its place.
    Negative,
    /// The map's first two entries in the other order.
    Unordered,
    /// The map's first entry twice.
    Duplicate,
    /// One more entry, with a key that nobody knows.
    UnknownKey,
}

pub fn wrong() -> impl Strategy<Value = Wrong> {
    use Wrong::{
        Duplicate, Float, Indefinite, LongHead, LongestHead, Negative, Null, Tagged, Undefined, UnknownKey, Unordered,
    };
    let all =
        [LongHead, LongestHead, Indefinite, Tagged, Float, Null, Undefined, Negative, Unordered, Duplicate, UnknownKey];
    select(all.to_vec())
}

/// Reads canonical bytes.
pub fn read(bytes: &[u8]) -> Node {
    let mut decoder = minicbor::Decoder::new(bytes);
    let node = read_item(&mut decoder);
    assert_eq!(decoder.position(), bytes.len());
    node
}

fn read_item(d: &mut minicbor::Decoder<'_>) -> Node {
    use minicbor::data::Type;
    match d.datatype().unwrap() {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Node::Number(d.u64().unwrap()),
        Type::Bytes => Node::Bytes(d.bytes().unwrap().to_vec()),
        Type::String => Node::Text(d.str().unwrap().to_owned()),
        Type::Bool => Node::Bool(d.bool().unwrap()),
        Type::Array => (0..d.array().unwrap().unwrap()).map(|_| read_item(d)).collect::<Vec<_>>().into(),
        Type::Map => Node::Map((0..d.map().unwrap().unwrap()).map(|_| (read_item(d), read_item(d))).collect()),
        other => panic!("{other} in canonical bytes"),
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Node {
        Node::Array(items)
    }
}

impl Node {
    /// How many items there are, itself included.
    pub fn items(&self) -> usize {
        1 + match self {
            Node::Array(items) => items.iter().map(Node::items).sum(),
            Node::Map(pairs) => pairs.iter().map(|(key, value)| key.items() + value.items()).sum(),
            _ => 0,
        }
    }

    /// Canonical bytes, but for what is `wrong` with item `at` (counted in order); `None` if that cannot be wrong with it.
    pub fn write(&self, at: usize, wrong: Wrong) -> Option<Vec<u8>> {
        let (mut out, mut done, mut next) = (Vec::new(), false, 0);
        self.write_item(&mut out, &mut next, at, wrong, &mut done);
        done.then_some(out)
    }

    fn write_item(&self, out: &mut Vec<u8>, next: &mut usize, at: usize, wrong: Wrong, done: &mut bool) {
        let mine = (*next == at).then_some(wrong);
        *next += 1;
        if let Some(replacement) = mine.and_then(replacement) {
            out.extend_from_slice(replacement);
            *done = true;
            return;
        }
        let (major, number) = self.head();
        let head = head(major, number, mine);
        *done |= head != self::head(major, number, None);
        out.extend_from_slice(&head);
        match self {
            Node::Number(_) | Node::Bool(_) => {}
            Node::Bytes(bytes) => content(out, major, bytes, mine),
            Node::Text(text) => content(out, major, text.as_bytes(), mine),
            Node::Array(items) => items.iter().for_each(|item| item.write_item(out, next, at, wrong, done)),
            Node::Map(pairs) => {
                let mut written: Vec<Vec<u8>> = Vec::new();
                for (key, value) in pairs {
                    let mut pair = Vec::new();
                    key.write_item(&mut pair, next, at, wrong, done);
                    value.write_item(&mut pair, next, at, wrong, done);
                    written.push(pair);
                }
                *done |= rearrange(&mut written, mine);
                out.extend(written.concat());
            }
        }
        if mine == Some(Wrong::Indefinite) && (2..=5).contains(&major) {
            out.push(0xFF);
        }
    }

    fn head(&self) -> (u8, u64) {
        match self {
            Node::Number(x) => (0, *x),
            Node::Bytes(bytes) => (2, bytes.len() as u64),
            Node::Text(text) => (3, text.len() as u64),
            Node::Array(items) => (4, items.len() as u64),
            Node::Map(pairs) => (5, pairs.len() as u64),
            Node::Bool(x) => (7, 20 + u64::from(*x)),
        }
    }
}

/// What stands in an item's place.
fn replacement(wrong: Wrong) -> Option<&'static [u8]> {
    match wrong {
        Wrong::Float => Some(&[0xF9, 0x3C, 0x00]),
        Wrong::Null => Some(&[0xF6]),
        Wrong::Undefined => Some(&[0xF7]),
        Wrong::Negative => Some(&[0x20]),
        _ => None,
    }
}

/// The content of a byte or text string; within an indefinite one, as one chunk.
fn content(out: &mut Vec<u8>, major: u8, bytes: &[u8], wrong: Option<Wrong>) {
    if wrong == Some(Wrong::Indefinite) {
        out.extend(head(major, bytes.len() as u64, None));
    }
    out.extend_from_slice(bytes);
}

fn rearrange(pairs: &mut Vec<Vec<u8>>, wrong: Option<Wrong>) -> bool {
    match wrong {
        Some(Wrong::Unordered) if pairs.len() > 1 => pairs.swap(0, 1),
        Some(Wrong::Duplicate) if !pairs.is_empty() => pairs.insert(0, pairs[0].clone()),
        // Key 23 and the number 0.
        Some(Wrong::UnknownKey) => pairs.push(vec![0x17, 0x00]),
        _ => return false,
    }
    true
}

fn head(major: u8, number: u64, wrong: Option<Wrong>) -> Vec<u8> {
    let size = match number {
        0..=23 => 0,
        24..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    };
    let number = match wrong {
        Some(Wrong::Duplicate | Wrong::UnknownKey)
            if major == 5 && (number > 0 || wrong == Some(Wrong::UnknownKey)) =>
        {
            number + 1
        }
        _ => number,
    };
    let simple = major == 7;
    let size = match wrong {
        Some(Wrong::LongHead) if !simple && size < 8 => (2 * size).max(1),
        Some(Wrong::LongestHead) if !simple => 8,
        Some(Wrong::Indefinite) if (2..=5).contains(&major) => return vec![major << 5 | 0x1F],
        Some(Wrong::Tagged) => return [vec![0xC6], head(major, number, None)].concat(),
        _ => size,
    };
    let bytes = number.to_be_bytes();
    match size {
        0 => vec![major << 5 | bytes[7]],
        1 => [&[major << 5 | 0x18], &bytes[7..]].concat(),
        2 => [&[major << 5 | 0x19], &bytes[6..]].concat(),
        4 => [&[major << 5 | 0x1A], &bytes[4..]].concat(),
        _ => [&[major << 5 | 0x1B], &bytes[..]].concat(),
    }
}
