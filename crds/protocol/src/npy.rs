//! The npy format (NumPy Enhancement Proposal 1), versions 1.0 and 2.0, C order, little-endian numbers: the one way in which
//! arrays come and go. Everything else is refused with its reason.

use crate::dtype::DType;

/// An array's type and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Element type.
    pub dtype: DType,
    /// Shape; empty for a scalar.
    pub shape: Vec<u64>,
}

/// Why bytes are no npy file that is accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NpyError {
    /// Not the format at all.
    #[error("not an npy file: {0}")]
    NotNpy(&'static str),
    /// The header's text is not understood.
    #[error("npy header: {0}")]
    Header(&'static str),
    /// A type that is not supported.
    #[error("npy type {0:?} is not supported: use uint8 to int64, float32 or float64, little-endian")]
    Type(String),
    /// Data shorter or longer than the shape says.
    #[error("npy data is {have} bytes long, its shape says {want}")]
    Length {
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        want: u64,
    },
}

const MAGIC: &[u8] = b"\x93NUMPY";
/// Headers longer than this are refused.
const MAX_HEADER: usize = 4096;

impl Header {
    /// Bytes of data; `None` when it does not fit in 63 bits.
    pub fn data_bytes(&self) -> Option<u64> {
        let count = self.shape.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim))?;
        count.checked_mul(self.dtype.size()).filter(|bytes| *bytes < 1 << 63)
    }

    /// The file's bytes before the data: version 1.0, padded to a multiple of 64, as NumPy writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let dims: Vec<String> = self.shape.iter().map(u64::to_string).collect();
        let shape = if dims.len() == 1 { format!("({},)", dims[0]) } else { format!("({})", dims.join(", ")) };
        let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", self.dtype.npy());
        // NumPy leaves room for the first dimension to grow to 21 digits, and pads by 64 where nothing is missing.
        let room = dims.first().map_or(0, |dim| 21_usize.saturating_sub(dim.len()));
        let padding = 64 - (MAGIC.len() + 4 + text.len() + room + 1) % 64;
        text.extend(std::iter::repeat_n(' ', room + padding));
        text.push('\n');
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
    }
}

/// Splits a whole file into its header and its data, whose length is checked.
pub fn parse(file: &[u8]) -> Result<(Header, &[u8]), NpyError> {
    let (header, at) = parse_start(file, file.len() as u64)?;
    Ok((header, &file[at..]))
}

/// Reads the header of a file of `file_length` bytes from its first bytes; the header, and where the data begins. 4108 bytes are enough.
pub fn parse_start(start: &[u8], file_length: u64) -> Result<(Header, usize), NpyError> {
    let rest = start.strip_prefix(MAGIC).ok_or(NpyError::NotNpy("the magic bytes are missing"))?;
    let cut = NpyError::NotNpy("it ends within the header");
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2, _, a, b, c, d, rest @ ..] => {
            (usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX), rest)
        }
        [_, _, _, _, ..] => return Err(NpyError::NotNpy("its version is neither 1 nor 2")),
        _ => return Err(cut),
    };
    if length > MAX_HEADER {
        return Err(NpyError::Header("it is over 4096 bytes"));
    }
    let (text, begun) = rest.split_at_checked(length).ok_or(cut)?;
    let text = std::str::from_utf8(text).map_err(|_| NpyError::Header("it is not UTF-8"))?;
    let header = parse_header(text)?;
    let want = header.data_bytes().ok_or(NpyError::Header("the shape is too large"))?;
    let at = start.len() - begun.len();
    let have = file_length.saturating_sub(at as u64);
    if have != want {
        return Err(NpyError::Length { have, want });
    }
    Ok((header, at))
}

/// Reads the header's dictionary: exactly the keys descr, fortran_order and shape, in any order.
fn parse_header(text: &str) -> Result<Header, NpyError> {
    let mut text = Cursor(text);
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    text.expect('{')?;
    while !text.take('}') {
        let key = text.quoted()?;
        text.expect(':')?;
        match key {
            "descr" if descr.is_none() => descr = Some(text.quoted()?),
            "fortran_order" if fortran.is_none() => fortran = Some(text.boolean()?),
            "shape" if shape.is_none() => shape = Some(text.tuple()?),
            _ => return Err(NpyError::Header("an unknown or repeated key")),
        }
        if !text.take(',') {
            text.expect('}')?;
            break;
        }
    }
    if !text.0.trim().is_empty() {
        return Err(NpyError::Header("text after the dictionary"));
    }
    let missing = NpyError::Header("descr, fortran_order or shape is missing");
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else { return Err(missing) };
    if fortran {
        return Err(NpyError::Header("Fortran order is not supported: save with numpy.ascontiguousarray"));
    }
    let dtype = DType::from_npy(descr).ok_or_else(|| NpyError::Type(descr.chars().take(32).collect()))?;
    Ok(Header { dtype, shape })
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, c: char) -> bool {
        let rest = self.0.trim_start_matches(' ').strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, c: char) -> Result<(), NpyError> {
        if self.take(c) { Ok(()) } else { Err(NpyError::Header("it is not the dictionary that NumPy writes")) }
    }

    fn quoted(&mut self) -> Result<&'a str, NpyError> {
        self.expect('\'')?;
        let (inner, rest) = self.0.split_once('\'').ok_or(NpyError::Header("a quote does not end"))?;
        self.0 = rest;
        Ok(inner)
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        let text = self.0.trim_start_matches(' ');
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = text.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(NpyError::Header("fortran_order is neither True nor False"))
    }

    fn tuple(&mut self) -> Result<Vec<u64>, NpyError> {
        let mut dims = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            let text = self.0.trim_start_matches(' ');
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (digits, rest) = text.split_at(end);
            dims.push(digits.parse().map_err(|_| NpyError::Header("a dimension is no number"))?);
            self.0 = rest;
            if dims.len() > 8 {
                return Err(NpyError::Header("more than 8 dimensions"));
            }
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(dims)
    }
}
