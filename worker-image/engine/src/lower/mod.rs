//! From a model and the shapes of its inputs to a program: every shape computed, shape arithmetic folded, operators spelled out
//! in steps. What depends on data that is not known is refused, naming the node.
//!
//! Folding runs the reference, so it changes no bit.

mod elementwise;
mod linear;
mod node;
mod normal;
mod pooling;
mod select;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::{Graph, ValueId};
use crate::program::{self, Action, Program, Run, Slot, Step};
use crate::reference;
use crate::tensor::{Facts, Kind, Tensor};
use node::Call;

/// Why a model cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} ({operator}): {why}")]
pub struct LowerError {
    /// Its name in the file.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Whether the operator itself is unknown here.
    pub unsupported: bool,
    /// What is wrong.
    pub why: String,
}

/// What one model may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a single value.
    pub value_bytes: usize,
    /// Dimensions of a value.
    pub rank: usize,
    /// Bytes of all constants that folding adds.
    pub folded_bytes: usize,
    /// Operations that folding takes.
    pub folded_work: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { value_bytes: 1 << 31, rank: 16, folded_bytes: 1 << 30, folded_work: 1 << 30 }
    }
}

/// Spells a model out for inputs of these types and shapes, one for each of the graph's inputs in their order.
pub fn lower(graph: &Graph, inputs: &[Facts], limits: Limits) -> Result<Program, LowerError> {
    let mut lowering =
        Lowering { graph, limits, folded: 0, worked: 0, program: Program::default(), slots: BTreeMap::new(), node: 0 };
    let whole = |error: Fault| LowerError {
        node: "(the model itself)".into(),
        operator: String::new(),
        unsupported: error.unsupported,
        why: error.why,
    };
    for (input, facts) in graph.inputs.iter().zip(inputs) {
        lowering.bytes(facts).map_err(whole)?;
        let slot = lowering.value(facts.clone());
        lowering.program.inputs.push(slot);
        lowering.slots.insert(input.value, slot);
    }
    for (value, tensor) in &graph.constants {
        let slot = lowering.value(tensor.facts());
        lowering.program.constants.insert(slot, tensor.clone());
        lowering.slots.insert(*value, slot);
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        lowering.node = u32::try_from(at).unwrap_or(u32::MAX);
        let fail = |error: Fault| LowerError {
            node: node.name.clone(),
            operator: node.operator.clone(),
            unsupported: error.unsupported,
            why: error.why,
        };
        let results = lowering.call(node).map_err(fail)?;
        for (value, slot) in node.outputs.iter().zip(results) {
            if let Some(value) = value {
                lowering.slots.insert(*value, slot);
            }
        }
    }
    for output in &graph.outputs {
        let slot = lowering.slots.get(output).copied();
        let slot = slot.ok_or_else(|| whole(format!("nothing makes the output {}", graph.name(*output)).into()))?;
        lowering.program.outputs.push(slot);
    }
    lowering.program.prune();
    Ok(lowering.program)
}

/// Why a node cannot be lowered.
#[derive(Debug)]
pub(crate) struct Fault {
    unsupported: bool,
    why: String,
}

impl<T: Into<String>> From<T> for Fault {
    fn from(why: T) -> Fault {
        Fault { unsupported: false, why: why.into() }
    }
}

type Outcome<T> = Result<T, Fault>;

/// The program as far as it is.
struct Lowering<'g> {
    graph: &'g Graph,
    limits: Limits,
    folded: usize,
    worked: u64,
    program: Program,
    slots: BTreeMap<ValueId, Slot>,
    node: u32,
}

impl Lowering<'_> {
    fn call(&mut self, node: &crate::graph::Node) -> Outcome<Vec<Slot>> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            inputs.push(match input {
                None => None,
                Some(value) => {
                    let slot = self.slots.get(value).copied();
                    Some(slot.ok_or_else(|| format!("{} is used before it is made", self.graph.name(*value)))?)
                }
            });
        }
        let call = Call { node, inputs, opset: self.graph.opset };
        for family in [elementwise::lower, linear::lower, normal::lower, pooling::lower, select::lower, shape::lower] {
            if let Some(results) = family(self, &call)? {
                return Ok(results);
            }
        }
        Err(Fault { unsupported: true, why: "this operator is not supported".into() })
    }

    fn value(&mut self, facts: Facts) -> Slot {
        let slot = Slot(u32::try_from(self.program.values.len()).unwrap_or(u32::MAX));
        self.program.values.push(facts);
        slot
    }

    fn facts(&self, slot: Slot) -> &Facts {
        self.program.facts(slot)
    }

    fn shape(&self, slot: Slot) -> Vec<usize> {
        self.facts(slot).shape.clone()
    }

    /// What the value is, where that is known.
    fn known(&self, slot: Slot) -> Option<&Arc<Tensor>> {
        self.program.constants.get(&slot)
    }

    /// A value that is known. What is large is counted by [`Self::reserve`] before it is made.
    fn constant(&mut self, tensor: Tensor) -> Outcome<Slot> {
        self.reserve(&tensor.facts())?;
        Ok(self.keep(tensor))
    }

    /// Counts a known value, before it takes memory.
    fn reserve(&mut self, facts: &Facts) -> Outcome<()> {
        let bytes = self.bytes(facts)?;
        self.fold(bytes)
    }

    /// Counts bytes that known values take.
    fn fold(&mut self, bytes: usize) -> Outcome<()> {
        self.folded = self.folded.saturating_add(bytes);
        if self.folded > self.limits.folded_bytes {
            return Err(format!("known values take over {} bytes", self.limits.folded_bytes).into());
        }
        Ok(())
    }

    fn keep(&mut self, tensor: Tensor) -> Slot {
        let slot = self.value(tensor.facts());
        self.program.constants.insert(slot, Arc::new(tensor));
        slot
    }

    /// Bytes of a value, within the limits.
    fn bytes(&self, facts: &Facts) -> Outcome<usize> {
        if facts.shape.len() > self.limits.rank {
            return Err(
                format!("makes {} dimensions, at most {} are supported", facts.shape.len(), self.limits.rank).into()
            );
        }
        let bytes = facts.elements().and_then(|count| count.checked_mul(facts.kind.bytes()));
        let most = self.limits.value_bytes;
        bytes.filter(|bytes| *bytes <= most).ok_or_else(|| format!("makes {facts}, over {most} bytes").into())
    }

    /// One more step, or its result where everything it needs is known.
    fn step(&mut self, action: Action, inputs: &[Slot], facts: Facts) -> Outcome<Slot> {
        let bytes = self.bytes(&facts)?;
        if let Action::Map(function) = &action {
            let kinds: Vec<Kind> = inputs.iter().map(|slot| self.facts(*slot).kind).collect();
            if !reference::is_defined(*function, &kinds) {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                return Err(format!("is not defined for {}", kinds.join(" and ")).into());
            }
        }
        let known: Option<Vec<Arc<Tensor>>> = inputs.iter().map(|slot| self.known(*slot).cloned()).collect();
        if let Some(known) = known {
            if facts.elements() == Some(0) {
                // There is nothing to compute, however long its other dimensions are.
                let empty = Tensor::empty(facts).ok_or("has elements")?;
                return Ok(self.keep(empty));
            }
            // Before it is computed.
            let of: Vec<&Facts> = inputs.iter().map(|slot| self.facts(*slot)).collect();
            self.worked = self.worked.saturating_add(program::work(&action, &of, &facts));
            if self.worked > self.limits.folded_work {
                return Err(format!("known values take over {} operations", self.limits.folded_work).into());
            }
            self.fold(bytes)?;
            let known: Vec<&Tensor> = known.iter().map(Arc::as_ref).collect();
            let tensor = reference::step(&action, &known, &facts).map_err(|error| error.to_string())?;
            return Ok(self.keep(tensor));
        }
        let output = self.value(facts);
        self.program.steps.push(Step { action, inputs: inputs.to_vec(), output, node: self.node });
        Ok(output)
    }

    /// The same elements under another shape.
    fn reshape(&mut self, slot: Slot, shape: Vec<usize>) -> Outcome<Slot> {
        let facts = self.facts(slot).clone();
        if facts.shape == shape {
            return Ok(slot);
        }
        let reshaped = Facts { kind: facts.kind, shape };
        if reshaped.elements() != facts.elements() {
            return Err(format!("{facts} does not fill the shape {:?}", reshaped.shape).into());
        }
        self.step(Action::Reshape, &[slot], reshaped)
    }

    /// Dimensions in another order: dimension `i` of the result is `order[i]` of the value.
    fn transpose(&mut self, slot: Slot, order: &[usize]) -> Outcome<Slot> {
        let Facts { kind, shape } = self.facts(slot).clone();
        if order.iter().enumerate().all(|(at, from)| at == *from) {
            return Ok(slot);
        }
        let runs = order.iter().map(|dim| Run::Along(*dim, 1)).collect();
        let action = Action::Move { starts: vec![0; shape.len()], runs };
        let shape = order.iter().map(|dim| shape[*dim]).collect();
        self.step(action, &[slot], Facts { kind, shape })
    }
}
