//! The floats of users' kernels: every function has the bits of its twin in Rust whatever it is given, nothing but these functions takes a value, and
//! no NaN but one comes out.
#![expect(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::many_single_char_names,
    reason = "what is exact is compared, what is rounded is rounded on purpose, and operands are x, y and z"
)]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use common::{Kernel, bytes, check_refused, device, words};
use orion_engine::builtin::header;
use orion_engine::math;
use orion_protocol::Reason;
use orion_protocol::dtype::DType;
use orion_protocol::task::Argument;
use pairs::{Random, canonical, pairs};

/// What a function is in Rust; x, y and z are its operands.
#[derive(Clone, Copy)]
enum Twin {
    One(fn(f32) -> f32),
    Two(fn(f32, f32) -> f32),
    Three(fn(f32, f32, f32) -> f32),
    /// Of one, to a word that is no float.
    Word(fn(f32) -> u32),
    /// Of two, to truth.
    Test(fn(f32, f32) -> bool),
    /// Of the word of x, to a float.
    From(fn(u32) -> f32),
}

use Twin::{From, One, Test, Three, Two, Word};

const TWINS: [(&str, Twin); 29] = [
    ("orion_abs", One(f32::abs)),
    ("orion_add", Two(|x, y| x + y)),
    ("orion_bits", Word(canonical)),
    ("orion_cos", One(math::cos)),
    ("orion_div", Two(math::div)),
    ("orion_eq", Test(|x, y| x == y)),
    ("orion_erf", One(math::erf)),
    ("orion_exp", One(math::exp)),
    ("orion_fma", Three(f32::mul_add)),
    ("orion_from_bits", From(f32::from_bits)),
    ("orion_from_int", From(|word| word.cast_signed() as f32)),
    ("orion_from_uint", From(|word| word as f32)),
    ("orion_gelu", One(math::gelu)),
    ("orion_isnan", Word(|x| u32::from(x.is_nan()))),
    ("orion_le", Test(|x, y| x <= y)),
    ("orion_log", One(math::log)),
    ("orion_lt", Test(|x, y| x < y)),
    ("orion_max", Two(math::max)),
    ("orion_min", Two(math::min)),
    ("orion_mul", Two(|x, y| x * y)),
    ("orion_neg", One(|x| -x)),
    ("orion_pow", Two(math::pow)),
    ("orion_rsqrt", One(math::rsqrt)),
    ("orion_sigmoid", One(math::sigmoid)),
    ("orion_sin", One(math::sin)),
    ("orion_sqrt", One(math::sqrt)),
    ("orion_sub", Two(|x, y| x - y)),
    ("orion_tanh", One(math::tanh)),
    ("orion_to_int", Word(|x| (x as i32).cast_unsigned())),
];

impl Twin {
    fn of(self, x: f32, y: f32, z: f32) -> u32 {
        match self {
            One(function) => canonical(function(x)),
            Two(function) => canonical(function(x, y)),
            Three(function) => canonical(function(x, y, z)),
            Word(function) => function(x),
            Test(function) => u32::from(function(x, y)),
            From(function) => canonical(function(x.to_bits())),
        }
    }

    /// The call in a kernel. Values are stored in memory and read there as words, so that nothing makes a NaN canonical on the way.
    fn call(self, name: &str) -> String {
        let (operands, is_float) = match self {
            One(_) => ("x", true),
            Two(_) => ("x, y", true),
            Three(_) => ("x, y, z", true),
            From(_) => ("*(const uint *)&x", true),
            Word(_) => ("x", false),
            Test(_) => ("x, y", false),
        };
        if is_float {
            format!("{{ const orion_float value = {name}({operands}); mine[at++] = *(const uint *)&value; }}\n")
        } else {
            format!("mine[at++] = (uint){name}({operands});\n")
        }
    }
}

/// A kernel of three inputs that are floats and one output of words, with a body that knows x, y, z and `mine`.
fn job(body: &str, columns: [&[u32]; 3], out: &[u64]) -> Kernel {
    let source = format!(
        "__kernel void run(__global const orion_float *a, __global const orion_float *b, __global const orion_float *c,
                           __global uint *out)
{{
    const size_t i = get_global_id(0);
    const orion_float x = a[i], y = b[i], z = c[i];
    __global uint *mine = out + i * WIDTH;
    uint at = 0;
    {body}
}}"
    );
    let count = columns[0].len() as u64;
    let kernel = Kernel::new(&source, count).define("WIDTH", &out.iter().product::<u64>().to_string());
    let kernel = columns.iter().fold(kernel, |kernel, column| kernel.input(DType::Float32, &[count], &bytes(column)));
    kernel.output(DType::Uint32, out)
}

#[test]
fn every_function_gives_the_bits_of_its_twin() {
    let names: Vec<&str> = header::NAMES.into_iter().filter(|name| *name != header::TYPE).collect();
    assert_eq!(TWINS.map(|(name, _)| name).to_vec(), names, "each function has a twin");
    let count = std::env::var("ORION_TEST_PAIRS").ok().and_then(|count| count.parse().ok()).unwrap_or(1 << 16);
    let mut random = Random::new();
    let pairs = pairs(&mut random, count);
    let columns: [Vec<u32>; 3] = [
        pairs.iter().map(|(x, _)| x.to_bits()).collect(),
        pairs.iter().map(|(_, y)| y.to_bits()).collect(),
        // Special ones meet others than in x and y.
        pairs.iter().cycle().skip(1013).take(pairs.len()).map(|(x, y)| (x * 0.5 + y).to_bits() ^ 3).collect(),
    ];
    let body: String = TWINS.iter().map(|(name, twin)| twin.call(name)).collect();
    let kernel = job(&body, columns.each_ref().map(Vec::as_slice), &[TWINS.len() as u64]);
    let device = device();
    for unit in [pairs.len() as u64, 64] {
        let have = kernel.clone().unit(unit).run(&device);
        for (item, row) in have.chunks_exact(TWINS.len()).enumerate() {
            let [x, y, z] = columns.each_ref().map(|column| f32::from_bits(column[item]));
            for ((name, twin), have) in TWINS.iter().zip(row) {
                let want = twin.of(x, y, z);
                let [a, b, c] = [x, y, z].map(f32::to_bits);
                assert_eq!(*have, want, "{name} of {a:08x} {b:08x} {c:08x} gives {have:08x}, not {want:08x}");
            }
        }
    }
    assert!(kernel.unit(64).job(&device).unwrap().preflight().is_ok());
}

#[test]
fn constants_are_the_floats_nearest_to_what_is_written() {
    let constants = [
        ("A", "0.1", 0x3dcc_cccd),
        ("B", "-0x1.8p3", 0xc140_0000),
        ("C", "1e-45", 1),
        ("D", ".5f", 0x3f00_0000),
        ("E", "16777217.0", 0x4b80_0000),
        // Half way between two floats but for a digit that a double loses.
        ("F", "1.00000005960464477539062500000000000000000001", 0x3f80_0001),
        ("G", "-0.0", 0x8000_0000),
        ("H", "0x1p-149F", 1),
    ];
    let body = constants.map(|(name, ..)| format!("mine[at++] = orion_bits({name});")).concat();
    let kernel = job(&body, [&[0], &[0], &[0]], &[constants.len() as u64]);
    // Defines ascend by name, and WIDTH comes last.
    let kernel = kernel.edit(|kernel| {
        let own = constants.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned()));
        kernel.defines.splice(0..0, own);
    });
    assert_eq!(kernel.run(&device()), constants.map(|(.., bits)| bits));
    for (value, words) in [("0x1.0000001p0", "not exact"), ("1e39", "does not fit"), ("1.5h", "no decimal number")] {
        let kernel = job("mine[0] = orion_bits(A);", [&[0], &[0], &[0]], &[1]);
        let kernel = kernel.edit(|kernel| kernel.defines.insert(0, ("A".into(), value.into())));
        check_refused(&device(), &kernel, Reason::InvalidSpec, words);
        check_refused(&device(), &kernel, Reason::InvalidSpec, "defines[A]");
    }
}

#[test]
fn values_come_as_scalars_and_leave_as_arrays_whose_every_nan_is_the_one() {
    let source =
        "__kernel void run(__global const orion_float *in, const orion_float factor, __local orion_float *shared,
                                    __global orion_float *copies, __global orion_float *products)
    {
        const size_t i = get_global_id(0);
        shared[get_local_id(0)] = in[i];
        barrier(CLK_LOCAL_MEM_FENCE);
        copies[i] = shared[get_local_id(0)];
        products[i] = orion_mul(in[i], factor);
    }";
    let input = [0x3f80_0000, 0x7fa1_2345, 0xffc0_0001, 0x8000_0000];
    let kernel = Kernel::new(source, 4)
        .local(&[2])
        .unit(2)
        .input(DType::Float32, &[4], &bytes(&input))
        .argument(Argument::Scalar(DType::Float32, u64::from(1.5_f32.to_bits())))
        .argument(Argument::Local(8))
        .output(DType::Float32, &[])
        .output(DType::Float32, &[]);
    let device = device();
    let mut job = kernel.job(&device).unwrap();
    assert!(job.preflight().is_ok());
    // Together and alone: rows of several units are put aside on the device.
    for units in [vec![(0, 2)], vec![(0, 1), (1, 1)]] {
        let mut have = [Vec::new(), Vec::new()];
        for (first, count) in units {
            let rows = job.run(first, count, |_| {}).unwrap();
            have.iter_mut().zip(&rows).for_each(|(have, rows)| have.extend(words(rows)));
        }
        assert_eq!(have[0], [0x3f80_0000, 0x7fc0_0000, 0x7fc0_0000, 0x8000_0000]);
        assert_eq!(have[1], [0x3fc0_0000, 0x7fc0_0000, 0x7fc0_0000, 0x8000_0000]);
    }
}

#[test]
fn a_sum_is_taken_in_its_order_however_groups_and_units_are_cut() {
    const LENGTH: usize = 100;
    let source = "__kernel void run(__global const orion_float *in, __global orion_float *out)
    {
        const size_t i = get_global_id(0);
        orion_float sum = orion_from_int(0);
        for (uint k = 0; k < LENGTH; k++)
            sum = orion_add(sum, in[i * LENGTH + k]);
        orion_float product = sum;
        for (uint k = 0; k < LENGTH; k++)
            product = orion_add(orion_mul(in[i * LENGTH + k], in[k]), product);
        out[i] = product;
    }";
    let mut random = Random::new();
    let input: Vec<f32> = (0..64 * LENGTH).map(|_| f32::from_bits(0x3f00_0000 + random.next() % 0x0180_0000)).collect();
    let sum = |row: &[f32]| {
        let sum = row.iter().fold(0.0_f32, |sum, x| sum + x);
        // Two roundings: a driver that makes one of them is told.
        row.iter().zip(&input).fold(sum, |sum, (x, y)| x * y + sum).to_bits()
    };
    let want: Vec<u32> = input.chunks_exact(LENGTH).map(sum).collect();
    let words: Vec<u32> = input.iter().map(|x| x.to_bits()).collect();
    let device = device();
    for (unit, local) in [(64, 1), (64, 16), (32, 32), (4, 4), (1, 1)] {
        let kernel = Kernel::new(source, 64).unit(unit).local(&[local]).define("LENGTH", &LENGTH.to_string());
        let kernel = kernel.input(DType::Float32, &[64, LENGTH as u64], &bytes(&words)).output(DType::Float32, &[]);
        assert_eq!(kernel.run(&device), want, "{unit} items a unit, groups of {local}");
    }
}

#[test]
fn the_header_takes_no_name_from_a_kernel() {
    let body = "const uint K = 1, KI = 2, F = 4, I = 8, N = 16, ANY = 32, INLINE = 64, AS_F = 128;
                mine[0] = K + (KI) + F + I + N + ANY + INLINE + AS_F + sizeof(orion_float) * 1000;
                mine[1] = orion_bits(orion_exp(orion_pow(orion_sin(x), y)));";
    let kernel = job(body, [&[0], &[0], &[0]], &[2]);
    assert_eq!(kernel.run(&device()), [4255, math::exp(1.0).to_bits()]);
}

#[test]
fn no_operator_and_no_conversion_takes_a_value() {
    let device = device();
    for (statement, words) in [
        ("x + y;", "invalid operands to binary expression"),
        ("x == y;", "invalid operands"),
        ("-x;", "invalid argument type"),
        ("!x;", "invalid argument type"),
        ("if (x) at++;", "requires expression of scalar type"),
        ("(int)x;", "where arithmetic or pointer type is required"),
        ("uint word = x;", "incompatible type"),
        ("orion_float w = 1;", "incompatible type"),
        ("orion_float w; w = at;", "incompatible type"),
        ("orion_add(1, x);", "incompatible type 'orion_float'"),
        ("orion_add(x);", "too few arguments"),
        ("max(x, y);", "no matching function"),
        ("convert_int(x);", "no matching function"),
        ("x.word;", "no member named 'word'"),
        ("mine[orion_from_int(1)];", "not an integer"),
    ] {
        let kernel = job(statement, [&[0], &[0], &[0]], &[1]);
        check_refused(&device, &kernel, Reason::CompileFailed, words);
    }
}

#[test]
fn floats_are_bound_to_floats_alone() {
    let device = device();
    let check = |kernel: Kernel, words: &str| check_refused(&device, &kernel, Reason::ArgumentMismatch, words);
    let run = |parameters: &str| Kernel::new(&format!("__kernel void run({parameters}) {{}}"), 4);
    let out = |kernel: Kernel, dtype| kernel.output(dtype, &[]);
    let four =
        |kernel: Kernel, dtype: DType| kernel.input(dtype, &[4], &vec![0; 4 * usize::try_from(dtype.size()).unwrap()]);
    check(out(run("__global uint *out"), DType::Float32), "needs `__global orion_float* out`");
    check(out(run("__global orion_float *out"), DType::Uint32), "`__global orion_float* out`, but");
    check(out(run("__global orion_float *out"), DType::Float64), "no type: kernels have 32-bit floats");
    let input = |dtype| out(four(run("__global const uint *in, __global uint *out"), dtype), DType::Uint32);
    check(input(DType::Float32), "needs `__global const orion_float* in`");
    check(input(DType::Float64), "no type: kernels have 32-bit floats");
    let scalar = |text: &str, dtype| out(run(text).argument(Argument::Scalar(dtype, 0)), DType::Uint32);
    check(scalar("uint x, __global uint *out", DType::Float32), "needs `orion_float x`");
    check(scalar("orion_float x, __global uint *out", DType::Uint32), "needs `uint x`");
    check(scalar("orion_float x, __global uint *out", DType::Float64), "no type: kernels have 32-bit floats");
}
