//! Frames of zeros around images, where windows reach beyond them. Whoever makes an image writes it into its frame at once, where the planner sees
//! that a convolution will ask for it; otherwise it is copied there.

use super::image::{five, strides, volume, volume_of};
use super::{Content, Planned, Planner, View, map};
use crate::program::{Action, Conv, Slot};
use crate::tensor::{Kind, product};

/// Elements of an image with what is around it.
const MOST: usize = 1 << 40;

/// What a convolution wants to find around an image. Triples are depth, height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    before: [usize; 3],
    sizes: [usize; 3],
}

impl Frame {
    /// The frame for an image; no larger than the image where no window reaches beyond it.
    pub fn of(image: [usize; 5], conv: &Conv, out: [usize; 5], weights: [usize; 5]) -> Planned<Frame> {
        let (strides, dilations, before) =
            (volume(&conv.strides, 1), volume(&conv.dilations, 1), volume(&conv.before, 0));
        let sizes = std::array::from_fn(|dim| {
            let last = out[2 + dim].saturating_sub(1).saturating_mul(strides[dim]);
            let window = weights[2 + dim].saturating_sub(1).saturating_mul(dilations[dim]);
            last.saturating_add(window).saturating_add(1).max(image[2 + dim].saturating_add(before[dim]))
        });
        let frame = Frame { before, sizes };
        let [d, h, w] = sizes;
        let all = product(&[image[0], Frame::pixel(image[1]), d, h, w]).filter(|all| *all <= MOST);
        all.map(|_| frame).ok_or_else(|| format!("an image with its padding is over {MOST} elements"))
    }

    /// Distance of its pixels, in elements. Those that lie a multiple of 1 KiB apart meet in the same few sets of a CPU's cache, and a window is several
    /// lines of them.
    fn pixel(channels: usize) -> usize {
        if channels.is_multiple_of(256) { channels.saturating_add(16) } else { channels }
    }

    /// Whether it adds nothing to an image.
    fn is_bare(&self, image: [usize; 5]) -> bool {
        self.before == [0; 3] && self.sizes == image[2..]
    }
}

/// Where the taps of a window lie, seen from its first one.
pub(super) fn taps(framed: &View, conv: &Conv, weights: [usize; 5]) -> Vec<isize> {
    let dilations = volume(&conv.dilations, 1);
    let steps: Vec<isize> = (0..3).map(|dim| framed.strides[2 + dim] * dilations[dim].cast_signed()).collect();
    super::view::places(&weights[2..], &steps)
}

impl Planner<'_> {
    /// A new buffer for a result in five dimensions, in the frame that its users will want.
    pub(super) fn image_output(&mut self, slot: Slot, shape: [usize; 5]) -> View {
        if let Some(frame) = self.frame_wanted(slot, shape) {
            return self.frame(shape, frame);
        }
        let facts = self.facts(slot).clone();
        let buffer = self.buffer(&facts, Content::Any);
        View { buffer, offset: 0, shape: shape.to_vec(), strides: strides(shape).to_vec() }
    }

    /// The image with zeros around it, where they are wanted; its channels side by side.
    pub(super) fn framed(&mut self, view: &View, frame: Frame) -> View {
        let shape = five(&view.shape);
        if frame.is_bare(shape) {
            return self.channels_last(view.clone());
        }
        let inside = match self.frames.get(&view.buffer) {
            Some((there, inside)) if *there == frame && same(inside, view) => inside.clone(),
            _ => {
                let inside = self.frame(shape, frame);
                self.copy(Kind::F32, view, &inside);
                inside
            }
        };
        let [images, channels, ..] = shape;
        View { offset: 0, shape: [&[images, channels], &frame.sizes[..]].concat(), ..inside }
    }

    /// The place of an image in a new frame, whose zeros are there once and for all: nobody writes them.
    fn frame(&mut self, shape: [usize; 5], frame: Frame) -> View {
        let [images, channels, ..] = shape;
        let [depth, height, width] = frame.sizes;
        let stored = [images, Frame::pixel(channels), depth, height, width];
        let steps = strides(stored);
        let buffer = self.bytes(stored.iter().product::<usize>() * 4, Content::Zeros);
        let first: isize = (0..3).map(|dim| frame.before[dim].cast_signed() * steps[2 + dim]).sum();
        let inside = View { buffer, offset: first.unsigned_abs(), shape: shape.to_vec(), strides: steps.to_vec() };
        self.frames.insert(buffer, (frame, inside.clone()));
        inside
    }

    /// What the first convolution wants that reads this value, or what is made of it one element at a time by its only user.
    fn frame_wanted(&self, mut slot: Slot, shape: [usize; 5]) -> Option<Frame> {
        for _ in 0..map::MAX_CALLS {
            if !self.feeds_a_map(slot) {
                break;
            }
            slot = self.program.steps.get(*self.uses.get(&slot)?.first()?)?.output;
        }
        let frame = self.uses.get(&slot)?.iter().find_map(|at| {
            let step = self.program.steps.get(*at)?;
            let Action::Conv(conv) = &step.action else { return None };
            let [out, weights] = [step.output, step.inputs[1]].map(|slot| volume_of(&self.facts(slot).shape));
            if step.inputs[0] == slot { Frame::of(shape, conv, out.ok()?, weights.ok()?).ok() } else { None }
        })?;
        (!frame.is_bare(shape)).then_some(frame)
    }
}

/// Whether two views of a buffer are one: the stride of a single element says nothing.
fn same(a: &View, b: &View) -> bool {
    let mut dims = a.shape.iter().zip(&a.strides).zip(&b.strides);
    (a.offset, &a.shape) == (b.offset, &b.shape) && dims.all(|((dim, one), other)| *dim == 1 || one == other)
}
