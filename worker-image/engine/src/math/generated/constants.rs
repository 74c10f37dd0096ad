//! Constants of the functions in [`super`]: written by `scripts/constants.py`, not by hand.

/// log2(e).
pub const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);

/// ln 2, its first bits.
pub const LN2_HI: f32 = f32::from_bits(0x3f31_0000);

/// ln 2, the rest.
pub const LN2_LO: f32 = f32::from_bits(0x3ae4_2ff0);

/// (e^r - 1 - r) / r^2 within half of ln 2, by ascending power.
pub const EXP: [f32; 6] = [
    f32::from_bits(0x3f00_0000),
    f32::from_bits(0x3e2a_aaab),
    f32::from_bits(0x3d2a_aa72),
    f32::from_bits(0x3c08_8870),
    f32::from_bits(0x3ab6_a490),
    f32::from_bits(0x3950_9521),
];

/// (ln(1 + f) - f + f^2 / 2) / f^3 around 1, by ascending power.
pub const LOG: [f32; 9] = [
    f32::from_bits(0x3eaa_aaaa),
    f32::from_bits(0xbe7f_fffe),
    f32::from_bits(0x3e4c_cead),
    f32::from_bits(0xbe2a_ada5),
    f32::from_bits(0x3e11_e90d),
    f32::from_bits(0xbdfe_7a63),
    f32::from_bits(0x3def_5141),
    f32::from_bits(0xbdeb_1ade),
    f32::from_bits(0x3d8e_c753),
];

/// (tanh(x) / x - 1) / x^2 in x^2, by ascending power.
pub const TANH: [f32; 6] = [
    f32::from_bits(0xbeaa_aaab),
    f32::from_bits(0x3e08_8881),
    f32::from_bits(0xbd5d_093d),
    f32::from_bits(0x3cb2_ab2b),
    f32::from_bits(0xbc0b_229a),
    f32::from_bits(0x3b22_6127),
];

/// erf(x) / x in x^2, by ascending power.
pub const ERF: [f32; 7] = [
    f32::from_bits(0x3f90_6ebb),
    f32::from_bits(0xbec0_93a2),
    f32::from_bits(0x3de7_173e),
    f32::from_bits(0xbcdc_0c69),
    f32::from_bits(0x3baa_9876),
    f32::from_bits(0xba57_0c07),
    f32::from_bits(0x38b5_2631),
];

/// -ln(1 - erf(x)) in x, by ascending power.
pub const ERFC: [f32; 10] = [
    f32::from_bits(0xb9a1_8dbf),
    f32::from_bits(0x3f90_aa61),
    f32::from_bits(0x3f21_c123),
    f32::from_bits(0x3de1_7742),
    f32::from_bits(0xbcd8_b742),
    f32::from_bits(0x3b9c_ccb1),
    f32::from_bits(0xba1f_1cd5),
    f32::from_bits(0x384a_c721),
    f32::from_bits(0xb600_6e56),
    f32::from_bits(0x3270_4284),
];

/// 1 / sqrt(2).
pub const SQRT_HALF: f32 = f32::from_bits(0x3f35_04f3);

/// (sin(x) / x - 1) / x^2 in x^2, by ascending power.
pub const SIN: [f32; 4] = [
    f32::from_bits(0xbe2a_aaab),
    f32::from_bits(0x3c08_8887),
    f32::from_bits(0xb950_09d1),
    f32::from_bits(0x3636_ddf7),
];

/// (cos(x) - 1 + x^2 / 2) / x^4 in x^2, by ascending power.
pub const COS: [f32; 4] = [
    f32::from_bits(0x3d2a_aaab),
    f32::from_bits(0xbab6_0b60),
    f32::from_bits(0x37d0_0ae0),
    f32::from_bits(0xb492_9173),
];

/// pi / 2^65, rounded.
pub const HALF_PI_2_64_HI: f32 = f32::from_bits(0x1fc9_0fdb);

/// pi / 2^65, what rounding left.
pub const HALF_PI_2_64_LO: f32 = f32::from_bits(0x933b_bd2e);

/// 2 log2(e), rounded.
pub const TWO_LOG2_E_HI: f32 = f32::from_bits(0x4038_aa3b);

/// 2 log2(e), what rounding left.
pub const TWO_LOG2_E_LO: f32 = f32::from_bits(0x3325_7060);

/// (atanh(s) / s - 1) / s^2 in s^2, by ascending power.
pub const ATANH: [f32; 4] = [
    f32::from_bits(0x3eaa_aaab),
    f32::from_bits(0x3e4c_ccf6),
    f32::from_bits(0x3e12_2dd3),
    f32::from_bits(0x3dee_f80d),
];

/// (2^r - 1) / r within a half, by ascending power.
pub const EXP2: [f32; 7] = [
    f32::from_bits(0x3f31_7218),
    f32::from_bits(0x3e75_fdf0),
    f32::from_bits(0x3d63_5847),
    f32::from_bits(0x3c1d_950b),
    f32::from_bits(0x3aae_c3cd),
    f32::from_bits(0x3922_2321),
    f32::from_bits(0x3780_54ae),
];

/// 2 / pi in binary, after 32 zeros.
pub const TWO_OVER_PI: [u32; 9] = [
    0x0000_0000,
    0xa2f9_836e,
    0x4e44_1529,
    0xfc27_57d1,
    0xf534_ddc0,
    0xdb62_9599,
    0x3c43_9041,
    0xfe60_0000,
    0x0000_0000,
];
