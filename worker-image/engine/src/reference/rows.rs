//! Reductions along a row: element `i` goes to lane `i % 16`, each lane is a chain, and the lanes meet in the tree 8-4-2-1. So
//! one wide work-item and sixteen narrow ones do the same (RK2).
#![expect(clippy::cast_precision_loss, reason = "a length is rounded to the nearest float, as the device does")]

use super::{Floats, StepError, strides};
use crate::math;
use crate::program::Reduce;
use crate::tensor::{Data, Tensor};

/// Lanes of a row.
const LANES: usize = 16;

/// All of a row through lanes that begin with `start`.
fn lanes<T: Copy>(row: &[T], start: T, chain: impl Fn(T, T) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    for (at, value) in row.iter().enumerate() {
        lanes[at % LANES] = chain(lanes[at % LANES], *value);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

fn sum(row: &[f32]) -> f32 {
    lanes(row, 0.0, |sum, x| x.mul_add(1.0, sum), |a, b| a + b)
}

fn largest(row: &[f32]) -> f32 {
    lanes(row, f32::NEG_INFINITY, math::max, math::max)
}

/// Lengths of rows, rounded once where they are above 2^24.
fn count(length: usize) -> f32 {
    length as f32
}

fn rows<'d, T>(data: &'d [T], shape: &[usize]) -> impl Iterator<Item = &'d [T]> {
    let length = shape.last().copied().unwrap_or(1);
    let count: usize = shape.split_last().map_or(1, |(_, rest)| rest.iter().product());
    (0..count).map(move |row| &data[row * length..][..length])
}

pub(super) fn reduce(reduce: Reduce, x: &Tensor) -> Result<Data, StepError> {
    let shape = x.shape();
    Ok(match x.data() {
        Data::F32(values) => Data::F32(
            rows(values, shape)
                .map(|row| match reduce {
                    Reduce::Sum => sum(row),
                    Reduce::Mean => math::div(sum(row), count(row.len())),
                    Reduce::Max => largest(row),
                })
                .collect(),
        ),
        Data::I64(values) => {
            Data::I64(rows(values, shape).map(|row| signed(reduce, row, i64::MIN, i64::wrapping_add)).collect())
        }
        Data::I32(values) => {
            Data::I32(rows(values, shape).map(|row| signed(reduce, row, i32::MIN, i32::wrapping_add)).collect())
        }
        Data::Bool(_) => return Err(StepError::Undefined(format!("{reduce:?} of {}", x.facts()))),
    })
}

/// Integers: any order gives the same.
fn signed<T: Copy + Ord + Default>(reduce: Reduce, row: &[T], least: T, add: fn(T, T) -> T) -> T {
    match reduce {
        Reduce::Max => row.iter().copied().fold(least, T::max),
        Reduce::Sum | Reduce::Mean => row.iter().copied().fold(T::default(), add),
    }
}

/// m the largest, s the sum of exp(x - m): exp(x - m) * (1 / s), or (x - m) - log(s).
pub(super) fn softmax(log: bool, x: Floats<'_>) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.data.len());
    for row in rows(x.data, x.shape) {
        let most = largest(row);
        let shifted: Vec<f32> = row.iter().map(|value| *value - most).collect();
        let powers: Vec<f32> = shifted.iter().map(|value| math::exp(*value)).collect();
        let all = sum(&powers);
        if log {
            let all = math::log(all);
            out.extend(shifted.iter().map(|value| *value - all));
        } else {
            let factor = math::div(1.0, all);
            out.extend(powers.iter().map(|power| *power * factor));
        }
    }
    out
}

/// d = x - mean, v the mean of d^2 (chained by fma): fma(d * rsqrt(v + epsilon), scale, bias).
pub(super) fn layer_norm(epsilon: f32, x: Floats<'_>, scale: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.data.len());
    for row in rows(x.data, x.shape) {
        let mean = math::div(sum(row), count(row.len()));
        let centred: Vec<f32> = row.iter().map(|value| *value - mean).collect();
        let squares = lanes(&centred, 0.0, |sum, d| d.mul_add(d, sum), |a, b| a + b);
        let factor = math::rsqrt(math::div(squares, count(row.len())) + epsilon);
        let normal = centred.iter().zip(scale).zip(bias);
        out.extend(normal.map(|((d, scale), bias)| (*d * factor).mul_add(*scale, *bias)));
    }
    out
}

/// Elements along one axis: how many, how far apart, and where each such line begins.
fn along(shape: &[usize], axis: usize) -> (usize, usize, Vec<usize>) {
    let (length, step) = (shape[axis], strides(shape)[axis]);
    let outer: usize = shape[..axis].iter().product();
    let begins = (0..outer).flat_map(|outer| (0..step).map(move |inner| outer * length * step + inner)).collect();
    (length, step, begins)
}

/// NaN is larger than anything; the first one wins.
pub(super) fn arg_max(axis: usize, last: bool, x: &Tensor) -> Result<Vec<i64>, StepError> {
    fn find<T: Copy + PartialOrd>(values: &[T], shape: &[usize], axis: usize, last: bool) -> Vec<i64> {
        let (length, step, begins) = along(shape, axis);
        let unordered = |x: T| x.partial_cmp(&x).is_none();
        let best = |begin: usize| {
            let mut best = 0;
            for at in 1..length {
                let (have, next) = (values[begin + best * step], values[begin + at * step]);
                let larger = next > have || (last && next == have) || unordered(next);
                if larger && !unordered(have) {
                    best = at;
                }
            }
            i64::try_from(best).unwrap_or(i64::MAX)
        };
        begins.into_iter().map(best).collect()
    }
    match x.data() {
        Data::F32(values) => Ok(find(values, x.shape(), axis, last)),
        Data::I64(values) => Ok(find(values, x.shape(), axis, last)),
        Data::I32(values) => Ok(find(values, x.shape(), axis, last)),
        Data::Bool(_) => Err(StepError::Undefined(format!("the largest of {}", x.facts()))),
    }
}

/// One chain along the axis.
pub(super) fn cum_sum(axis: usize, exclusive: bool, reverse: bool, x: &Tensor) -> Result<Data, StepError> {
    fn scan<T: Copy + Default>(
        values: &[T],
        (length, step, begins): (usize, usize, Vec<usize>),
        exclusive: bool,
        reverse: bool,
        add: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let mut out = values.to_vec();
        for begin in begins {
            let mut sum = T::default();
            for at in 0..length {
                let at = begin + if reverse { length - 1 - at } else { at } * step;
                let next = add(values[at], sum);
                out[at] = if exclusive { sum } else { next };
                sum = next;
            }
        }
        out
    }
    let lines = along(x.shape(), axis);
    match x.data() {
        Data::F32(values) => Ok(Data::F32(scan(values, lines, exclusive, reverse, |x, sum| x.mul_add(1.0, sum)))),
        Data::I64(values) => Ok(Data::I64(scan(values, lines, exclusive, reverse, i64::wrapping_add))),
        Data::I32(values) => Ok(Data::I32(scan(values, lines, exclusive, reverse, i32::wrapping_add))),
        Data::Bool(_) => Err(StepError::Undefined(format!("sums of {}", x.facts()))),
    }
}
