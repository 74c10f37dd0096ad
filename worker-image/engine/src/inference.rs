//! A model over rows: bound to a job's inputs, planned for a batch of items, run unit by unit.
//!
//! A result for an item is what the model gives for that item alone: [`crate::items`] proves that a batch changes nothing, or there is none.
//! Who may have how many items at once follows from the job alone, never from the device.

use std::time::Instant;

use orion_protocol::task::{InferenceWorkload, OutputSpec, UnitTable, check_outputs};
use orion_protocol::{Reason, Refusal};

use crate::bind::{self, Bound};
use crate::device::Device;
use crate::items;
use crate::job::Rows;
use crate::load::Load;
use crate::lower::{self, LowerError};
use crate::need::ModelBounds;
use crate::plan::{self, Plan, Tile};
use crate::program::{Program, Slot};
use crate::reference;
use crate::session::{Library, Session, SessionError};
use crate::tensor::Tensor;

/// Bytes of what a batch's steps make, together: about what caches hold.
const BATCH_BYTES: u64 = 32 << 20;
/// Items of a batch, at most.
const MAX_BATCH: u64 = 256;

/// A model on a device.
pub struct Inference<'d, D: Device> {
    session: Session<'d, D>,
    device: &'d D,
    model: Model,
}

/// A model bound to a job: everything that needs no device.
pub struct Model {
    bound: Bound,
    program: Program,
    units: UnitTable,
    batch: usize,
    /// What comes out, in the job's order.
    pub outputs: Vec<OutputSpec>,
    /// Operations an item.
    pub work_per_item: u64,
}

impl Model {
    /// Reads the model, binds its tensors and chooses the batch; `memory` bounds what the job takes in all, in bytes.
    pub fn new(load: &Load, workload: &InferenceWorkload, memory: u64) -> Result<Model, Refusal> {
        load.check(memory)?;
        let file = usize::try_from(workload.model).ok().and_then(|at| load.inputs.get(at)).map_or(0, |file| file.len());
        let bounds = ModelBounds::of(file as u64);
        let bound = bind::bind(load, workload, bounds.folded)?;
        let (batch, program) = batch(&bound, load.units.items_per_unit, bounds)?;
        let outputs = outputs(&bound, &program, load, batch)?;
        let work_per_item = (program.work() / batch as u64).max(1);
        let units = UnitTable { work_per_item, ..load.units };
        units.check().map_err(|why| Refusal::new(Reason::TooLarge, format!("the model's work: {why}")))?;
        check_outputs(&outputs, units.items, units.units())
            .map_err(|why| Refusal::new(Reason::InvalidSpec, format!("what the model makes: {why}")))?;
        // Now that the length of rows is known.
        Load { outputs: outputs.clone(), ..load.clone() }.check(memory)?;
        Ok(Model { bound, program, units: load.units, batch, outputs, work_per_item })
    }

    /// Runs the units `[first, first + count)` on the reference, without any device, and returns their rows: the same bits, slowly. `progress` hears
    /// how many are done.
    pub fn run_on_reference(&self, first: u64, count: u64, progress: impl FnMut(u64)) -> Result<Rows, Refusal> {
        let internal = |why: &dyn std::error::Error| Refusal::new(Reason::InternalError, why.to_string());
        self.run(first, count, progress, |first, count, rows| {
            let input = |(at, slot): (usize, &Slot)| {
                Tensor::from_le_bytes(self.program.facts(*slot).clone(), &self.feed(at, first, count))
            };
            let inputs = self.program.inputs.iter().enumerate().map(input).collect::<Result<Vec<_>, _>>();
            let results = reference::run(&self.program, &inputs.map_err(|error| internal(&error))?);
            let results = results.map_err(|error| internal(&error))?;
            for ((output, rows), result) in self.outputs.iter().zip(rows).zip(results) {
                rows.extend_from_slice(&result.to_le_bytes()[..to_usize(output.item_bytes() * count)]);
            }
            Ok(())
        })
    }

    /// Goes through units batch by batch: `batch` appends the rows of so many items from one on, at most a batch.
    fn run(
        &self,
        first: u64,
        count: u64,
        mut progress: impl FnMut(u64),
        mut batch: impl FnMut(u64, u64, &mut Rows) -> Result<(), Refusal>,
    ) -> Result<Rows, Refusal> {
        let units = self.units;
        let (mut rows, mut done): (Rows, u64) = (vec![Vec::new(); self.outputs.len()], 0);
        let (from, items) = units.items_of(first, count);
        let mut at = from;
        while at < from + items {
            let next = (from + items).min(at + self.batch as u64);
            batch(at, next - at, &mut rows)?;
            at = next;
            let whole = if at == from + items { count } else { (at - from) / units.items_per_unit };
            if whole > done {
                done = whole;
                progress(done);
            }
        }
        Ok(rows)
    }

    /// What one of the model's inputs is given for `count` items, at most a batch; where they are fewer, the last one stands for those that are missing.
    fn feed(&self, at: usize, first: u64, count: u64) -> Vec<u8> {
        let feed = &self.bound.feeds[at];
        let Some(item) = feed.item_bytes else { return feed.data().to_vec() };
        let (first, count) = (to_usize(first) * item, to_usize(count) * item);
        let mut bytes = feed.data()[first..first + count].to_vec();
        let last = bytes[bytes.len() - item..].to_vec();
        while bytes.len() < self.batch * item {
            bytes.extend_from_slice(&last);
        }
        bytes
    }
}

impl<'d, D: Device> Inference<'d, D> {
    /// Plans, compiles and uploads.
    pub fn load(device: &'d D, model: Model, library: &mut Library<D::Kernel>) -> Result<Inference<'d, D>, Refusal> {
        let tile = Tile::for_lanes(device.limits().lanes);
        let plan = planned(&model.bound, &model.program, tile)?;
        let most = device.limits().buffer_bytes;
        if let Some(buffer) = plan.buffers.iter().find(|buffer| buffer.bytes as u64 > most) {
            let why =
                format!("the model has a buffer of {} bytes, one of this device has at most {most}", buffer.bytes);
            return Err(Refusal::new(Reason::TooLarge, why));
        }
        let session = Session::new(device, plan, library).map_err(refusal)?;
        Ok(Inference { session, device, model })
    }

    /// How its items are cut.
    pub fn units(&self) -> &UnitTable {
        &self.model.units
    }

    /// Bytes of all its buffers on the device.
    pub fn device_bytes(&self) -> u64 {
        self.session.plan().memory() as u64
    }

    /// The model as it was bound.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the units `[first, first + count)` and returns their rows; `progress` hears how many are done.
    pub fn run(&mut self, first: u64, count: u64, progress: impl FnMut(u64)) -> Result<Rows, Refusal> {
        self.model.run(first, count, progress, |first, count, rows| self.batch(first, count, rows))
    }

    /// Runs `count` items, at most a batch.
    fn batch(&self, first: u64, count: u64, rows: &mut Rows) -> Result<(), Refusal> {
        for at in 0..self.model.bound.feeds.len() {
            self.session.write(at, &self.model.feed(at, first, count)).map_err(Refusal::from)?;
        }
        self.session.launch().map_err(Refusal::from)?;
        for (at, (output, rows)) in self.model.outputs.iter().zip(rows).enumerate() {
            let begin = rows.len();
            rows.resize(begin + to_usize(output.item_bytes() * count), 0);
            self.session.read(at, &mut rows[begin..]).map_err(Refusal::from)?;
        }
        Ok(())
    }

    /// Runs the first and the last unit twice, and compares; returns the median time of a whole unit, in nanoseconds.
    pub fn preflight(&mut self) -> Result<u64, Refusal> {
        let last = self.model.units.units() - 1;
        let mut nanos = Vec::new();
        for unit in if last == 0 { vec![0] } else { vec![0, last] } {
            let expected = self.run(unit, 1, |_| {})?;
            self.device.finish()?;
            let started = Instant::now();
            let again = self.run(unit, 1, |_| {})?;
            nanos.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
            if again != expected {
                let why = format!("unit {unit} gave other bits the second time: this device computes wrongly");
                return Err(Refusal::new(Reason::InternalError, why));
            }
        }
        Ok(nanos.first().copied().unwrap_or(1).max(1))
    }
}

fn planned(bound: &Bound, program: &Program, tile: Tile) -> Result<Plan, Refusal> {
    plan::plan(program, tile).map_err(|error| {
        let node = program.steps.get(error.step).map(|step| bound.node(step.node));
        Refusal::new(Reason::UnsupportedOperator, format!("{}: {}", node.unwrap_or_default(), error.why))
    })
}

/// Bytes that a program takes on a device, whichever: what one may run, all may.
fn memory(bound: &Bound, program: &Program) -> Result<u64, Refusal> {
    let mut most = 0;
    for lanes in Tile::LANES {
        most = most.max(planned(bound, program, Tile::for_lanes(lanes))?.memory() as u64);
    }
    Ok(most)
}

/// How many items at once, and the program for them, which is within the bounds.
fn batch(bound: &Bound, items_per_unit: u64, bounds: ModelBounds) -> Result<(usize, Program), Refusal> {
    let most = bounds.activations.saturating_add(bounds.constants);
    let (items, program) = chosen(bound, items_per_unit, bounds.folded)?;
    let need = memory(bound, &program)?;
    if need <= most {
        return Ok((items, program));
    }
    // Several at once were the engine's choice: it may take it back.
    if items > 1 && bound.fixed_items.is_none() {
        let alone = lower(bound, 1, bounds.folded)?;
        if memory(bound, &alone)? <= most {
            return Ok((1, alone));
        }
    }
    let why = format!(
        "the model takes {need} bytes on a device for {items} items at once; for its file at most {most} are allowed"
    );
    Err(Refusal::new(Reason::TooLarge, why))
}

/// As many items at once as are proven not to meet.
fn chosen(bound: &Bound, items_per_unit: u64, folded: u64) -> Result<(usize, Program), Refusal> {
    let lowered = |items| lower(bound, items, folded);
    if let Some(fixed) = bound.fixed_items {
        // Items that only fill a batch up would be computed and not paid.
        if !items_per_unit.is_multiple_of(fixed as u64) {
            let why = format!(
                "sharding.itemsPerUnit: {items_per_unit} is no multiple of the {fixed} items that the model takes at once"
            );
            return Err(Refusal::new(Reason::InvalidSpec, why));
        }
        let program = lowered(fixed)?;
        if fixed > 1 {
            items::prove(&program, fixed, &bound.is_rows()).map_err(|mixed| {
                let why = format!(
                    "the model has a fixed batch of {fixed}, and items meet in {}: {}",
                    bound.node(mixed.node),
                    mixed.why
                );
                Refusal::new(Reason::KernelNotUnitPure, why)
            })?;
        }
        return Ok((fixed, program));
    }
    let alone = lowered(1)?;
    let made = alone.steps.iter().map(|step| {
        let facts = alone.facts(step.output);
        (facts.elements().unwrap_or(0) * facts.kind.bytes()) as u64
    });
    let items = (BATCH_BYTES / made.sum::<u64>().max(1)).min(MAX_BATCH).min(items_per_unit);
    if items < 2 {
        return Ok((1, alone));
    }
    let items = to_usize(items);
    // A model that cannot take several items at once, or that gives another result then, is run for one after the other.
    let Ok(together) = lowered(items) else { return Ok((1, alone)) };
    let proof = items::prove(&together, items, &bound.is_rows());
    let proven = proof.is_ok_and(|proof| proof.is_that_of_one(&together, &alone));
    if proven { Ok((items, together)) } else { Ok((1, alone)) }
}

fn lower(bound: &Bound, items: usize, folded: u64) -> Result<Program, Refusal> {
    let (graph, facts) = bound.graph(items)?;
    let limits = lower::Limits { folded_bytes: to_usize(folded), ..lower::Limits::default() };
    lower::lower(&graph, &facts, limits).map_err(|error| {
        let LowerError { unsupported, .. } = error;
        let reason = if unsupported { Reason::UnsupportedOperator } else { Reason::InvalidInput };
        Refusal::new(reason, format!("the model: {error}"))
    })
}

/// Types and shapes of what comes out. Where the job says them, they must be these.
fn outputs(bound: &Bound, program: &Program, load: &Load, batch: usize) -> Result<Vec<OutputSpec>, Refusal> {
    let mut outputs = Vec::with_capacity(program.outputs.len());
    for ((slot, asked), tensor) in program.outputs.iter().zip(&load.outputs).zip(&bound.results) {
        let facts = program.facts(*slot);
        let invalid = |why: String| Refusal::new(Reason::InvalidSpec, format!("outputs[{}]: {why}", asked.name));
        if facts.shape.first() != Some(&batch) {
            return Err(invalid(format!(
                "{tensor} is {facts} for {batch} items: its first dimension must be the items"
            )));
        }
        let dtype = bind::dtype(facts.kind);
        let shape =
            std::iter::once(load.units.items).chain(facts.shape.iter().skip(1).map(|dim| *dim as u64)).collect();
        let found = OutputSpec { name: asked.name.clone(), dtype, shape, layout: None };
        if !asked.shape.is_empty() && *asked != found {
            let (dtype, shape) = (found.dtype.name(), &found.shape);
            return Err(invalid(format!(
                "the model gives {dtype} {shape:?}, the job says {} {:?}",
                asked.dtype.name(),
                asked.shape
            )));
        }
        outputs.push(found);
    }
    Ok(outputs)
}

fn refusal(error: SessionError) -> Refusal {
    match error {
        SessionError::Device(error) => error.refusal(),
        other => Refusal::new(Reason::InternalError, other.to_string()),
    }
}

/// Items and bytes of a job whose sizes were checked fit.
fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
