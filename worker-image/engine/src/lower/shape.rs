//! Operators on shapes: the elements stay as they are, or only the shape is looked at.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranges: counts are clamped before they are converted, and 32 bits wrap as everywhere"
)]

use super::node::{Call, axes, axis, length};
use super::{Lowering, Outcome};
use crate::graph::Attribute;
use crate::program::Slot;
use crate::tensor::{Data, Facts, Kind, Tensor};

pub(super) fn lower(lowering: &mut Lowering<'_>, call: &Call<'_>) -> Outcome<Option<Vec<Slot>>> {
    let slot = match call.operator() {
        "Identity" => call.input(0)?,
        "Dropout" => return lowering.dropout(call).map(Some),
        "Reshape" => lowering.reshape_to(call)?,
        "Flatten" => lowering.flatten(call)?,
        "Squeeze" => lowering.squeeze(call)?,
        "Unsqueeze" => lowering.unsqueeze(call)?,
        "Transpose" => {
            let input = call.input(0)?;
            let rank = lowering.shape(input).len();
            let order = match call.ints("perm")? {
                Some(order) => order.iter().map(|dim| axis(*dim, rank)).collect::<Outcome<Vec<usize>>>()?,
                None => (0..rank).rev().collect(),
            };
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..rank) {
                return Err(format!("perm is {order:?} for {rank} dimensions").into());
            }
            lowering.transpose(input, &order)?
        }
        "Shape" => lowering.shape_of(call)?,
        "ConstantOfShape" => lowering.constant_of_shape(call)?,
        "Range" => lowering.range(call)?,
        _ => return Ok(None),
    };
    Ok(Some(vec![slot]))
}

impl Lowering<'_> {
    /// At inference nothing is dropped.
    fn dropout(&mut self, call: &Call<'_>) -> Outcome<Vec<Slot>> {
        if let Some(training) = call.optional(2)
            && self.values::<bool>(training, "training_mode")?.contains(&true)
        {
            return Err("training is not supported".into());
        }
        let mut results = vec![call.input(0)?];
        if call.node.outputs.iter().skip(1).any(Option::is_some) {
            let facts = Facts { kind: Kind::Bool, shape: self.shape(results[0]) };
            self.reserve(&facts)?;
            let all = vec![true; facts.elements().unwrap_or(0)];
            results.push(self.keep(Tensor::new(facts.shape, all).map_err(|error| error.to_string())?));
        }
        Ok(results)
    }

    /// 0 stands for the input's own dimension, one -1 for what is left.
    fn reshape_to(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let facts = self.facts(input).clone();
        let wanted = self.list(call, "shape", 1)?.ok_or("the shape is missing")?;
        let zero_is_zero = call.flag("allowzero")?;
        let mut shape = Vec::with_capacity(wanted.len());
        let mut open = None;
        for (at, dim) in wanted.iter().enumerate() {
            shape.push(match *dim {
                -1 if open.replace(at).is_some() => return Err(format!("{wanted:?} has two open dimensions").into()),
                -1 => 1,
                0 if !zero_is_zero => *facts.shape.get(at).ok_or_else(|| format!("{facts} has no dimension {at}"))?,
                dim => length(dim, "a dimension of the shape")?,
            });
        }
        if let Some(at) = open {
            let rest = crate::tensor::product(&shape).ok_or("the shape is too large")?;
            let all = facts.elements().unwrap_or(0);
            if rest == 0 || !all.is_multiple_of(rest) {
                return Err(format!("{facts} does not fill the shape {wanted:?}").into());
            }
            shape[at] = all / rest;
        }
        self.reshape(input, shape)
    }

    fn flatten(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let shape = self.shape(input);
        let number = call.int("axis", 1)?;
        let axis = if usize::try_from(number) == Ok(shape.len()) { shape.len() } else { axis(number, shape.len())? };
        self.reshape(input, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])
    }

    fn squeeze(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let shape = self.shape(input);
        let gone = match self.list(call, "axes", 1)? {
            Some(list) => axes(&list, shape.len())?,
            None => (0..shape.len()).filter(|dim| shape[*dim] == 1).collect(),
        };
        if let Some(dim) = gone.iter().find(|dim| shape[**dim] != 1) {
            return Err(format!("dimension {dim} of {shape:?} is not 1").into());
        }
        let kept = shape.iter().enumerate().filter(|(dim, _)| !gone.contains(dim)).map(|(_, size)| *size).collect();
        self.reshape(input, kept)
    }

    fn unsqueeze(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let mut shape = self.shape(input);
        let list = self.list(call, "axes", 1)?.ok_or("axes are missing")?;
        for at in axes(&list, shape.len() + list.len())? {
            shape.insert(at, 1);
        }
        self.reshape(input, shape)
    }

    fn shape_of(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let shape = self.shape(call.input(0)?);
        let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
        let clamp = |number: i64| {
            let from_start = if number < 0 { number.saturating_add(rank) } else { number };
            usize::try_from(from_start.clamp(0, rank)).unwrap_or(0)
        };
        let (start, end) = (clamp(call.int("start", 0)?), clamp(call.int("end", i64::MAX)?));
        let dims = shape.get(start..end.max(start)).unwrap_or_default();
        let dims: Vec<i64> = dims.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect();
        self.constant(Tensor::list(dims))
    }

    fn constant_of_shape(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let dims = self.integers(call.input(0)?, "the shape")?;
        let shape: Vec<usize> = dims.iter().map(|dim| length(*dim, "a dimension")).collect::<Outcome<_>>()?;
        let value = match call.node.attributes.get("value") {
            None => Data::F32(vec![0.0]),
            Some(Attribute::Tensor(tensor)) if tensor.data().len() == 1 => tensor.data().clone(),
            Some(_) => return Err("attribute value is no single value".into()),
        };
        let facts = Facts { kind: value.kind(), shape };
        self.reserve(&facts)?;
        let count = facts.elements().unwrap_or(0);
        let data = match value {
            Data::F32(value) => Data::F32(vec![value[0]; count]),
            Data::I64(value) => Data::I64(vec![value[0]; count]),
            Data::I32(value) => Data::I32(vec![value[0]; count]),
            Data::Bool(value) => Data::Bool(vec![value[0]; count]),
        };
        Ok(self.keep(Tensor::new(facts.shape, data).map_err(|error| error.to_string())?))
    }

    fn range(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let (start, limit, delta) = (call.input(0)?, call.input(1)?, call.input(2)?);
        let known = self.known(start).ok_or("start depends on data: it must be constant")?;
        let most = self.limits.folded_bytes.saturating_sub(self.folded) / 8;
        let tensor = match known.data() {
            Data::F32(_) => {
                let one = |slot, what| -> Outcome<f32> {
                    self.values::<f32>(slot, what)?.first().copied().ok_or_else(|| format!("{what} is empty").into())
                };
                let (start, limit, delta) = (one(start, "start")?, one(limit, "limit")?, one(delta, "delta")?);
                let count = ((f64::from(limit) - f64::from(start)) / f64::from(delta)).ceil();
                if !count.is_finite() {
                    return Err(format!("from {start} to {limit} by {delta}").into());
                }
                // Within bounds, whole and not negative: the conversion is exact.
                let count = count.clamp(0.0, most as f64) as u32;
                Tensor::list((0..count).map(|at| (at as f32).mul_add(delta, start)).collect::<Vec<f32>>())
            }
            Data::I64(_) | Data::I32(_) => {
                let small = matches!(known.data(), Data::I32(_));
                let one = |slot, what| -> Outcome<i64> {
                    self.integers(slot, what)?.first().copied().ok_or_else(|| format!("{what} is empty").into())
                };
                let (start, limit, delta) = (one(start, "start")?, one(limit, "limit")?, one(delta, "delta")?);
                if delta == 0 {
                    return Err("delta is 0".into());
                }
                let span = if delta > 0 {
                    i128::from(limit) - i128::from(start)
                } else {
                    i128::from(start) - i128::from(limit)
                };
                let step = i128::from(delta).abs();
                let count = usize::try_from(((span + step - 1) / step).max(0)).unwrap_or(usize::MAX);
                if count > most {
                    return Err(format!("{count} elements are over {most}").into());
                }
                let values = std::iter::successors(Some(start), |value| Some(value.wrapping_add(delta))).take(count);
                if small {
                    Tensor::list(values.map(|value| value as i32).collect::<Vec<i32>>())
                } else {
                    Tensor::list(values.collect::<Vec<i64>>())
                }
            }
            Data::Bool(_) => return Err("is not defined for bool".into()),
        };
        self.constant(tensor)
    }
}
