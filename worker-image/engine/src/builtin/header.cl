// The floats of users' kernels (docs/kernel-set.md, "Functions for kernels"). A value is a word in a struct, so that no operator takes it; what it is a
// float for happens within these functions alone. Each gives the one NaN, for what a device makes of another one nobody may see.
//
// orion_raw_* are the engine's own functions of the same names. Definitions stand apart by blank lines.

// The float that a value is.
ORION_INLINE float orion_raw(orion_float x) { return as_float(x.orion_word); }

// The value that a word is.
ORION_INLINE orion_float orion_made_of(uint word)
{
    const orion_float made = {(word & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : word};
    return made;
}

// The value that a float is.
ORION_INLINE orion_float orion_made(float x) { return orion_made_of(as_uint(x)); }

ORION_INLINE orion_float orion_from_bits(uint word) { return orion_made_of(word); }

ORION_INLINE uint orion_bits(orion_float x) { return orion_made_of(x.orion_word).orion_word; }

ORION_INLINE orion_float orion_from_int(int x) { return orion_made(convert_float_rte(x)); }

ORION_INLINE orion_float orion_from_uint(uint x) { return orion_made(convert_float_rte(x)); }

ORION_INLINE int orion_to_int(orion_float x) { return orion_raw_to_int(orion_raw(x)); }

// As a plain `sum += x` a loop over this would be reordered by one of the drivers; a chain of fma is by none.
ORION_INLINE orion_float orion_add(orion_float x, orion_float y) { return orion_made(fma(orion_raw(y), 1.0f, orion_raw(x))); }

ORION_INLINE orion_float orion_sub(orion_float x, orion_float y) { return orion_made(fma(orion_raw(y), -1.0f, orion_raw(x))); }

ORION_INLINE orion_float orion_mul(orion_float x, orion_float y) { return orion_made(orion_raw(x) * orion_raw(y)); }

ORION_INLINE orion_float orion_fma(orion_float x, orion_float y, orion_float z)
{
    return orion_made(fma(orion_raw(x), orion_raw(y), orion_raw(z)));
}

ORION_INLINE orion_float orion_div(orion_float x, orion_float y) { return orion_made(orion_raw_div(orion_raw(x), orion_raw(y))); }

ORION_INLINE orion_float orion_neg(orion_float x) { return orion_made_of(x.orion_word ^ 0x80000000u); }

ORION_INLINE orion_float orion_abs(orion_float x) { return orion_made_of(x.orion_word & 0x7fffffffu); }

ORION_INLINE orion_float orion_max(orion_float x, orion_float y) { return orion_made(orion_raw_max(orion_raw(x), orion_raw(y))); }

ORION_INLINE orion_float orion_min(orion_float x, orion_float y) { return orion_made(orion_raw_min(orion_raw(x), orion_raw(y))); }

ORION_INLINE int orion_lt(orion_float x, orion_float y) { return orion_raw(x) < orion_raw(y) ? 1 : 0; }

ORION_INLINE int orion_le(orion_float x, orion_float y) { return orion_raw(x) <= orion_raw(y) ? 1 : 0; }

ORION_INLINE int orion_eq(orion_float x, orion_float y) { return orion_raw(x) == orion_raw(y) ? 1 : 0; }

ORION_INLINE int orion_isnan(orion_float x) { return (x.orion_word & 0x7fffffffu) > 0x7f800000u ? 1 : 0; }

ORION_INLINE orion_float orion_sqrt(orion_float x) { return orion_made(orion_raw_sqrt(orion_raw(x))); }

ORION_INLINE orion_float orion_rsqrt(orion_float x) { return orion_made(orion_raw_rsqrt(orion_raw(x))); }

ORION_INLINE orion_float orion_exp(orion_float x) { return orion_made(orion_raw_exp(orion_raw(x))); }

ORION_INLINE orion_float orion_log(orion_float x) { return orion_made(orion_raw_log(orion_raw(x))); }

ORION_INLINE orion_float orion_tanh(orion_float x) { return orion_made(orion_raw_tanh(orion_raw(x))); }

ORION_INLINE orion_float orion_sigmoid(orion_float x) { return orion_made(orion_raw_sigmoid(orion_raw(x))); }

ORION_INLINE orion_float orion_erf(orion_float x) { return orion_made(orion_raw_erf(orion_raw(x))); }

ORION_INLINE orion_float orion_gelu(orion_float x) { return orion_made(orion_raw_gelu(orion_raw(x))); }

ORION_INLINE orion_float orion_sin(orion_float x) { return orion_made(orion_raw_sin(orion_raw(x))); }

ORION_INLINE orion_float orion_cos(orion_float x) { return orion_made(orion_raw_cos(orion_raw(x))); }

ORION_INLINE orion_float orion_pow(orion_float x, orion_float y) { return orion_made(orion_raw_pow(orion_raw(x), orion_raw(y))); }
