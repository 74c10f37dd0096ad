//! Functions of elements.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    reason = "what a conversion means here is what Rust's `as` does: docs/kernel-set.md, arithmetic 5"
)]
#![expect(clippy::many_single_char_names, reason = "operands are x, y and z, their elements a, b and c")]

use super::{StepError, broadcast, walk};
use crate::math;
use crate::program::Function;
use crate::tensor::{Data, Element, Kind, Tensor};

pub(super) fn map(function: Function, inputs: &[&Tensor], shape: &[usize]) -> Result<Data, StepError> {
    let undefined = || {
        let facts: Vec<String> = inputs.iter().map(|input| input.facts().to_string()).collect();
        StepError::Undefined(format!("{function:?} of {}", facts.join(", ")))
    };
    match inputs {
        [x] => one(function, x.data()).ok_or_else(undefined),
        [x, y] => two(function, x, y, shape).ok_or_else(undefined),
        [x, y, z] => three(function, x, y, z, shape).ok_or_else(undefined),
        _ => Err(undefined()),
    }
}

fn one(function: Function, data: &Data) -> Option<Data> {
    if let Function::Cast(kind) = function {
        return Some(cast(data, kind));
    }
    Some(match data {
        Data::F32(values) => Data::F32(values.iter().map(|x| float(function, *x)).collect::<Option<_>>()?),
        Data::I64(values) => Data::I64(values.iter().map(|x| signed(function, *x)).collect::<Option<_>>()?),
        Data::I32(values) => {
            // Within 64 bits nothing overflows; what goes back is cut off like 32 bits that wrap.
            let wide = |x: &i32| signed(function, i64::from(*x)).map(|y| y as i32);
            Data::I32(values.iter().map(wide).collect::<Option<_>>()?)
        }
        Data::Bool(values) if function == Function::Not => Data::Bool(values.iter().map(|x| !x).collect()),
        Data::Bool(_) => return None,
    })
}

/// Functions of one float.
fn float(function: Function, x: f32) -> Option<f32> {
    Some(match function {
        Function::Neg => -x,
        Function::Abs => x.abs(),
        Function::Exp => math::exp(x),
        Function::Log => math::log(x),
        Function::Sqrt => math::sqrt(x),
        Function::Reciprocal => math::div(1.0, x),
        Function::Erf => math::erf(x),
        Function::Tanh => math::tanh(x),
        Function::Sigmoid => math::sigmoid(x),
        Function::Gelu => math::gelu(x),
        Function::Sin => math::sin(x),
        Function::Cos => math::cos(x),
        Function::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Function::LeakyRelu(alpha) => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        Function::HardSigmoid(alpha, beta) => math::max(0.0, math::min(1.0, alpha.mul_add(x, beta))),
        _ => return None,
    })
}

fn signed(function: Function, x: i64) -> Option<i64> {
    Some(match function {
        Function::Neg => x.wrapping_neg(),
        Function::Abs => x.wrapping_abs(),
        Function::Relu => x.max(0),
        _ => return None,
    })
}

/// What a truth value makes of a number: NaN is true.
fn is_set<T: Element>(x: &T) -> bool {
    *x != T::default()
}

/// Floats are cut off towards zero; beyond the range the nearest end, NaN is 0. Wider integers lose their upper bits.
fn cast(data: &Data, to: Kind) -> Data {
    macro_rules! to {
        ($values:ident) => {
            match to {
                Kind::F32 => Data::F32($values.iter().map(|x| *x as f32).collect()),
                Kind::I64 => Data::I64($values.iter().map(|x| *x as i64).collect()),
                Kind::I32 => Data::I32($values.iter().map(|x| *x as i32).collect()),
                Kind::Bool => Data::Bool($values.iter().map(is_set).collect()),
            }
        };
    }
    match data {
        Data::F32(values) => to!(values),
        Data::I64(values) => to!(values),
        Data::I32(values) => to!(values),
        Data::Bool(values) => {
            let values: Vec<i32> = values.iter().map(|x| i32::from(*x)).collect();
            to!(values)
        }
    }
}

fn two(function: Function, x: &Tensor, y: &Tensor, shape: &[usize]) -> Option<Data> {
    match (x.data(), y.data()) {
        (Data::F32(a), Data::F32(b)) => {
            if let Some(is) = comparison(function) {
                return Some(Data::Bool(zip(x, y, shape, a, b, |x, y| x.partial_cmp(&y).is_some_and(is))));
            }
            float2(function, 0.0, 0.0)?;
            Some(Data::F32(zip(x, y, shape, a, b, |x, y| float2(function, x, y).unwrap_or_default())))
        }
        (Data::I64(a), Data::I64(b)) => {
            if let Some(is) = comparison(function) {
                return Some(Data::Bool(zip(x, y, shape, a, b, |x, y| is(x.cmp(&y)))));
            }
            signed2(function, 0, 0)?;
            Some(Data::I64(zip(x, y, shape, a, b, |x, y| signed2(function, x, y).unwrap_or_default())))
        }
        (Data::I32(a), Data::I32(b)) => {
            if let Some(is) = comparison(function) {
                return Some(Data::Bool(zip(x, y, shape, a, b, |x, y| is(x.cmp(&y)))));
            }
            signed2(function, 0, 0)?;
            // 64 bits that wrap, cut off, are 32 bits that wrap; quotients and powers of exponents below 2^31 as well.
            let narrow = |x: i32, y: i32| signed2(function, i64::from(x), i64::from(y)).unwrap_or_default() as i32;
            Some(Data::I32(zip(x, y, shape, a, b, narrow)))
        }
        (Data::Bool(a), Data::Bool(b)) => Some(Data::Bool(match function {
            Function::And => zip(x, y, shape, a, b, |x, y| x && y),
            Function::Or => zip(x, y, shape, a, b, |x, y| x || y),
            Function::Equal => zip(x, y, shape, a, b, |x, y| x == y),
            _ => return None,
        })),
        _ => None,
    }
}

fn comparison(function: Function) -> Option<fn(std::cmp::Ordering) -> bool> {
    use std::cmp::Ordering;
    Some(match function {
        Function::Equal => Ordering::is_eq,
        Function::Less => Ordering::is_lt,
        Function::LessOrEqual => Ordering::is_le,
        Function::Greater => Ordering::is_gt,
        Function::GreaterOrEqual => Ordering::is_ge,
        _ => return None,
    })
}

fn float2(function: Function, x: f32, y: f32) -> Option<f32> {
    Some(match function {
        Function::Add => x + y,
        Function::Sub => x - y,
        Function::Mul => x * y,
        Function::Div => math::div(x, y),
        Function::Pow => math::pow(x, y),
        Function::Min => math::min(x, y),
        Function::Max => math::max(x, y),
        Function::Rem => x % y,
        _ => return None,
    })
}

fn signed2(function: Function, x: i64, y: i64) -> Option<i64> {
    Some(match function {
        Function::Add => x.wrapping_add(y),
        Function::Sub => x.wrapping_sub(y),
        Function::Mul => x.wrapping_mul(y),
        Function::Div if y != 0 => x.wrapping_div(y),
        Function::Min => x.min(y),
        Function::Max => x.max(y),
        Function::Div | Function::Rem | Function::Mod if y == 0 => 0,
        Function::Rem => x.wrapping_rem(y),
        Function::Mod => {
            let rest = x.wrapping_rem(y);
            if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
        }
        Function::Pow => power(x, y),
        _ => return None,
    })
}

/// Wraps; a negative exponent gives what the quotient 1 / x^-y gives: 0, or a sign, or 0 for the base 0.
fn power(x: i64, y: i64) -> i64 {
    match (x, u64::try_from(y)) {
        (1, _) => 1,
        (-1, _) => {
            if y % 2 == 0 {
                1
            } else {
                -1
            }
        }
        (_, Err(_)) => 0,
        (_, Ok(mut exponent)) => {
            let (mut all, mut square) = (1_i64, x);
            while exponent > 0 {
                if exponent % 2 == 1 {
                    all = all.wrapping_mul(square);
                }
                square = square.wrapping_mul(square);
                exponent /= 2;
            }
            all
        }
    }
}

fn three(function: Function, x: &Tensor, y: &Tensor, z: &Tensor, shape: &[usize]) -> Option<Data> {
    match (function, x.data(), y.data(), z.data()) {
        (Function::Fma, Data::F32(a), Data::F32(b), Data::F32(c)) => {
            let strides = [x, y, z].map(|operand| broadcast(operand.shape(), shape));
            let mut out = Vec::with_capacity(shape.iter().product());
            let [s, t, u] = &strides;
            walk(shape, [0; 3], [s, t, u], |[i, j, k]| out.push(a[i].mul_add(b[j], c[k])));
            Some(Data::F32(out))
        }
        (Function::Select, Data::Bool(_), Data::F32(_), Data::F32(_)) => select::<f32>(x, y, z, shape),
        (Function::Select, Data::Bool(_), Data::I64(_), Data::I64(_)) => select::<i64>(x, y, z, shape),
        (Function::Select, Data::Bool(_), Data::I32(_), Data::I32(_)) => select::<i32>(x, y, z, shape),
        (Function::Select, Data::Bool(_), Data::Bool(_), Data::Bool(_)) => select::<bool>(x, y, z, shape),
        _ => None,
    }
}

fn select<T: Element>(x: &Tensor, y: &Tensor, z: &Tensor, shape: &[usize]) -> Option<Data> {
    let (condition, yes, no) = (x.as_slice::<bool>()?, y.as_slice::<T>()?, z.as_slice::<T>()?);
    let [s, t, u] = &[x, y, z].map(|operand| broadcast(operand.shape(), shape));
    let mut out = Vec::with_capacity(shape.iter().product());
    walk(shape, [0; 3], [s, t, u], |[i, j, k]| out.push(if condition[i] { yes[j] } else { no[k] }));
    Some(T::wrap(out))
}

/// Both operands at the same place, broadcast.
fn zip<T: Copy, R>(x: &Tensor, y: &Tensor, shape: &[usize], a: &[T], b: &[T], of: impl Fn(T, T) -> R) -> Vec<R> {
    let (s, t) = (broadcast(x.shape(), shape), broadcast(y.shape(), shape));
    let mut out = Vec::with_capacity(shape.iter().product());
    walk(shape, [0; 2], [&s, &t], |[i, j]| out.push(of(a[i], b[j])));
    out
}
