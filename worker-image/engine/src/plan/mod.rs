//! From a program to launches on a device: layouts, fused functions of elements, packed weights, memory. Every rewrite here keeps every bit
//! (see `docs/kernel-set.md`); a plan is data, and the device that runs it chooses nothing.

mod contract;
mod data;
mod epilogue;
mod frame;
mod image;
mod map;
mod matmul;
mod memory;
mod rows;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::program::{Action, Program, Slot, Step};
use crate::tensor::{Facts, Kind, Tensor};
pub use contract::{Panels, Tile};
pub use view::{BufferId, View};

/// Launches in order, and what they need.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Programs to compile.
    pub texts: Vec<Text>,
    /// Memory.
    pub buffers: Vec<Buffer>,
    /// In order.
    pub launches: Vec<Launch>,
    /// Where each input is put, row-major.
    pub inputs: Vec<(BufferId, Facts)>,
    /// Where each output is found, row-major.
    pub outputs: Vec<(BufferId, Facts)>,
    /// Sizes, offsets and strides of all launches, as one buffer of 64-bit integers.
    pub meta: Vec<i64>,
}

/// A program's text and its kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text {
    /// OpenCL C 1.2.
    pub source: String,
    /// The kernel's name.
    pub entry: &'static str,
    /// Work-items of a group, as the text demands it.
    pub group: [usize; 3],
}

/// Memory of a plan.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Its length in bytes, at least 1.
    pub bytes: usize,
    /// What it holds from the beginning.
    pub content: Content,
}

/// What a buffer holds before the first launch.
#[derive(Clone, Debug)]
pub enum Content {
    /// Anything: it is written before it is read.
    Any,
    /// Zeros.
    Zeros,
    /// A tensor as it is.
    Tensor(Arc<Tensor>),
    /// The second operand of a contraction as its kernel reads it.
    Panels(Panels),
}

/// One launch: its buffers, then the buffer of sizes, then where its own begin there.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Index into [`Plan::texts`].
    pub text: usize,
    /// Leading parameters.
    pub buffers: Vec<BufferId>,
    /// First entry in [`Plan::meta`].
    pub meta: usize,
    /// Work-items: multiples of the text's group.
    pub global: [usize; 3],
}

/// What cannot be planned: a device cannot run it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {why}")]
pub struct PlanError {
    /// Which step of the program.
    pub step: usize,
    /// What is wrong.
    pub why: String,
}

impl Plan {
    /// Bytes that all buffers take together.
    pub fn memory(&self) -> usize {
        let all = self.buffers.iter().map(|buffer| buffer.bytes.saturating_add(SLACK));
        all.fold(self.meta.len() * 8, usize::saturating_add)
    }
}

/// Bytes after the end of every buffer that may be read, though nothing comes of it: a vector of the widest tile.
pub const SLACK: usize = 128;

/// Numbers that launches are given, in all: far more than any model of a sensible size takes.
const MAX_META: usize = 1 << 23;
/// Bytes of all kernels' texts together.
const MAX_TEXT: usize = 4 << 20;
/// Elements that one work-item does on a CPU: enough to hide what starting it costs, few enough to share the work.
const BLOCK: usize = 8192;
/// Work-items of a group in kernels that look at single elements, on devices whose work-items come in groups.
const GROUP: usize = 64;

/// Plans a program for tiles of one size.
pub fn plan(program: &Program, tile: Tile) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(program, tile);
    for slot in &program.inputs {
        let facts = program.facts(*slot).clone();
        let buffer = planner.buffer(&facts, Content::Any);
        planner.views.insert(*slot, View::contiguous(buffer, &facts.shape));
        planner.plan.inputs.push((buffer, facts));
    }
    for (at, step) in program.steps.iter().enumerate() {
        planner.step(step).and_then(|()| planner.bounded()).map_err(|why| PlanError { step: at, why })?;
    }
    for slot in &program.outputs {
        let facts = program.facts(*slot).clone();
        let buffer = planner.row_major(*slot).map_err(|why| PlanError { step: program.steps.len(), why })?;
        planner.plan.outputs.push((buffer.buffer, facts));
    }
    let mut plan = planner.plan;
    memory::share(&mut plan);
    Ok(plan)
}

/// A plan as far as it is.
struct Planner<'p> {
    program: &'p Program,
    tile: Tile,
    plan: Plan,
    views: BTreeMap<Slot, View>,
    /// Functions of elements that will be part of the only launch that needs them.
    trees: BTreeMap<Slot, map::Tree>,
    /// Contractions that the only function of elements which needs them may become part of.
    pending: BTreeMap<Slot, contract::Pending>,
    /// Images that lie in a frame of zeros.
    frames: BTreeMap<BufferId, (frame::Frame, View)>,
    /// Steps that use each value, and how often.
    uses: BTreeMap<Slot, Vec<usize>>,
    texts: BTreeMap<Text, usize>,
    /// Bytes of the texts so far.
    text: usize,
}

type Planned<T> = Result<T, String>;

impl<'p> Planner<'p> {
    fn new(program: &'p Program, tile: Tile) -> Planner<'p> {
        let mut uses: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
        for (at, step) in program.steps.iter().enumerate() {
            for slot in &step.inputs {
                uses.entry(*slot).or_default().push(at);
            }
        }
        // An output is used by whoever asked.
        for slot in &program.outputs {
            uses.entry(*slot).or_default().push(usize::MAX);
        }
        Planner {
            program,
            tile,
            plan: Plan::default(),
            views: BTreeMap::new(),
            trees: BTreeMap::new(),
            pending: BTreeMap::new(),
            frames: BTreeMap::new(),
            uses,
            texts: BTreeMap::new(),
            text: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Planned<()> {
        let facts = self.program.facts(step.output).clone();
        if facts.elements() == Some(0) {
            self.output(step.output);
            return Ok(());
        }
        match &step.action {
            Action::Map(function) => self.map(step, *function),
            Action::Reshape => self.reshape(step, &facts),
            Action::Move { starts, runs } => {
                let view = self.view(step.inputs[0])?.pick(starts, runs, &facts.shape);
                self.views.insert(step.output, view);
                Ok(())
            }
            Action::MatMul(matmul) => self.matmul(step, *matmul),
            Action::Conv(conv) => self.conv(step, conv),
            Action::Pool(pool) => self.pool(step, pool),
            Action::Reduce(reduce) => self.reduce(step, *reduce),
            Action::Softmax { log } => self.softmax(step, *log),
            Action::LayerNorm { epsilon } => self.layer_norm(step, *epsilon),
            Action::ArgMax { axis, last } => self.arg_max(step, *axis, *last),
            Action::CumSum { axis, exclusive, reverse } => self.cum_sum(step, *axis, *exclusive, *reverse),
            Action::Concat { axis } => self.concat(step, *axis),
            Action::Pad { before, mode } => self.pad(step, before, *mode),
            Action::Gather { axis } => self.gather(step, *axis),
            Action::ScatterNd => self.scatter(step),
            Action::Trilu { upper, diagonal } => self.trilu(step, *upper, *diagonal),
        }
    }

    /// What a plan takes on the host is bounded: one step can ask for many launches' worth.
    fn bounded(&self) -> Planned<()> {
        match (self.plan.meta.len() > MAX_META, self.text > MAX_TEXT) {
            (true, _) => Err(format!("the launches up to here take over {MAX_META} numbers")),
            (_, true) => Err(format!("the kernels up to here take over {MAX_TEXT} bytes of text")),
            _ => Ok(()),
        }
    }

    fn reshape(&mut self, step: &Step, facts: &Facts) -> Planned<()> {
        let input = step.inputs[0];
        let view = match self.view(input)?.reshape(&facts.shape) {
            Some(view) => view,
            None => View::contiguous(self.row_major(input)?.buffer, &facts.shape),
        };
        self.views.insert(step.output, view);
        Ok(())
    }

    fn facts(&self, slot: Slot) -> &Facts {
        self.program.facts(slot)
    }

    /// Where a value lies; what was put off is computed now.
    fn view(&mut self, slot: Slot) -> Planned<View> {
        if let Some(tree) = self.trees.remove(&slot) {
            self.emit_map(slot, &tree)?;
        }
        self.settle(slot);
        if let Some(view) = self.views.get(&slot) {
            return Ok(view.clone());
        }
        let tensor = self.program.constants.get(&slot);
        let tensor = tensor.ok_or_else(|| format!("value {} is used before it is made", slot.0))?;
        let buffer = self.buffer(&tensor.facts(), Content::Tensor(tensor.clone()));
        let view = View::contiguous(buffer, tensor.shape());
        self.views.insert(slot, view.clone());
        Ok(view)
    }

    /// The second operand of a contraction: where it lies, or, if it is known, how it would, and what it holds. Known ones are packed before
    /// they come to the device and need no memory of their own there.
    fn weights(&mut self, slot: Slot) -> Planned<(View, Option<Arc<Tensor>>)> {
        match self.program.constants.get(&slot) {
            Some(tensor) => Ok((View::contiguous(BufferId(u32::MAX), tensor.shape()), Some(tensor.clone()))),
            None => Ok((self.view(slot)?, None)),
        }
    }

    /// The value in row-major order from the beginning of a buffer.
    fn row_major(&mut self, slot: Slot) -> Planned<View> {
        let view = self.view(slot)?;
        if view.offset == 0 && view.is_contiguous() {
            return Ok(View::contiguous(view.buffer, &view.shape));
        }
        let facts = self.facts(slot).clone();
        let buffer = self.buffer(&facts, Content::Any);
        let to = View::contiguous(buffer, &facts.shape);
        self.copy(facts.kind, &view, &to);
        Ok(to)
    }

    fn buffer(&mut self, facts: &Facts, content: Content) -> BufferId {
        let bytes = facts.elements().unwrap_or(0) * facts.kind.bytes();
        self.bytes(bytes, content)
    }

    fn bytes(&mut self, bytes: usize, content: Content) -> BufferId {
        let id = BufferId(u32::try_from(self.plan.buffers.len()).unwrap_or(u32::MAX));
        self.plan.buffers.push(Buffer { bytes: bytes.max(1), content });
        id
    }

    /// A new buffer for a step's result, row-major.
    fn output(&mut self, slot: Slot) -> View {
        let facts = self.facts(slot).clone();
        let buffer = self.buffer(&facts, Content::Any);
        let view = View::contiguous(buffer, &facts.shape);
        self.views.insert(slot, view.clone());
        view
    }

    /// A result that is nothing but zeros.
    fn zeros(&mut self, slot: Slot) {
        let facts = self.facts(slot).clone();
        let buffer = self.buffer(&facts, Content::Zeros);
        self.views.insert(slot, View::contiguous(buffer, &facts.shape));
    }

    /// Work-items of a group in kernels that look at single elements.
    fn group(&self) -> usize {
        if self.tile.grouped { GROUP } else { 1 }
    }

    /// How many elements a work-item of such a kernel does, where each stands for so many.
    fn each(&self, size: usize) -> usize {
        if self.tile.grouped { 1 } else { (BLOCK / size.max(1)).max(1) }
    }

    /// One launch; whole groups of work-items at least as many as `global`.
    fn launch(&mut self, text: Text, buffers: Vec<BufferId>, meta: &[i64], global: [usize; 3]) {
        let global = std::array::from_fn(|dim| global[dim].next_multiple_of(text.group[dim]));
        let next = self.texts.len();
        let index = *self.texts.entry(text.clone()).or_insert(next);
        if index == next {
            self.text += text.source.len();
            self.plan.texts.push(text);
        }
        let at = self.plan.meta.len();
        self.plan.meta.extend(meta);
        self.plan.launches.push(Launch { text: index, buffers, meta: at, global });
    }
}

/// The OpenCL type of elements.
fn c_type(kind: Kind) -> &'static str {
    match kind {
        Kind::F32 => "float",
        Kind::I64 => "long",
        Kind::I32 => "int",
        Kind::Bool => "uchar",
    }
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
