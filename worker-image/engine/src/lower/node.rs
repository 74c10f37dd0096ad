//! Reading a node: its inputs by position, its attributes by name and type, axes that count from the end.

use super::{Fault, Lowering, Outcome};
use crate::graph::{Attribute, Node};
use crate::program::Slot;
use crate::tensor::Element;

/// A node with its inputs.
pub(super) struct Call<'n> {
    pub node: &'n Node,
    pub inputs: Vec<Option<Slot>>,
    pub opset: i64,
}

impl Call<'_> {
    /// The operator's name.
    pub fn operator(&self) -> &str {
        &self.node.operator
    }

    /// An input that may be absent.
    pub fn optional(&self, at: usize) -> Option<Slot> {
        self.inputs.get(at).copied().flatten()
    }

    /// An input that must be there.
    pub fn input(&self, at: usize) -> Outcome<Slot> {
        self.optional(at).ok_or_else(|| format!("input {at} is missing").into())
    }

    /// All inputs, none of which may be absent.
    pub fn all(&self) -> Outcome<Vec<Slot>> {
        (0..self.inputs.len()).map(|at| self.input(at)).collect()
    }

    pub fn int(&self, name: &str, default: i64) -> Outcome<i64> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    pub fn optional_int(&self, name: &str) -> Outcome<Option<i64>> {
        match self.node.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(format!("attribute {name} is no integer").into()),
        }
    }

    pub fn flag(&self, name: &str) -> Outcome<bool> {
        Ok(self.int(name, 0)? != 0)
    }

    pub fn float(&self, name: &str, default: f32) -> Outcome<f32> {
        match self.node.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(format!("attribute {name} is no number").into()),
        }
    }

    pub fn text(&self, name: &str, default: &'static str) -> Outcome<&str> {
        match self.node.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Text(value)) => Ok(value),
            Some(_) => Err(format!("attribute {name} is no text").into()),
        }
    }

    pub fn ints(&self, name: &str) -> Outcome<Option<&[i64]>> {
        match self.node.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(format!("attribute {name} is no list of integers").into()),
        }
    }
}

impl Lowering<'_> {
    /// The elements of an input that must be known: shapes cannot depend on data.
    pub(super) fn values<T: Element>(&self, slot: Slot, what: &str) -> Outcome<Vec<T>> {
        let known = self.known(slot).ok_or_else(|| format!("{what} depends on data: it must be constant"))?;
        let values = known.as_slice::<T>().ok_or_else(|| format!("{what} is {}", known.facts()))?;
        Ok(values.to_vec())
    }

    /// A list that newer operators take as an input and older ones as an attribute.
    pub(super) fn list(&self, call: &Call<'_>, name: &str, at: usize) -> Outcome<Option<Vec<i64>>> {
        match (call.ints(name)?, call.optional(at)) {
            (Some(list), _) => Ok(Some(list.to_vec())),
            (None, Some(slot)) => self.integers(slot, name).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Known integers of either type.
    pub(super) fn integers(&self, slot: Slot, what: &str) -> Outcome<Vec<i64>> {
        match self.known(slot).and_then(|known| known.as_slice::<i32>()) {
            Some(values) => Ok(values.iter().map(|value| i64::from(*value)).collect()),
            None => self.values(slot, what),
        }
    }
}

/// A dimension by its number, from the end where negative.
pub(super) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let rank_signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_start = if axis < 0 { axis.checked_add(rank_signed) } else { Some(axis) };
    let found = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|axis| *axis < rank);
    found.ok_or_else(|| Fault::from(format!("axis {axis} of {rank} dimensions")))
}

/// Several dimensions, ascending, none twice.
pub(super) fn axes(list: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    let mut axes: Vec<usize> = list.iter().map(|number| axis(*number, rank)).collect::<Outcome<_>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("an axis is there twice: {list:?}").into());
    }
    Ok(axes)
}

/// A length that an attribute gives.
pub(super) fn length(value: i64, what: &str) -> Outcome<usize> {
    usize::try_from(value).map_err(|_| format!("{what} is {value}").into())
}
