//! Numbers written as text, so that nothing is lost on the way: decimal integers of their type's range, floats in decimal
//! (rounded to nearest, ties to even) or in C's hexadecimal form, which must be exact.

use crate::dtype::DType;

/// Longest text of a number, in bytes.
const MAX_TEXT: usize = 64;

/// Why text is no value of a type.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScalarError {
    /// Not a number in the form that is read.
    #[error("{text:?} is no {form}")]
    Malformed {
        /// The text, or its beginning.
        text: String,
        /// What was expected.
        form: &'static str,
    },
    /// A number that the type does not hold.
    #[error("{text} does not fit in {dtype}")]
    Range {
        /// The text.
        text: String,
        /// The type.
        dtype: &'static str,
    },
    /// A hexadecimal float with more bits than the type has.
    #[error("{text} is not exact in {dtype}")]
    Inexact {
        /// The text.
        text: String,
        /// The type.
        dtype: &'static str,
    },
}

/// The little-endian bits of `text` as a `dtype`, in the low bytes; the rest is zero.
pub fn parse_scalar(dtype: DType, text: &str) -> Result<u64, ScalarError> {
    let float = "decimal number, or hexadecimal one like 0x1.8p3";
    let form = if dtype.is_float() { float } else { "decimal whole number" };
    let malformed = || ScalarError::Malformed { text: text.chars().take(MAX_TEXT).collect(), form };
    if text.len() > MAX_TEXT {
        return Err(malformed());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if !dtype.is_float() {
        return integer(dtype, text, negative, digits, malformed);
    }
    let bits = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => hexadecimal(dtype, text, hex, malformed)?,
        None => decimal(dtype, text, digits, malformed)?,
    };
    Ok(bits | u64::from(negative) << (dtype.size() * 8 - 1))
}

fn integer(
    dtype: DType,
    text: &str,
    negative: bool,
    digits: &str,
    malformed: impl Fn() -> ScalarError,
) -> Result<u64, ScalarError> {
    let good = !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|c| c.is_ascii_digit());
    let magnitude: i128 = good.then(|| digits.parse().ok()).flatten().ok_or_else(malformed)?;
    let value = if negative { -magnitude } else { magnitude };
    let bits = dtype.size() * 8;
    let signed = matches!(dtype, DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64);
    let (min, max) =
        if signed { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
    if value < min || value > max {
        return Err(ScalarError::Range { text: text.to_owned(), dtype: dtype.opencl() });
    }
    // Two's complement, cut to the type's width: the mask leaves at most 64 bits.
    Ok(u64::try_from(value & ((1_i128 << bits) - 1)).unwrap_or(u64::MAX))
}

/// Digits, with at most one point and an exponent: the part of Rust's grammar that is not inf, nan or a sign.
fn decimal(dtype: DType, text: &str, digits: &str, malformed: impl Fn() -> ScalarError) -> Result<u64, ScalarError> {
    let starts = digits.bytes().next().is_some_and(|c| c.is_ascii_digit() || c == b'.');
    let plain = digits.bytes().all(|c| c.is_ascii_digit() || b".eE+-".contains(&c));
    if !starts || !plain {
        return Err(malformed());
    }
    let (bits, finite) = if dtype == DType::Float32 {
        let value: f32 = digits.parse().map_err(|_| malformed())?;
        (u64::from(value.to_bits()), value.is_finite())
    } else {
        let value: f64 = digits.parse().map_err(|_| malformed())?;
        (value.to_bits(), value.is_finite())
    };
    if finite { Ok(bits) } else { Err(ScalarError::Range { text: text.to_owned(), dtype: dtype.opencl() }) }
}

/// Hex digits with at most one point, and a binary exponent after `p`, which may be left out.
fn hexadecimal(dtype: DType, text: &str, hex: &str, malformed: impl Fn() -> ScalarError) -> Result<u64, ScalarError> {
    let (mantissa, exponent) = match hex.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, power(exponent).ok_or_else(&malformed)?),
        None => (hex, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Ok(0);
    }
    let inexact = || ScalarError::Inexact { text: text.to_owned(), dtype: dtype.opencl() };
    // Over 16 significant hex digits are over 61 significant bits: more than any float has.
    if trimmed.len() > 16 {
        return Err(inexact());
    }
    let value = u64::from_str_radix(trimmed, 16).map_err(|_| malformed())?;
    // At most 64 digits were read, so this is far from the edge.
    let dropped = i64::try_from(significant.len() - trimmed.len()).unwrap_or(0);
    let behind = i64::try_from(fraction.len()).unwrap_or(0);
    let zeros = value.trailing_zeros();
    let odd = value >> zeros;
    let scale = exponent + 4 * (dropped - behind) + i64::from(zeros);
    let (mantissa_bits, bias) = if dtype == DType::Float32 { (23, 127) } else { (52, 1023) };
    assemble(odd, scale, mantissa_bits, bias).ok_or_else(|| {
        let top = scale + i64::from(odd.ilog2());
        if top > bias { ScalarError::Range { text: text.to_owned(), dtype: dtype.opencl() } } else { inexact() }
    })
}

/// A binary exponent: a sign and up to 6 digits.
fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let good = (1..=6).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

/// The bits of `odd` x 2^`scale`, where that is exact.
fn assemble(odd: u64, scale: i64, mantissa_bits: u32, bias: i64) -> Option<u64> {
    let width = odd.ilog2();
    let top = scale + i64::from(width);
    let lowest = 1 - bias - i64::from(mantissa_bits);
    if width > mantissa_bits || top > bias || scale < lowest {
        return None;
    }
    if top < 1 - bias {
        // Subnormal: counted in units of the smallest.
        return Some(odd << u32::try_from(scale - lowest).ok()?);
    }
    let fraction = (odd << (mantissa_bits - width)) & ((1 << mantissa_bits) - 1);
    Some(u64::try_from(top + bias).ok()? << mantissa_bits | fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_of_every_width() {
        let check = |dtype, text, bits| assert_eq!(parse_scalar(dtype, text), Ok(bits), "{text}");
        check(DType::Uint8, "255", 255);
        check(DType::Int8, "-128", 0x80);
        check(DType::Int8, "-1", 0xff);
        check(DType::Int32, "-2", 0xffff_fffe);
        check(DType::Uint64, "18446744073709551615", u64::MAX);
        check(DType::Int64, "-9223372036854775808", 1 << 63);
        check(DType::Uint32, "0064", 64);
    }

    #[test]
    fn floats_in_both_forms() {
        let check = |dtype, text, bits| assert_eq!(parse_scalar(dtype, text), Ok(bits), "{text}");
        check(DType::Float32, "0x1.8p3", u64::from(12.0_f32.to_bits()));
        check(DType::Float32, "-0x1.8p3", u64::from((-12.0_f32).to_bits()));
        check(DType::Float32, "0.1", u64::from(0.1_f32.to_bits()));
        check(DType::Float32, "1e-45", 1);
        check(DType::Float32, "0x1p-149", 1);
        check(DType::Float32, "0x0.000002p-126", 0x0000_0001);
        check(DType::Float32, "0x1.fffffep127", u64::from(f32::MAX.to_bits()));
        check(DType::Float32, "-0", 1 << 31);
        check(DType::Float64, "-0x0p0", 1 << 63);
        check(DType::Float64, "0x1.921fb54442d18p+1", std::f64::consts::PI.to_bits());
        check(DType::Float64, "0x10", 16.0_f64.to_bits());
        check(DType::Float64, "0x.8", 0.5_f64.to_bits());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let refused = |dtype, text: &str| assert!(parse_scalar(dtype, text).is_err(), "{text} as {dtype}");
        for text in ["", "-", "+1", "1.0", "0x1", "1e3", " 1", "1_000", "--1", "999999999999999999999", "nan"] {
            refused(DType::Int64, text);
        }
        refused(DType::Uint8, "256");
        refused(DType::Uint8, "-1");
        refused(DType::Int16, "32768");
        for text in
            ["", "inf", "nan", "infinity", "-", "1e", "1.5f", ".", "e5", "0x", "0x.", "0x1p", "0x1.8p3.0", "1e999"]
        {
            refused(DType::Float64, text);
        }
        assert!(matches!(parse_scalar(DType::Float32, "0x1.0000001p0"), Err(ScalarError::Inexact { .. })));
        assert!(matches!(parse_scalar(DType::Float32, "0x1p128"), Err(ScalarError::Range { .. })));
        assert!(matches!(parse_scalar(DType::Float32, "1e39"), Err(ScalarError::Range { .. })));
        assert!(matches!(parse_scalar(DType::Float32, "0x1p-150"), Err(ScalarError::Inexact { .. })));
        assert!(parse_scalar(DType::Float64, &"1".repeat(65)).is_err());
    }

    proptest! {
        #[test]
        fn hexadecimal_text_of_a_float_gives_its_bits(bits in any::<u64>(), narrow in any::<u32>()) {
            for (dtype, bits, mantissa, bias) in
                [(DType::Float64, bits, 52_u32, 1023_i64), (DType::Float32, u64::from(narrow), 23, 127)]
            {
                let width = dtype.size() * 8;
                let sign = if bits >> (width - 1) == 1 { "-" } else { "" };
                let exponent = i64::try_from(bits >> mantissa & ((1 << (width - 1 - u64::from(mantissa))) - 1)).unwrap();
                prop_assume!(exponent <= 2 * bias);
                let fraction = bits & ((1 << mantissa) - 1);
                let whole = if exponent == 0 { fraction } else { fraction | 1 << mantissa };
                let power = exponent.max(1) - bias - i64::from(mantissa);
                let text = format!("{sign}0x{whole:x}p{power}");
                prop_assert_eq!(parse_scalar(dtype, &text), Ok(bits), "{}", text);
            }
        }

        #[test]
        fn decimal_text_of_a_float_gives_its_bits(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let text = format!("{value:e}");
            prop_assert_eq!(parse_scalar(DType::Float64, &text), Ok(value.to_bits()), "{}", text);
        }
    }
}
