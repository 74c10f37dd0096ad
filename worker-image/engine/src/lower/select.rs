//! Operators that pick elements: slices, pieces, borders, repetitions, lookups.

use super::elementwise::broadcast;
use super::node::{Call, axis, length};
use super::{Lowering, Outcome};
use crate::program::{Action, PadMode, Run, Slot};
use crate::tensor::{Facts, Kind, Tensor};

pub(super) fn lower(lowering: &mut Lowering<'_>, call: &Call<'_>) -> Outcome<Option<Vec<Slot>>> {
    let slot = match call.operator() {
        "Split" => return lowering.split(call).map(Some),
        "Slice" => lowering.slice(call)?,
        "Concat" => lowering.concat(call)?,
        "Expand" => lowering.expand_to(call)?,
        "Tile" => lowering.tile(call)?,
        "Pad" => lowering.pad(call)?,
        "Gather" => lowering.gather(call)?,
        "ScatterND" => lowering.scatter_nd(call)?,
        "Trilu" => lowering.trilu(call)?,
        _ => return Ok(None),
    };
    Ok(Some(vec![slot]))
}

/// What a slice picks of one dimension.
struct Range {
    first: usize,
    count: usize,
    step: isize,
}

/// What `start..end` by `step` picks of `size` elements, as numpy has it.
fn range(start: i64, end: i64, step: i64, size: usize) -> Outcome<Range> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let (start, end) = (from_start(start).clamp(low, high), from_start(end).clamp(low, high));
    let span = if step > 0 { end - start } else { start - end };
    let magnitude = step.checked_abs().filter(|step| *step > 0).ok_or_else(|| format!("the step is {step}"))?;
    let count = if span > 0 { (span - 1) / magnitude + 1 } else { 0 };
    Ok(Range {
        first: usize::try_from(start).unwrap_or(0),
        count: usize::try_from(count).unwrap_or(0),
        // One element has no next one.
        step: if count > 1 { isize::try_from(step).unwrap_or(0) } else { 1 },
    })
}

impl Lowering<'_> {
    fn slice(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let Facts { kind, mut shape } = self.facts(input).clone();
        let starts = self.list(call, "starts", 1)?.ok_or("starts are missing")?;
        let ends = self.list(call, "ends", 2)?.ok_or("ends are missing")?;
        let numbers = self.list(call, "axes", 3)?;
        let numbers = numbers.unwrap_or_else(|| (0..i64::try_from(starts.len()).unwrap_or(0)).collect());
        let steps = match call.optional(4) {
            Some(steps) => self.integers(steps, "steps")?,
            None => vec![1; starts.len()],
        };
        if [ends.len(), numbers.len(), steps.len()] != [starts.len(); 3] {
            return Err("starts, ends, axes and steps differ in length".into());
        }
        let mut starts_at = vec![0; shape.len()];
        let mut runs: Vec<Run> = (0..shape.len()).map(|dim| Run::Along(dim, 1)).collect();
        for (at, number) in numbers.iter().enumerate() {
            let dim = axis(*number, shape.len())?;
            let range = range(starts[at], ends[at], steps[at], shape[dim])?;
            (starts_at[dim], runs[dim], shape[dim]) = (range.first, Run::Along(dim, range.step), range.count);
        }
        self.step(Action::Move { starts: starts_at, runs }, &[input], Facts { kind, shape })
    }

    fn split(&mut self, call: &Call<'_>) -> Outcome<Vec<Slot>> {
        let input = call.input(0)?;
        let Facts { kind, shape } = self.facts(input).clone();
        let dim = axis(call.int("axis", 0)?, shape.len())?;
        let pieces = call.node.outputs.len().max(1);
        let sizes = if let Some(sizes) = self.list(call, "split", 1)? {
            sizes.iter().map(|size| length(*size, "split")).collect::<Outcome<Vec<usize>>>()?
        } else {
            // Equal ones; the last is smaller where they do not divide.
            let size = shape[dim].div_ceil(pieces);
            (0..pieces).map(|at| size.min(shape[dim].saturating_sub(at * size))).collect()
        };
        if sizes.len() != pieces
            || sizes.iter().try_fold(0_usize, |all, size| all.checked_add(*size)) != Some(shape[dim])
        {
            return Err(format!("pieces of {sizes:?} for {pieces} outputs of a dimension of {}", shape[dim]).into());
        }
        let mut first = 0;
        let mut slots = Vec::with_capacity(pieces);
        for size in sizes {
            let (mut piece, mut starts) = (shape.clone(), vec![0; shape.len()]);
            (piece[dim], starts[dim]) = (size, first);
            let action = Action::Move { starts, runs: (0..shape.len()).map(|dim| Run::Along(dim, 1)).collect() };
            slots.push(self.step(action, &[input], Facts { kind, shape: piece })?);
            first += size;
        }
        Ok(slots)
    }

    fn concat(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let inputs = call.all()?;
        let Some(first) = inputs.first() else { return Err("has no inputs".into()) };
        let Facts { kind, mut shape } = self.facts(*first).clone();
        let axis = axis(call.int("axis", 0)?, shape.len())?;
        let mut all = 0_usize;
        for slot in &inputs {
            let other = self.facts(*slot);
            let fits = other.shape.iter().zip(&shape).enumerate().all(|(dim, (a, b))| dim == axis || a == b);
            if !fits || other.kind != kind || other.shape.len() != shape.len() {
                return Err(format!("{other} beside {kind} {shape:?}").into());
            }
            all = all.checked_add(other.shape[axis]).ok_or("the result is too large")?;
        }
        shape[axis] = all;
        self.step(Action::Concat { axis }, &inputs, Facts { kind, shape })
    }

    /// The value repeated along dimensions of 1 so that it has this shape, or the broadcast of both.
    pub(super) fn expand(&mut self, slot: Slot, shape: &[usize]) -> Outcome<Slot> {
        let facts = self.facts(slot).clone();
        let shape = broadcast([facts.shape.as_slice(), shape])?;
        if shape == facts.shape {
            return Ok(slot);
        }
        let mut runs = vec![Run::Repeat; shape.len() - facts.shape.len()];
        let own = facts.shape.iter().enumerate();
        runs.extend(own.map(|(dim, size)| if *size == 1 { Run::Repeat } else { Run::Along(dim, 1) }));
        let action = Action::Move { starts: vec![0; facts.shape.len()], runs };
        self.step(action, &[slot], Facts { kind: facts.kind, shape })
    }

    fn expand_to(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let shape = self.integers(call.input(1)?, "the shape")?;
        let shape: Vec<usize> = shape.iter().map(|dim| length(*dim, "a dimension")).collect::<Outcome<_>>()?;
        self.expand(call.input(0)?, &shape)
    }

    /// A repeated dimension is two: how often, and the dimension.
    fn tile(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let Facts { kind, shape } = self.facts(input).clone();
        let repeats = self.integers(call.input(1)?, "repeats")?;
        let repeats: Vec<usize> = repeats.iter().map(|count| length(*count, "repeats")).collect::<Outcome<_>>()?;
        if repeats.len() != shape.len() {
            return Err(format!("repeats are {repeats:?} for {shape:?}").into());
        }
        let (mut runs, mut apart, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for (dim, (repeat, size)) in repeats.iter().zip(&shape).enumerate() {
            runs.extend([Run::Repeat, Run::Along(dim, 1)]);
            apart.extend([*repeat, *size]);
            whole.push(repeat.checked_mul(*size).ok_or("the result is too large")?);
        }
        let action = Action::Move { starts: vec![0; shape.len()], runs };
        let slot = self.step(action, &[input], Facts { kind, shape: apart })?;
        self.reshape(slot, whole)
    }

    fn pad(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let Facts { kind, mut shape } = self.facts(input).clone();
        let rank = shape.len();
        let mode = match call.text("mode", "constant")? {
            "constant" => PadMode::Constant,
            "reflect" => PadMode::Reflect,
            "edge" => PadMode::Edge,
            "wrap" => PadMode::Wrap,
            other => return Err(format!("mode is {other:?}").into()),
        };
        let pads = self.list(call, "pads", 1)?.ok_or("pads are missing")?;
        let dims = match call.optional(3) {
            Some(list) => self.integers(list, "axes")?.iter().map(|dim| axis(*dim, rank)).collect::<Outcome<_>>()?,
            None => (0..rank).collect::<Vec<usize>>(),
        };
        if pads.len() != 2 * dims.len() {
            return Err(format!("pads are {pads:?} for {} dimensions", dims.len()).into());
        }
        if dims.iter().enumerate().any(|(at, dim)| dims[..at].contains(dim)) {
            return Err(format!("an axis is there twice: {dims:?}").into());
        }
        let mut before = vec![0; rank];
        for (at, dim) in dims.iter().enumerate() {
            let (first, last) = (pads[at], pads[at + dims.len()]);
            let size = i64::try_from(shape[*dim]).ok().and_then(|size| size.checked_add(first)?.checked_add(last));
            let size = size.and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| format!("pads {first} and {last} of a dimension of {}", shape[*dim]))?;
            let border = usize::try_from(first.max(last)).unwrap_or(0);
            let reach = match mode {
                PadMode::Constant => usize::MAX,
                PadMode::Reflect => shape[*dim].saturating_sub(1),
                PadMode::Edge => {
                    if shape[*dim] > 0 {
                        usize::MAX
                    } else {
                        0
                    }
                }
                PadMode::Wrap => shape[*dim],
            };
            if border > reach {
                return Err(format!("a border of {border} around a dimension of {}", shape[*dim]).into());
            }
            before[*dim] += isize::try_from(first).map_err(|_| "a border is too large")?;
            shape[*dim] = size;
        }
        let value = match call.optional(2) {
            Some(value) => value,
            None if kind == Kind::F32 => self.scalar_f32(call.float("value", 0.0)?)?,
            None => self.constant(zero(kind))?,
        };
        let value = self.reshape(value, Vec::new())?;
        if self.facts(value).kind != kind {
            return Err(format!("{} fills {kind}", self.facts(value)).into());
        }
        self.step(Action::Pad { before, mode }, &[input, value], Facts { kind, shape })
    }

    fn gather(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let Facts { kind, shape } = self.facts(input).clone();
        let axis = axis(call.int("axis", 0)?, shape.len())?;
        let indices = self.cast_indices(call.input(1)?)?;
        let picked = self.shape(indices);
        let mut out = shape[..axis].to_vec();
        out.extend(&picked);
        out.extend(&shape[axis + 1..]);
        if shape[axis] == 0 && !out.contains(&0) {
            return Err("looks something up in a dimension of 0".into());
        }
        self.step(Action::Gather { axis }, &[input, indices], Facts { kind, shape: out })
    }

    fn cast_indices(&mut self, slot: Slot) -> Outcome<Slot> {
        match self.facts(slot).kind {
            Kind::I64 | Kind::I32 => self.cast(slot, Kind::I64),
            kind => Err(format!("indices are {kind}").into()),
        }
    }

    fn scatter_nd(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        if call.text("reduction", "none")? != "none" {
            return Err("attribute reduction is not supported".into());
        }
        let (input, indices, updates) = (call.input(0)?, self.cast_indices(call.input(1)?)?, call.input(2)?);
        let facts = self.facts(input).clone();
        let (places, given) = (self.shape(indices), self.facts(updates).clone());
        let Some((depth, places)) = places.split_last() else { return Err("indices are a scalar".into()) };
        if *depth == 0 {
            return Err("indices name no dimension".into());
        }
        let Some(rest) = facts.shape.get(*depth..) else {
            return Err(format!("indices name {depth} dimensions of {facts}").into());
        };
        if given.kind != facts.kind || given.shape != [places, rest].concat() {
            return Err(format!("updates are {given}, expected {} {:?}", facts.kind, [places, rest].concat()).into());
        }
        self.step(Action::ScatterNd, &[input, indices, updates], facts)
    }

    fn trilu(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let input = call.input(0)?;
        let facts = self.facts(input).clone();
        if facts.shape.len() < 2 {
            return Err(format!("{facts} is no matrix").into());
        }
        let diagonal = match call.optional(1) {
            Some(slot) => self.integers(slot, "k")?.first().copied().unwrap_or(0),
            None => 0,
        };
        // Beyond every dimension nothing changes.
        let diagonal = isize::try_from(diagonal.clamp(-(1 << 40), 1 << 40)).unwrap_or(0);
        let action = Action::Trilu { upper: call.int("upper", 1)? != 0, diagonal };
        self.step(action, &[input], facts)
    }
}

fn zero(kind: Kind) -> Tensor {
    match kind {
        Kind::F32 => Tensor::scalar(0.0_f32),
        Kind::I64 => Tensor::scalar(0_i64),
        Kind::I32 => Tensor::scalar(0_i32),
        Kind::Bool => Tensor::scalar(false),
    }
}
