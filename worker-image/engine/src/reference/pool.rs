//! Pooling: each window is one chain in row-major order of its taps; taps in the padding take no part.
#![expect(clippy::cast_precision_loss, reason = "taps of a window are far below 2^24")]

use super::{Floats, strides};
use crate::math;
use crate::program::{Pool, PoolOf};

pub(super) fn pool(pool: &Pool, x: Floats<'_>, shape: &[usize]) -> Vec<f32> {
    let (Some(([batches, channels], spatial)), Some((_, out_spatial))) =
        (x.shape.split_first_chunk::<2>(), shape.split_first_chunk::<2>())
    else {
        return Vec::new();
    };
    let plane: usize = spatial.iter().product();
    let windows: usize = out_spatial.iter().product();
    let (out_strides, tap_strides, plane_strides) = (strides(out_spatial), strides(&pool.window), strides(spatial));
    // Bounded by the padded extent of each dimension, see `lower::window`.
    let tap_count: usize = pool.window.iter().product();
    let mut out = Vec::with_capacity(shape.iter().product());
    for image in 0..batches * channels {
        let values = &x.data[image * plane..][..plane];
        for window in 0..windows {
            let (mut sum, mut most, mut seen, mut padded) = (0.0_f32, f32::NEG_INFINITY, 0_u32, 0_u32);
            for tap in 0..tap_count {
                let (mut at, mut inside, mut counts) = (0, true, true);
                for dim in 0..spatial.len() {
                    let index = window / out_strides[dim] % out_spatial[dim] * pool.strides[dim];
                    let index = index + tap / tap_strides[dim] % pool.window[dim] * pool.dilations[dim];
                    // A window that ceil_mode lets reach beyond the padding counts only what is padded.
                    counts &= index < pool.before[dim] + spatial[dim] + pool.after[dim];
                    match index.checked_sub(pool.before[dim]).filter(|index| *index < spatial[dim]) {
                        Some(index) => at += index * plane_strides[dim],
                        None => inside = false,
                    }
                }
                padded += u32::from(counts);
                if inside {
                    seen += 1;
                    sum = values[at].mul_add(1.0, sum);
                    most = math::max(most, values[at]);
                }
            }
            // Counts are far below 2^24: exact.
            out.push(match pool.of {
                PoolOf::Max => most,
                PoolOf::Average => math::div(sum, seen as f32),
                PoolOf::AverageWithPadding => math::div(sum, padded as f32),
            });
        }
    }
    out
}
