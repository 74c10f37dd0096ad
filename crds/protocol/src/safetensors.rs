//! The safetensors format: the length of a JSON object as 8 bytes, the object, which says where each tensor lies, and their data. Files with one tensor
//! are written, one tensor of a file is read. Nothing is read of the others: that they overlap or leave gaps is nobody's harm here.

use std::collections::BTreeMap;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::array::Array;
use crate::dtype::DType;
use crate::npy::Header;

/// Headers longer than this are refused, in bytes: it fits into the first bytes of a stored object.
pub const MAX_HEADER: usize = 64 * 1024;
/// What stands beside the tensors: texts about them.
const METADATA: &str = "__metadata__";

/// Why bytes are no safetensors file that is accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SafetensorsError {
    /// Not the format at all, or cut off.
    #[error("not a safetensors file: {0}")]
    Format(String),
    /// It has no tensor of this name.
    #[error("the safetensors file has no tensor {key:?}; it has {}", .have.join(", "))]
    NoTensor {
        /// The name.
        key: String,
        /// Some of those that it has.
        have: Vec<String>,
    },
    /// The tensor's entry makes no sense.
    #[error("tensor {key:?} of the safetensors file: {why}")]
    Tensor {
        /// The tensor.
        key: String,
        /// What is wrong.
        why: String,
    },
}

/// A header, in which nothing is there twice: readers would take different ones.
struct Entries(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, entry)) = map.next_entry::<String, Value>()? {
                    if entries.insert(name, entry).is_some() {
                        return Err(serde::de::Error::custom("a name is there twice"));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// A tensor's entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    /// From the end of the header, in bytes.
    data_offsets: [u64; 2],
}

/// The file's bytes before the data of its only tensor, with blanks up to a multiple of 8 as the format's own library writes them.
pub fn head(name: &str, dtype: DType, shape: &[u64]) -> Vec<u8> {
    let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
    // Shapes were checked: their bytes fit.
    let end = shape.iter().fold(dtype.size(), |bytes, dim| bytes.saturating_mul(*dim));
    let word = dtype.safetensors();
    // Names of files need no quoting.
    let mut text =
        format!("{{\"{name}\":{{\"dtype\":\"{word}\",\"shape\":[{}],\"data_offsets\":[0,{end}]}}}}", dims.join(","));
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// One tensor of a file of `file_length` bytes, by the file's first bytes; 8 + [`MAX_HEADER`] are enough.
pub fn find(start: &[u8], file_length: u64, key: &str) -> Result<Array, SafetensorsError> {
    let format = |why: &str| SafetensorsError::Format(why.to_owned());
    let (length, rest) = start.split_first_chunk::<8>().ok_or_else(|| format("it has no header"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_HEADER);
    let length = length.ok_or_else(|| SafetensorsError::Format(format!("its header is over {MAX_HEADER} bytes")))?;
    let text = rest.get(..length).ok_or_else(|| format("it ends within the header"))?;
    let Entries(mut entries) =
        serde_json::from_slice(text).map_err(|error| SafetensorsError::Format(format!("its header: {error}")))?;
    entries.remove(METADATA);
    let Some(entry) = entries.remove(key) else {
        let have = entries.into_keys().take(8).map(|name| name.chars().take(64).flat_map(char::escape_debug).collect());
        return Err(SafetensorsError::NoTensor { key: key.to_owned(), have: have.collect() });
    };
    let wrong = |why: String| SafetensorsError::Tensor { key: key.to_owned(), why };
    let Entry { dtype, shape, data_offsets: [begin, end] } =
        serde_json::from_value(entry).map_err(|error| wrong(error.to_string()))?;
    let dtype = DType::from_safetensors(&dtype).ok_or_else(|| wrong(format!("type {dtype:?} is not supported")))?;
    let header = Header { dtype, shape };
    let want = header.data_bytes().ok_or_else(|| wrong("its shape is too large".into()))?;
    let room = file_length.saturating_sub(8 + length as u64);
    if end > room || end.checked_sub(begin) != Some(want) {
        let why = format!("bytes {begin} to {end} of {room} are said to hold {want}");
        return Err(wrong(why));
    }
    Ok(Array { header, at: 8 + length as u64 + begin, bytes: want })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, data: &[u8]) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes(), data].concat()
    }

    #[test]
    fn what_is_written_is_found() {
        let shape = [3, 2];
        let head = head("rows", DType::Int64, &shape);
        let text = "{\"rows\":{\"dtype\":\"I64\",\"shape\":[3,2],\"data_offsets\":[0,48]}}";
        assert_eq!((head.len() % 8, std::str::from_utf8(&head[8..]).unwrap().trim_end()), (0, text));
        let length = head.len() as u64 + 48;
        let header = Header { dtype: DType::Int64, shape: shape.to_vec() };
        assert_eq!(find(&head, length, "rows"), Ok(Array { header, at: head.len() as u64, bytes: 48 }));
        assert!(find(&head, length - 1, "rows").is_err());
        assert!(find(&head[..head.len() - 1], length, "rows").is_err());
    }

    #[test]
    fn one_of_several_is_found() {
        let text = r#"{"__metadata__":{"by":"x"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[],"data_offsets":[2,3]}}"#;
        let file = file(text, &[1, 2, 3]);
        let b = find(&file, file.len() as u64, "b").unwrap();
        assert_eq!((file[usize::try_from(b.at).unwrap()], b.bytes), (3, 1));
        let missing = find(&file, file.len() as u64, "__metadata__").unwrap_err().to_string();
        assert_eq!(missing, "the safetensors file has no tensor \"__metadata__\"; it has a, b");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, why) in [
            ("{", "its header"),
            ("[]", "its header"),
            (r#"{"a":1}"#, "invalid type"),
            (r#"{"a":1,"a":2}"#, "a name is there twice"),
            (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,2]}}"#, "bytes 1 to 2"),
            (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}"#, "bytes 2 to 0"),
            (r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, "bytes 0 to 4 of 3"),
            (r#"{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}"#, "BF16"),
            (r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, "too large"),
            (r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}"#, "invalid value"),
        ] {
            let file = file(text, &[1, 2, 3]);
            let error = find(&file, file.len() as u64, "a").unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let long = (1_u64 << 40).to_le_bytes();
        assert!(find(&long, 1 << 41, "a").is_err());
    }
}
