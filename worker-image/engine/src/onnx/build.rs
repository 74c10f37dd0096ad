//! From the messages of a file to a graph: every value is made once and before it is used, and every node is one that this
//! engine may know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::error::{Fault, Name, Place, ReadError};
use super::limits::{Limits, at_most};
use super::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use super::{attribute, declared, tensor};
use crate::graph::{Attribute, Graph, Input, Node, ValueId};
use crate::tensor::Tensor;

/// A graph of operators of this version.
pub(super) fn build(proto: GraphProto, opset: i64, limits: &Limits) -> Result<Graph, ReadError> {
    if !proto.sparse_initializer.is_empty() {
        return Err(Fault::Unsupported("sparse initializers").at(Place::Model));
    }
    at_most("nodes", proto.node.len(), limits.nodes).map_err(|fault| fault.at(Place::Model))?;
    let graph = Graph { opset, ..Graph::default() };
    let mut builder = Builder { graph, ids: HashMap::new(), room: limits.constant_bytes, limits };
    for initializer in proto.initializer {
        let place = Place::Tensor(Name::new(initializer.name()));
        let value = builder.make(initializer.name()).map_err(|fault| fault.at(place.clone()))?;
        let tensor = tensor::read(initializer, limits, &mut builder.room).map_err(|fault| fault.at(place))?;
        builder.graph.constants.insert(value, Arc::new(tensor));
    }
    builder.inputs(&proto.input)?;
    builder.nodes(proto.node)?;
    builder.outputs(&proto.output)?;
    Ok(builder.graph)
}

struct Builder<'a> {
    graph: Graph,
    ids: HashMap<String, ValueId>,
    /// Bytes that constants may still take.
    room: usize,
    limits: &'a Limits,
}

impl Builder<'_> {
    /// A new value of this name.
    fn make(&mut self, name: &str) -> Result<ValueId, Fault> {
        if name.is_empty() {
            return Err(Fault::Missing("name"));
        }
        at_most("bytes of a value's name", name.len(), self.limits.name_bytes)?;
        at_most("values", self.ids.len() + 1, self.limits.values)?;
        let id = ValueId(u32::try_from(self.ids.len()).map_err(|_| Fault::Unsupported("so many values"))?);
        if self.ids.insert(name.to_owned(), id).is_some() {
            return Err(Fault::Exists(Name::new(name)));
        }
        self.graph.values.push(name.to_owned());
        Ok(id)
    }

    /// An input with an initializer of its name is a constant: before IR version 4 every initializer had to be declared as an
    /// input, and since then it is a default, which nobody overrides here.
    fn inputs(&mut self, inputs: &[ValueInfoProto]) -> Result<(), ReadError> {
        let mut seen = HashSet::new();
        for input in inputs {
            self.input(input, &mut seen).map_err(|fault| fault.at(Place::Input(Name::new(input.name()))))?;
        }
        Ok(())
    }

    fn input<'p>(&mut self, input: &'p ValueInfoProto, seen: &mut HashSet<&'p str>) -> Result<(), Fault> {
        let declared = declared::read(input, self.limits)?.ok_or(Fault::Missing("type"))?;
        if !seen.insert(input.name()) {
            return Err(Fault::Exists(Name::new(input.name())));
        }
        if let Some(constant) = self.ids.get(input.name()).and_then(|id| self.graph.constants.get(id)) {
            return declared.check(&constant.facts());
        }
        let value = self.make(input.name())?;
        self.graph.inputs.push(Input { value, kind: declared.kind, shape: declared.shape });
        Ok(())
    }

    fn nodes(&mut self, nodes: Vec<NodeProto>) -> Result<(), ReadError> {
        let mut nodes = nodes.into_iter();
        let mut number = 0;
        while let Some(mut node) = nodes.next() {
            let place = place(&node, number, None);
            let attributes = std::mem::take(&mut node.attribute);
            self.check(&node).map_err(|fault| fault.at(place.clone()))?;
            let unknown = node.input.iter().find(|name| !name.is_empty() && !self.ids.contains_key(*name));
            if let Some(value) = unknown {
                return Err(unmade(value, &node, number, nodes.as_slice()).at(place));
            }
            let attributes = self.attributes(attributes, &node, number)?;
            self.node(node, number, attributes).map_err(|fault| fault.at(place))?;
            number += 1;
        }
        Ok(())
    }

    /// What can be said of a node before its operands are looked up.
    fn check(&self, node: &NodeProto) -> Result<(), Fault> {
        if !matches!(node.domain(), "" | "ai.onnx") {
            return Err(Fault::Domain(Name::new(node.domain())));
        }
        if node.op_type().is_empty() {
            return Err(Fault::Missing("operator"));
        }
        if !node.overload().is_empty() {
            return Err(Fault::Unsupported("functions"));
        }
        at_most("bytes of its operator's name", node.op_type().len(), self.limits.name_bytes)?;
        at_most("bytes of its name", node.name().len(), self.limits.name_bytes)?;
        at_most("inputs", node.input.len(), self.limits.operands)?;
        at_most("outputs", node.output.len(), self.limits.operands)?;
        if node.output.iter().all(String::is_empty) {
            return Err(Fault::Missing("outputs"));
        }
        Ok(())
    }

    fn attributes(
        &mut self,
        protos: Vec<AttributeProto>,
        node: &NodeProto,
        number: usize,
    ) -> Result<BTreeMap<String, Attribute>, ReadError> {
        let max = self.limits.attributes;
        at_most("attributes", protos.len(), max).map_err(|fault| fault.at(place(node, number, None)))?;
        let mut attributes = BTreeMap::new();
        for mut proto in protos {
            let name = proto.name.take().unwrap_or_default();
            let place = place(node, number, Some(&name));
            self.attribute(name, proto, &mut attributes).map_err(|fault| fault.at(place))?;
        }
        Ok(attributes)
    }

    fn attribute(
        &mut self,
        name: String,
        proto: AttributeProto,
        attributes: &mut BTreeMap<String, Attribute>,
    ) -> Result<(), Fault> {
        if name.is_empty() {
            return Err(Fault::Missing("name"));
        }
        at_most("bytes of its name", name.len(), self.limits.name_bytes)?;
        let read = attribute::read(proto, self.limits, &mut self.room)?;
        attributes.insert(name, read).map_or(Ok(()), |_| Err(Fault::Repeated))
    }

    fn node(&mut self, node: NodeProto, number: usize, attributes: BTreeMap<String, Attribute>) -> Result<(), Fault> {
        if node.op_type() == "Constant" {
            return self.constant(&node, attributes);
        }
        let inputs = node.input.iter().map(|name| self.ids.get(name).copied()).collect();
        let mut outputs = Vec::with_capacity(node.output.len());
        for name in &node.output {
            outputs.push(if name.is_empty() { None } else { Some(self.make(name)?) });
        }
        let name = node.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("#{number}"));
        let operator = node.op_type.unwrap_or_default();
        self.graph.nodes.push(Node { name, operator, inputs, outputs, attributes });
        Ok(())
    }

    /// Constants are no nodes of the graph.
    fn constant(&mut self, node: &NodeProto, mut attributes: BTreeMap<String, Attribute>) -> Result<(), Fault> {
        let (true, [output]) = (node.input.is_empty(), node.output.as_slice()) else {
            return Err(Fault::ConstantOperands);
        };
        let tensor = match (attributes.pop_first(), attributes.is_empty()) {
            (Some((name, attribute)), true) => constant(&name, attribute, self.limits, &mut self.room)?,
            _ => return Err(Fault::Constant),
        };
        let value = self.make(output)?;
        self.graph.constants.insert(value, tensor);
        Ok(())
    }

    fn outputs(&mut self, outputs: &[ValueInfoProto]) -> Result<(), ReadError> {
        let mut seen = HashSet::new();
        for output in outputs {
            self.output(output, &mut seen).map_err(|fault| fault.at(Place::Output(Name::new(output.name()))))?;
        }
        if seen.is_empty() {
            return Err(Fault::Missing("outputs").at(Place::Model));
        }
        Ok(())
    }

    /// Its shape is what the nodes make of the inputs': only a type that cannot be is refused here.
    fn output<'p>(&mut self, output: &'p ValueInfoProto, seen: &mut HashSet<&'p str>) -> Result<(), Fault> {
        declared::read(output, self.limits)?;
        if !seen.insert(output.name()) {
            return Err(Fault::Exists(Name::new(output.name())));
        }
        let value = *self.ids.get(output.name()).ok_or(Fault::Unmade)?;
        self.graph.outputs.push(value);
        Ok(())
    }
}

fn place(node: &NodeProto, number: usize, attribute: Option<&str>) -> Place {
    let name = (!node.name().is_empty()).then(|| Name::new(node.name()));
    Place::Node { name, number, operator: Name::new(node.op_type()), attribute: attribute.map(Name::new) }
}

/// Why a node cannot take a value: nobody makes it, or this node or a later one does.
fn unmade(value: &str, node: &NodeProto, number: usize, later: &[NodeProto]) -> Fault {
    let candidates = std::iter::once(node).chain(later).enumerate();
    let maker = candidates.into_iter().find(|(_, node)| node.output.iter().any(|name| name == value));
    match maker {
        Some((after, maker)) => {
            Fault::Unsorted { value: Name::new(value), maker: Box::new(place(maker, number + after, None)) }
        }
        None => Fault::Undefined(Name::new(value)),
    }
}

fn constant(name: &str, attribute: Attribute, limits: &Limits, room: &mut usize) -> Result<Arc<Tensor>, Fault> {
    let made = match (name, attribute) {
        // Counted when it was read.
        ("value", Attribute::Tensor(tensor)) => return Ok(tensor),
        ("value_float", Attribute::Float(value)) => Tensor::scalar(value),
        ("value_int", Attribute::Int(value)) => Tensor::scalar(value),
        ("value_floats", Attribute::Floats(values)) => Tensor::list(values),
        ("value_ints", Attribute::Ints(values)) => Tensor::list(values),
        _ => return Err(Fault::Constant),
    };
    tensor::charge(made.data().len() * made.data().kind().bytes(), limits, room)?;
    Ok(Arc::new(made))
}
