//! Arrays in host memory: what models, constants and the reference work with. Row-major, without strides or views.
//!
//! It computes nothing, and knows only the four element types of inference.

use std::fmt;

/// Elements of a tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// IEEE 754 single precision.
    F32(Vec<f32>),
    /// 64 bits, signed.
    I64(Vec<i64>),
    /// 32 bits, signed.
    I32(Vec<i32>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// float32
    F32,
    /// int64
    I64,
    /// int32
    I32,
    /// bool
    Bool,
}

impl Kind {
    /// Bytes an element takes on a device.
    pub fn bytes(self) -> usize {
        match self {
            Kind::F32 | Kind::I32 => 4,
            Kind::I64 => 8,
            Kind::Bool => 1,
        }
    }

    /// Its name in messages: as in specs.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::F32 => "float32",
            Kind::I64 => "int64",
            Kind::I32 => "int32",
            Kind::Bool => "bool",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Element type and shape; a scalar has no dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Element type.
    pub kind: Kind,
    /// Dimensions, outermost first; 0 is allowed.
    pub shape: Vec<usize>,
}

impl Facts {
    /// So many elements; `None` where they could not be addressed.
    pub fn elements(&self) -> Option<usize> {
        product(&self.shape)
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.shape)
    }
}

/// The product of dimensions; `None` where it, in bytes, is beyond what can be addressed. A dimension of 0 does not make the others harmless:
/// strides are products of some of them.
pub fn product(shape: &[usize]) -> Option<usize> {
    let bytes = shape.iter().try_fold(8_usize, |all, dim| all.checked_mul((*dim).max(1)))?;
    let count = if shape.contains(&0) { 0 } else { bytes / 8 };
    (bytes < isize::MAX.unsigned_abs()).then_some(count)
}

/// An array.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// Elements that do not fill their shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{have} elements do not fill the shape {shape:?}")]
pub struct Misfit {
    /// The shape.
    pub shape: Vec<usize>,
    /// Elements that are there.
    pub have: usize,
}

impl Tensor {
    /// An array of `shape`, whose product is the number of elements.
    pub fn new(shape: Vec<usize>, data: impl Into<Data>) -> Result<Tensor, Misfit> {
        let data = data.into();
        if product(&shape) != Some(data.len()) {
            return Err(Misfit { shape, have: data.len() });
        }
        Ok(Tensor { shape, data })
    }

    /// An array without elements; `None` where the shape has some.
    pub fn empty(facts: Facts) -> Option<Tensor> {
        let data = match facts.kind {
            Kind::F32 => Data::F32(Vec::new()),
            Kind::I64 => Data::I64(Vec::new()),
            Kind::I32 => Data::I32(Vec::new()),
            Kind::Bool => Data::Bool(Vec::new()),
        };
        Tensor::new(facts.shape, data).ok()
    }

    /// A list of one dimension.
    pub fn list(data: impl Into<Data>) -> Tensor {
        let data = data.into();
        Tensor { shape: vec![data.len()], data }
    }

    /// A single value without dimensions; the first one, where there are several.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor { shape: Vec::new(), data: T::wrap(vec![value]) }
    }

    /// Its dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its elements, where they are `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::of(&self.data)
    }

    /// Shape and elements.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// Element type and shape.
    pub fn facts(&self) -> Facts {
        Facts { kind: self.data.kind(), shape: self.shape.clone() }
    }

    /// Little-endian bytes; NaN is canonical (RK5), a truth value is 0 or 1.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::F32(values) => values.iter().flat_map(|value| canonical(*value).to_le_bytes()).collect(),
            Data::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        }
    }

    /// Reads what [`Tensor::to_le_bytes`] wrote; bytes beyond the last whole element are a misfit.
    pub fn from_le_bytes(facts: Facts, bytes: &[u8]) -> Result<Tensor, Misfit> {
        let Facts { kind, shape } = facts;
        if product(&shape).and_then(|len| len.checked_mul(kind.bytes())) != Some(bytes.len()) {
            return Err(Misfit { shape, have: bytes.len() / kind.bytes() });
        }
        let data = match kind {
            Kind::F32 => Data::F32(words(bytes).map(f32::from_le_bytes).collect()),
            Kind::I32 => Data::I32(words(bytes).map(i32::from_le_bytes).collect()),
            Kind::I64 => Data::I64(words(bytes).map(i64::from_le_bytes).collect()),
            Kind::Bool => Data::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
        };
        Tensor::new(shape, data)
    }
}

/// The bits of every NaN in a result (RK5).
pub const NAN: f32 = f32::from_bits(0x7fc0_0000);

/// The value, NaN as 0x7fc00000.
pub fn canonical(value: f32) -> f32 {
    if value.is_nan() { NAN } else { value }
}

/// Makes every NaN among little-endian floats the one NaN.
pub fn make_canonical(floats: &mut [u8]) {
    for word in floats.as_chunks_mut::<4>().0 {
        *word = canonical(f32::from_le_bytes(*word)).to_le_bytes();
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

impl Data {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(values) => values.len(),
            Data::I64(values) => values.len(),
            Data::I32(values) => values.len(),
            Data::Bool(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn kind(&self) -> Kind {
        match self {
            Data::F32(_) => Kind::F32,
            Data::I64(_) => Kind::I64,
            Data::I32(_) => Kind::I32,
            Data::Bool(_) => Kind::Bool,
        }
    }
}

/// A Rust type that elements have.
pub trait Element: Copy + Default + PartialEq + fmt::Debug + 'static {
    /// The kind.
    const KIND: Kind;
    /// The elements, where they are of this type.
    fn of(data: &Data) -> Option<&[Self]>;
    /// Data of this type.
    fn wrap(values: Vec<Self>) -> Data;
}

macro_rules! element {
    ($($ty:ty => $variant:ident,)*) => {
        $(
            impl Element for $ty {
                const KIND: Kind = Kind::$variant;
                fn of(data: &Data) -> Option<&[$ty]> {
                    if let Data::$variant(values) = data { Some(values) } else { None }
                }
                fn wrap(values: Vec<$ty>) -> Data {
                    Data::$variant(values)
                }
            }

            impl From<Vec<$ty>> for Data {
                fn from(values: Vec<$ty>) -> Data {
                    Data::$variant(values)
                }
            }
        )*
    };
}

element! { f32 => F32, i64 => I64, i32 => I32, bool => Bool, }
