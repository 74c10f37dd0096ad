//! Our own functions of floats: made of `+ - *`, fma, comparisons and integers alone, so that every device gives the same bits (RK3).
//!
//! The Rust here is the definition; `math.cl` and `single.cl` are its twins for devices, statement by statement, with the same constants.
//! Nothing of the standard library's mathematics is used. A change of any statement is another kernel set.
#![expect(clippy::many_single_char_names, reason = "formulas are written as formulas are")]
#![expect(clippy::float_cmp, reason = "special values are compared exactly, on purpose")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "each conversion says why it is exact, or rounds as it must"
)]

mod angle;
mod arithmetic;
mod curves;
mod generated;
mod power;

pub use angle::{cos, sin};
pub use arithmetic::{div, max, min, rsqrt, sqrt};
pub use curves::{erf, exp, gelu, log, sigmoid, tanh};
use generated::constants as c;
pub use power::pow;

/// The functions' text for devices, which stands for two: of one float, and of sixteen ([`crate::builtin`]).
pub(crate) const BOTH: &str = include_str!("math.cl");
/// Those that are rare, of single floats alone.
pub(crate) const SINGLE: &str = include_str!("single.cl");

/// Macros for all constants: name and text.
pub(crate) fn constants() -> Vec<(String, String)> {
    let define = |name: String, value: f32| (format!("ORION_{name}"), format!("as_float(0x{:08x}u)", value.to_bits()));
    let single = [
        ("LOG2_E", c::LOG2_E),
        ("LN2_HI", c::LN2_HI),
        ("LN2_LO", c::LN2_LO),
        ("SQRT_HALF", c::SQRT_HALF),
        ("HALF_PI_2_64_HI", c::HALF_PI_2_64_HI),
        ("HALF_PI_2_64_LO", c::HALF_PI_2_64_LO),
        ("TWO_LOG2_E_HI", c::TWO_LOG2_E_HI),
        ("TWO_LOG2_E_LO", c::TWO_LOG2_E_LO),
    ];
    let lists: [(&str, &[f32]); 9] = [
        ("EXP", &c::EXP),
        ("LOG", &c::LOG),
        ("TANH", &c::TANH),
        ("ERF", &c::ERF),
        ("ERFC", &c::ERFC),
        ("SIN", &c::SIN),
        ("COS", &c::COS),
        ("ATANH", &c::ATANH),
        ("EXP2", &c::EXP2),
    ];
    let mut all: Vec<(String, String)> = single.into_iter().map(|(name, value)| define(name.into(), value)).collect();
    for (name, list) in lists {
        all.extend(list.iter().enumerate().map(|(at, value)| define(format!("{name}_{at}"), *value)));
    }
    let words: Vec<String> = c::TWO_OVER_PI.iter().map(|word| format!("0x{word:08x}u")).collect();
    all.push(("ORION_TWO_OVER_PI_WORDS".into(), words.join(", ")));
    all
}

/// The polynomial, by Horner's rule in fma from the highest power down.
fn horner(coefficients: &[f32], x: f32) -> f32 {
    let mut powers = coefficients.iter().rev();
    let highest = powers.next().copied().unwrap_or(0.0);
    powers.fold(highest, |sum, coefficient| sum.mul_add(x, *coefficient))
}
