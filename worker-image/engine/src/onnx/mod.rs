//! ONNX files: from bytes that anybody may have written to a [`Graph`], or to a message that names the node or tensor at fault.
//!
//! Read is what inference needs: one graph of ONNX's own operators, its data inside the file, elements of float32, int64, int32
//! and bool. Refused are other domains, functions, control flow, training, sparse tensors, data in other files, other element
//! types, and whatever could be understood in two ways: fields that are there twice, elements in two lists, a value made twice.
//! Nodes have to be sorted, as ONNX demands; they are not sorted here, so that their order is the file's, and a cycle is seen
//! where it begins. What operators mean, and whether they are known, is not this module's to say. Names are kept as they are:
//! whoever makes a file's name of one has to look at it first.
//!
//! The order of refusals is: the bytes ([`scan`]), the decoder, the versions, then constants, inputs, nodes and outputs.

mod attribute;
mod build;
mod declared;
mod error;
mod generated;
mod limits;
mod scan;
mod tensor;

use bytes::Bytes;
use prost::Message;

pub use error::{Fault, Name, Place, ReadError};
pub use generated::proto;
pub use limits::Limits;

use crate::graph::Graph;

/// The version of the format before which operators had no versions.
const FIRST_IR: i64 = 3;
/// The last version looked at (onnx 1.21). Versions 11 to 13 add element types, which are refused where they are met, and hints
/// for several devices, which are skipped; `onnx.helper` writes the newest version whatever the operators'.
const LAST_IR: i64 = 13;
/// Before this, arithmetic broadcast by attributes, in a way of its own.
const FIRST_OPSET: i64 = 7;
/// The last version of the operators' definitions that the conformance suite (onnx 1.17) tests.
const LAST_OPSET: i64 = 22;

/// Reads a model.
///
/// Guarantees: takes at most 64 MiB and sixteen times the file's length in memory beside the file itself, whatever the file
/// holds; every value of the graph is an input, a constant or made by exactly one node, before it is used.
pub fn read(file: Bytes, limits: &Limits) -> Result<Graph, ReadError> {
    if file.is_empty() {
        return Err(Fault::Empty.at(Place::Model));
    }
    limits::at_most("bytes of the file", file.len(), limits.file_bytes).map_err(|fault| fault.at(Place::Model))?;
    scan::scan(&file)?;
    let model = proto::ModelProto::decode(file).map_err(|error| Fault::Decode(error).at(Place::Model))?;
    let opset = versions(&model).map_err(|fault| fault.at(Place::Model))?;
    let graph = model.graph.ok_or_else(|| Fault::Missing("graph").at(Place::Model))?;
    build::build(graph, opset, limits)
}

/// The version of ONNX's own operators. Other domains may be named: exporters do so for operators that they do not use.
fn versions(model: &proto::ModelProto) -> Result<i64, Fault> {
    let ir = model.ir_version.ok_or(Fault::Missing("IR version"))?;
    if !(FIRST_IR..=LAST_IR).contains(&ir) {
        return Err(Fault::IrVersion(ir));
    }
    if !model.functions.is_empty() {
        return Err(Fault::Unsupported("functions"));
    }
    if !model.training_info.is_empty() {
        return Err(Fault::Unsupported("graphs for training"));
    }
    let mut own = model.opset_import.iter().filter(|import| matches!(import.domain(), "" | "ai.onnx"));
    let opset = own.next().ok_or(Fault::Missing("opset of ONNX's own operators"))?.version();
    if own.next().is_some() {
        return Err(Fault::Twice("opset_import of ONNX's own operators"));
    }
    if !(FIRST_OPSET..=LAST_OPSET).contains(&opset) {
        return Err(Fault::Opset(opset));
    }
    Ok(opset)
}
