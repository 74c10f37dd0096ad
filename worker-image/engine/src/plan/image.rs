//! Convolutions and pooling. Images are `[n, channels, depth, height, width]` with their channels side by side in memory; what has fewer
//! dimensions has a depth or a height of 1.
#![expect(clippy::many_single_char_names, reason = "dimensions are named as everywhere: n, c, d, h, w")]

use super::contract::{Lines, Pending};
use super::frame::{Frame, taps};
use super::matmul::MOST;
use super::{Content, Planned, Planner, Text, View, signed};
use crate::builtin;
use crate::program::{Conv, Pool, PoolOf, Slot, Step};
use crate::tensor::{Kind, product};

const POOL: &str = include_str!("../builtin/pool.cl");

impl Planner<'_> {
    pub(super) fn conv(&mut self, step: &Step, conv: &Conv) -> Planned<()> {
        let (x, out) = (self.image(step.inputs[0])?, volume_of(&self.facts(step.output).shape)?);
        let weights_shape = volume_of(&self.facts(step.inputs[1]).shape)?;
        let [batches, outputs, out_d, out_h, out_w] = out;
        let per_group = weights_shape[1];
        let (windows, window) = ([batches, out_d, conv.groups], &weights_shape[2..]);
        if [&windows, window].into_iter().any(|list| product(list).is_none_or(|all| all > MOST)) {
            return Err(format!("over {MOST} images and groups, or taps, at once are not supported on devices"));
        }
        let framed = self.framed(&x, Frame::of(five(&x.shape), conv, out, weights_shape)?);
        let rank = self.facts(step.output).shape.len();
        let result = self.image_output(step.output, out);
        let strides = volume(&conv.strides, 1);
        let channels = x.shape[1];
        let [to_next, _, deep, line, pixel] = five(&framed.strides);
        let taps = taps(&framed, conv, weights_shape);
        let (in_step, in_line) = (pixel * strides[2].cast_signed(), line * strides[1].cast_signed());
        let depthwise = conv.groups == channels && per_group == 1 && outputs == channels;
        let (groups, columns) = if depthwise { (1, channels) } else { (conv.groups, outputs / conv.groups) };
        // A group's weights as [channel and tap] x [output of the group].
        let (weights, known) = self.weights(step.inputs[1])?;
        let weights = if known.is_some() { weights } else { self.row_major(step.inputs[1])? };
        let rows = if depthwise { 1 } else { per_group } * taps.len();
        let matrices = View {
            buffer: weights.buffer,
            offset: 0,
            shape: vec![groups, rows, columns],
            strides: [columns * rows, 1, rows].map(usize::cast_signed).to_vec(),
        };
        let packed = self.packed(&matrices, known)?;
        let block = rows * columns.div_ceil(self.tile.columns) * self.tile.columns;
        let [to_image, _, to_deep, out_line, out_step] = five(&result.strides);
        let (mut starts, mut origins) = (Vec::new(), Vec::new());
        for (image, deep_at, group) in triples(batches, out_d, groups) {
            let [n, d, g] = [image, deep_at, group].map(usize::cast_signed);
            let from = framed.offset.cast_signed() + n * to_next;
            let from = from + d * deep * strides[0].cast_signed() + g * per_group.cast_signed();
            let to = result.offset.cast_signed() + n * to_image + d * to_deep + g * columns.cast_signed();
            starts.push([from, g * block.cast_signed(), to]);
            origins.push(vec![image, group * columns, deep_at, 0, 0]);
        }
        let mut lines = Lines {
            width: out_w,
            count: out_h,
            channels: if depthwise { 1 } else { per_group },
            in_step,
            in_line,
            out_step,
            out_line,
            columns,
            taps,
            batches: starts,
            depthwise,
        };
        // Lines that follow each other without a gap are one line.
        let (mut rows, mut line) = (vec![4], Some(3));
        if in_line == in_step * out_w.cast_signed() && out_line == out_step * out_w.cast_signed() {
            (lines.width, lines.count) = (out_w * out_h, 1);
            (rows, line) = (vec![3, 4], None);
        }
        // Back to the dimensions that the result really has.
        let gone = 5 - rank;
        rows.retain(|dim| *dim >= 2 + gone);
        for dim in &mut rows {
            *dim -= gone;
        }
        let line = line.filter(|dim| *dim >= 2 + gone).map(|dim| dim - gone);
        for origin in &mut origins {
            origin.drain(2..2 + gone);
        }
        let view = without(result, gone);
        let pending = Pending { lines, input: framed.buffer, weights: packed, view, rows, line, column: 1, origins };
        self.contraction(step.output, pending);
        Ok(())
    }

    pub(super) fn pool(&mut self, step: &Step, pool: &Pool) -> Planned<()> {
        let (view, out) = (self.image(step.inputs[0])?, volume_of(&self.facts(step.output).shape)?);
        let view = self.channels_last(view);
        let [n, c, out_d, out_h, out_w] = out;
        let result = self.image_output(step.output, out);
        let mode = match pool.of {
            PoolOf::Max => 0,
            PoolOf::Average => 1,
            PoolOf::AverageWithPadding => 2,
        };
        let mut meta: Vec<i64> = [c, out_d, out_w].map(signed).to_vec();
        meta.extend(view.shape[2..].iter().map(|size| signed(*size)));
        let lists = [(&pool.window, 1), (&pool.strides, 1), (&pool.before, 0), (&pool.after, 0), (&pool.dilations, 1)];
        meta.extend(lists.into_iter().flat_map(|(list, default)| volume(list, default)).map(signed));
        for view in [&view, &result] {
            let [image, _, deep, line, pixel] = five(&view.strides);
            meta.extend([pixel, line, deep, image].map(|step| step as i64));
            meta.push(signed(view.offset));
        }
        let group = self.group();
        let source = builtin::complete(&format!("#define MODE {mode}\n#define GROUP {group}\n{POOL}"));
        let text = Text { source, entry: "pool", group: [group, 1, 1] };
        let global = if self.tile.grouped { [c, out_h * out_w, n * out_d] } else { [c.div_ceil(16), out_h, n * out_d] };
        self.launch(text, vec![result.buffer, view.buffer], &meta, global);
        let gone = 5 - self.facts(step.output).shape.len();
        self.views.insert(step.output, without(result, gone));
        Ok(())
    }

    /// A value in five dimensions.
    fn image(&mut self, slot: Slot) -> Planned<View> {
        let view = self.view(slot)?;
        let shape = volume_of(&view.shape)?;
        Ok(view.reshape(&shape).unwrap_or_else(|| View {
            shape: shape.to_vec(),
            strides: super::view::row_major(&shape),
            ..self.contiguous(Kind::F32, &view)
        }))
    }

    /// An image whose channels lie side by side.
    pub(super) fn channels_last(&mut self, view: View) -> View {
        let [_, c, .., w] = five(&view.shape);
        let [_, channel, .., pixel] = five(&view.strides);
        if (channel == 1 || c == 1) && (pixel >= c.cast_signed() || w == 1) {
            return view;
        }
        let shape = five(&view.shape);
        let buffer = self.bytes(view.shape.iter().product::<usize>() * 4, Content::Any);
        let to = View { buffer, offset: 0, shape: view.shape.clone(), strides: strides(shape).to_vec() };
        self.copy(Kind::F32, &view, &to);
        to
    }
}

/// Strides of an image whose channels lie side by side.
pub(super) fn strides([_, c, d, h, w]: [usize; 5]) -> [isize; 5] {
    [d * h * w * c, 1, h * w * c, w * c, c].map(usize::cast_signed)
}

/// Without the first `gone` dimensions after the channels, which are 1.
fn without(mut view: View, gone: usize) -> View {
    view.shape.drain(2..2 + gone);
    view.strides.drain(2..2 + gone);
    view
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |a| (0..b).flat_map(move |b| (0..c).map(move |c| (a, b, c))))
}

/// Batches, channels, depth, height, width.
pub(super) fn volume_of(shape: &[usize]) -> Planned<[usize; 5]> {
    match *shape {
        [n, c, d, h, w] => Ok([n, c, d, h, w]),
        [n, c, h, w] => Ok([n, c, 1, h, w]),
        [n, c, w] => Ok([n, c, 1, 1, w]),
        _ => Err(format!("windows over {} dimensions are not supported on devices", shape.len().saturating_sub(2))),
    }
}

/// A list of up to three dimensions as three.
pub(super) fn volume(list: &[usize], default: usize) -> [usize; 3] {
    let mut all = [default; 3];
    for (to, from) in all.iter_mut().rev().zip(list.iter().rev()) {
        *to = *from;
    }
    all
}

/// What is known to have five entries.
pub(super) fn five<T: Copy + Default>(list: &[T]) -> [T; 5] {
    std::array::from_fn(|at| list.get(at).copied().unwrap_or_default())
}
