//! Reductions along rows, and what runs along an axis.

use super::{Content, Planned, Planner, Text, c_type, signed};
use crate::builtin;
use crate::program::{Reduce, Slot, Step};
use crate::tensor::Kind;

const ROWS: &str = include_str!("../builtin/rows.cl");
const GROUPED: &str = include_str!("../builtin/rows_grouped.cl");
const SCAN: &str = include_str!("../builtin/scan.cl");

impl Planner<'_> {
    /// Length of a row, how many rows, how many a work-item, and how many work-items without regard to groups.
    fn rows(&self, slot: Slot) -> (Vec<i64>, usize) {
        let shape = &self.facts(slot).shape;
        let length = shape.last().copied().unwrap_or(1);
        let count: usize = shape.iter().rev().skip(1).product();
        let each = self.each(length).min(count.max(1));
        ([length, count, each].map(signed).to_vec(), count.div_ceil(each))
    }

    /// A kernel for rows of floats, and its work-items for so many.
    fn float_rows(&self, entry: &'static str, items: usize) -> (Text, [usize; 3]) {
        if self.tile.grouped {
            let source = builtin::alone(GROUPED, entry, "");
            return (Text { source, entry, group: [16, 4, 1] }, [16, items, 1]);
        }
        (Text { source: builtin::alone(ROWS, entry, ""), entry, group: [1; 3] }, [items, 1, 1])
    }

    pub(super) fn reduce(&mut self, step: &Step, reduce: Reduce) -> Planned<()> {
        let input = self.row_major(step.inputs[0])?;
        let kind = self.facts(step.inputs[0]).kind;
        let (meta, items) = self.rows(step.inputs[0]);
        let out = self.output(step.output);
        let (text, global) = match (kind, reduce) {
            (Kind::F32, Reduce::Sum) => self.float_rows("row_sum", items),
            (Kind::F32, Reduce::Mean) => self.float_rows("row_mean", items),
            (Kind::F32, Reduce::Max) => self.float_rows("row_max", items),
            (kind, Reduce::Max) => (self.scan(kind, "integer_max"), [items, 1, 1]),
            (kind, _) => (self.scan(kind, "integer_sum"), [items, 1, 1]),
        };
        self.launch(text, vec![out.buffer, input.buffer], &meta, global);
        Ok(())
    }

    pub(super) fn softmax(&mut self, step: &Step, log: bool) -> Planned<()> {
        let input = self.row_major(step.inputs[0])?;
        let (meta, items) = self.rows(step.inputs[0]);
        let out = self.output(step.output);
        let (entry, mut buffers) = if log { ("log_softmax", vec![out.buffer]) } else { ("softmax", vec![out.buffer]) };
        buffers.push(input.buffer);
        if log {
            let facts = self.facts(step.output).clone();
            buffers.push(self.buffer(&facts, Content::Any));
        }
        let (text, global) = self.float_rows(entry, items);
        self.launch(text, buffers, &meta, global);
        Ok(())
    }

    pub(super) fn layer_norm(&mut self, step: &Step, epsilon: f32) -> Planned<()> {
        let mut buffers = Vec::new();
        for slot in &step.inputs {
            buffers.push(self.row_major(*slot)?.buffer);
        }
        let (mut meta, items) = self.rows(step.inputs[0]);
        meta.push(i64::from(epsilon.to_bits().cast_signed()));
        buffers.insert(0, self.output(step.output).buffer);
        let (text, global) = self.float_rows("layer_norm", items);
        self.launch(text, buffers, &meta, global);
        Ok(())
    }

    /// Length of an axis, how far apart its elements are, how many lines there are.
    fn lines(&self, slot: Slot, axis: usize) -> (Vec<i64>, usize) {
        let shape = &self.facts(slot).shape;
        let step: usize = shape[axis + 1..].iter().product();
        let lines = shape[..axis].iter().product::<usize>() * step;
        ([shape[axis], step, lines].map(signed).to_vec(), lines)
    }

    pub(super) fn arg_max(&mut self, step: &Step, axis: usize, last: bool) -> Planned<()> {
        let input = self.row_major(step.inputs[0])?;
        let kind = self.facts(step.inputs[0]).kind;
        let (mut meta, lines) = self.lines(step.inputs[0], axis);
        meta.push(i64::from(last));
        let out = self.output(step.output);
        self.launch(self.scan(kind, "arg_max"), vec![out.buffer, input.buffer], &meta, [lines, 1, 1]);
        Ok(())
    }

    pub(super) fn cum_sum(&mut self, step: &Step, axis: usize, exclusive: bool, reverse: bool) -> Planned<()> {
        let input = self.row_major(step.inputs[0])?;
        let kind = self.facts(step.inputs[0]).kind;
        let (mut meta, lines) = self.lines(step.inputs[0], axis);
        meta.extend([i64::from(exclusive), i64::from(reverse)]);
        let out = self.output(step.output);
        self.launch(self.scan(kind, "cum_sum"), vec![out.buffer, input.buffer], &meta, [lines, 1, 1]);
        Ok(())
    }

    fn scan(&self, kind: Kind, entry: &'static str) -> Text {
        let (add, unsigned) = match kind {
            Kind::F32 => ("fma(x, 1.0f, sum)", "float"),
            Kind::I64 => ("(T)((U)x + (U)sum)", "ulong"),
            Kind::I32 | Kind::Bool => ("(T)((U)x + (U)sum)", "uint"),
        };
        let least = match kind {
            Kind::I64 => "LONG_MIN",
            _ => "INT_MIN",
        };
        let (group, name) = (self.group(), c_type(kind));
        let defines = format!(
            "#define T {name}\n#define U {unsigned}\n#define ADD(x, sum) {add}\n#define LEAST {least}\n#define GROUP {group}\n"
        );
        Text { source: builtin::alone(SCAN, entry, &defines), entry, group: [group, 1, 1] }
    }
}
