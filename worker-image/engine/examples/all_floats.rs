//! Every function of one float over all 2^32 of them: the device beside Rust, bit by bit; minutes a function. Part of `make soak`.
//!
//! `all_floats [NAME ...]` prints for each form of each function how many floats were compared, and fails at the first that differs.

use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use orion_engine::device::{Bound, Device, Launch};
use orion_engine::{builtin, math};
use orion_opencl::OpenCl;

type Unary = fn(f32) -> f32;

const FUNCTIONS: [(&str, Unary, bool); 11] = [
    ("exp", math::exp, true),
    ("log", math::log, true),
    ("tanh", math::tanh, true),
    ("erf", math::erf, true),
    ("gelu", math::gelu, true),
    ("sigmoid", math::sigmoid, true),
    ("sqrt", math::sqrt, true),
    ("rsqrt", math::rsqrt, true),
    ("sin", math::sin, false),
    ("cos", math::cos, false),
    ("reciprocal", reciprocal, true),
];
/// Floats at a time, and of one work-item.
const CHUNK: u32 = 1 << 24;
const ITEM: u32 = 1 << 12;

fn reciprocal(x: f32) -> f32 {
    math::div(1.0, x)
}

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| !FUNCTIONS.iter().any(|(known, ..)| known == name)) {
        bail!("there is no function {unknown}");
    }
    let device = OpenCl::open()?;
    println!("{}", device.driver());
    for (name, function, wide) in FUNCTIONS {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        let begun = Instant::now();
        let forms: &[usize] = if wide && device.limits().lanes > 1 { &[1, 16] } else { &[1] };
        let mut kernels = Vec::new();
        for width in forms {
            kernels.push((*width, Form::new(&device, name, *width)?));
        }
        for chunk in 0..=u32::MAX / CHUNK {
            let expected = expected(function, chunk * CHUNK);
            for (width, form) in &mut kernels {
                let have = form.run(&device, chunk * CHUNK)?;
                compare(name, *width, chunk * CHUNK, &have, &expected)?;
            }
        }
        let seconds = begun.elapsed().as_secs();
        println!("{name}: the same bits for all 2^32 floats, forms of {forms:?} at once, in {seconds} s");
    }
    Ok(())
}

/// A function's kernel for one or sixteen floats at once, over floats whose bits follow each other.
struct Form {
    kernel: <OpenCl as Device>::Kernel,
    out: <OpenCl as Device>::Buffer,
    bytes: Vec<u8>,
}

impl Form {
    fn new(device: &OpenCl, name: &str, width: usize) -> Result<Form> {
        let call = |x: &str, suffix: &str| {
            if name == "reciprocal" {
                let one = if suffix.is_empty() { "1.0f" } else { "(float16)(1.0f)" };
                format!("orion_div{suffix}({one}, {x})")
            } else {
                format!("orion_{name}{suffix}({x})")
            }
        };
        let body = if width == 16 {
            let x = "as_float16((int16)(first + at) + (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))";
            format!("vstore16({}, 0, out + begin + at)", call(x, "16"))
        } else {
            format!("out[begin + at] = {}", call("as_float(first + at)", ""))
        };
        let source = builtin::complete(&format!(
            "__kernel void every(__global float *out, const int from) {{ const long begin = get_global_id(0) * {ITEM}l; \
             const int first = (int)((uint)from + (uint)begin); for (int at = 0; at < {ITEM}; at += {width}) {body}; }}"
        ));
        let mut kernel = device.build(&source, "every")?;
        let out = device.allocate(u64::from(CHUNK) * 4)?;
        device.bind(&mut kernel, 0, Bound::Buffer(&out))?;
        Ok(Form { kernel, out, bytes: vec![0; CHUNK as usize * 4] })
    }

    fn run(&mut self, device: &OpenCl, first: u32) -> Result<Vec<f32>> {
        let from = Bound::Value(orion_protocol::dtype::DType::Int32, u64::from(first));
        device.bind(&mut self.kernel, 1, from)?;
        let items = u64::from(CHUNK / ITEM);
        device.launch(&self.kernel, &Launch { global: vec![items], offset: vec![0], local: vec![1] })?;
        device.read(&self.out, 0, &mut self.bytes)?;
        Ok(self.bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }
}

/// What Rust gives for the floats from `first` on.
fn expected(function: Unary, first: u32) -> Vec<f32> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut values = vec![0.0; CHUNK as usize];
    thread::scope(|scope| {
        let part = values.len().div_ceil(threads);
        for (at, part) in (0_u32..).step_by(part).zip(values.chunks_mut(part)) {
            scope.spawn(move || {
                for (next, value) in (at..).zip(part) {
                    *value = function(f32::from_bits(first + next));
                }
            });
        }
    });
    values
}

fn compare(name: &str, width: usize, first: u32, have: &[f32], expected: &[f32]) -> Result<()> {
    ensure!(have.len() == expected.len(), "{name}: {} floats came back", have.len());
    let differs =
        |(have, expected): (&f32, &f32)| have.to_bits() != expected.to_bits() && !(have.is_nan() && expected.is_nan());
    if let Some(at) = have.iter().zip(expected).position(differs) {
        let bits = first.wrapping_add(u32::try_from(at).context("a place within a chunk")?);
        bail!(
            "{name} of {width} at once: {bits:08x} gives {:08x}, not {:08x}",
            have[at].to_bits(),
            expected[at].to_bits()
        );
    }
    Ok(())
}
