//! Softmax and normalisations.

use super::node::{Call, axis};
use super::{Lowering, Outcome};
use crate::program::{Action, Function, Reduce, Slot};
use crate::tensor::{Facts, Tensor};

pub(super) fn lower(lowering: &mut Lowering<'_>, call: &Call<'_>) -> Outcome<Option<Vec<Slot>>> {
    let slot = match call.operator() {
        "Softmax" => lowering.softmax(call, false)?,
        "LogSoftmax" => lowering.softmax(call, true)?,
        "LayerNormalization" => return lowering.layer_norm(call).map(Some),
        "BatchNormalization" => lowering.batch_norm(call)?,
        _ => return Ok(None),
    };
    Ok(Some(vec![slot]))
}

impl Lowering<'_> {
    /// Before opset 13 all dimensions from the axis on are one row.
    fn softmax(&mut self, call: &Call<'_>, log: bool) -> Outcome<Slot> {
        let input = call.input(0)?;
        self.float(input)?;
        let Facts { kind, shape } = self.facts(input).clone();
        let old = call.opset < 13;
        let axis = axis(call.int("axis", if old { 1 } else { -1 })?, shape.len())?;
        let action = Action::Softmax { log };
        if old {
            let rows = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
            let flat = self.reshape(input, rows.clone())?;
            let result = self.step(action, &[flat], Facts { kind, shape: rows })?;
            return self.reshape(result, shape);
        }
        // A swap of two dimensions is its own inverse.
        let mut order: Vec<usize> = (0..shape.len()).collect();
        let last = shape.len() - 1;
        order.swap(axis, last);
        let moved = self.transpose(input, &order)?;
        let facts = self.facts(moved).clone();
        let result = self.step(action, &[moved], facts)?;
        self.transpose(result, &order)
    }

    /// The normalised rows, and where they are asked for the means and 1 / sqrt(variance + epsilon).
    fn layer_norm(&mut self, call: &Call<'_>) -> Outcome<Vec<Slot>> {
        let (input, scale) = (call.input(0)?, call.input(1)?);
        let Facts { kind, shape } = self.facts(input).clone();
        for slot in call.inputs.iter().flatten() {
            self.float(*slot)?;
        }
        let axis = axis(call.int("axis", -1)?, shape.len())?;
        let length: usize = shape[axis..].iter().product();
        let mut rows = shape[..axis].to_vec();
        rows.push(length);
        let flat = self.reshape(input, rows.clone())?;
        let scale = self.fill_row(scale, &shape[axis..])?;
        let bias = match call.optional(2) {
            Some(bias) => self.fill_row(bias, &shape[axis..])?,
            None => self.constant(Tensor::list(vec![0.0_f32; length]))?,
        };
        let epsilon = call.float("epsilon", 1e-5)?;
        if call.int("stash_type", 1)? != 1 {
            return Err("attribute stash_type asks for another precision than float32".into());
        }
        let facts = Facts { kind, shape: rows.clone() };
        let result = self.step(Action::LayerNorm { epsilon }, &[flat, scale, bias], facts)?;
        let mut results = vec![self.reshape(result, shape.clone())?];
        if call.node.outputs.iter().skip(1).any(Option::is_some) {
            if let Some(last) = rows.last_mut() {
                *last = 1;
            }
            let mut kept = shape[..axis].to_vec();
            kept.resize(shape.len(), 1);
            let row = Facts { kind, shape: rows };
            let mean = self.step(Action::Reduce(Reduce::Mean), &[flat], row.clone())?;
            let centred = self.map(Function::Sub, &[flat, mean])?;
            let squares = self.map(Function::Mul, &[centred, centred])?;
            let variance = self.step(Action::Reduce(Reduce::Mean), &[squares], row)?;
            let epsilon = self.scalar_f32(epsilon)?;
            let shifted = self.map(Function::Add, &[variance, epsilon])?;
            let root = self.map(Function::Sqrt, &[shifted])?;
            let inverse = self.map(Function::Reciprocal, &[root])?;
            results.push(self.reshape(mean, kept.clone())?);
            results.push(self.reshape(inverse, kept)?);
        }
        Ok(results)
    }

    /// A parameter of a normalised row as one list, broadcast to the row's shape.
    fn fill_row(&mut self, slot: Slot, row: &[usize]) -> Outcome<Slot> {
        let facts = self.facts(slot).clone();
        let full = self.expand(slot, row)?;
        if self.shape(full) != row {
            return Err(format!("a parameter of {:?} for rows of {row:?}", facts.shape).into());
        }
        self.reshape(full, vec![row.iter().product()])
    }

    /// (x - mean) * (scale / sqrt(var + epsilon)) + bias, the last two as one fma; what comes of constants alone is folded.
    fn batch_norm(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        if call.flag("training_mode")? || call.node.outputs.iter().skip(1).any(Option::is_some) {
            return Err("training is not supported".into());
        }
        let input = call.input(0)?;
        let shape = self.shape(input);
        if shape.len() < 2 {
            return Err(format!("an input of {shape:?} has no channels").into());
        }
        let mut parameters = Vec::new();
        for at in 1..5 {
            let slot = call.input(at)?;
            self.float(slot)?;
            if self.shape(slot) != [shape[1]] {
                return Err(format!("input {at} is {:?} for {} channels", self.shape(slot), shape[1]).into());
            }
            let mut broadcast = vec![1; shape.len()];
            broadcast[1] = shape[1];
            parameters.push(self.reshape(slot, broadcast)?);
        }
        let &[scale, bias, mean, variance] = parameters.as_slice() else { return Err("inputs are missing".into()) };
        let epsilon = self.scalar_f32(call.float("epsilon", 1e-5)?)?;
        let shifted = self.map(Function::Add, &[variance, epsilon])?;
        let deviation = self.map(Function::Sqrt, &[shifted])?;
        let factor = self.map(Function::Div, &[scale, deviation])?;
        let centred = self.map(Function::Sub, &[input, mean])?;
        self.map(Function::Fma, &[centred, factor, bias])
    }
}
