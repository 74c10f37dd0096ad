//! Whether a token is floating point: types, literals, constants, and the functions that can make floats out of integers.

use super::names::{FLOAT_CONSTANTS, FLOAT_TYPES, has};

/// What kind of floating point a name stands for wherever it appears, if any.
pub(super) fn name(text: &str) -> Option<&'static str> {
    if has(FLOAT_TYPES, without_width(text)) {
        return Some("is a floating-point type");
    }
    if ["convert_", "as_"].iter().any(|verb| text.strip_prefix(verb).is_some_and(is_conversion)) {
        return Some("converts to a floating-point type");
    }
    if ["vload_half", "vloada_half", "vstore_half", "vstorea_half"].iter().any(|prefix| text.starts_with(prefix)) {
        return Some("loads or stores a floating-point type");
    }
    let constant = text.strip_suffix("_F").or(text.strip_suffix("_H")).unwrap_or(text);
    let limits = ["FLT_", "DBL_", "FP_FAST_FMA", "FP_ILOGB", "__FLT", "__DBL", "__LDBL"]
        .iter()
        .any(|prefix| text.starts_with(prefix));
    if limits || has(FLOAT_CONSTANTS, constant) {
        return Some("is a floating-point constant");
    }
    None
}

/// Whether a preprocessing number is a floating-point literal.
pub(super) fn literal(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if lower.contains('.') {
        return true;
    }
    match lower.strip_prefix("0x") {
        Some(digits) => digits.contains('p'),
        None => lower.contains('e') || lower.ends_with(['f', 'h']),
    }
}

/// `float4_rte`, `half`, `double2`.
fn is_conversion(to: &str) -> bool {
    let scalar = to.split('_').next().unwrap_or(to);
    has(FLOAT_TYPES, without_width(scalar))
}

/// The name without a vector's or matrix' size: `float4`, `double2x2`.
fn without_width(text: &str) -> &str {
    let name = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == 'x');
    if has(FLOAT_TYPES, text) { text } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for text in [
            "float",
            "float4",
            "float16",
            "double2x2",
            "half8",
            "_Float16",
            "convert_float4_rte",
            "as_half",
            "as_double2",
            "vload_half4",
            "vstorea_half",
            "FLT_MAX",
            "FP_FAST_FMAF",
            "M_PI_F",
            "NAN",
            "INFINITY",
            "atomic_float",
        ] {
            assert!(name(text).is_some(), "{text}");
        }
        for text in ["floats", "as_uint4", "convert_int_sat", "halfway", "HALF_WIDTH", "uint", "max", "x", "M_", "NANO"]
        {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn literals_are_told_apart() {
        for text in ["1.0", "1.", ".5", "1e5", "1E5", "1f", "0x1p3", "0X1P-3", "0x.8p1", "1.5h", "3F"] {
            assert!(literal(text), "{text}");
        }
        for text in ["1", "0x1e5", "0xFf", "077", "10UL", "0b11", "0xdeadbeefu", "1u"] {
            assert!(!literal(text), "{text}");
        }
    }
}
