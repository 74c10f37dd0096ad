//! Our functions of floats: the same bits on the device as in Rust, quotients and roots as IEEE 754 has them, and how far the others are off.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    reason = "exact values are compared, and rounded once, on purpose"
)]

mod golden;
#[path = "common/pairs.rs"]
mod pairs;

use orion_engine::device::{Bound, Device, Launch};
use orion_engine::{builtin, math};
use orion_opencl::OpenCl;
use orion_protocol::Digest;
use pairs::{Random, canonical, pairs};

type Unary = fn(f32) -> f32;
type Exact = fn(f64) -> f64;
type Binary = fn(f32, f32) -> f32;

const UNARY: [(&str, Unary); 10] = [
    ("exp", math::exp),
    ("log", math::log),
    ("tanh", math::tanh),
    ("erf", math::erf),
    ("gelu", math::gelu),
    ("sigmoid", math::sigmoid),
    ("sqrt", math::sqrt),
    ("rsqrt", math::rsqrt),
    ("sin", math::sin),
    ("cos", math::cos),
];
const BINARY: [(&str, Binary); 4] = [("div", math::div), ("pow", math::pow), ("max", math::max), ("min", math::min)];
/// These exist for sixteen floats at once as well.
const WIDE: [&str; 11] = ["exp", "log", "tanh", "erf", "gelu", "sigmoid", "sqrt", "rsqrt", "div", "max", "min"];

fn upload(device: &OpenCl, values: impl Iterator<Item = f32>) -> <OpenCl as Device>::Buffer {
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let buffer = device.allocate(bytes.len() as u64).unwrap();
    device.write(&buffer, 0, &bytes).unwrap();
    buffer
}

/// Runs one kernel over all pairs, each work-item `wide` of them, in groups of `local`.
fn on_device(device: &OpenCl, expression: &str, pairs: &[(f32, f32)], wide: usize, local: u64) -> Vec<f32> {
    let text = if wide == 16 {
        format!("vstore16({expression}, get_global_id(0), out)")
    } else {
        format!("out[get_global_id(0)] = {expression}")
    };
    let load = |name: &str| {
        if wide == 16 { format!("vload16(get_global_id(0), {name})") } else { format!("{name}[get_global_id(0)]") }
    };
    let text = text.replace("$x", &load("a")).replace("$y", &load("b"));
    let source = builtin::complete(&format!(
        "__kernel void test(__global const float *a, __global const float *b, __global float *out) {{ {text}; }}"
    ));
    let mut kernel = device.build(&source, "test").unwrap();
    let (a, b) = (upload(device, pairs.iter().map(|pair| pair.0)), upload(device, pairs.iter().map(|pair| pair.1)));
    let out = upload(device, pairs.iter().map(|_| 0.0));
    for (at, buffer) in [&a, &b, &out].into_iter().enumerate() {
        device.bind(&mut kernel, u32::try_from(at).unwrap(), Bound::Buffer(buffer)).unwrap();
    }
    let items = (pairs.len() / wide) as u64;
    device.launch(&kernel, &Launch { global: vec![items], offset: vec![0], local: vec![local] }).unwrap();
    let mut bytes = vec![0; pairs.len() * 4];
    device.read(&out, 0, &mut bytes).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

#[test]
fn the_device_gives_the_same_bits_as_rust() {
    let device = OpenCl::open().unwrap();
    // A simulator is given fewer.
    let count = std::env::var("ORION_TEST_PAIRS").ok().and_then(|count| count.parse().ok()).unwrap_or(1 << 18);
    let pairs = pairs(&mut Random::new(), count);
    let unary =
        UNARY.map(|(name, function)| (name, "($x)", Box::new(move |x, _| function(x)) as Box<dyn Fn(f32, f32) -> f32>));
    let binary = BINARY.map(|(name, function)| (name, "($x, $y)", Box::new(function) as Box<dyn Fn(f32, f32) -> f32>));
    for (name, operands, function) in unary.into_iter().chain(binary) {
        let expected: Vec<u32> = pairs.iter().map(|(x, y)| canonical(function(*x, *y))).collect();
        let mut forms = vec![(format!("orion_{name}{operands}"), 1, 1), (format!("orion_{name}{operands}"), 1, 16)];
        if WIDE.contains(&name) && device.limits().lanes > 1 {
            forms.push((format!("orion_{name}16{operands}"), 16, 1));
            forms.push((format!("orion_{name}16{operands}"), 16, 4));
        }
        for (expression, wide, local) in forms {
            let have = on_device(&device, &expression, &pairs, wide, local);
            let wrong = have.iter().zip(&expected).position(|(have, expected)| canonical(*have) != *expected);
            if let Some(at) = wrong {
                let (x, y) = pairs[at];
                let (have, expected) = (have[at], f32::from_bits(expected[at]));
                panic!(
                    "{expression} in groups of {local}: {x:e}, {y:e} gives {have:e} ({:08x}), not {expected:e} ({:08x})",
                    have.to_bits(),
                    expected.to_bits()
                );
            }
        }
    }
}

/// The only function of floats that is the device's own.
#[test]
fn remainders_are_exact() {
    let device = OpenCl::open().unwrap();
    let pairs = pairs(&mut Random::new(), 1 << 14);
    for wide in if device.limits().lanes > 1 { vec![1, 16] } else { vec![1] } {
        let have = on_device(&device, "fmod($x, $y)", &pairs, wide, 1);
        for (have, (x, y)) in have.iter().zip(&pairs) {
            assert_eq!(canonical(*have), canonical(x % y), "fmod({x:e}, {y:e}) gives {have:e}, {wide} at a time");
        }
    }
}

#[test]
fn quotients_and_roots_are_those_of_ieee_754() {
    for (x, y) in pairs(&mut Random::new(), 1 << 22) {
        assert_eq!(canonical(math::div(x, y)), canonical(x / y), "{x:e} / {y:e}");
        // LLVM knows that a root below 0 is some NaN and drops the test for one: the box keeps it.
        assert_eq!(canonical(math::sqrt(x)), canonical(std::hint::black_box(x.sqrt())), "sqrt {x:e}");
    }
    // Quotients below the normal range, where they are rounded a second time.
    let mut random = Random::new();
    for _ in 0..1 << 20 {
        let x = f32::from_bits(random.next() & 0x0fff_ffff);
        let y = f32::from_bits((random.next() & 0x07ff_ffff) + 0x3f00_0000);
        assert_eq!(canonical(math::div(x, y)), canonical(x / y), "{x:e} / {y:e}");
    }
}

/// Floats in regular steps over all bits, and others beside them.
#[test]
fn the_functions_are_those_of_kernel_set_1() {
    let pairs: Vec<(f32, f32)> = (0..1_u32 << 20)
        .map(|at| (f32::from_bits(at.wrapping_mul(4099)), f32::from_bits(at.wrapping_mul(2_654_435_761))))
        .collect();
    let digest = |function: &dyn Fn(f32, f32) -> f32| {
        let bytes = pairs.iter().flat_map(|(x, y)| canonical(function(*x, *y)).to_le_bytes());
        Digest::of(&bytes.collect::<Vec<u8>>())
    };
    let unary = UNARY.iter().map(|(name, function)| format!("{name} {}\n", digest(&|x, _| function(x))));
    let binary = BINARY.iter().map(|(name, function)| format!("{name} {}\n", digest(function)));
    golden::check("functions.txt", &unary.chain(binary).collect::<String>(), "the reference");
}

/// How many floats lie between the value and the exact one, at most, over all pairs.
fn worst(pairs: &[(f32, f32)], of: impl Fn(f32, f32) -> f32, exact: impl Fn(f64, f64) -> f64) -> (f64, f32, f32) {
    let mut worst = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (have, exact) = (f64::from(of(*x, *y)), exact(f64::from(*x), f64::from(*y)));
        let rounded = exact as f32;
        if !rounded.is_finite() || !have.is_finite() || rounded.abs() < f32::MIN_POSITIVE {
            let near = have == f64::from(rounded) || (have.is_nan() && exact.is_nan()) || (have - exact).abs() < 1e-37;
            let edge = rounded.is_infinite() && have.abs() > 3.4e38 || have.is_infinite() && exact.abs() > 3.4e38;
            assert!(near || edge, "{x:e}, {y:e} gives {have:e}, not {exact:e}");
            continue;
        }
        let step = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
        let off = (have - exact).abs() / step;
        if off > worst.0 {
            worst = (off, *x, *y);
        }
    }
    worst
}

#[test]
fn the_others_are_within_a_few_last_places() {
    let pairs = pairs(&mut Random::new(), 1 << 20);
    let bounds: [(&str, Unary, Exact, f64); 7] = [
        ("exp", math::exp, f64::exp, 2.0),
        ("log", math::log, f64::ln, 2.0),
        ("tanh", math::tanh, f64::tanh, 3.0),
        ("sigmoid", math::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 3.0),
        ("rsqrt", math::rsqrt, |x| 1.0 / x.sqrt(), 2.0),
        ("sin", math::sin, f64::sin, 2.0),
        ("cos", math::cos, f64::cos, 2.0),
    ];
    for (name, function, exact, bound) in bounds {
        let (off, x, _) = worst(&pairs, |x, _| function(x), |x, _| exact(x));
        println!("{name}: {off:.2} last places at {x:e}");
        assert!(off <= bound, "{name}: {off:.2} last places at {x:e}");
    }
    let (off, x, y) = worst(&pairs, math::pow, f64::powf);
    println!("pow: {off:.2} last places at {x:e}, {y:e}");
    assert!(off <= 3.0, "pow: {off:.2} last places at {x:e}, {y:e}");
}
