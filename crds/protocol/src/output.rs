//! The outputs of a task: what they are, what is allowed, and the digest of what a unit has of them.

use minicbor::{Decode, Encode};

use crate::bytes::Name;
use crate::cbor::{Part, frame_digest};
use crate::digest::Digest;
use crate::dtype::DType;
use crate::task::MAX_ARRAYS;

/// An output as it is hashed and delivered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OutputSpec {
    /// Its name in the job.
    #[n(0)]
    pub name: Name,
    /// Its element type.
    #[n(1)]
    pub dtype: DType,
    /// Its shape; the first dimension is the items, but for [`Layout::Unit`].
    #[n(2)]
    pub shape: Vec<u64>,
    /// How its bytes are kept, where not as one row an item.
    #[n(3)]
    pub layout: Option<Layout>,
}

/// How the bytes of an output are kept, where not as one row an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Layout {
    /// Item i keeps its first so many entries as row i of the output with this index says; the shape's second dimension is the most it may keep.
    #[n(0)]
    Lengths(#[n(0)] u32),
    /// Each unit has a copy of its own, of the shape; the result is all of them combined.
    #[n(1)]
    Unit(#[n(0)] Combine),
}

/// How the copies of units become one, element by element, units ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Combine {
    /// Integers modulo 2 to the number of their bits; floats as the chain s = fma(x, 1, s) from s = 0.
    #[n(0)]
    Sum,
    /// The least; integers only.
    #[n(1)]
    Min,
    /// The greatest; integers only.
    #[n(2)]
    Max,
}

impl OutputSpec {
    /// Whether this, as a job asks for it, may be that: the same, or the same name where the job leaves type and shape to a model.
    pub fn is_met_by(&self, found: &OutputSpec) -> bool {
        self == found || (self.shape.is_empty() && self.name == found.name)
    }

    /// Bytes an item, tails included, where each has a row.
    pub fn item_bytes(&self) -> u64 {
        self.bytes_from(1)
    }

    /// Bytes an entry, where items keep some of their entries.
    pub fn entry_bytes(&self) -> u64 {
        self.bytes_from(2)
    }

    /// Bytes of so many units with so many items together, tails included: what a device holds of them. A whole job's buffer has one unit.
    pub fn room(&self, units: u64, items: u64) -> u64 {
        match self.layout {
            None | Some(Layout::Lengths(_)) => self.item_bytes().saturating_mul(items),
            Some(Layout::Unit(_)) => self.bytes_from(0).saturating_mul(units),
        }
    }

    /// Bytes of one element of a dimension before this one.
    fn bytes_from(&self, dimension: usize) -> u64 {
        self.shape.iter().skip(dimension).fold(self.dtype.size(), |bytes, dim| bytes.saturating_mul(*dim))
    }
}

/// Checks count and names of outputs.
pub fn check_names(outputs: &[OutputSpec]) -> Result<(), String> {
    if outputs.is_empty() || outputs.len() > MAX_ARRAYS {
        return Err(format!("outputs: between 1 and {MAX_ARRAYS} are allowed"));
    }
    let is_twice = |(at, output): &(usize, &OutputSpec)| outputs[..*at].iter().any(|other| other.name == output.name);
    match outputs.iter().enumerate().find(is_twice) {
        Some((_, output)) => Err(format!("outputs: {} is there twice", output.name)),
        None => Ok(()),
    }
}

/// Checks count, names, shapes, layouts and sizes of outputs of so many items in so many units.
pub fn check_outputs(outputs: &[OutputSpec], items: u64, units: u64) -> Result<(), String> {
    check_names(outputs)?;
    for output in outputs {
        let name = &output.name;
        if output.shape.is_empty() || output.shape.len() > 8 || output.shape.contains(&0) {
            return Err(format!("outputs[{name}].shape: between 1 and 8 dimensions, each at least 1"));
        }
        if !matches!(output.layout, Some(Layout::Unit(_))) && output.shape[0] != items {
            return Err(format!("outputs[{name}].shape: the first dimension must be the {items} items"));
        }
        check_layout(outputs, output).map_err(|why| format!("outputs[{name}].{why}"))?;
        if output.room(units, items) > 1 << 40 {
            return Err(format!("outputs[{name}].shape: over a tebibyte"));
        }
    }
    Ok(())
}

/// Checks what an output's layout asks of it and of others.
fn check_layout(outputs: &[OutputSpec], output: &OutputSpec) -> Result<(), String> {
    match output.layout {
        Some(Layout::Lengths(_)) if output.shape.len() < 2 => {
            Err("shape: the second dimension must be the most entries that an item may keep".into())
        }
        Some(Layout::Lengths(at)) => {
            let lengths = usize::try_from(at).ok().and_then(|at| outputs.get(at));
            let lengths = lengths.ok_or_else(|| format!("lengths: there is no output {at}"))?;
            if lengths.layout.is_some() || lengths.shape.len() != 1 || !lengths.dtype.is_unsigned() {
                let name = &lengths.name;
                return Err(format!(
                    "lengths: {name} must be one number an item, of type uint8, uint16, uint32 or uint64"
                ));
            }
            Ok(())
        }
        Some(Layout::Unit(combine)) if output.dtype.is_float() && combine != Combine::Sum => {
            Err(format!("combine: {} can only be combined by Sum", output.dtype))
        }
        None | Some(Layout::Unit(_)) => Ok(()),
    }
}

/// What one unit has of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitOutput<'a> {
    /// The output.
    pub spec: &'a OutputSpec,
    /// Its items' rows, the entries that they keep one after another, or its copy: little-endian, row-major, canonical NaN.
    pub bytes: &'a [u8],
}

impl UnitOutput<'_> {
    /// The dimensions of these bytes: as many rows or kept entries as they are, or the copy's own.
    fn dims(&self) -> Vec<u64> {
        let (first, skipped) = match self.spec.layout {
            None => (Some(self.spec.item_bytes()), 1),
            Some(Layout::Lengths(_)) => (Some(self.spec.entry_bytes()), 2),
            Some(Layout::Unit(_)) => (None, 0),
        };
        let first = first.map(|bytes| self.bytes.len() as u64 / bytes.max(1));
        first.into_iter().chain(self.spec.shape.iter().skip(skipped).copied()).collect()
    }
}

/// SHA3(frame("orion/unit/v1", task, unit, [[name, dtype, [dims], bytes], ...])), outputs in the order of the spec.
pub fn unit_digest(task: &Digest, unit: u64, outputs: &[UnitOutput<'_>]) -> Digest {
    let dims: Vec<Vec<Part<'_>>> =
        outputs.iter().map(|output| output.dims().into_iter().map(Part::U64).collect()).collect();
    let rows: Vec<[Part<'_>; 4]> = outputs
        .iter()
        .zip(&dims)
        .map(|(output, dims)| {
            let spec = output.spec;
            [Part::Text(spec.name.as_str()), Part::Text(spec.dtype.name()), Part::List(dims), Part::Bytes(output.bytes)]
        })
        .collect();
    let rows: Vec<Part<'_>> = rows.iter().map(|row| Part::List(row)).collect();
    frame_digest("orion/unit/v1", &[Part::Bytes(&task.0), Part::U64(unit), Part::List(&rows)])
}
