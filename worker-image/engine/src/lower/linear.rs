//! Products of matrices and convolutions.
#![expect(clippy::many_single_char_names, reason = "the names of matrices and their sizes are these letters")]

use super::node::{Call, length};
use super::{Lowering, Outcome, elementwise::broadcast};
use crate::program::{Action, Conv, Function, MatMul, Slot};
use crate::tensor::Facts;

pub(super) fn lower(lowering: &mut Lowering<'_>, call: &Call<'_>) -> Outcome<Option<Vec<Slot>>> {
    let slot = match call.operator() {
        "MatMul" => lowering.product(call.input(0)?, call.input(1)?)?,
        "Gemm" => lowering.gemm(call)?,
        "Conv" => lowering.conv(call)?,
        _ => return Ok(None),
    };
    Ok(Some(vec![slot]))
}

/// How a window moves over the spatial dimensions.
pub(super) struct Window {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub before: Vec<usize>,
    pub after: Vec<usize>,
    /// Length of the result.
    pub out: Vec<usize>,
}

/// The longest window, step and border: what devices count places with is 31 bits long.
const LONGEST: usize = 1 << 24;

/// Reads strides, dilations and pads of a node for a window of `window` over `spatial`.
pub(super) fn window(call: &Call<'_>, spatial: &[usize], window: &[usize]) -> Outcome<Window> {
    let rank = spatial.len();
    let ones = |name: &str| -> Outcome<Vec<usize>> {
        let list = call.ints(name)?.map_or_else(|| vec![1; rank], <[i64]>::to_vec);
        let list: Vec<usize> = list.iter().map(|value| length(*value, name)).collect::<Outcome<_>>()?;
        if list.len() == rank && list.iter().all(|value| (1..=LONGEST).contains(value)) {
            Ok(list)
        } else {
            Err(format!("{name} is {list:?}").into())
        }
    };
    let (strides, dilations) = (ones("strides")?, ones("dilations")?);
    let ceil = call.flag("ceil_mode")?;
    let mode = call.text("auto_pad", "NOTSET")?;
    let pads = match call.ints("pads")? {
        Some(pads) if mode == "NOTSET" => {
            pads.iter().map(|pad| length(*pad, "pads")).collect::<Outcome<Vec<usize>>>()?
        }
        _ => vec![0; 2 * rank],
    };
    if pads.len() != 2 * rank || window.len() != rank || pads.iter().any(|pad| *pad > LONGEST) {
        return Err(format!("pads are {pads:?}, the window is {window:?}, for {rank} dimensions").into());
    }
    let mut result = Window { strides, dilations, before: Vec::new(), after: Vec::new(), out: Vec::new() };
    for at in 0..rank {
        let (stride, size) = (result.strides[at], spatial[at]);
        let extent = window[at].checked_sub(1).and_then(|taps| taps.checked_mul(result.dilations[at]));
        let extent = extent.and_then(|extent| extent.checked_add(1)).filter(|extent| *extent <= LONGEST);
        let extent = extent.ok_or_else(|| format!("the window is {window:?}"))?;
        let (before, after) = match mode {
            "SAME_UPPER" | "SAME_LOWER" => {
                let all = (size.div_ceil(stride).saturating_sub(1) * stride + extent).saturating_sub(size);
                let less = all / 2;
                if mode == "SAME_UPPER" { (less, all - less) } else { (all - less, less) }
            }
            "NOTSET" | "VALID" => (pads[at], pads[at + rank]),
            other => return Err(format!("auto_pad is {other:?}").into()),
        };
        let padded = size.checked_add(before).and_then(|size| size.checked_add(after));
        let room = padded.and_then(|padded| padded.checked_sub(extent));
        let room = room.ok_or_else(|| format!("a window of {extent} does not fit into {size} with padding"))?;
        if padded.is_none_or(|padded| padded > 1 << 30) {
            return Err(format!("a dimension of {size} with its border is too long").into());
        }
        let mut out = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        // A window that begins in the padding behind is none.
        if ceil && (out - 1) * stride >= size + before {
            out -= 1;
        }
        result.before.push(before);
        result.after.push(after);
        result.out.push(out);
    }
    Ok(result)
}

impl Lowering<'_> {
    /// As numpy's matmul: a list counts as a row on the left, as a column on the right.
    fn product(&mut self, a: Slot, b: Slot) -> Outcome<Slot> {
        self.float(a)?;
        self.float(b)?;
        let (mut left, mut right) = (self.shape(a), self.shape(b));
        if left.is_empty() || right.is_empty() {
            return Err("a scalar is no matrix".into());
        }
        let (row, column) = (left.len() == 1, right.len() == 1);
        if row {
            left.insert(0, 1);
        }
        if column {
            right.push(1);
        }
        let (a, b) = (self.reshape(a, left)?, self.reshape(b, right)?);
        let product = self.matmul(a, b, MatMul::default())?;
        let mut shape = self.shape(product);
        if column {
            shape.pop();
        }
        if row {
            shape.remove(shape.len() - 1 - usize::from(!column));
        }
        self.reshape(product, shape)
    }

    pub(super) fn matmul(&mut self, a: Slot, b: Slot, matmul: MatMul) -> Outcome<Slot> {
        let (left, right) = (self.shape(a), self.shape(b));
        let (Some((batch_a, [a0, a1])), Some((batch_b, [b0, b1]))) =
            (left.split_last_chunk::<2>(), right.split_last_chunk::<2>())
        else {
            return Err(format!("{left:?} and {right:?} are no matrices").into());
        };
        let (m, k) = if matmul.transpose_a { (*a1, *a0) } else { (*a0, *a1) };
        let (rows, n) = if matmul.transpose_b { (*b1, *b0) } else { (*b0, *b1) };
        if k != rows {
            return Err(format!("{left:?} times {right:?}: {k} columns, {rows} rows").into());
        }
        let mut shape = broadcast([batch_a, batch_b])?;
        shape.extend([m, n]);
        let kind = self.facts(a).kind;
        self.step(Action::MatMul(matmul), &[a, b], Facts { kind, shape })
    }

    /// alpha A B + beta C: the product, then each factor, then the sum.
    fn gemm(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let (a, b) = (call.input(0)?, call.input(1)?);
        self.float(a)?;
        self.float(b)?;
        if self.shape(a).len() != 2 || self.shape(b).len() != 2 {
            return Err("operands must be matrices".into());
        }
        let matmul = MatMul { transpose_a: call.flag("transA")?, transpose_b: call.flag("transB")? };
        let mut slot = self.matmul(a, b, matmul)?;
        let product = self.shape(slot);
        slot = self.times(slot, call.float("alpha", 1.0)?)?;
        if let Some(c) = call.optional(2) {
            self.float(c)?;
            let c = self.times(c, call.float("beta", 1.0)?)?;
            slot = self.map(Function::Add, &[slot, c])?;
        }
        if self.shape(slot) != product {
            return Err("the third operand is larger than the product".into());
        }
        Ok(slot)
    }

    fn times(&mut self, slot: Slot, factor: f32) -> Outcome<Slot> {
        if factor.to_bits() == 1.0_f32.to_bits() {
            return Ok(slot);
        }
        let factor = self.scalar_f32(factor)?;
        self.map(Function::Mul, &[slot, factor])
    }

    fn conv(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let (input, weights) = (call.input(0)?, call.input(1)?);
        self.float(input)?;
        self.float(weights)?;
        let (x, w) = (self.shape(input), self.shape(weights));
        let (Some(([n, c], spatial)), Some(([o, per_group], taps))) =
            (x.split_first_chunk::<2>(), w.split_first_chunk::<2>())
        else {
            return Err(format!("an input of {x:?} with weights of {w:?}").into());
        };
        let groups = length(call.int("group", 1)?, "group")?;
        let fits = groups > 0 && per_group.checked_mul(groups) == Some(*c) && o % groups == 0;
        let same_kernel = call.ints("kernel_shape")?.is_none_or(|shape| {
            shape.iter().map(|size| usize::try_from(*size).ok()).eq(taps.iter().map(|size| Some(*size)))
        });
        if !fits || !same_kernel || spatial.len() != taps.len() || spatial.is_empty() {
            return Err(format!("an input of {x:?} with weights of {w:?} in {groups} groups").into());
        }
        let window = window(call, spatial, taps)?;
        let mut shape = vec![*n, *o];
        shape.extend(&window.out);
        let action = Conv { strides: window.strides, before: window.before, dilations: window.dilations, groups };
        let kind = self.facts(input).kind;
        let slot = self.step(Action::Conv(action), &[input, weights], Facts { kind, shape })?;
        match call.optional(2) {
            None => Ok(slot),
            Some(bias) => {
                if self.shape(bias) != [*o] {
                    return Err(format!("a bias of {:?} for {o} channels", self.shape(bias)).into());
                }
                let mut shape = vec![1; spatial.len() + 2];
                shape[1] = *o;
                let bias = self.reshape(bias, shape)?;
                self.map(Function::Add, &[slot, bias])
            }
        }
    }
}
