//! The copies that units have of an output on their way to one: element by element, units ascending, in the same bits everywhere.

use crate::dtype::DType;
use crate::task::{Combine, Layout, OutputSpec};

/// The copies so far, combined.
#[derive(Clone, Debug)]
pub struct Combined {
    dtype: DType,
    combine: Combine,
    /// Bytes of a copy.
    size: usize,
    value: Vec<u8>,
}

impl Combined {
    /// Of an output whose units have copies; of any other, none.
    pub fn new(output: &OutputSpec) -> Option<Combined> {
        let Some(Layout::Unit(combine)) = output.layout else { return None };
        let size = usize::try_from(output.room(1, 0)).ok().filter(|size| *size > 0)?;
        // A sum begins with zeros, so that it is the chain of the kernel set; the others with the first copy.
        let value = if combine == Combine::Sum { vec![0; size] } else { Vec::new() };
        Some(Combined { dtype: output.dtype, combine, size, value })
    }

    /// Adds copies, one after another.
    pub fn add(&mut self, copies: &[u8]) {
        for copy in copies.chunks_exact(self.size) {
            if self.value.is_empty() {
                self.value.extend_from_slice(copy);
            } else {
                fold(self.dtype, self.combine, &mut self.value, copy);
            }
        }
    }

    /// The combination of all copies that were added.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// One step for every element. Floats are only ever added: no other combination of theirs passes the checks of a spec.
fn fold(dtype: DType, combine: Combine, value: &mut [u8], copy: &[u8]) {
    macro_rules! integers {
        ($type:ty) => {
            each(value, copy, |s, x| {
                let (s, x) = (<$type>::from_le_bytes(s), <$type>::from_le_bytes(x));
                match combine {
                    Combine::Sum => s.wrapping_add(x),
                    Combine::Min => s.min(x),
                    Combine::Max => s.max(x),
                }
                .to_le_bytes()
            })
        };
    }
    macro_rules! floats {
        ($type:ty, $nan:literal) => {
            each(value, copy, |s, x| {
                let sum = <$type>::from_le_bytes(x).mul_add(1.0, <$type>::from_le_bytes(s));
                if sum.is_nan() { <$type>::from_bits($nan) } else { sum }.to_le_bytes()
            })
        };
    }
    match dtype {
        DType::Uint8 => integers!(u8),
        DType::Int8 => integers!(i8),
        DType::Uint16 => integers!(u16),
        DType::Int16 => integers!(i16),
        DType::Uint32 => integers!(u32),
        DType::Int32 => integers!(i32),
        DType::Uint64 => integers!(u64),
        DType::Int64 => integers!(i64),
        DType::Float32 => floats!(f32, 0x7fc0_0000),
        DType::Float64 => floats!(f64, 0x7ff8_0000_0000_0000),
    }
}

fn each<const N: usize>(value: &mut [u8], copy: &[u8], step: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    for (s, x) in value.as_chunks_mut::<N>().0.iter_mut().zip(copy.as_chunks::<N>().0) {
        *s = step(*s, *x);
    }
}
