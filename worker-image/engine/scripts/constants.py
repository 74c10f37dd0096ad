#!/usr/bin/env python3
"""Derives the constants of src/math with mpmath 1.4.1 and writes src/math/generated/constants.rs.

Polynomials are Chebyshev fits in 60 digits, each coefficient then rounded to float32; tests measure what is left. Run without arguments.
"""
import struct
from pathlib import Path

from mpmath import chebyfit, cos, erf, erfc, exp, expm1, floor, log, mp, mpf, pi, sin, sqrt, tanh

mp.dps = 60
LINES = []


def bits(value):
    return struct.unpack("<I", struct.pack("<f", float(value)))[0]


def word(value):
    """As Rust wants long numbers."""
    return f"0x{value >> 16:04x}_{value & 0xFFFF:04x}"


def rounded(value):
    return mpf(struct.unpack("<f", struct.pack("<f", float(value)))[0])


def one(name, value, doc):
    LINES.append(f"/// {doc}\npub const {name}: f32 = f32::from_bits({word(bits(value))});")


def pair(name, value, doc):
    """The value as the sum of two floats."""
    one(f"{name}_HI", value, f"{doc}, rounded.")
    one(f"{name}_LO", value - rounded(value), f"{doc}, what rounding left.")


def fit(name, function, interval, count, doc):
    """Coefficients by ascending power."""
    coefficients = chebyfit(function, interval, count)[::-1]
    words = ", ".join(f"f32::from_bits({word(bits(c))})" for c in coefficients)
    LINES.append(f"/// {doc}, by ascending power.\npub const {name}: [f32; {count}] = [{words}];")


def limit(function, at_zero):
    """A function with a removable gap at 0."""
    return lambda x: at_zero if abs(x) < mpf(10) ** -25 else function(x)


ln2 = log(2)
one("LOG2_E", 1 / ln2, "log2(e).")
# Few enough bits that a product with an exponent is exact.
high = floor(ln2 * 2**9) / 2**9
one("LN2_HI", high, "ln 2, its first bits.")
one("LN2_LO", ln2 - high, "ln 2, the rest.")
third = ln2 / 2 * mpf("1.01")
fit("EXP", limit(lambda r: (expm1(r) - r) / r**2, mpf(1) / 2), [-third, third], 6, "(e^r - 1 - r) / r^2 within half of ln 2")
fit("LOG", limit(lambda f: (log(1 + f) - f + f**2 / 2) / f**3, mpf(1) / 3), [sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1], 9,
    "(ln(1 + f) - f + f^2 / 2) / f^3 around 1")
fit("TANH", limit(lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, mpf(-1) / 3), [0, mpf("0.32")], 6, "(tanh(x) / x - 1) / x^2 in x^2")
fit("ERF", limit(lambda z: erf(sqrt(z)) / sqrt(z), 2 / sqrt(pi)), [0, mpf("0.78")], 7, "erf(x) / x in x^2")
fit("ERFC", lambda a: -log(erfc(a)), [mpf("0.85"), mpf("3.95")], 10, "-ln(1 - erf(x)) in x")
one("SQRT_HALF", sqrt(mpf(1) / 2), "1 / sqrt(2).")
quarter = pi / 4 * mpf("1.001")
fit("SIN", limit(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, mpf(-1) / 6), [0, quarter**2], 4, "(sin(x) / x - 1) / x^2 in x^2")
fit("COS", limit(lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, mpf(1) / 24), [0, quarter**2], 4,
    "(cos(x) - 1 + x^2 / 2) / x^4 in x^2")
pair("HALF_PI_2_64", pi / 2 / mpf(2) ** 64, "pi / 2^65")
pair("TWO_LOG2_E", 2 / ln2, "2 log2(e)")
fit("ATANH", limit(lambda z: (log((1 + sqrt(z)) / (1 - sqrt(z))) / (2 * sqrt(z)) - 1) / z, mpf(1) / 3), [0, mpf("0.0296")], 4,
    "(atanh(s) / s - 1) / s^2 in s^2")
half = mpf("0.505")
fit("EXP2", limit(lambda r: (exp(r * ln2) - 1) / r, ln2), [-half, half], 7, "(2^r - 1) / r within a half")
words = [0] + [int(floor(2 / pi * mpf(2) ** (32 * (i + 1)))) & 0xFFFFFFFF for i in range(8)]
listed = ", ".join(word(value) for value in words)
LINES.append(f"/// 2 / pi in binary, after 32 zeros.\npub const TWO_OVER_PI: [u32; {len(words)}] = [{listed}];")

header = """//! Constants of the functions in [`super`]: written by `scripts/constants.py`, not by hand.

"""
target = Path(__file__).parent.parent / "src/math/generated/constants.rs"
target.write_text(header + "\n\n".join(LINES) + "\n")
