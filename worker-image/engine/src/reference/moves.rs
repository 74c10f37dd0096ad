//! Elements that only change their place. An index beyond a dimension means the nearest one: it never reads anything else.

use super::{StepError, each_kind, strides, walk};
use crate::program::{PadMode, Run};
use crate::tensor::{Data, Element, Tensor};

pub(super) fn pick(input: &Tensor, shape: &[usize], starts: &[usize], runs: &[Run]) -> Data {
    fn copy<T: Copy>(values: &[T], shape: &[usize], start: usize, strides: &[isize]) -> Vec<T> {
        let mut out = Vec::with_capacity(shape.iter().product());
        walk(shape, [start.cast_signed()], [strides], |[at]| out.push(values[at]));
        out
    }
    let own = strides(input.shape());
    let start = starts.iter().zip(&own).map(|(start, stride)| start * stride).sum();
    let stride = |run: &Run| match run {
        Run::Along(dim, step) => own[*dim].cast_signed() * step,
        Run::Repeat => 0,
    };
    let strides: Vec<isize> = runs.iter().map(stride).collect();
    each_kind!(input.data(), values => copy(values, shape, start, &strides))
}

pub(super) fn concat(axis: usize, inputs: &[&Tensor], shape: &[usize]) -> Result<Data, StepError> {
    fn join<T: Element>(axis: usize, inputs: &[&Tensor], shape: &[usize]) -> Result<Vec<T>, StepError> {
        let parts: Option<Vec<(&[T], usize)>> =
            inputs.iter().map(|input| Some((input.as_slice::<T>()?, input.shape()[axis..].iter().product()))).collect();
        let parts = parts.ok_or_else(|| StepError::Undefined("operands of several types".into()))?;
        let mut out = Vec::with_capacity(shape.iter().product());
        for outer in 0..shape[..axis].iter().product() {
            for (values, run) in &parts {
                let begin: usize = outer * run;
                out.extend_from_slice(&values[begin..begin + run]);
            }
        }
        Ok(out)
    }
    Ok(match inputs.first().ok_or(StepError::Missing)?.data() {
        Data::F32(_) => Data::F32(join(axis, inputs, shape)?),
        Data::I64(_) => Data::I64(join(axis, inputs, shape)?),
        Data::I32(_) => Data::I32(join(axis, inputs, shape)?),
        Data::Bool(_) => Data::Bool(join(axis, inputs, shape)?),
    })
}

pub(super) fn pad(
    before: &[isize],
    mode: PadMode,
    input: &Tensor,
    value: &Tensor,
    shape: &[usize],
) -> Result<Data, StepError> {
    let (from, steps) = (input.shape(), strides(input.shape()));
    let out_strides = strides(shape);
    let count: usize = shape.iter().product();
    // Where each element comes from; none for the value.
    let source = |at: usize| -> Option<usize> {
        let mut place = 0;
        for dim in 0..shape.len() {
            let size = from[dim].cast_signed();
            let index = (at / out_strides[dim] % shape[dim]).cast_signed() - before[dim];
            let index = match mode {
                _ if (0..size).contains(&index) => index,
                PadMode::Constant => return None,
                PadMode::Edge => index.clamp(0, size - 1),
                PadMode::Wrap => index.rem_euclid(size),
                PadMode::Reflect if index < 0 => -index,
                PadMode::Reflect => 2 * (size - 1) - index,
            };
            place += index.unsigned_abs() * steps[dim];
        }
        Some(place)
    };
    Ok(each_kind!(input.data(), values => fill(values, value, (0..count).map(source))?))
}

/// An index as ONNX has it: negative ones count from the end.
fn place(index: i64, size: usize) -> usize {
    let size_signed = i64::try_from(size).unwrap_or(i64::MAX);
    let index = if index < 0 { index.saturating_add(size_signed) } else { index };
    usize::try_from(index.max(0)).unwrap_or(0).min(size.saturating_sub(1))
}

pub(super) fn gather(axis: usize, input: &Tensor, indices: &Tensor, shape: &[usize]) -> Result<Data, StepError> {
    let indices = indices.as_slice::<i64>().ok_or_else(|| StepError::Undefined(indices.facts().to_string()))?;
    let size = input.shape()[axis];
    let run: usize = input.shape()[axis + 1..].iter().product();
    let outer: usize = input.shape()[..axis].iter().product();
    if size == 0 && !shape.contains(&0) {
        return Err(StepError::Undefined("a lookup in nothing".into()));
    }
    let count = shape.iter().product();
    Ok(each_kind!(input.data(), values => lookup(values, indices, (outer, size, run), count)))
}

/// Later slices win over earlier ones at the same place.
pub(super) fn scatter(input: &Tensor, indices: &Tensor, updates: &Tensor) -> Result<Data, StepError> {
    let depth = indices.shape().last().copied().unwrap_or(0);
    let indices = indices.as_slice::<i64>().ok_or_else(|| StepError::Undefined(indices.facts().to_string()))?;
    let shape = input.shape();
    let steps = strides(shape);
    let run: usize = shape[depth..].iter().product();
    let begins = || {
        let slices = indices.chunks_exact(depth.max(1));
        slices.map(|slice| slice.iter().enumerate().map(|(dim, index)| place(*index, shape[dim]) * steps[dim]).sum())
    };
    Ok(each_kind!(input.data(), values => write(values, updates, run, begins())?))
}

pub(super) fn trilu(upper: bool, diagonal: isize, input: &Tensor) -> Data {
    fn keep<T: Copy + Default>(
        values: &[T],
        (rows, columns): (usize, usize),
        kept: impl Fn(usize, usize) -> bool,
    ) -> Vec<T> {
        let place = |(at, value): (usize, &T)| {
            if kept(at / columns % rows, at % columns) { *value } else { T::default() }
        };
        values.iter().enumerate().map(place).collect()
    }
    let [.., rows, columns] = *input.shape() else { return input.data().clone() };
    let kept = |row: usize, column: usize| {
        let right = column.cast_signed() - row.cast_signed();
        if upper { right >= diagonal } else { right <= diagonal }
    };
    each_kind!(input.data(), values => keep(values, (rows, columns), kept))
}

fn fill<T: Element>(
    values: &[T],
    value: &Tensor,
    places: impl Iterator<Item = Option<usize>>,
) -> Result<Vec<T>, StepError> {
    let value = value.as_slice::<T>().and_then(|value| value.first()).copied().ok_or(StepError::Missing)?;
    Ok(places.map(|place| place.map_or(value, |place| values[place])).collect())
}

fn lookup<T: Copy>(values: &[T], indices: &[i64], (outer, size, run): (usize, usize, usize), count: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(count);
    if count == 0 {
        return out;
    }
    for outer in 0..outer {
        for index in indices {
            let begin = (outer * size + place(*index, size)) * run;
            out.extend_from_slice(&values[begin..begin + run]);
        }
    }
    out
}

fn write<T: Element>(
    values: &[T],
    updates: &Tensor,
    run: usize,
    begins: impl Iterator<Item = usize>,
) -> Result<Vec<T>, StepError> {
    let updates = updates.as_slice::<T>().ok_or_else(|| StepError::Undefined(updates.facts().to_string()))?;
    let mut out = values.to_vec();
    if out.is_empty() || run == 0 {
        return Ok(out);
    }
    for (begin, update) in begins.zip(updates.chunks_exact(run)) {
        out[begin..begin + run].copy_from_slice(update);
    }
    Ok(out)
}
