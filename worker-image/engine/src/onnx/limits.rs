//! How much of a file is read, each bound with its reason.

use super::error::Fault;

/// Bounds on a file. What decoding makes of it is bounded besides, by [`crate::onnx::read`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Bytes of all constants together, as they lie in memory.
    pub constant_bytes: usize,
    /// Nodes.
    pub nodes: usize,
    /// Values: inputs, constants and what nodes make.
    pub values: usize,
    /// Inputs of a node, and outputs.
    pub operands: usize,
    /// Attributes of a node.
    pub attributes: usize,
    /// Numbers in an attribute.
    pub list: usize,
    /// Bytes of a name, or of a text attribute.
    pub name_bytes: usize,
    /// Dimensions of a tensor.
    pub rank: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // GPT-2 small, exported with its embedding twice, has 652 MB. Constants are copied out of the file, so reading
            // takes twice this.
            file_bytes: 1 << 30,
            constant_bytes: 1 << 30,
            // GPT-2 small with dynamic shapes has 2,841.
            nodes: 1 << 15,
            // Four a node.
            values: 1 << 17,
            // A Concat of the attention heads of a large model has some hundreds.
            operands: 4096,
            // Operators of opset 22 have at most a dozen.
            attributes: 64,
            // Lists are axes, pads and small tables; larger ones are tensors.
            list: 1 << 16,
            // Exporters put the path of the module into names: about a hundred bytes.
            name_bytes: 1024,
            // As npy files are read.
            rank: 8,
        }
    }
}

/// Refuses more than there may be.
pub(super) fn at_most(what: &'static str, have: usize, max: usize) -> Result<(), Fault> {
    if have > max {
        return Err(Fault::Limit { what, have: have as u64, max: max as u64 });
    }
    Ok(())
}
