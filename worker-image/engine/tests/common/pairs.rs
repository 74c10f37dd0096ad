//! Operands for functions of floats: special ones, every one with every other, and random ones.

/// Bits that anybody can draw again from the seed.
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        let seed = std::env::var("ORION_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
        println!("ORION_TEST_SEED={seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// Any bits, or a number between 2^-20 and 2^20.
    fn float(&mut self) -> f32 {
        if self.next() & 1 == 0 { f32::from_bits(self.next()) } else { self.moderate() }
    }

    /// A number between 2^-20 and 2^20.
    fn moderate(&mut self) -> f32 {
        let exponent = 107 + self.next() % 40;
        f32::from_bits((self.next() & 0x807f_ffff) | exponent << 23)
    }
}

/// Special values, every one with every other, then random ones; a multiple of 64.
pub fn pairs(random: &mut Random, count: usize) -> Vec<(f32, f32)> {
    let special: Vec<f32> = [
        0_u32,
        1,
        2,
        0x0040_0000,
        0x007f_ffff,
        0x0080_0000,
        0x0080_0001,
        0x3f00_0000,
        0x3f7f_ffff,
        0x3f80_0000,
        0x3f80_0001,
        0x3f49_0fdb,
        0x3fc9_0fdb,
        0x4049_0fdb,
        0x4080_0000,
        0x42b1_7218,
        0x42cf_f1b4,
        0x4b7f_ffff,
        0x4b80_0000,
        0x4f00_0000,
        0x5f00_0000,
        0x7e80_0000,
        0x7f00_0000,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7fc0_0000,
        0x7f80_0001,
    ]
    .into_iter()
    .flat_map(|word| [f32::from_bits(word), f32::from_bits(word | 0x8000_0000)])
    .collect();
    let mut pairs: Vec<(f32, f32)> = special.iter().flat_map(|x| special.iter().map(move |y| (*x, *y))).collect();
    while pairs.len() < count || !pairs.len().is_multiple_of(64) {
        // Now and then sixteen without an odd one among them: vectors take the short way then.
        let odd = (pairs.len() / 64).is_multiple_of(2);
        let mut float = || if odd { random.float() } else { random.moderate() };
        pairs.push((float(), float()));
    }
    pairs
}

/// The bits of a result, of every NaN those of the one.
pub fn canonical(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}
