//! Exponential, logarithm, and what is made of them.

use super::arithmetic::{div, mantissa, scale};
use super::generated::constants as c;
use super::horner;
use crate::tensor::NAN;

const SIGN: u32 = 0x8000_0000;

/// Nearest integer, ties to even; |x| is far below 2^31.
fn nearest(x: f32) -> i32 {
    x.round_ties_even() as i32
}

/// e^x
pub fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return NAN;
    }
    let within = x.clamp(-110.0, 90.0);
    let n = nearest(within * c::LOG2_E);
    let k = n as f32;
    let high = (-k).mul_add(c::LN2_HI, within);
    let r = (-k).mul_add(c::LN2_LO, high);
    let less_one = horner(&c::EXP, r).mul_add(r * r, r);
    scale(less_one + 1.0, n)
}

/// The natural logarithm; -infinity at 0, NaN below.
pub fn log(x: f32) -> f32 {
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x < 0.0 || x.is_nan() {
        return NAN;
    }
    if x.is_infinite() {
        return x;
    }
    let (one, n) = mantissa(x);
    let large = one > std::f32::consts::SQRT_2;
    let m = if large { one * 0.5 } else { one };
    let k = (n + i32::from(large)) as f32;
    let f = m - 1.0;
    let square = f * f;
    let low = k * c::LN2_LO;
    let tail = horner(&c::LOG, f).mul_add(square * f, low);
    let near = f + square.mul_add(-0.5, tail);
    k.mul_add(c::LN2_HI, near)
}

/// 1 / (1 + e^-x)
pub fn sigmoid(x: f32) -> f32 {
    div(1.0, exp(-x) + 1.0)
}

/// The hyperbolic tangent.
pub fn tanh(x: f32) -> f32 {
    if x.is_nan() {
        return NAN;
    }
    let a = x.abs();
    let value = if a < 0.55 {
        let z = a * a;
        (horner(&c::TANH, z) * z).mul_add(a, a)
    } else {
        1.0 - div(2.0, exp(a + a) + 1.0)
    };
    signed(value, x)
}

/// The error function.
pub fn erf(x: f32) -> f32 {
    if x.is_nan() {
        return NAN;
    }
    let a = x.abs();
    let value = if a < 0.875 {
        horner(&c::ERF, a * a) * a
    } else {
        1.0 - exp(-horner(&c::ERFC, if a > 3.95 { 3.95 } else { a }))
    };
    signed(value, x)
}

/// x / 2 (1 + erf(x / sqrt 2)). Far below 0 it is exact to some 1e-7 of x, not of itself.
pub fn gelu(x: f32) -> f32 {
    if x.is_infinite() {
        return if x < 0.0 { 0.0 } else { x };
    }
    let gate = erf(x * c::SQRT_HALF) + 1.0;
    (x * 0.5) * gate
}

fn signed(value: f32, like: f32) -> f32 {
    f32::from_bits(value.to_bits() | (like.to_bits() & SIGN))
}
