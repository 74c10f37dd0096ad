//! Windows and reductions.

use super::linear::window;
use super::node::{Call, axes, axis, length};
use super::{Lowering, Outcome};
use crate::program::{Action, Function, Pool, PoolOf, Reduce, Slot};
use crate::tensor::{Facts, Kind, Tensor};

/// Taps of a window: they are counted in 32 bits, and exactly in floats.
const MAX_TAPS: usize = 1 << 24;

pub(super) fn lower(lowering: &mut Lowering<'_>, call: &Call<'_>) -> Outcome<Option<Vec<Slot>>> {
    let slot = match call.operator() {
        "MaxPool" => lowering.pool(call, PoolOf::Max)?,
        "AveragePool" if call.flag("count_include_pad")? => lowering.pool(call, PoolOf::AverageWithPadding)?,
        "AveragePool" => lowering.pool(call, PoolOf::Average)?,
        "GlobalAveragePool" => lowering.global_average(call)?,
        "LRN" => lowering.local_response(call)?,
        "ReduceSum" => lowering.reduce(call, Reduce::Sum)?,
        "ReduceMean" => lowering.reduce(call, Reduce::Mean)?,
        "ReduceMax" => lowering.reduce(call, Reduce::Max)?,
        "ArgMax" => lowering.arg_max(call)?,
        "CumSum" => lowering.cum_sum(call)?,
        _ => return Ok(None),
    };
    Ok(Some(vec![slot]))
}

impl Lowering<'_> {
    fn pool(&mut self, call: &Call<'_>, of: PoolOf) -> Outcome<Slot> {
        if call.node.outputs.len() > 1 && call.node.outputs[1].is_some() {
            return Err("the output Indices is not supported".into());
        }
        let input = call.input(0)?;
        self.float(input)?;
        let x = self.shape(input);
        let Some(([n, c], spatial)) = x.split_first_chunk::<2>() else {
            return Err(format!("an input of {x:?} has no spatial dimensions").into());
        };
        let size = call.ints("kernel_shape")?.ok_or("attribute kernel_shape is missing")?;
        let size: Vec<usize> = size.iter().map(|size| length(*size, "kernel_shape")).collect::<Outcome<_>>()?;
        let taps = size.iter().try_fold(1_usize, |all, taps| all.checked_mul(*taps));
        if taps.is_none_or(|taps| taps > MAX_TAPS) {
            return Err(format!("a window of {size:?} is too large").into());
        }
        let moved = window(call, spatial, &size)?;
        let mut shape = vec![*n, *c];
        shape.extend(&moved.out);
        let pool = Pool {
            of,
            window: size,
            strides: moved.strides,
            before: moved.before,
            after: moved.after,
            dilations: moved.dilations,
        };
        self.step(Action::Pool(pool), &[input], Facts { kind: Kind::F32, shape })
    }

    /// One window over everything.
    fn global_average(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        self.float(input)?;
        let x = self.shape(input);
        let Some(([n, c], spatial)) = x.split_first_chunk::<2>() else {
            return Err(format!("an input of {x:?} has no spatial dimensions").into());
        };
        let rank = spatial.len();
        let mut shape = vec![*n, *c];
        shape.extend(vec![1; rank]);
        let pool = Pool {
            of: PoolOf::Average,
            window: spatial.to_vec(),
            strides: vec![1; rank],
            before: vec![0; rank],
            after: vec![0; rank],
            dilations: vec![1; rank],
        };
        self.step(Action::Pool(pool), &[input], Facts { kind: Kind::F32, shape })
    }

    /// x / (bias + alpha mean(x^2))^beta, where the mean runs over `size` neighbouring channels, those that do not exist being 0: windows
    /// over an image whose height is the channels.
    fn local_response(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        self.float(input)?;
        let shape = self.shape(input);
        let &[n, c, ref spatial @ ..] = shape.as_slice() else {
            return Err(format!("an input of {shape:?} has no channels").into());
        };
        let size = length(call.int("size", 0)?, "size")?;
        if !(1..=MAX_TAPS).contains(&size) {
            return Err(format!("size is {size}").into());
        }
        let image = vec![n, 1, c, spatial.iter().product()];
        let squares = self.map(Function::Mul, &[input, input])?;
        let squares = self.reshape(squares, image.clone())?;
        let before = (size - 1) / 2;
        let pool = Pool {
            of: PoolOf::AverageWithPadding,
            window: vec![size, 1],
            strides: vec![1, 1],
            before: vec![before, 0],
            after: vec![size - 1 - before, 0],
            dilations: vec![1, 1],
        };
        let means = self.step(Action::Pool(pool), &[squares], Facts { kind: Kind::F32, shape: image })?;
        let means = self.reshape(means, shape)?;
        let mut scalar = |name, default| {
            let value = call.float(name, default)?;
            self.constant(Tensor::scalar(value))
        };
        let (alpha, beta, bias) = (scalar("alpha", 1e-4)?, scalar("beta", 0.75)?, scalar("bias", 1.0)?);
        let base = self.map(Function::Fma, &[means, alpha, bias])?;
        let power = self.map(Function::Pow, &[base, beta])?;
        self.map(Function::Div, &[input, power])
    }

    fn reduce(&mut self, call: &Call<'_>, reduce: Reduce) -> Outcome<Slot> {
        let input = call.input(0)?;
        let kind = self.facts(input).kind;
        if (kind == Kind::Bool && reduce != Reduce::Max) || (kind != Kind::F32 && reduce == Reduce::Mean) {
            return Err(format!("is not defined for {kind}").into());
        }
        if kind == Kind::Bool {
            // The largest of 0 and 1 is whether any is true.
            let wide = self.cast(input, Kind::I32)?;
            let largest = self.reduce_of(call, wide, reduce)?;
            return self.cast(largest, Kind::Bool);
        }
        self.reduce_of(call, input, reduce)
    }

    fn reduce_of(&mut self, call: &Call<'_>, input: Slot, reduce: Reduce) -> Outcome<Slot> {
        let rank = self.shape(input).len();
        let list = self.list(call, "axes", 1)?.unwrap_or_default();
        let reduced = match list.as_slice() {
            [] if call.flag("noop_with_empty_axes")? => return Ok(input),
            [] => (0..rank).collect(),
            list => axes(list, rank)?,
        };
        let kept = call.int("keepdims", 1)? != 0;
        self.over(Action::Reduce(reduce), input, &reduced, kept)
    }

    /// Something that makes one element of each row, over any dimensions: they are moved to the end and made one.
    fn over(&mut self, action: Action, input: Slot, reduced: &[usize], kept: bool) -> Outcome<Slot> {
        let Facts { kind, shape } = self.facts(input).clone();
        let others: Vec<usize> = (0..shape.len()).filter(|dim| !reduced.contains(dim)).collect();
        let order: Vec<usize> = others.iter().chain(reduced).copied().collect();
        let moved = self.transpose(input, &order)?;
        let mut rows: Vec<usize> = others.iter().map(|dim| shape[*dim]).collect();
        let length = reduced.iter().map(|dim| shape[*dim]).product();
        rows.push(length);
        let moved = self.reshape(moved, rows.clone())?;
        if let Some(last) = rows.last_mut() {
            *last = 1;
        }
        let result = self.step(action, &[moved], Facts { kind, shape: rows })?;
        let dims = shape.iter().enumerate();
        let shape = dims
            .filter(|(dim, _)| kept || !reduced.contains(dim))
            .map(|(dim, size)| if reduced.contains(&dim) { 1 } else { *size })
            .collect();
        self.reshape(result, shape)
    }

    fn arg_max(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let Facts { kind, mut shape } = self.facts(input).clone();
        if kind == Kind::Bool {
            return Err("is not defined for bool".into());
        }
        let axis = axis(call.int("axis", 0)?, shape.len())?;
        let action = Action::ArgMax { axis, last: call.flag("select_last_index")? };
        if shape[axis] == 0 {
            return Err("has no largest element of none".into());
        }
        shape[axis] = 1;
        let slot = self.step(action, &[input], Facts { kind: Kind::I64, shape: shape.clone() })?;
        if call.int("keepdims", 1)? == 0 {
            shape.remove(axis);
        }
        self.reshape(slot, shape)
    }

    fn cum_sum(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let facts = self.facts(input).clone();
        if facts.kind == Kind::Bool {
            return Err("is not defined for bool".into());
        }
        let [number] = self.integers(call.input(1)?, "axis")?[..] else {
            return Err("axis is no single number".into());
        };
        let axis = axis(number, facts.shape.len())?;
        let action = Action::CumSum { axis, exclusive: call.flag("exclusive")?, reverse: call.flag("reverse")? };
        self.step(action, &[input], facts)
    }
}
