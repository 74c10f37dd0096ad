//! A model as a graph: nodes in an order in which everything is made before it is used, values by number.
//!
//! This is what the readers of model files give and what everything after them works on. It holds names and attributes as the file
//! had them; what an operator makes of them is in `ops`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::tensor::{Kind, Tensor};

/// A value: an input, a constant, or what a node makes. An index into [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

/// A model.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Names of all values, for messages.
    pub values: Vec<String>,
    /// What must be given, in the order of the file.
    pub inputs: Vec<Input>,
    /// Values that the file holds.
    pub constants: BTreeMap<ValueId, Arc<Tensor>>,
    /// In an order in which every value is made before it is used.
    pub nodes: Vec<Node>,
    /// What the model is for, in the order of the file.
    pub outputs: Vec<ValueId>,
    /// Version of the operators' definitions (opset of the default domain).
    pub opset: i64,
}

/// An input as the file declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Which value.
    pub value: ValueId,
    /// Element type.
    pub kind: Kind,
    /// Dimensions; `None` where the file says nothing at all of them.
    pub shape: Option<Vec<Dim>>,
}

/// A dimension of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Fixed.
    Known(usize),
    /// Named: the same name has the same length everywhere.
    Named(String),
    /// Not said.
    Free,
}

/// One application of an operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in the file, or its number there: for messages.
    pub name: String,
    /// The operator's name.
    pub operator: String,
    /// What it takes; optional ones may be absent.
    pub inputs: Vec<Option<ValueId>>,
    /// What it makes; what nobody asks for is absent.
    pub outputs: Vec<Option<ValueId>>,
    /// By name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A fixed parameter of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// Text.
    Text(String),
    /// An array.
    Tensor(Arc<Tensor>),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
}

impl Graph {
    /// The name of a value.
    pub fn name(&self, value: ValueId) -> &str {
        self.values.get(value.0 as usize).map_or("?", String::as_str)
    }
}
