//! Element types of arrays, with their names in specs, in npy headers and in OpenCL C.

use std::str::FromStr;

use minicbor::{Decode, Encode};

/// The type of an array's elements; always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum DType {
    /// 8 bits, unsigned.
    #[n(0)]
    Uint8,
    /// 8 bits, signed.
    #[n(1)]
    Int8,
    /// 16 bits, unsigned.
    #[n(2)]
    Uint16,
    /// 16 bits, signed.
    #[n(3)]
    Int16,
    /// 32 bits, unsigned.
    #[n(4)]
    Uint32,
    /// 32 bits, signed.
    #[n(5)]
    Int32,
    /// 64 bits, unsigned.
    #[n(6)]
    Uint64,
    /// 64 bits, signed.
    #[n(7)]
    Int64,
    /// IEEE 754 single precision.
    #[n(8)]
    Float32,
    /// IEEE 754 double precision.
    #[n(9)]
    Float64,
}

type Row = (DType, &'static str, &'static str, &'static str, u64, &'static str);

/// Name in specs, npy `descr`, OpenCL C scalar name, size in bytes, name in safetensors.
const TABLE: [Row; 10] = [
    (DType::Uint8, "uint8", "|u1", "uchar", 1, "U8"),
    (DType::Int8, "int8", "|i1", "char", 1, "I8"),
    (DType::Uint16, "uint16", "<u2", "ushort", 2, "U16"),
    (DType::Int16, "int16", "<i2", "short", 2, "I16"),
    (DType::Uint32, "uint32", "<u4", "uint", 4, "U32"),
    (DType::Int32, "int32", "<i4", "int", 4, "I32"),
    (DType::Uint64, "uint64", "<u8", "ulong", 8, "U64"),
    (DType::Int64, "int64", "<i8", "long", 8, "I64"),
    (DType::Float32, "float32", "<f4", "float", 4, "F32"),
    (DType::Float64, "float64", "<f8", "double", 8, "F64"),
];

impl DType {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name in specs and in statements: `uint8`, `float32`, ...
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The `descr` of an npy header.
    pub fn npy(self) -> &'static str {
        self.row().2
    }

    /// The scalar type of OpenCL C.
    pub fn opencl(self) -> &'static str {
        self.row().3
    }

    /// Bytes an element.
    pub fn size(self) -> u64 {
        self.row().4
    }

    /// The name in a header of safetensors.
    pub fn safetensors(self) -> &'static str {
        self.row().5
    }

    /// The type with this npy `descr`.
    pub fn from_npy(descr: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.2 == descr).map(|row| row.0)
    }

    /// The type with this name in a header of safetensors.
    pub fn from_safetensors(name: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.5 == name).map(|row| row.0)
    }

    /// The type with this OpenCL C scalar name.
    pub fn from_opencl(name: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.3 == name).map(|row| row.0)
    }

    /// Whether it is an integer type without negative numbers.
    pub fn is_unsigned(self) -> bool {
        matches!(self, DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64)
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::Float32 | DType::Float64)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        TABLE.iter().find(|row| row.1 == text).map(|row| row.0).ok_or_else(|| format!("unknown type {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, at, "{}", row.1);
            assert_eq!(row.1.parse(), Ok(row.0));
        }
    }
}
