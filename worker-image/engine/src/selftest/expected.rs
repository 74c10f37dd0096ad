//! What a device must answer to the self-test: `selftest.cl` in Rust, statement by statement.
#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::many_single_char_names,
    reason = "integers become floats as they must, floats are compared bit by bit, and names are those of the kernel"
)]

/// NaNs are one.
fn bits(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}

pub(super) fn floats([a, b, c]: [u32; 3]) -> [u32; 8] {
    let [x, y, z] = [a, b, c].map(f32::from_bits);
    let product = x * y;
    let comparisons = [x < y, x <= y, x == y, x != y, x.is_nan()];
    let flags = comparisons.into_iter().zip(0..).map(|(flag, at)| u32::from(flag) << at).sum();
    [
        bits(x + y),
        bits(x - y),
        bits(product),
        bits(product + z),
        bits(x.mul_add(y, z)),
        flags,
        bits(a.cast_signed() as f32),
        bits(c as f32),
    ]
}

pub(super) fn integers([x, b, c]: [u32; 3]) -> [u32; 12] {
    let (y, s) = (b | 1, x.cast_signed());
    let wide = (u64::from(x) << 32 | u64::from(c)).wrapping_mul(u64::from(y) << 17 | 5);
    let low = |word: u64| (word & 0xffff_ffff) as u32;
    [
        x.wrapping_mul(y).wrapping_add(c),
        low((u64::from(x) * u64::from(y)) >> 32),
        x / y,
        x % y,
        (s >> (y & 31)).cast_unsigned(),
        x.rotate_left(y & 31),
        x.leading_zeros() | x.count_ones() << 8,
        x.saturating_add(y),
        s.saturating_sub(y.cast_signed()).cast_unsigned(),
        low(wide >> 32),
        low(wide / (u64::from(c) | 1)),
        s.clamp(-128, 127).cast_unsigned() ^ s.clamp(-32_768, 32_767).cast_unsigned() << 8,
    ]
}

/// All groups' answers, where a group of so many work-items looks at 64 words.
pub(super) fn groups(a: &[u32], size: usize) -> Vec<u32> {
    let mut answers = Vec::with_capacity(a.len() / 64 * size * 2);
    for words in a.chunks_exact(64) {
        let lanes = (0..size).map(|lane| {
            let (mut sum, mut whole) = (0.0_f32, 0_u32);
            for word in words.iter().skip(lane).step_by(size) {
                sum = ((word & 0xffff) as f32).mul_add(0.1, sum);
                whole = whole.wrapping_mul(31).wrapping_add(*word);
            }
            (bits(sum), whole)
        });
        let (sums, mut shared): (Vec<u32>, Vec<u32>) = lanes.unzip();
        let mut half = size / 2;
        while half > 0 {
            for lane in 0..half {
                shared[lane] ^= shared[lane + half].wrapping_mul(7);
            }
            half /= 2;
        }
        answers.extend(sums.into_iter().flat_map(|sum| [sum, shared[0]]));
    }
    answers
}
