//! Tensors of a file: data inside the file, of a supported type, exactly as much as the shape says.

use bytes::Bytes;

use super::error::{Fault, Name};
use super::limits::{Limits, at_most};
use super::proto::TensorProto;
use super::proto::tensor_proto::{DataLocation, DataType};
use crate::tensor::{Data, Facts, Kind, Tensor, product};

/// Reads one; `room` is what all constants together may still take.
pub(super) fn read(mut proto: TensorProto, limits: &Limits, room: &mut usize) -> Result<Tensor, Fault> {
    if !proto.external_data.is_empty() || proto.data_location == Some(DataLocation::External as i32) {
        return Err(Fault::External);
    }
    if proto.segment.is_some() {
        return Err(Fault::Unsupported("tensors in segments"));
    }
    let kind = kind(proto.data_type)?;
    let shape = shape(&proto.dims, limits)?;
    let want = product(&shape).map(|elements| elements * kind.bytes()).ok_or_else(|| Fault::Shape(shape.clone()))?;
    charge(want, limits, room)?;
    let facts = Facts { kind, shape };
    only(&proto, kind)?;
    match proto.raw_data.take() {
        Some(raw) => from_raw(facts, &raw, want),
        None => Ok(Tensor::new(facts.shape, listed(&mut proto, kind)?)?),
    }
}

/// Takes room for a constant.
pub(super) fn charge(bytes: usize, limits: &Limits, room: &mut usize) -> Result<(), Fault> {
    let taken = limits.constant_bytes.saturating_sub(*room);
    at_most("bytes of constants", taken.saturating_add(bytes), limits.constant_bytes)?;
    *room = room.saturating_sub(bytes);
    Ok(())
}

/// The element type by its number in the schema.
pub(super) fn kind(number: Option<i32>) -> Result<Kind, Fault> {
    let number = number.unwrap_or_default();
    match DataType::try_from(number) {
        Ok(DataType::Float) => Ok(Kind::F32),
        Ok(DataType::Int64) => Ok(Kind::I64),
        Ok(DataType::Int32) => Ok(Kind::I32),
        Ok(DataType::Bool) => Ok(Kind::Bool),
        Ok(DataType::Undefined) => Err(Fault::Missing("element type")),
        Ok(other) => Err(Fault::Type(Name::new(&other.as_str_name().to_lowercase()))),
        Err(_) => Err(Fault::Type(Name::new(&number.to_string()))),
    }
}

/// A length out of the file.
pub(super) fn dimension(dim: i64) -> Result<usize, Fault> {
    usize::try_from(dim).map_err(|_| Fault::Dimension(dim))
}

fn shape(dims: &[i64], limits: &Limits) -> Result<Vec<usize>, Fault> {
    at_most("dimensions", dims.len(), limits.rank)?;
    dims.iter().map(|dim| dimension(*dim)).collect()
}

/// Refuses elements where the type does not have them: which of two lists is meant would be a guess.
fn only(proto: &TensorProto, kind: Kind) -> Result<(), Fault> {
    let raw = proto.raw_data.is_some();
    let lists = [
        ("float_data", proto.float_data.len(), !raw && kind == Kind::F32),
        ("int32_data", proto.int32_data.len(), !raw && matches!(kind, Kind::I32 | Kind::Bool)),
        ("int64_data", proto.int64_data.len(), !raw && kind == Kind::I64),
        ("string_data", proto.string_data.len(), false),
        ("double_data", proto.double_data.len(), false),
        ("uint64_data", proto.uint64_data.len(), false),
    ];
    let wrong = lists.into_iter().find(|(_, len, right)| *len > 0 && !right);
    wrong.map_or(Ok(()), |(field, _, _)| Err(Fault::Elsewhere(field)))
}

fn from_raw(facts: Facts, raw: &Bytes, want: usize) -> Result<Tensor, Fault> {
    if raw.len() != want {
        return Err(Fault::Raw { facts: facts.into(), have: raw.len(), want });
    }
    if facts.kind == Kind::Bool {
        raw.iter().try_for_each(|byte| truth(i64::from(*byte)).map(drop))?;
    }
    Ok(Tensor::from_le_bytes(facts, raw)?)
}

/// The list that the type has; nothing is copied but truth values.
fn listed(proto: &mut TensorProto, kind: Kind) -> Result<Data, Fault> {
    Ok(match kind {
        Kind::F32 => Data::F32(fitting(std::mem::take(&mut proto.float_data))),
        Kind::I64 => Data::I64(fitting(std::mem::take(&mut proto.int64_data))),
        Kind::I32 => Data::I32(fitting(std::mem::take(&mut proto.int32_data))),
        Kind::Bool => {
            let list = std::mem::take(&mut proto.int32_data);
            Data::Bool(list.into_iter().map(|value| truth(i64::from(value))).collect::<Result<_, _>>()?)
        }
    })
}

/// Without the room that decoding left for growth.
fn fitting<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

fn truth(value: i64) -> Result<bool, Fault> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Fault::Truth(other)),
    }
}
