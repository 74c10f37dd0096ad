//! How fast a device is: fused multiply-adds by themselves, and in a matrix product of the engine's own. For people: nothing is decided by it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use minicbor::{Decode, Encode};
use orion_protocol::dtype::DType;
use orion_protocol::{Reason, Refusal};

use crate::device::{Bound, Device, DeviceError, Launch};
use crate::plan::{self, Tile};
use crate::program::{Action, MatMul, Program, Slot, Step};
use crate::session::{Library, Session, SessionError};
use crate::tensor::{Facts, Kind, Tensor};

/// Floating-point operations a second, a fused multiply-add being two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rates {
    /// Independent fused multiply-adds in registers: what the device can do at most.
    #[n(0)]
    pub peak: u64,
    /// The product of two float32 matrices of [`SIZE`] rows and columns, as a model runs it, its bits those of the reference.
    #[n(1)]
    pub gemm: u64,
}

/// Rows and columns of the matrices.
pub const SIZE: usize = 1024;
/// The best of so many runs counts: whatever else the machine does only slows one down.
const RUNS: u32 = 5;
/// A launch for the peak takes at least so long, so that what starting it takes is nothing beside it.
const LAUNCH_TIME: Duration = Duration::from_millis(50);
/// Most steps of a launch, however fast the device.
const MAX_STEPS: u32 = 1 << 24;
/// Chains of a work-item: enough to hide their latency, few enough for 16 registers.
const CHAINS: u64 = 12;
/// Work-groups for each compute unit: of one work-item where registers hold several floats, else of many.
const FEW_GROUPS: u64 = 4;
const MANY_GROUPS: u64 = 64;
const GROUP: u64 = 64;

/// Measures the device; it should have nothing else to do.
pub fn rates<D: Device>(device: &D, library: &mut Library<D::Kernel>) -> Result<Rates, Refusal> {
    Ok(Rates { peak: peak(device)?, gemm: gemm(device, library)? })
}

fn peak<D: Device>(device: &D) -> Result<u64, DeviceError> {
    let limits = device.limits();
    let width = [16, 8, 4].into_iter().find(|width| *width <= limits.lanes).unwrap_or(1);
    let mut kernel = device.build(&peak_source(width), "peak")?;
    let (groups, local) = if width == 1 {
        (MANY_GROUPS, GROUP.min(limits.group).min(limits.group_dims[0]).min(device.kernel_group(&kernel)?))
    } else {
        (FEW_GROUPS, 1)
    };
    let items = limits.compute_units.saturating_mul(groups * local);
    let out = device.allocate(items * u64::from(width) * DType::Float32.size())?;
    device.bind(&mut kernel, 0, Bound::Buffer(&out))?;
    device.bind(&mut kernel, 1, Bound::Value(DType::Float32, u64::from(0.999_f32.to_bits())))?;
    device.bind(&mut kernel, 2, Bound::Value(DType::Float32, u64::from(0.001_f32.to_bits())))?;
    let launch = Launch { global: vec![items], offset: vec![0], local: vec![local] };
    let mut run = |steps: u32| {
        device.bind(&mut kernel, 3, Bound::Value(DType::Uint32, steps.into()))?;
        let begin = Instant::now();
        device.launch(&kernel, &launch)?;
        device.finish()?;
        Ok::<Duration, DeviceError>(begin.elapsed())
    };
    let mut steps = 1 << 10;
    // The first launch is also where a driver links.
    run(steps)?;
    while run(steps)? < LAUNCH_TIME && steps < MAX_STEPS {
        steps *= 2;
    }
    let best = best(|| run(steps))?;
    Ok(rate(2 * CHAINS * u64::from(width) * u64::from(steps) * items, best))
}

/// Chains of `s = fma(s, x, y)` on vectors of so many floats. Factors are arguments, so that nothing is known before.
fn peak_source(width: u32) -> String {
    let vector = if width == 1 { "float".to_owned() } else { format!("float{width}") };
    let (mut begin, mut step, mut sum) = (String::new(), String::new(), String::new());
    for chain in 0..CHAINS {
        // Writing to a text does not fail.
        let _ = writeln!(begin, "    {vector} s{chain} = ({vector})({chain}.0f);");
        let _ = writeln!(step, "        s{chain} = fma(s{chain}, vx, vy);");
        let _ = write!(sum, "{}s{chain}", if chain == 0 { "" } else { " + " });
    }
    format!(
        "__kernel void peak(__global {vector} *out, const float x, const float y, const uint steps) {{\n\
         {begin}    const {vector} vx = ({vector})(x), vy = ({vector})(y);\n    \
         for (uint i = 0; i < steps; i++) {{\n{step}    }}\n    out[get_global_id(0)] = {sum};\n}}\n"
    )
}

fn gemm<D: Device>(device: &D, library: &mut Library<D::Kernel>) -> Result<u64, Refusal> {
    let internal = |why: String| Refusal::new(Reason::InternalError, why);
    let facts = Facts { kind: Kind::F32, shape: vec![SIZE; 2] };
    // Numbers of which no sum grows out of bounds.
    let values: Vec<f32> = (0_u8..=250).cycle().take(SIZE * SIZE).map(|value| f32::from(value) / 128.0 - 1.0).collect();
    let matrix = Tensor::new(facts.shape.clone(), values).map_err(|error| internal(error.to_string()))?;
    let [given, known, product] = [0, 1, 2].map(Slot);
    let action = Action::MatMul(MatMul { transpose_a: false, transpose_b: false });
    let program = Program {
        values: vec![facts; 3],
        inputs: vec![given],
        constants: [(known, Arc::new(matrix.clone()))].into(),
        steps: vec![Step { action, inputs: vec![given, known], output: product, node: 0 }],
        outputs: vec![product],
    };
    let plan = plan::plan(&program, Tile::for_lanes(device.limits().lanes));
    let plan = plan.map_err(|error| internal(error.to_string()))?;
    let session = Session::new(device, plan, library).map_err(|error| match error {
        SessionError::Device(error) => error.refusal(),
        other => internal(other.to_string()),
    })?;
    session.write(0, &matrix.to_le_bytes())?;
    let run = || {
        let begin = Instant::now();
        session.launch()?;
        device.finish()?;
        Ok::<Duration, DeviceError>(begin.elapsed())
    };
    run()?;
    let size = SIZE as u64;
    Ok(rate(2 * size * size * size, best(run)?))
}

fn best(mut run: impl FnMut() -> Result<Duration, DeviceError>) -> Result<Duration, DeviceError> {
    (0..RUNS).try_fold(Duration::MAX, |best, _| Ok(best.min(run()?)))
}

/// So many operations in that time, a second.
fn rate(operations: u64, took: Duration) -> u64 {
    let nanos = took.as_nanos().max(1);
    u64::try_from(u128::from(operations) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}
