//! The reference: each kind of step word for word, in safe Rust, one value after the other. What it computes is what the step means;
//! every device must give the same bits.
//!
//! It is made to be read, not to be fast: nothing is fused, tiled or reordered here.

mod contract;
mod map;
mod moves;
mod pool;
mod rows;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::program::{Action, Function, Program, Slot};
use crate::tensor::{Facts, Kind, Misfit, Tensor};

/// A step that does not fit its operands: the program was not made by [`crate::lower`].
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Fewer operands than the step needs.
    #[error("an operand is missing")]
    Missing,
    /// Operands of types for which it has no meaning.
    #[error("the step is not defined for {0}")]
    Undefined(String),
    /// The elements do not fill the shape.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// Runs a program on its inputs, in their order.
pub fn run(program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>, StepError> {
    let mut values: BTreeMap<Slot, Cow<'_, Tensor>> = BTreeMap::new();
    for (slot, input) in program.inputs.iter().zip(inputs) {
        values.insert(*slot, Cow::Borrowed(input));
    }
    for (slot, constant) in &program.constants {
        values.insert(*slot, Cow::Borrowed(constant.as_ref()));
    }
    for next in &program.steps {
        let operands: Option<Vec<&Tensor>> = next.inputs.iter().map(|slot| values.get(slot).map(Cow::as_ref)).collect();
        let operands = operands.ok_or(StepError::Missing)?;
        let result = step(&next.action, &operands, program.facts(next.output))?;
        values.insert(next.output, Cow::Owned(result));
    }
    let find = |slot: &Slot| values.get(slot).map(|value| value.as_ref().clone()).ok_or(StepError::Missing);
    program.outputs.iter().map(find).collect()
}

/// Runs one step; `facts` are those of its result.
pub fn step(action: &Action, inputs: &[&Tensor], facts: &Facts) -> Result<Tensor, StepError> {
    let operand = |at: usize| inputs.get(at).copied().ok_or(StepError::Missing);
    let shape = &facts.shape;
    let data = match action {
        Action::Reshape => operand(0)?.data().clone(),
        Action::Map(function) => map::map(*function, inputs, shape)?,
        Action::MatMul(matmul) => contract::matmul(*matmul, floats(operand(0)?)?, floats(operand(1)?)?, shape).into(),
        Action::Conv(conv) => contract::conv(conv, floats(operand(0)?)?, floats(operand(1)?)?, shape).into(),
        Action::Pool(pool) => pool::pool(pool, floats(operand(0)?)?, shape).into(),
        Action::Reduce(reduce) => rows::reduce(*reduce, operand(0)?)?,
        Action::Softmax { log } => rows::softmax(*log, floats(operand(0)?)?).into(),
        Action::LayerNorm { epsilon } => {
            let (scale, bias) = (floats(operand(1)?)?, floats(operand(2)?)?);
            rows::layer_norm(*epsilon, floats(operand(0)?)?, scale.data, bias.data).into()
        }
        Action::ArgMax { axis, last } => rows::arg_max(*axis, *last, operand(0)?)?.into(),
        Action::CumSum { axis, exclusive, reverse } => rows::cum_sum(*axis, *exclusive, *reverse, operand(0)?)?,
        Action::Move { starts, runs } => moves::pick(operand(0)?, shape, starts, runs),
        Action::Concat { axis } => moves::concat(*axis, inputs, shape)?,
        Action::Pad { before, mode } => moves::pad(before, *mode, operand(0)?, operand(1)?, shape)?,
        Action::Gather { axis } => moves::gather(*axis, operand(0)?, operand(1)?, shape)?,
        Action::ScatterNd => moves::scatter(operand(0)?, operand(1)?, operand(2)?)?,
        Action::Trilu { upper, diagonal } => moves::trilu(*upper, *diagonal, operand(0)?),
    };
    Ok(Tensor::new(shape.clone(), data)?)
}

/// Whether a function of elements has a meaning for operands of these types.
pub fn is_defined(function: Function, kinds: &[Kind]) -> bool {
    let one = |kind: &Kind| match kind {
        Kind::F32 => Tensor::scalar(0.0_f32),
        Kind::I64 => Tensor::scalar(0_i64),
        Kind::I32 => Tensor::scalar(0_i32),
        Kind::Bool => Tensor::scalar(false),
    };
    let operands: Vec<Tensor> = kinds.iter().map(one).collect();
    map::map(function, &operands.iter().collect::<Vec<_>>(), &[]).is_ok()
}

/// Floats with their shape.
#[derive(Clone, Copy)]
struct Floats<'t> {
    shape: &'t [usize],
    data: &'t [f32],
}

fn floats(tensor: &Tensor) -> Result<Floats<'_>, StepError> {
    let data = tensor.as_slice::<f32>().ok_or_else(|| StepError::Undefined(tensor.facts().to_string()))?;
    Ok(Floats { shape: tensor.shape(), data })
}

/// The same code for every element type.
macro_rules! each_kind {
    ($data:expr, $values:ident => $result:expr) => {
        match $data {
            Data::F32($values) => Data::F32($result),
            Data::I64($values) => Data::I64($result),
            Data::I32($values) => Data::I32($result),
            Data::Bool($values) => Data::Bool($result),
        }
    };
}
pub(crate) use each_kind;

/// How far the next element of each dimension is away, in row-major order.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1;
    for (stride, dim) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step *= dim;
    }
    strides
}

/// Calls `visit` for every place of `shape` in row-major order, with the place of each operand: operand `i` lies `strides[i]` apart.
fn walk<const N: usize>(shape: &[usize], start: [isize; N], strides: [&[isize]; N], mut visit: impl FnMut([usize; N])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    let mut places = start;
    loop {
        visit(places.map(isize::unsigned_abs));
        let mut dim = shape.len();
        loop {
            if dim == 0 {
                return;
            }
            dim -= 1;
            index[dim] += 1;
            for (place, strides) in places.iter_mut().zip(strides) {
                *place += strides[dim];
            }
            if index[dim] < shape[dim] {
                break;
            }
            let back = isize::try_from(index[dim]).unwrap_or(0);
            for (place, strides) in places.iter_mut().zip(strides) {
                *place -= strides[dim] * back;
            }
            index[dim] = 0;
        }
    }
}

/// The strides with which an operand of `shape` is read where the result has the shape `out`: 0 where it is repeated.
fn broadcast(shape: &[usize], out: &[usize]) -> Vec<isize> {
    let mut all = vec![0; out.len().saturating_sub(shape.len())];
    let own = strides(shape);
    all.extend(own.iter().zip(shape).map(|(stride, dim)| if *dim == 1 { 0 } else { stride.cast_signed() }));
    all
}
