//! Attributes of nodes: exactly the value that their type names. Graphs, and types that no supported operator has, are refused.

use std::sync::Arc;

use super::error::{Fault, Name};
use super::limits::{Limits, at_most};
use super::proto::AttributeProto;
use super::proto::attribute_proto::AttributeType;
use super::tensor;
use crate::graph::Attribute;

/// Reads one; `room` is what all constants together may still take.
pub(super) fn read(proto: AttributeProto, limits: &Limits, room: &mut usize) -> Result<Attribute, Fault> {
    if !proto.ref_attr_name().is_empty() {
        return Err(Fault::Unsupported("references to attributes of functions"));
    }
    if proto.g.is_some() || !proto.graphs.is_empty() {
        return Err(Fault::Subgraph);
    }
    let says = proto.r#type.unwrap_or_default();
    let says = AttributeType::try_from(says).map_err(|_| Fault::AttributeType(Name::new(&says.to_string())))?;
    only(&proto, says)?;
    // A writer of proto3 leaves zeros out.
    match says {
        AttributeType::Int => Ok(Attribute::Int(proto.i())),
        AttributeType::Float => Ok(Attribute::Float(proto.f())),
        AttributeType::String => {
            at_most("bytes of text", proto.s().len(), limits.name_bytes)?;
            let text = std::str::from_utf8(proto.s()).map_err(|_| Fault::Text)?;
            Ok(Attribute::Text(text.to_owned()))
        }
        AttributeType::Tensor => {
            let proto = proto.t.ok_or(Fault::Missing("tensor"))?;
            Ok(Attribute::Tensor(Arc::new(tensor::read(*proto, limits, room)?)))
        }
        AttributeType::Ints => {
            at_most("numbers in the list", proto.ints.len(), limits.list)?;
            Ok(Attribute::Ints(proto.ints))
        }
        AttributeType::Floats => {
            at_most("numbers in the list", proto.floats.len(), limits.list)?;
            Ok(Attribute::Floats(proto.floats))
        }
        AttributeType::Graph | AttributeType::Graphs => Err(Fault::Subgraph),
        AttributeType::Undefined => Err(Fault::Missing("type")),
        other => Err(Fault::AttributeType(Name::new(&other.as_str_name().to_lowercase()))),
    }
}

/// Refuses a value beside the one of the type: which of them is meant would be a guess.
fn only(proto: &AttributeProto, says: AttributeType) -> Result<(), Fault> {
    let there = [
        (AttributeType::Float, proto.f.is_some()),
        (AttributeType::Int, proto.i.is_some()),
        (AttributeType::String, proto.s.is_some()),
        (AttributeType::Tensor, proto.t.is_some()),
        (AttributeType::SparseTensor, proto.sparse_tensor.is_some()),
        (AttributeType::TypeProto, proto.tp.is_some()),
        (AttributeType::Floats, !proto.floats.is_empty()),
        (AttributeType::Ints, !proto.ints.is_empty()),
        (AttributeType::Strings, !proto.strings.is_empty()),
        (AttributeType::Tensors, !proto.tensors.is_empty()),
        (AttributeType::SparseTensors, !proto.sparse_tensors.is_empty()),
        (AttributeType::TypeProtos, !proto.type_protos.is_empty()),
    ];
    let other = there.into_iter().find(|(holds, there)| *there && *holds != says);
    other.map_or(Ok(()), |(holds, _)| Err(Fault::Holds { says: says.as_str_name(), holds: holds.as_str_name() }))
}
