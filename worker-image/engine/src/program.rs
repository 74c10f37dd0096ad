//! A model whose every shape is known, as few kinds of steps: what the reference runs word for word and a device runs rewritten.
//!
//! The meaning of each step, with the order of every operation on floats, is the kernel set: it is written down in
//! `docs/kernel-set.md` and defined by [`crate::reference`]. Nothing here computes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::tensor::{Facts, Kind, Tensor};

/// A value of a program. An index into [`Program::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Steps in order.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Type and shape of every value.
    pub values: Vec<Facts>,
    /// What is given, in the order of the model.
    pub inputs: Vec<Slot>,
    /// What is known, folded constants included.
    pub constants: BTreeMap<Slot, Arc<Tensor>>,
    /// Every value is made before it is used.
    pub steps: Vec<Step>,
    /// What is asked for.
    pub outputs: Vec<Slot>,
}

/// One step: it makes one value.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// To what.
    pub inputs: Vec<Slot>,
    /// What it makes.
    pub output: Slot,
    /// The node that it comes from: an index into the model's nodes.
    pub node: u32,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The same elements under another shape.
    Reshape,
    /// A function of elements at the same place; shapes are broadcast.
    Map(Function),
    /// `[.., m, k] x [.., k, n]`; the dimensions before the last two are broadcast.
    MatMul(MatMul),
    /// `[n, c, spatial..] * [o, c / groups, spatial..]`
    Conv(Conv),
    /// Over windows of the dimensions after the second.
    Pool(Pool),
    /// Over the last dimension, which becomes 1.
    Reduce(Reduce),
    /// Over the last dimension.
    Softmax {
        /// The logarithm of it.
        log: bool,
    },
    /// Over the last dimension: input, scale and bias; the latter two have that dimension alone.
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Where the largest element along an axis is; that dimension becomes 1.
    ArgMax {
        /// Which dimension.
        axis: usize,
        /// The last of several equal ones, not the first.
        last: bool,
    },
    /// Sums up to each element along an axis.
    CumSum {
        /// Which dimension.
        axis: usize,
        /// Without the element itself.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
    /// Elements picked at regular places: transposes, slices, repetitions.
    Move {
        /// For each dimension of the input, where the first element lies.
        starts: Vec<usize>,
        /// For each dimension of the output, how it runs through the input.
        runs: Vec<Run>,
    },
    /// Inputs one after the other along an axis.
    Concat {
        /// Which dimension.
        axis: usize,
    },
    /// The input with a border; the second input is the value that fills it.
    Pad {
        /// Elements before each dimension; negative ones are cut off.
        before: Vec<isize>,
        /// Where a border's elements come from.
        mode: PadMode,
    },
    /// Slices of the first input along an axis, named by the second.
    Gather {
        /// Which dimension.
        axis: usize,
    },
    /// The first input, with the third's slices at the places that the second names.
    ScatterNd,
    /// The triangle of the last two dimensions, the rest 0.
    Trilu {
        /// The upper one.
        upper: bool,
        /// The diagonal where it begins.
        diagonal: isize,
    },
}

/// How a dimension of a result runs through an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Along one of the operand's dimensions, by so many of its elements.
    Along(usize, isize),
    /// It does not move: the same elements again.
    Repeat,
}

/// A function of elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// -x
    Neg,
    /// |x|
    Abs,
    /// e^x
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// 1 / x
    Reciprocal,
    /// Error function.
    Erf,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// x / 2 (1 + erf(x / sqrt 2))
    Gelu,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// x < 0 ? 0 : x, NaN stays.
    Relu,
    /// x < 0 ? alpha x : x
    LeakyRelu(f32),
    /// max(0, min(1, fma(alpha, x, beta)))
    HardSigmoid(f32, f32),
    /// Logical negation.
    Not,
    /// To another type.
    Cast(Kind),
    /// x + y
    Add,
    /// x - y
    Sub,
    /// x y
    Mul,
    /// x / y; integers are cut off, and 0 where y is 0.
    Div,
    /// x^y
    Pow,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// The remainder with the sign of y.
    Mod,
    /// The remainder with the sign of x.
    Rem,
    /// Both.
    And,
    /// One at least.
    Or,
    /// x = y
    Equal,
    /// x < y
    Less,
    /// x <= y
    LessOrEqual,
    /// x > y
    Greater,
    /// x >= y
    GreaterOrEqual,
    /// fma(x, y, z)
    Fma,
    /// x ? y : z
    Select,
}

/// How a product of matrices reads its operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatMul {
    /// The first operand is `[.., k, m]`.
    pub transpose_a: bool,
    /// The second operand is `[.., n, k]`.
    pub transpose_b: bool,
}

/// A convolution. All lists have one entry a spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Steps of the window.
    pub strides: Vec<usize>,
    /// Zeros before each dimension.
    pub before: Vec<usize>,
    /// Distance of taps.
    pub dilations: Vec<usize>,
    /// Groups of channels.
    pub groups: usize,
}

/// Pooling. All lists have one entry a spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What is made of a window.
    pub of: PoolOf,
    /// Length of the window.
    pub window: Vec<usize>,
    /// Steps of the window.
    pub strides: Vec<usize>,
    /// Padding before each dimension.
    pub before: Vec<usize>,
    /// Padding after each dimension: only an average that counts it looks at it.
    pub after: Vec<usize>,
    /// Distance of taps.
    pub dilations: Vec<usize>,
}

/// What pooling makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolOf {
    /// The largest element.
    Max,
    /// The sum over how many elements are there.
    Average,
    /// The sum over how many elements and zeros of the padding are there.
    AverageWithPadding,
}

/// What a reduction makes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// The sum.
    Sum,
    /// The sum over the length.
    Mean,
    /// The largest.
    Max,
}

/// Where the elements of a border come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    /// The given value.
    Constant,
    /// Mirrored at the edge, which is not repeated.
    Reflect,
    /// The edge repeated.
    Edge,
    /// From the other end.
    Wrap,
}

impl Program {
    /// Drops steps and constants that no output needs.
    pub fn prune(&mut self) {
        let mut needed: BTreeSet<Slot> = self.outputs.iter().copied().collect();
        self.steps.reverse();
        self.steps.retain(|step| {
            let is_needed = needed.contains(&step.output);
            if is_needed {
                needed.extend(&step.inputs);
            }
            is_needed
        });
        self.steps.reverse();
        self.constants.retain(|slot, _| needed.contains(slot));
    }

    /// Operations, as the kernel set counts them.
    pub fn work(&self) -> u64 {
        let of = |step: &Step| {
            let inputs: Vec<&Facts> = step.inputs.iter().map(|slot| self.facts(*slot)).collect();
            work(&step.action, &inputs, self.facts(step.output))
        };
        self.steps.iter().map(of).fold(0, u64::saturating_add)
    }

    /// Type and shape of a value.
    ///
    /// # Panics
    /// On a slot of another program.
    pub fn facts(&self, slot: Slot) -> &Facts {
        &self.values[slot.0 as usize]
    }
}

/// Operations of one step: fma of products and convolutions, elements that are read by what reads rows, and one for each element that any other step
/// makes or moves.
pub fn work(action: &Action, inputs: &[&Facts], output: &Facts) -> u64 {
    let count = |facts: &Facts| facts.elements().unwrap_or(usize::MAX) as u64;
    let product = |dims: &[usize]| dims.iter().fold(1_u64, |all, dim| all.saturating_mul(*dim as u64));
    let out = count(output);
    let shape = |at: usize| inputs.get(at).map_or(&[][..], |facts| facts.shape.as_slice());
    match action {
        Action::Reshape => 0,
        Action::MatMul(matmul) => {
            let a = shape(0);
            let depth = a.len().checked_sub(if matmul.transpose_a { 2 } else { 1 }).map_or(0, |dim| a[dim]);
            out.saturating_mul(depth as u64)
        }
        Action::Conv(_) => out.saturating_mul(product(shape(1).get(1..).unwrap_or_default())),
        Action::Pool(pool) => out.saturating_mul(product(&pool.window)),
        Action::Reduce(_) | Action::Softmax { .. } | Action::LayerNorm { .. } | Action::ArgMax { .. } => {
            inputs.first().map_or(0, |facts| count(facts))
        }
        Action::ScatterNd => out.saturating_add(inputs.get(1).map_or(0, |facts| count(facts))),
        Action::Concat { .. } => out.saturating_add(inputs.len() as u64),
        Action::Map(_)
        | Action::CumSum { .. }
        | Action::Move { .. }
        | Action::Pad { .. }
        | Action::Gather { .. }
        | Action::Trilu { .. } => out,
    }
}
