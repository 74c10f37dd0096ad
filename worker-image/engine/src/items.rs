//! Whether a model may work on several items at once. A job's result for an item is what the model gives for that item alone; a batch is a
//! rewrite that keeps every bit only if no item looks at another one. That is proven here, step by step, or the batch is refused.
//!
//! A value that depends on items has them along one of its dimensions. Everything else about it must be the same for every item and for every
//! length of the batch.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::program::{Action, MatMul, Program, Run, Slot, Step};
use crate::tensor::{Data, Facts, Tensor};

/// Along which dimension the items of a value lie: index i of that dimension belongs to item `i / inner % batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Items {
    axis: usize,
    inner: usize,
}

/// A step in which items meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {why}")]
pub struct Mixed {
    /// Which step.
    pub step: usize,
    /// The model's node that it comes from.
    pub node: u32,
    /// What happens there.
    pub why: String,
}

type Traced = Result<Option<Items>, String>;

/// Bytes of constants that a proof looks at, at most: a model may use a large one ten thousand times. Beyond that nothing is proven.
const MOST_LOOKS: usize = 1 << 30;

/// Bytes of constants that were looked at.
#[derive(Default)]
struct Looks(Cell<usize>);

impl Looks {
    /// Whether a constant may be looked at, too.
    fn may(&self, tensor: &Tensor) -> bool {
        let bytes = tensor.data().len().saturating_mul(tensor.facts().kind.bytes());
        self.0.set(self.0.get().saturating_add(bytes));
        self.0.get() <= MOST_LOOKS
    }
}

/// What is known of a program in which items do not meet.
pub struct Proof {
    batch: usize,
    of: Vec<Option<Items>>,
    looks: Looks,
}

/// Proves that the program computes each of `batch` items without looking at another one. `rows` says of each input whether its first dimension
/// is the items; that of every output must be.
pub fn prove(program: &Program, batch: usize, rows: &[bool]) -> Result<Proof, Mixed> {
    let mut tracer = Tracer { program, batch, of: vec![None; program.values.len()], looks: Looks::default() };
    for (slot, rows) in program.inputs.iter().zip(rows) {
        if *rows {
            tracer.of[slot.0 as usize] = Some(Items { axis: 0, inner: 1 });
        }
    }
    for (at, step) in program.steps.iter().enumerate() {
        let items = tracer.step(step).map_err(|why| Mixed { step: at, node: step.node, why })?;
        tracer.of[step.output.0 as usize] = items;
    }
    for slot in &program.outputs {
        let facts = program.facts(*slot);
        let first = tracer.of(*slot) == Some(Items { axis: 0, inner: 1 }) && facts.shape.first() == Some(&batch);
        if !first {
            let why =
                format!("an output, {facts}, does not have the {batch} items as its first dimension, and nothing else");
            return Err(Mixed { step: program.steps.len(), node: u32::MAX, why });
        }
    }
    Ok(Proof { batch, of: tracer.of, looks: tracer.looks })
}

impl Proof {
    /// Whether each item's result is that of the program for one item alone: the same steps on the same values, so that the number of items enters
    /// nothing but lengths. A model may ask how many it is given, and cut or divide by it.
    pub fn is_that_of_one(&self, together: &Program, alone: &Program) -> bool {
        let inputs = together.inputs.iter().copied().zip(alone.inputs.iter().copied());
        let mut same: BTreeMap<Slot, Slot> = inputs.collect();
        let mut others = alone.steps.iter().peekable();
        for step in &together.steps {
            let is_other = |other: &&Step| self.is_same_step((together, step), (alone, other), &same);
            let of = match others.next_if(is_other) {
                Some(other) => Some(other.output),
                None if changes_nothing_alone(step) => step.inputs.first().and_then(|slot| same.get(slot)).copied(),
                None => None,
            };
            let Some(of) = of.filter(|of| self.has_lengths_of(together, step.output, alone.facts(*of))) else {
                return false;
            };
            same.insert(step.output, of);
        }
        let outputs = together.outputs.iter().map(|slot| same.get(slot)).eq(alone.outputs.iter().map(Some));
        others.next().is_none() && outputs
    }

    fn is_same_step(
        &self,
        (together, step): (&Program, &Step),
        (alone, other): (&Program, &Step),
        same: &BTreeMap<Slot, Slot>,
    ) -> bool {
        let operands = |(slot, there): (&Slot, &Slot)| match (together.constants.get(slot), alone.constants.get(there))
        {
            (Some(whole), Some(single)) => {
                Arc::ptr_eq(whole, single)
                    || self.looks.may(whole)
                        && (same_bits(whole, single) || self.is_repeated(together, step, whole, single))
            }
            (None, None) => same.get(slot) == Some(there),
            _ => false,
        };
        step.node == other.node
            && step.action == other.action
            && step.inputs.len() == other.inputs.len()
            && step.inputs.iter().zip(&other.inputs).all(operands)
    }

    /// Whether a constant is that of one item, once for each item, where the step meets items one by one.
    fn is_repeated(&self, together: &Program, step: &Step, whole: &Tensor, single: &Tensor) -> bool {
        let Some(items) = self.of[step.output.0 as usize] else { return false };
        let rank = together.facts(step.output).shape.len();
        let last = match step.action {
            Action::Map(_) | Action::Concat { .. } => rank,
            Action::MatMul(_) => rank.saturating_sub(2),
            _ => return false,
        };
        let (shape, one) = (whole.shape(), single.shape());
        let differing: Vec<usize> = (0..shape.len().min(one.len())).filter(|dim| shape[*dim] != one[*dim]).collect();
        let &[axis] = differing.as_slice() else { return false };
        let place = Items { axis: axis + rank - shape.len(), inner: one[axis] };
        shape.len() == one.len()
            && place == items
            && items.axis < last
            && shape[axis] == self.batch * one[axis]
            && is_constant_along(whole, Items { axis, inner: one[axis] }, self.batch)
            && first_of(whole, axis, one[axis]) == single.to_le_bytes()
    }

    /// Whether a value's dimensions are those of one item, but that of the items.
    fn has_lengths_of(&self, together: &Program, slot: Slot, one: &Facts) -> bool {
        let facts = together.facts(slot);
        let axis = self.of[slot.0 as usize].map(|items| items.axis);
        let dims = facts.shape.iter().zip(&one.shape).enumerate();
        let same = |(dim, (these, one)): (usize, (&usize, &usize))| {
            if Some(dim) == axis { *these == one * self.batch } else { these == one }
        };
        facts.kind == one.kind && facts.shape.len() == one.shape.len() && dims.into_iter().all(same)
    }
}

/// Whether a step leaves every element where it was as far as one item goes: another shape, or repetitions.
fn changes_nothing_alone(step: &Step) -> bool {
    match &step.action {
        Action::Reshape => true,
        Action::Move { starts, runs } => {
            let ascending =
                runs.iter().filter_map(|run| if let Run::Along(dim, step) = run { Some((*dim, *step)) } else { None });
            starts.iter().all(|start| *start == 0)
                && ascending.is_sorted_by(|a, b| a.0 < b.0 && a.1 == 1 && b.1 == 1)
                && runs.iter().all(|run| matches!(run, Run::Repeat | Run::Along(_, 1)))
        }
        _ => false,
    }
}

/// Bits, so that NaN equals itself and -0 does not equal +0.
fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.shape() == b.shape()
        && match (a.data(), b.data()) {
            (Data::F32(x), Data::F32(y)) => x.iter().map(|x| x.to_bits()).eq(y.iter().map(|y| y.to_bits())),
            (x, y) => x == y,
        }
}

/// The bytes of the first `inner` entries along a dimension.
fn first_of(tensor: &Tensor, axis: usize, inner: usize) -> Vec<u8> {
    let facts = tensor.facts();
    let element = facts.kind.bytes() * facts.shape[axis + 1..].iter().product::<usize>();
    let (line, kept) = (element * facts.shape[axis], element * inner);
    tensor.to_le_bytes().chunks_exact(line.max(1)).flat_map(|line| &line[..kept]).copied().collect()
}

/// Whether a constant has the same elements for every item.
fn is_constant_along(tensor: &Tensor, items: Items, batch: usize) -> bool {
    let facts = tensor.facts();
    let element = facts.kind.bytes() * facts.shape[items.axis + 1..].iter().product::<usize>();
    let block = element * items.inner;
    let bytes = tensor.to_le_bytes();
    block == 0
        || bytes.chunks_exact(block * batch).all(|blocks| {
            let mut blocks = blocks.chunks_exact(block);
            let first = blocks.next();
            blocks.all(|block| Some(block) == first)
        })
}

struct Tracer<'p> {
    program: &'p Program,
    batch: usize,
    of: Vec<Option<Items>>,
    looks: Looks,
}

impl Tracer<'_> {
    fn of(&self, slot: Slot) -> Option<Items> {
        self.of[slot.0 as usize]
    }

    fn shape(&self, slot: Slot) -> &[usize] {
        &self.program.facts(slot).shape
    }

    fn step(&self, step: &Step) -> Traced {
        if step.inputs.iter().all(|slot| self.of(*slot).is_none()) {
            return Ok(None);
        }
        let out = self.shape(step.output);
        let [first, ..] = step.inputs.as_slice() else { return Ok(None) };
        let rank = self.shape(*first).len();
        match &step.action {
            Action::Reshape => self.reshape(*first, out),
            Action::Map(_) => self.aligned(&step.inputs, out.len(), |_| true),
            Action::MatMul(matmul) => self.matmul(*matmul, &step.inputs, out.len()),
            Action::Conv(_) => self.alone(step, |axis| axis == 0),
            Action::Pool(_) => self.alone(step, |axis| axis < 2),
            Action::Reduce(_) | Action::Softmax { .. } | Action::LayerNorm { .. } => {
                self.alone(step, |axis| axis + 1 < rank)
            }
            Action::ArgMax { axis: along, .. } | Action::CumSum { axis: along, .. } => {
                self.alone(step, |axis| axis != *along)
            }
            Action::Trilu { .. } => self.alone(step, |axis| axis + 2 < rank),
            Action::Concat { axis: along } => self.aligned(&step.inputs, out.len(), |axis| axis != *along),
            Action::Pad { before, .. } => {
                let input = self.shape(*first);
                self.alone(step, |axis| before[axis] == 0 && input[axis] == out[axis])
            }
            Action::Move { starts, runs } => self.moved(*first, starts, runs, out),
            Action::Gather { axis } => self.gather(&step.inputs, *axis),
            Action::ScatterNd => Err("elements are scattered among items".into()),
        }
    }

    /// A step whose first operand alone may depend on items, which stay where they are.
    fn alone(&self, step: &Step, may_be: impl Fn(usize) -> bool) -> Traced {
        let Some((first, others)) = step.inputs.split_first() else { return Ok(None) };
        if others.iter().any(|slot| self.of(*slot).is_some()) {
            return Err("a parameter of it depends on an item".into());
        }
        match self.of(*first) {
            Some(items) if !may_be(items.axis) => Err("it runs across items".into()),
            items => Ok(items),
        }
    }

    /// Operands whose dimensions are aligned at the end: those that depend on items have them along the same one, the others are the same for all.
    fn aligned(&self, slots: &[Slot], rank: usize, may_be: impl Fn(usize) -> bool) -> Traced {
        let place = |slot: Slot| {
            self.of(slot).map(|items| Items { axis: items.axis + rank - self.shape(slot).len(), inner: items.inner })
        };
        let mut found: Option<Items> = None;
        for items in slots.iter().filter_map(|slot| place(*slot)) {
            if found.is_some_and(|found| found != items) {
                return Err("operands have their items along different dimensions".into());
            }
            found = Some(items);
        }
        let Some(items) = found else { return Ok(None) };
        if !may_be(items.axis) {
            return Err("it runs across items".into());
        }
        for slot in slots.iter().filter(|slot| self.of(**slot).is_none()) {
            let shape = self.shape(*slot);
            let own = (items.axis + shape.len()).checked_sub(rank).filter(|own| shape[*own] != 1);
            if let Some(axis) = own
                && !self.is_constant_along(*slot, Items { axis, ..items })
            {
                return Err("an operand is not the same for all items".into());
            }
        }
        Ok(Some(items))
    }

    fn is_constant_along(&self, slot: Slot, items: Items) -> bool {
        let constant = self.program.constants.get(&slot);
        constant.is_some_and(|tensor| self.looks.may(tensor) && is_constant_along(tensor, items, self.batch))
    }

    /// Elements keep their order, so items lie as many elements apart as before.
    fn reshape(&self, slot: Slot, out: &[usize]) -> Traced {
        let Some(items) = self.of(slot) else { return Ok(None) };
        if out.contains(&0) {
            return Err("nothing is left of the items".into());
        }
        let apart = items.inner * self.shape(slot)[items.axis + 1..].iter().product::<usize>();
        let mut after = 1;
        for (axis, dim) in out.iter().enumerate().rev() {
            if *dim > 1 && apart % after == 0 && dim % (apart / after * self.batch) == 0 {
                return Ok(Some(Items { axis, inner: apart / after }));
            }
            after *= dim;
            if after > apart {
                break;
            }
        }
        Err(format!("in the shape {out:?} items do not lie along one dimension"))
    }

    fn matmul(&self, matmul: MatMul, slots: &[Slot], rank: usize) -> Traced {
        let &[a, b] = slots else { return Err("it has no two operands".into()) };
        // Where an operand's dimensions are in the result; the summed one is nowhere.
        let place = |slot: Slot, transposed: bool, kept: usize, to: usize| -> Result<Option<Items>, String> {
            let Some(items) = self.of(slot) else { return Ok(None) };
            let own = self.shape(slot).len();
            match items.axis + 2 {
                last if last < own => Ok(Some(Items { axis: items.axis + rank - own, inner: items.inner })),
                last if (last - own == kept) != transposed => Ok(Some(Items { axis: to, inner: items.inner })),
                _ => Err("it sums over items".into()),
            }
        };
        let (in_a, in_b) = (place(a, matmul.transpose_a, 0, rank - 2)?, place(b, matmul.transpose_b, 1, rank - 1)?);
        match (in_a, in_b) {
            (Some(one), Some(other)) if one == other => Ok(Some(one)),
            (Some(_), Some(_)) => Err("operands have their items along different dimensions".into()),
            (Some(items), None) => self.beside(items, b, rank),
            (None, Some(items)) => self.beside(items, a, rank),
            (None, None) => Ok(None),
        }
    }

    /// The other operand of a product must be the same for all items where it has their dimension at all.
    fn beside(&self, items: Items, other: Slot, rank: usize) -> Traced {
        let shape = self.shape(other);
        let own = (items.axis + shape.len()).checked_sub(rank);
        match own.filter(|_| items.axis + 2 < rank).filter(|own| shape[*own] != 1) {
            Some(axis) if !self.is_constant_along(other, Items { axis, ..items }) => {
                Err("an operand is not the same for all items".into())
            }
            _ => Ok(Some(items)),
        }
    }

    fn moved(&self, slot: Slot, starts: &[usize], runs: &[Run], out: &[usize]) -> Traced {
        let Some(items) = self.of(slot) else { return Ok(None) };
        let size = self.shape(slot)[items.axis];
        let along = runs.iter().position(|run| matches!(run, Run::Along(dim, _) if *dim == items.axis));
        match along {
            Some(axis) if runs[axis] == Run::Along(items.axis, 1) && starts[items.axis] == 0 && out[axis] == size => {
                Ok(Some(Items { axis, ..items }))
            }
            _ => Err("it picks some of the items".into()),
        }
    }

    fn gather(&self, slots: &[Slot], along: usize) -> Traced {
        let &[data, indices] = slots else { return Err("it has no two operands".into()) };
        match (self.of(data), self.of(indices)) {
            (Some(items), None) if items.axis == along => Err("it picks some of the items".into()),
            (Some(items), None) if items.axis < along => Ok(Some(items)),
            (Some(items), None) => {
                let axis = items.axis + self.shape(indices).len() - 1;
                Ok(Some(Items { axis, ..items }))
            }
            (None, Some(items)) => Ok(Some(Items { axis: along + items.axis, ..items })),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err("what is looked up and where both depend on items".into()),
        }
    }
}
