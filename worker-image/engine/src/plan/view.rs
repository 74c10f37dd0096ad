//! Where a value's elements lie: a layout is nothing but strides, so transposes, slices and repetitions cost nothing until a kernel needs
//! its operand in another order.

use crate::program::Run;

/// A buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

/// Elements in a buffer: the one at index i lies at `offset + sum(i * strides)`, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which buffer.
    pub buffer: BufferId,
    /// The first element.
    pub offset: usize,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Distances of neighbours, a dimension each.
    pub strides: Vec<isize>,
}

impl View {
    /// Row-major from the buffer's beginning.
    pub fn contiguous(buffer: BufferId, shape: &[usize]) -> View {
        View { buffer, offset: 0, shape: shape.to_vec(), strides: row_major(shape) }
    }

    /// Where an element lies.
    pub fn place(&self, index: &[usize]) -> isize {
        let steps: isize = index.iter().zip(&self.strides).map(|(index, stride)| index.cast_signed() * stride).sum();
        self.offset.cast_signed() + steps
    }

    /// Elements picked at regular places.
    #[must_use]
    pub fn pick(&self, starts: &[usize], runs: &[Run], shape: &[usize]) -> View {
        let start: isize = starts.iter().zip(&self.strides).map(|(start, stride)| start.cast_signed() * stride).sum();
        let stride = |run: &Run| match run {
            Run::Along(dim, step) => self.strides[*dim] * step,
            Run::Repeat => 0,
        };
        View {
            buffer: self.buffer,
            offset: self.offset.wrapping_add_signed(start),
            shape: shape.to_vec(),
            strides: runs.iter().map(stride).collect(),
        }
    }

    /// The same elements under another shape, where strides can say it.
    pub fn reshape(&self, shape: &[usize]) -> Option<View> {
        let view = |strides| View { buffer: self.buffer, offset: self.offset, shape: shape.to_vec(), strides };
        if shape.contains(&0) {
            return Some(view(row_major(shape)));
        }
        let merged = self.merged();
        let mut strides = vec![0; shape.len()];
        let mut dims = shape.iter().enumerate().rev().peekable();
        for (size, stride) in merged.iter().rev() {
            // This run of elements is cut into dimensions from the end.
            let (mut left, mut step) = (*size, *stride);
            while left > 1 {
                let (at, dim) = dims.next()?;
                if left % dim != 0 {
                    return None;
                }
                strides[at] = step;
                step *= dim.cast_signed();
                left /= dim;
            }
        }
        Some(view(strides))
    }

    /// Dimensions of 1 left out and neighbours joined where one stride says both: lengths and strides, outermost first.
    pub fn merged(&self) -> Vec<(usize, isize)> {
        let mut merged: Vec<(usize, isize)> = Vec::new();
        for (size, stride) in self.shape.iter().zip(&self.strides).filter(|(size, _)| **size != 1) {
            match merged.last_mut() {
                Some((before, outer)) if *outer == stride * size.cast_signed() => {
                    *before *= size;
                    *outer = *stride;
                }
                _ => merged.push((*size, *stride)),
            }
        }
        merged
    }

    /// The strides that the same order of dimensions has without gaps.
    pub fn dense_strides(&self) -> Vec<isize> {
        let mut dims: Vec<usize> = (0..self.shape.len()).collect();
        dims.sort_by_key(|dim| (self.strides[*dim].unsigned_abs(), std::cmp::Reverse(*dim)));
        let (mut strides, mut step) = (vec![0; self.shape.len()], 1);
        for dim in dims {
            strides[dim] = step;
            step *= self.shape[dim].cast_signed();
        }
        strides
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        match self.merged().as_slice() {
            [] | [(_, 1)] => true,
            _ => self.shape.contains(&0),
        }
    }
}

/// Strides in row-major order.
pub fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1_isize;
    for (stride, dim) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul(dim.cast_signed());
    }
    strides
}

/// All indices of a shape in row-major order; one, empty, where there are no dimensions.
pub fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let steps = row_major(shape);
    let index = |at: usize| {
        shape.iter().zip(&steps).map(|(dim, step)| at / step.unsigned_abs().max(1) % (*dim).max(1)).collect()
    };
    (0..shape.iter().product()).map(index).collect()
}

/// Where the elements of a shape lie, in row-major order of their indices.
pub fn places(shape: &[usize], strides: &[isize]) -> Vec<isize> {
    let place = |index: Vec<usize>| index.iter().zip(strides).map(|(index, stride)| index.cast_signed() * stride).sum();
    indices(shape).into_iter().map(place).collect()
}

/// Loops over several views of one shape: ordered so that the first view's innermost is the shortest step, neighbours joined where every
/// view allows it. Lengths, and for each view its strides; innermost last. A single element is one loop of 1.
pub fn loops(views: &[&View]) -> (Vec<usize>, Vec<Vec<isize>>) {
    let Some(first) = views.first() else { return (vec![1], Vec::new()) };
    let mut dims: Vec<usize> = (0..first.shape.len()).filter(|dim| first.shape[*dim] != 1).collect();
    dims.sort_by_key(|dim| std::cmp::Reverse((first.strides[*dim].unsigned_abs(), first.shape.len() - dim)));
    let mut sizes: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<isize>> = vec![Vec::new(); views.len()];
    for dim in dims {
        let size = first.shape[dim];
        let joins = !sizes.is_empty()
            && views
                .iter()
                .zip(&strides)
                .all(|(view, strides)| strides.last() == Some(&(view.strides[dim] * size.cast_signed())));
        if joins {
            if let Some(last) = sizes.last_mut() {
                *last *= size;
            }
            for (view, strides) in views.iter().zip(&mut strides) {
                if let Some(last) = strides.last_mut() {
                    *last = view.strides[dim];
                }
            }
        } else {
            sizes.push(size);
            for (view, strides) in views.iter().zip(&mut strides) {
                strides.push(view.strides[dim]);
            }
        }
    }
    if sizes.is_empty() {
        sizes.push(1);
        for strides in &mut strides {
            strides.push(0);
        }
    }
    (sizes, strides)
}
