//! In which format an array is delivered: what comes before its rows in the file. Rows are raw and little-endian in both, so a format
//! changes nothing that is computed or judged.

use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::files::File;
use crate::npy::Header;
use crate::safetensors;

/// The format of a result's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Format {
    /// NumPy's npy.
    #[default]
    #[n(0)]
    Npy,
    /// safetensors, with one tensor, under the file's name without its end.
    #[n(1)]
    Safetensors,
}

impl Format {
    /// The name in specs, and the end of files' names.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Npy => "npy",
            Format::Safetensors => "safetensors",
        }
    }

    /// The file's bytes before the rows.
    pub fn head(self, file: &File) -> Vec<u8> {
        let File { name, dtype, shape } = file;
        match self {
            Format::Npy => Header { dtype: *dtype, shape: shape.clone() }.to_bytes(),
            Format::Safetensors => safetensors::head(name, *dtype, shape),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let all = [Format::Npy, Format::Safetensors];
        all.into_iter().find(|format| format.as_str() == text).ok_or_else(|| format!("{text:?} is no format"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        for format in [Format::Npy, Format::Safetensors] {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
        assert!("NPY".parse::<Format>().is_err());
    }
}
