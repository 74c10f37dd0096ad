//! Sine and cosine, with the angle brought within an eighth of a turn exactly, however large it is (after Payne and Hanek, 1983).

use super::generated::constants as c;
use super::horner;
use crate::tensor::NAN;

/// x as an angle within pi / 4 and the quarter turns before it, exact to some 60 bits of the turn.
fn angle(x: f32) -> (f32, u32) {
    let a = x.abs();
    if a < std::f32::consts::FRAC_PI_4 {
        return (x, 0);
    }
    // a = m 2^e, and of m 2^e (2 / pi) the bits from 2 down: those above are whole turns.
    let e = (a.to_bits() >> 23).cast_signed() - 150;
    let m = u64::from((a.to_bits() & 0x007f_ffff) | 0x0080_0000);
    let at = (e + 30).unsigned_abs();
    let (word, shift) = ((at >> 5) as usize, at & 31);
    let listed = |at: usize| c::TWO_OVER_PI.get(at).copied().map_or(0, u64::from);
    let bits = |i: usize| ((listed(word + i) << 32 | listed(word + i + 1)) >> (32 - shift)) & 0xffff_ffff;
    let low = m * bits(2);
    let mid = m * bits(1) + (low >> 32);
    let high = (m * bits(0) + (mid >> 32)) & 0xffff_ffff;
    // 96 bits: two of quarters, then the fraction.
    let top = high << 32 | (mid & 0xffff_ffff);
    let part = (top << 2 | (low & 0xffff_ffff) >> 30).cast_signed();
    let turns = (high >> 30) as u32 + u32::from(part < 0);
    let near = part as f32;
    // The rest is exact while `near` is within range.
    let left = if near >= 9_223_372_036_854_775_808.0 { 0.0 } else { part.wrapping_sub(near as i64) as f32 };
    let first = left * c::HALF_PI_2_64_HI;
    let second = near.mul_add(c::HALF_PI_2_64_LO, first);
    let r = near.mul_add(c::HALF_PI_2_64_HI, second);
    if x < 0.0 { (-r, (4 - (turns & 3)) & 3) } else { (r, turns & 3) }
}

fn turned(x: f32, ahead: u32) -> f32 {
    if !x.is_finite() {
        return NAN;
    }
    let (r, quarter) = angle(x);
    let side = quarter + ahead;
    let z = r * r;
    let value = if side & 1 == 1 {
        let bent = horner(&c::COS, z) * (z * z);
        z.mul_add(-0.5, bent) + 1.0
    } else {
        (horner(&c::SIN, z) * z).mul_add(r, r)
    };
    if side & 2 == 2 { -value } else { value }
}

/// The sine of an angle in radians.
pub fn sin(x: f32) -> f32 {
    turned(x, 0)
}

/// The cosine of an angle in radians.
pub fn cos(x: f32) -> f32 {
    turned(x, 1)
}
