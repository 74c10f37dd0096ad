//! Elements that change their place in ways that strides cannot say.

use super::{Planned, Planner, Text, View, c_type, signed};
use crate::builtin;
use crate::program::{PadMode, Step};
use crate::tensor::Kind;

const DATA: &str = include_str!("../builtin/data.cl");

impl Planner<'_> {
    fn data(&self, kind: Kind, entry: &'static str) -> Text {
        let group = self.group();
        let defines = format!("#define T {}\n#define GROUP {group}\n", c_type(kind));
        Text { source: builtin::alone(DATA, entry, &defines), entry, group: [group, 1, 1] }
    }

    /// How many elements, how many a work-item does, and how many work-items.
    fn elements(&self, out: &View) -> ([i64; 2], [usize; 3]) {
        let (count, each) = (out.shape.iter().product(), self.each(1));
        ([signed(count), signed(each)], [count.div_ceil(each), 1, 1])
    }

    /// Work-items that share a run of elements.
    fn across(&self, run: usize) -> usize {
        if self.tile.grouped { run.max(1) } else { 1 }
    }

    /// Each input is copied to its part of the result.
    pub(super) fn concat(&mut self, step: &Step, axis: usize) -> Planned<()> {
        let kind = self.facts(step.output).kind;
        let mut from = Vec::new();
        for slot in &step.inputs {
            from.push(self.view(*slot)?);
        }
        let out = self.output(step.output);
        let mut first = 0;
        for view in from {
            let offset = out.offset + first * out.strides[axis].unsigned_abs();
            first += view.shape[axis];
            if !view.shape.contains(&0) {
                let part = View { offset, shape: view.shape.clone(), ..out.clone() };
                self.copy(kind, &view, &part);
            }
        }
        Ok(())
    }

    pub(super) fn pad(&mut self, step: &Step, before: &[isize], mode: PadMode) -> Planned<()> {
        let (input, value) = (self.row_major(step.inputs[0])?, self.row_major(step.inputs[1])?);
        let kind = self.facts(step.output).kind;
        let out = self.output(step.output);
        let mode = match mode {
            PadMode::Constant => 0,
            PadMode::Reflect => 1,
            PadMode::Edge => 2,
            PadMode::Wrap => 3,
        };
        let (counts, global) = self.elements(&out);
        let mut meta = counts.to_vec();
        meta.extend([mode, signed(out.shape.len())]);
        for (dim, before) in before.iter().enumerate() {
            let (size, own, stride) = (signed(out.shape[dim]), signed(input.shape[dim]), input.strides[dim] as i64);
            meta.extend([size, own, stride, *before as i64]);
        }
        self.launch(self.data(kind, "pad"), vec![out.buffer, input.buffer, value.buffer], &meta, global);
        Ok(())
    }

    pub(super) fn gather(&mut self, step: &Step, axis: usize) -> Planned<()> {
        let (input, indices) = (self.row_major(step.inputs[0])?, self.row_major(step.inputs[1])?);
        let kind = self.facts(step.output).kind;
        let out = self.output(step.output);
        let run: usize = input.shape[axis + 1..].iter().product();
        let outer: usize = input.shape[..axis].iter().product();
        let count: usize = indices.shape.iter().product();
        let meta = [input.shape[axis], run, count].map(signed);
        let buffers = vec![out.buffer, input.buffer, indices.buffer];
        self.launch(self.data(kind, "gather"), buffers, &meta, [self.across(run), count, outer]);
        Ok(())
    }

    /// A work-item writes its elements of every slice, in their order: later slices win.
    pub(super) fn scatter(&mut self, step: &Step) -> Planned<()> {
        let (input, indices) = (self.view(step.inputs[0])?, self.row_major(step.inputs[1])?);
        let updates = self.row_major(step.inputs[2])?;
        let kind = self.facts(step.output).kind;
        let out = self.output(step.output);
        self.copy(kind, &input, &out);
        let depth = indices.shape.last().copied().unwrap_or(0);
        let places: usize = indices.shape.iter().rev().skip(1).product();
        let run: usize = out.shape[depth..].iter().product();
        let mut meta = [places, depth, run].map(signed).to_vec();
        meta.extend((0..depth).flat_map(|dim| [signed(out.shape[dim]), out.strides[dim] as i64]));
        if places > 0 {
            let buffers = vec![out.buffer, indices.buffer, updates.buffer];
            self.launch(self.data(kind, "scatter"), buffers, &meta, [self.across(run), 1, 1]);
        }
        Ok(())
    }

    pub(super) fn trilu(&mut self, step: &Step, upper: bool, diagonal: isize) -> Planned<()> {
        let input = self.row_major(step.inputs[0])?;
        let kind = self.facts(step.output).kind;
        let out = self.output(step.output);
        let &[.., rows, columns] = out.shape.as_slice() else { return Err("no matrix".into()) };
        let (counts, global) = self.elements(&out);
        let mut meta = counts.to_vec();
        meta.extend([signed(rows), signed(columns), i64::from(upper), diagonal as i64]);
        self.launch(self.data(kind, "trilu"), vec![out.buffer, input.buffer], &meta, global);
        Ok(())
    }
}
