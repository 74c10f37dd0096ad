//! Quotients and roots, rounded as IEEE 754 has them, without the device's own.

use crate::tensor::NAN;

const SIGN: i32 = i32::MIN;

fn as_i(x: f32) -> i32 {
    x.to_bits().cast_signed()
}

fn as_f(word: i32) -> f32 {
    f32::from_bits(word.cast_unsigned())
}

/// 2^n for n from -126 to 127.
fn power(n: i32) -> f32 {
    as_f((n + 127) << 23)
}

/// x 2^n, rounded once, for 1/2 <= x < 4, or where that is exact: the first factor leaves x normal, and beyond 250 nothing changes any more.
pub(super) fn scale(x: f32, n: i32) -> f32 {
    let within = n.clamp(-252, 250);
    let half = within >> 1;
    x * power(half) * power(within - half)
}

/// x as m 2^n with 1 <= m < 2; x is finite, positive and not 0. A denormal is made normal first.
pub(super) fn mantissa(x: f32) -> (f32, i32) {
    let small = as_i(x) < 0x0080_0000;
    let word = as_i(if small { x * 16_777_216.0 } else { x });
    let exponent = (word >> 23) - 127;
    (as_f((word & 0x007f_ffff) | 0x3f80_0000), if small { exponent - 24 } else { exponent })
}

/// The larger; NaN where one is NaN. Of two zeros the second.
pub fn max(x: f32, y: f32) -> f32 {
    match (x.is_nan(), y.is_nan()) {
        (true, _) => x,
        (_, true) => y,
        _ if x > y => x,
        _ => y,
    }
}

/// The smaller; NaN where one is NaN. Of two zeros the second.
pub fn min(x: f32, y: f32) -> f32 {
    match (x.is_nan(), y.is_nan()) {
        (true, _) => x,
        (_, true) => y,
        _ if x < y => x,
        _ => y,
    }
}

/// 1 / y for 1 <= y < 2 to the last bit or the one before: a straight line through bits, then Newton.
fn inverse(y: f32) -> f32 {
    let mut r = as_f(0x7ef3_11c3 - as_i(y));
    for _ in 0..4 {
        let e = (-y).mul_add(r, 1.0);
        r = r.mul_add(e, r);
    }
    r
}

/// x / y, correctly rounded for all floats; a NaN is 0x7fc00000.
pub fn div(x: f32, y: f32) -> f32 {
    let sign = (as_i(x) ^ as_i(y)) & SIGN;
    let (a, b) = (as_f(as_i(x) & !SIGN), as_f(as_i(y) & !SIGN));
    if a.is_nan() || b.is_nan() || (a == 0.0 && b == 0.0) || (a.is_infinite() && b.is_infinite()) {
        return NAN;
    }
    let value = if a == 0.0 || b.is_infinite() {
        0.0
    } else if b == 0.0 || a.is_infinite() {
        f32::INFINITY
    } else {
        quotient(a, b)
    };
    as_f(as_i(value) | sign)
}

/// a / b for positive finite numbers.
fn quotient(a: f32, b: f32) -> f32 {
    let ((p, n), (d, m)) = (mantissa(a), mantissa(b));
    let r = inverse(d);
    let guess = p * r;
    let first = (-d).mul_add(guess, p);
    let near = first.mul_add(r, guess);
    let second = (-d).mul_add(near, p);
    let most = second.mul_add(r, near);
    let most_rest = (-d).mul_add(most, p);
    // `r` may be half a last place off, and the quotient the farther of two floats: remainders are exact and tell.
    let other = as_f(as_i(most) + if most_rest > 0.0 { 1 } else { -1 });
    let other_rest = (-d).mul_add(other, p);
    let nearer = other_rest.abs() < most_rest.abs();
    let (q, rest) = if nearer { (other, other_rest) } else { (most, most_rest) };
    let e = n - m;
    let value = scale(q, e);
    // Below the normal range the quotient was rounded a second time. If it stood in the middle of two floats only because of the
    // first time, the remainder says which of them is nearer.
    if as_i(value) > 0x0080_0000 || e < -160 {
        return value;
    }
    let low = e.clamp(-160, -100);
    let off = q - scale(value, -low);
    let apart = power((-150 - low).max(-126));
    let up = i32::from(off == apart && rest > 0.0);
    let down = i32::from(off == -apart && rest < 0.0);
    as_f(as_i(value) + up - down)
}

/// The square root, correctly rounded; NaN below 0, -0 stays.
pub fn sqrt(x: f32) -> f32 {
    if x < 0.0 || x.is_nan() {
        return NAN;
    }
    if x == 0.0 || x.is_infinite() {
        return x;
    }
    let (one, n) = mantissa(x);
    let odd = n & 1;
    let m = if odd == 1 { one * 2.0 } else { one };
    let mut r = as_f(0x5f37_5a86 - (as_i(m) >> 1));
    for _ in 0..4 {
        let e = (-m).mul_add(r * r, 1.0);
        r = (r * 0.5).mul_add(e, r);
    }
    let guess = m * r;
    let half_r = r * 0.5;
    let first = (-guess).mul_add(guess, m);
    let near = first.mul_add(half_r, guess);
    let second = (-near).mul_add(near, m);
    let root = second.mul_add(half_r, near);
    scale(root, (n - odd) >> 1)
}

/// 1 / sqrt(x), rounded twice.
pub fn rsqrt(x: f32) -> f32 {
    div(1.0, sqrt(x))
}
