//! Products of matrices: operands brought into the layout that contractions read, batches joined where they follow each other.

use super::contract::{Lines, Pending};
use super::view::{indices, places};
use super::{Content, Planned, Planner, View};
use crate::program::{MatMul, Slot, Step};
use crate::tensor::Kind;

/// Products of matrices in one step, each of which a device is told about.
pub(super) const MOST: usize = 1 << 16;

impl Planner<'_> {
    pub(super) fn matmul(&mut self, step: &Step, matmul: MatMul) -> Planned<()> {
        let a = self.matrix(step.inputs[0], matmul.transpose_a)?;
        let (b, known) = self.weights(step.inputs[1])?;
        let b = if matmul.transpose_b { swapped(&b) } else { b };
        let shape = self.facts(step.output).shape.clone();
        let rank = shape.len();
        let &[ref dims @ .., m, n] = shape.as_slice() else { return Err("a product is no matrix".into()) };
        let depth = a.shape[a.shape.len() - 1];
        if depth == 0 {
            // Empty chains.
            self.zeros(step.output);
            return Ok(());
        }
        if dims.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim)).is_none_or(|count| count > MOST) {
            return Err(format!("over {MOST} products of matrices at once are not supported on devices"));
        }
        let weights = self.packed(&b, known)?;
        let out = self.output(step.output);
        let block = depth * n.div_ceil(self.tile.columns) * self.tile.columns;
        // Where the blocks of packed batches lie: like a tensor of the operand's leading dimensions.
        let b_dims = &b.shape[..b.shape.len() - 2];
        let mut b_steps = super::view::row_major(b_dims);
        for step in &mut b_steps {
            *step *= block.cast_signed();
        }
        let from = places(dims, &broadcast(&a.shape[..a.shape.len() - 2], &a.strides, dims.len()));
        let weight = places(dims, &broadcast(b_dims, &b_steps, dims.len()));
        let batches: Vec<[isize; 3]> = from
            .into_iter()
            .zip(weight)
            .enumerate()
            .map(|(at, (from, weight))| [a.offset.cast_signed() + from, weight, (at * m * n).cast_signed()])
            .collect();
        let row = a.strides[a.strides.len() - 2];
        let mut lines = Lines {
            width: m,
            count: 1,
            channels: depth,
            in_step: row,
            in_line: 0,
            out_step: n.cast_signed(),
            out_line: 0,
            columns: n,
            taps: vec![0],
            batches,
            depthwise: false,
        };
        let mut rows = vec![rank - 2];
        let mut origins: Vec<Vec<usize>> =
            indices(dims).into_iter().map(|index| [index, vec![0, 0]].concat()).collect();
        // Batches that share their weights and follow each other are more rows of one matrix.
        let follow = lines
            .batches
            .windows(2)
            .all(|pair| pair[1][0] - pair[0][0] == row * m.cast_signed() && pair[1][1] == pair[0][1]);
        if follow && lines.batches.len() > 1 {
            lines.width = m * lines.batches.len();
            lines.batches.truncate(1);
            origins.truncate(1);
            rows = (0..rank - 1).collect();
        }
        let (input, column) = (a.buffer, rank - 1);
        let pending = Pending { lines, input, weights, view: out, rows, line: None, column, origins };
        self.contraction(step.output, pending);
        Ok(())
    }

    /// An operand whose elements of a row lie side by side.
    fn matrix(&mut self, slot: Slot, transposed: bool) -> Planned<View> {
        let view = self.view(slot)?;
        let view = if transposed { swapped(&view) } else { view };
        if view.strides.last() == Some(&1) || view.shape.last() == Some(&1) {
            return Ok(view);
        }
        Ok(self.contiguous(Kind::F32, &view))
    }

    /// A copy in row-major order.
    pub(super) fn contiguous(&mut self, kind: Kind, view: &View) -> View {
        let bytes = view.shape.iter().product::<usize>() * kind.bytes();
        let to = View::contiguous(self.bytes(bytes, Content::Any), &view.shape);
        self.copy(kind, view, &to);
        to
    }
}

/// Strides of an operand's leading dimensions as if it had `rank` of them: those that it lacks or repeats do not move.
fn broadcast(shape: &[usize], strides: &[isize], rank: usize) -> Vec<isize> {
    let mut steps = vec![0; rank - shape.len()];
    steps.extend(shape.iter().zip(strides).map(|(dim, stride)| if *dim == 1 { 0 } else { *stride }));
    steps
}

/// The last two dimensions swapped.
fn swapped(view: &View) -> View {
    let mut view = view.clone();
    let rank = view.shape.len();
    if rank >= 2 {
        view.shape.swap(rank - 2, rank - 1);
        view.strides.swap(rank - 2, rank - 1);
    }
    view
}
