//! Products of matrices and convolutions: every output is one chain of fma from +0, in a fixed order.
#![expect(
    clippy::many_single_char_names,
    clippy::similar_names,
    reason = "the names of matrices and their sizes are these letters"
)]

use std::borrow::Cow;

use super::{Floats, broadcast, strides, walk};
use crate::program::{Conv, MatMul};

/// Each output: k ascending.
pub(super) fn matmul(matmul: MatMul, a: Floats<'_>, b: Floats<'_>, shape: &[usize]) -> Vec<f32> {
    let (Some((batch, [m, n])), Some((batch_a, [_, last_a])), Some((batch_b, [_, last_b]))) =
        (shape.split_last_chunk::<2>(), a.shape.split_last_chunk::<2>(), b.shape.split_last_chunk::<2>())
    else {
        return Vec::new();
    };
    let size = |shape: &[usize]| shape.iter().rev().take(2).product::<usize>();
    let k = if matmul.transpose_b { *last_b } else { b.shape[b.shape.len() - 2] };
    let (row_a, step_a) = if matmul.transpose_a { (1, *last_a) } else { (*last_a, 1) };
    let (column_b, step_b) = if matmul.transpose_b { (*last_b, 1) } else { (1, *last_b) };
    // Whole matrices are the elements that the batch is broadcast over.
    let scale = |strides: Vec<isize>, size: usize| -> Vec<isize> {
        strides.iter().map(|stride| stride * size.cast_signed()).collect()
    };
    let s = scale(broadcast(batch_a, batch), size(a.shape));
    let t = scale(broadcast(batch_b, batch), size(b.shape));
    let mut out = Vec::with_capacity(shape.iter().product());
    walk(batch, [0; 2], [&s, &t], |[at_a, at_b]| {
        let cells = (0..k).flat_map(|step| (0..*n).map(move |column| (step, column)));
        let b: Vec<f32> = cells.map(|(step, column)| b.data[at_b + column * column_b + step * step_b]).collect();
        for row in 0..*m {
            // The chains of a row side by side.
            let mut sums = vec![0.0_f32; *n];
            for step in 0..k {
                add(&mut sums, a.data[at_a + row * row_a + step * step_a], &b[step * n..][..*n]);
            }
            out.extend(sums);
        }
    });
    out
}

/// The next term of each chain: its factor times x.
fn add(sums: &mut [f32], x: f32, factors: &[f32]) {
    for (sum, factor) in sums.iter_mut().zip(factors) {
        *sum = x.mul_add(*factor, *sum);
    }
}

/// Each output: channels of its group ascending, then taps in row-major order; taps in the padding read +0 and take part.
pub(super) fn conv(conv: &Conv, x: Floats<'_>, w: Floats<'_>, shape: &[usize]) -> Vec<f32> {
    let (Some(([batches, channels], spatial)), Some(([outputs, per_group], taps)), Some((_, out_spatial))) =
        (x.shape.split_first_chunk::<2>(), w.shape.split_first_chunk::<2>(), shape.split_first_chunk::<2>())
    else {
        return Vec::new();
    };
    let plane: usize = spatial.iter().product();
    let tap_count: usize = taps.iter().product();
    let outputs_a_group = outputs / conv.groups;
    let (tap_strides, out_strides, plane_strides) = (strides(taps), strides(out_spatial), strides(spatial));
    // Where a tap of a window reads, within a plane.
    let place = |window: usize, tap: usize| -> Option<usize> {
        let mut at = 0;
        for dim in 0..spatial.len() {
            let index = window / out_strides[dim] % out_spatial[dim] * conv.strides[dim];
            let index = index + tap / tap_strides[dim] % taps[dim] * conv.dilations[dim];
            let index = index.checked_sub(conv.before[dim]).filter(|index| *index < spatial[dim])?;
            at += index * plane_strides[dim];
        }
        Some(at)
    };
    let windows: usize = out_spatial.iter().product();
    let of_tap = |tap: usize| -> Vec<Option<usize>> { (0..windows).map(|window| place(window, tap)).collect() };
    // Kept while they are few: they are the same for every channel.
    let kept = tap_count.saturating_mul(windows) <= 1 << 22;
    let places: Vec<Vec<Option<usize>>> = if kept { (0..tap_count).map(of_tap).collect() } else { Vec::new() };
    let mut out = Vec::with_capacity(shape.iter().product());
    for (batch, group) in (0..*batches).flat_map(|batch| (0..conv.groups).map(move |group| (batch, group))) {
        let first = batch * channels + group * per_group;
        let weights = &w.data[group * outputs_a_group * per_group * tap_count..];
        // The chains of all windows and outputs of the group side by side.
        let mut sums = vec![0.0_f32; outputs_a_group * windows];
        for (channel, tap) in (0..*per_group).flat_map(|channel| (0..tap_count).map(move |tap| (channel, tap))) {
            let plane = &x.data[(first + channel) * plane..][..plane];
            let places =
                places.get(tap).map_or_else(|| Cow::Owned(of_tap(tap)), |places| Cow::Borrowed(places.as_slice()));
            let factors: Vec<f32> = places.iter().map(|place| place.map_or(0.0, |place| plane[place])).collect();
            for (output, sums) in sums.chunks_exact_mut(windows.max(1)).enumerate() {
                add(sums, weights[(output * per_group + channel) * tap_count + tap], &factors);
            }
        }
        out.extend(sums);
    }
    out
}
