//! Powers: the logarithm to the base 2 as the sum of two floats, times the exponent, and 2 to that.

use super::arithmetic::{div, mantissa, scale};
use super::generated::constants as c;
use super::horner;
use crate::tensor::NAN;

/// log2 of a finite positive float as the sum of two.
fn log2(x: f32) -> (f32, f32) {
    let (one, n) = mantissa(x);
    let large = one > std::f32::consts::SQRT_2;
    let m = if large { one * 0.5 } else { one };
    let k = (n + i32::from(large)) as f32;
    let (num, den) = (m - 1.0, m + 1.0);
    let den_low = m - (den - 1.0);
    let s = div(num, den);
    let first = (-s).mul_add(den, num);
    let second = (-s).mul_add(den_low, first);
    let s_low = div(second, den);
    let z = s * s;
    let bent = horner(&c::ATANH, z).mul_add(z * s, s_low);
    // (s + bent) times 2 log2(e), then k.
    let high = s * c::TWO_LOG2_E_HI;
    let lost = s.mul_add(c::TWO_LOG2_E_HI, -high);
    let third = s.mul_add(c::TWO_LOG2_E_LO, lost);
    let tail = bent.mul_add(c::TWO_LOG2_E_HI, third);
    let sum = k + high;
    let gone = high - (sum - k);
    // |k| is 0 or larger than what is added: nothing is lost but what `gone` holds.
    let rest = gone + tail;
    let all = sum + rest;
    (all, rest - (all - sum))
}

/// 2^(high + low)
fn exp2(high: f32, low: f32) -> f32 {
    let within = high.clamp(-200.0, 200.0);
    let n = within.round_ties_even() as i32;
    let left = within - n as f32;
    let r = if within == high { left + low } else { left };
    scale(horner(&c::EXP2, r).mul_add(r, 1.0), n)
}

/// x^y, with the special cases of IEEE 754-2019, 9.2.1; a NaN is 0x7fc00000.
pub fn pow(x: f32, y: f32) -> f32 {
    let (a, b) = (x.abs(), y.abs());
    if b == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return NAN;
    }
    // Floats from 2^24 on are even.
    let whole = b >= 16_777_216.0 || (b as i32) as f32 == b;
    let odd = b < 16_777_216.0 && whole && (b as i32) & 1 == 1;
    let sign = if odd { x.to_bits() & 0x8000_0000 } else { 0 };
    if b.is_infinite() {
        return match a == 1.0 {
            true => 1.0,
            false if (a > 1.0) == (y > 0.0) => f32::INFINITY,
            false => 0.0,
        };
    }
    if a == 0.0 || a.is_infinite() {
        let value = if (a == 0.0) == (y > 0.0) { 0 } else { 0x7f80_0000 };
        return f32::from_bits(value | sign);
    }
    if x < 0.0 && !whole {
        return NAN;
    }
    let (high, low) = log2(a);
    let product = y * high;
    let lost = y.mul_add(high, -product);
    let tail = y.mul_add(low, lost);
    // Beyond the range only the sign of the logarithm matters.
    let value = exp2(product, if product.abs() < 200.0 { tail } else { 0.0 });
    f32::from_bits(value.to_bits() | sign)
}
