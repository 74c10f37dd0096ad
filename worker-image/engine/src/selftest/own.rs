//! What the engine itself runs on a device: its own functions of floats, and a small model as it is planned for this device. Expected are the bits of
//! [`crate::math`] and of [`crate::reference`].
//!
//! Compiling is what takes the time, at every worker's start until the driver's cache has it: so one text for all functions of single floats, one for
//! those of sixteen, and as few kinds of steps as stand for the others.

use std::fmt::Write as _;
use std::sync::Arc;

use orion_protocol::{Reason, Refusal};

use super::{Found, Random, download, operands, upload};
use crate::device::{Bound, Device, DeviceError, Launch};
use crate::plan::{self, Tile};
use crate::program::{Action, Conv, Function, MatMul, Program, Reduce, Slot, Step};
use crate::session::{Library, Session, SessionError};
use crate::tensor::{self, Facts, Kind, Misfit, Tensor};
use crate::{builtin, math, reference};

/// A function in Rust, of one float or of two.
enum Twin {
    One(fn(f32) -> f32),
    Two(fn(f32, f32) -> f32),
}

/// All functions; those come first that exist for sixteen floats at once as well.
static FUNCTIONS: [(&str, Twin); 14] = [
    ("exp", Twin::One(math::exp)),
    ("log", Twin::One(math::log)),
    ("tanh", Twin::One(math::tanh)),
    ("erf", Twin::One(math::erf)),
    ("gelu", Twin::One(math::gelu)),
    ("sigmoid", Twin::One(math::sigmoid)),
    ("sqrt", Twin::One(math::sqrt)),
    ("rsqrt", Twin::One(math::rsqrt)),
    ("div", Twin::Two(math::div)),
    ("max", Twin::Two(math::max)),
    ("min", Twin::Two(math::min)),
    ("sin", Twin::One(math::sin)),
    ("cos", Twin::One(math::cos)),
    ("pow", Twin::Two(math::pow)),
];
const WIDE: usize = 11;
/// Operands beside the special ones, so that there are 2,048: a multiple of 16, as all of them are.
const RANDOM: usize = 1792;
/// What the small model gives.
const RESULTS: [&str; 4] = ["matrix product", "softmax", "mean of rows", "convolution"];

impl Twin {
    fn of(&self, x: u32, y: u32) -> u32 {
        let [x, y] = [x, y].map(f32::from_bits);
        let value = match self {
            Twin::One(function) => function(x),
            Twin::Two(function) => function(x, y),
        };
        tensor::canonical(value).to_bits()
    }
}

/// Every function of every operand: of single floats, and of sixteen where the device's registers hold several.
pub(super) fn functions<D: Device>(device: &D, found: &mut Found) -> Result<(), DeviceError> {
    let [a, b, _] = operands(RANDOM);
    let inputs = [upload(device, &a)?, upload(device, &b)?];
    for wide in [false, true] {
        if wide && device.limits().lanes == 1 {
            continue;
        }
        let functions = if wide { &FUNCTIONS[..WIDE] } else { &FUNCTIONS[..] };
        let (count, bytes) = (a.len(), (a.len() * functions.len() * 4) as u64);
        let mut kernel = device.build(&source(functions, wide), "own")?;
        let out = device.allocate(bytes)?;
        for (index, buffer) in (0..).zip([&inputs[0], &inputs[1], &out]) {
            device.bind(&mut kernel, index, Bound::Buffer(buffer))?;
        }
        let items = (count / if wide { 16 } else { 1 }) as u64;
        device.launch(&kernel, &Launch { global: vec![items], offset: vec![0], local: vec![1] })?;
        let mut answer = download(device, &out, bytes)?;
        tensor::make_canonical(&mut answer);
        let of_all = |twin: &'static Twin| a.iter().zip(&b).map(move |(x, y)| twin.of(*x, *y));
        let expected: Vec<u32> = functions.iter().flat_map(|(_, twin)| of_all(twin)).collect();
        found.take(answer, &expected, |at| {
            let ((name, twin), x, y) = (&functions[at / count], a[at % count], b[at % count]);
            let width = if wide { "16" } else { "" };
            match twin {
                Twin::One(_) => format!("{name}{width} of {x:08x}"),
                Twin::Two(_) => format!("{name}{width} of {x:08x} {y:08x}"),
            }
        });
    }
    Ok(())
}

/// One kernel that stores what each function gives, one function's results after the other's.
fn source(functions: &[(&str, Twin)], wide: bool) -> String {
    let mut text = String::from(
        "__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void own(\n    \
         __global const float *a, __global const float *b, __global float *out)\n{\n    \
         const size_t i = get_global_id(0), n = get_global_size(0);\n",
    );
    text.push_str(if wide {
        "    const float16 x = vload16(i, a), y = vload16(i, b);\n"
    } else {
        "    const float x = a[i], y = b[i];\n"
    });
    for (at, (name, twin)) in functions.iter().enumerate() {
        let operands = match twin {
            Twin::One(_) => "x",
            Twin::Two(_) => "x, y",
        };
        // Writing to a text does not fail.
        let _ = if wide {
            writeln!(text, "    vstore16(orion_{name}16({operands}), {at} * n + i, out);")
        } else {
            writeln!(text, "    out[{at} * n + i] = orion_{name}({operands});")
        };
    }
    text.push_str("}\n");
    builtin::complete(&text)
}

/// A small model, planned and run as every model is.
pub(super) fn model<D: Device>(device: &D, found: &mut Found) -> Result<(), Refusal> {
    let internal = |why: String| Refusal::new(Reason::InternalError, format!("self-test: {why}"));
    let refused = |error: SessionError| match error {
        SessionError::Device(error) => error.refusal(),
        other => internal(other.to_string()),
    };
    let (program, inputs) = small_model().map_err(|error| internal(error.to_string()))?;
    let expected = reference::run(&program, &inputs).map_err(|error| internal(error.to_string()))?;
    let plan = plan::plan(&program, Tile::for_lanes(device.limits().lanes));
    let plan = plan.map_err(|error| internal(error.to_string()))?;
    let session = Session::new(device, plan, &mut Library::default()).map_err(refused)?;
    let have = session.run(&inputs).map_err(refused)?;
    for ((name, have), expected) in RESULTS.iter().zip(&have).zip(&expected) {
        let bytes = expected.to_le_bytes();
        let expected: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        found.take(have.to_le_bytes(), &expected, |at| format!("{name}, element {at},"));
    }
    Ok(())
}

/// A product of 64 x 64 x 64, its rows' softmax and means; and a convolution that pads, with a bias and a bend as part of its launch.
fn small_model() -> Result<(Program, Vec<Tensor>), Misfit> {
    let shapes: [&[usize]; 11] = [
        &[64, 64],
        &[64, 64],
        &[64, 64],
        &[64, 64],
        &[64, 1],
        &[1, 8, 10, 12],
        &[24, 8, 3, 3],
        &[1, 24, 1, 1],
        &[1, 24, 10, 12],
        &[1, 24, 10, 12],
        &[1, 24, 10, 12],
    ];
    let [a, b, product, softmax, means, image, weights, bias, taken, shifted, bent] =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(Slot);
    let mut random = Random::default();
    let mut tensor = |slot: Slot| {
        let shape = shapes[slot.0 as usize].to_vec();
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| random.near_one()).collect();
        Tensor::new(shape, values)
    };
    let inputs = vec![tensor(a)?, tensor(image)?];
    let constants = [(b, tensor(b)?), (weights, tensor(weights)?), (bias, tensor(bias)?)];
    let ones = || vec![1, 1];
    let conv = Conv { strides: ones(), before: ones(), dilations: ones(), groups: 1 };
    let step = |action, inputs: &[Slot], output| Step { action, inputs: inputs.to_vec(), output, node: 0 };
    let program = Program {
        values: shapes.iter().map(|shape| Facts { kind: Kind::F32, shape: shape.to_vec() }).collect(),
        inputs: vec![a, image],
        constants: constants.into_iter().map(|(slot, tensor)| (slot, Arc::new(tensor))).collect(),
        steps: vec![
            step(Action::MatMul(MatMul::default()), &[a, b], product),
            step(Action::Softmax { log: false }, &[product], softmax),
            step(Action::Reduce(Reduce::Mean), &[product], means),
            step(Action::Conv(conv), &[image, weights], taken),
            step(Action::Map(Function::Add), &[taken, bias], shifted),
            step(Action::Map(Function::Relu), &[shifted], bent),
        ],
        outputs: vec![product, softmax, means, bent],
    };
    Ok((program, inputs))
}
