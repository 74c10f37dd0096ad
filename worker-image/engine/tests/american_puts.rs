//! The example with a kernel on floats: the same statements in Rust, on the functions' twins, give the digest that is written down beside it.
#![expect(clippy::cast_precision_loss, reason = "levels are small whole numbers")]

use std::path::Path;

use orion_engine::math;
use orion_protocol::Digest;
use orion_protocol::dtype::DType;
use orion_protocol::npy::{self, Header};

/// The kernel of `examples/american-puts`, statement by statement: both prices of an option.
fn puts([spot, strike, years, volatility]: [f32; 4], rate: f32) -> [f32; 2] {
    [american(spot, strike, years, volatility, rate), european(spot, strike, years, volatility, rate)]
}

fn european(spot: f32, strike: f32, years: f32, volatility: f32, rate: f32) -> f32 {
    let beyond = |x: f32| (1.0 - math::erf(x * std::f32::consts::FRAC_1_SQRT_2)) * 0.5;
    let (spread, interest) = (volatility * math::sqrt(years), rate * years);
    let drift = math::log(math::div(spot, strike)) + interest;
    let d = spread.mul_add(0.5, math::div(drift, spread));
    let paid = strike * math::exp(-interest);
    paid * beyond(d - spread) - spot * beyond(d)
}

fn american(spot: f32, strike: f32, years: f32, volatility: f32, rate: f32) -> f32 {
    const STEPS: usize = 128;
    let exp_less_one = |x: f32| {
        let t = math::tanh(x * 0.5);
        math::div(t + t, 1.0 - t)
    };
    let step = math::div(years, STEPS as f32);
    let spread = volatility * math::sqrt(step);
    let (up, down, growth) = (exp_less_one(spread), exp_less_one(-spread), exp_less_one(rate * step));
    let chance = math::div(growth - down, up - down);
    let discount = math::exp(-(rate * step));
    let above = chance * discount;
    let below = discount - above;
    let at = |level: usize| strike - spot * math::exp(spread * (level as f32 - STEPS as f32));
    let exercise: Vec<f32> = (0..=2 * STEPS).map(at).collect();
    let mut value: Vec<f32> = (0..=STEPS).map(|node| math::max(exercise[2 * node], 0.0)).collect();
    for left in (0..STEPS).rev() {
        for node in 0..=left {
            let hold = above.mul_add(value[node + 1], below * value[node]);
            value[node] = math::max(hold, exercise[2 * node + STEPS - left]);
        }
    }
    value[0]
}

#[test]
fn the_example_has_the_bits_that_are_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/american-puts");
    let file = std::fs::read(folder.join("options.npy")).unwrap();
    let (header, data) = npy::parse(&file).unwrap();
    assert_eq!(header.shape, [2048, 4]);
    let floats: Vec<f32> = data.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    let rows = floats.as_chunks::<4>().0.iter().flat_map(|option| puts(*option, 0.03));
    let data: Vec<u8> = rows.flat_map(f32::to_le_bytes).collect();
    let file = [Header { dtype: DType::Float32, shape: vec![2048, 2] }.to_bytes(), data].concat();
    let digests = std::fs::read_to_string(folder.join("digests.txt")).unwrap();
    assert_eq!(digests, format!("puts float32 [2048, 2] {}\n", Digest::of(&file)));
}
