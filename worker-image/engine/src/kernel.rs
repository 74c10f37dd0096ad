//! A loaded kernel of a user's: compiled, its inputs on the device, ready to run any of its units.
//!
//! Each unit is its own launch, never merged with another. Before it, its own rows of every output are zeroed, and the whole of an output of
//! which each unit has a copy; after it, those alone are taken. So what a unit stores elsewhere is lost: the unit it belongs to either was read before or is zeroed
//! after. What a unit *reads* of other rows is unspecified, and [`KernelJob::preflight`] refuses kernels where that shows.

use std::ops::Range;
use std::time::{Duration, Instant};

use orion_protocol::dtype::DType;
use orion_protocol::task::{Builtin, KernelWorkload, OutputSpec, UnitTable};
use orion_protocol::{Reason, Refusal};

use crate::arguments::{self, Binding};
use crate::device::{Bound, Device, DeviceError, Launch, Limits};
use crate::groups::{Choice, Groups};
use crate::inputs::{self, Input};
use crate::job::Rows;
use crate::load::{Load, Sizes};
use crate::{preamble, tensor, text};

/// Units are launched together as far as they take about this long: progress stays visible, the queue never runs dry.
const BATCH_TIME: Duration = Duration::from_millis(100);

/// A job on a device.
pub struct KernelJob<'d, D: Device> {
    device: &'d D,
    kernel: D::Kernel,
    groups: Groups,
    global: Vec<u64>,
    units: UnitTable,
    per_unit: Vec<(u32, DType, Builtin)>,
    staging: Option<D::Buffer>,
    staged_units: u64,
    /// Bytes of all buffers on the device.
    pub(crate) device_bytes: u64,
    pub(crate) inputs: Vec<Input<D::Buffer>>,
    pub(crate) outputs: Vec<Output<D::Buffer>>,
}

/// An output on the device: all rows, or one unit's copy.
pub(crate) struct Output<B> {
    pub(crate) spec: OutputSpec,
    /// Bytes of the buffer.
    pub(crate) whole: u64,
    pub(crate) buffer: B,
    /// Where this output's rows begin in the staging buffer.
    staged_at: u64,
}

impl<B> Output<B> {
    /// Reads rows of it from a buffer; NaN is canonical (RK5).
    fn read<D: Device<Buffer = B>>(&self, device: &D, from: (&B, u64), into: &mut [u8]) -> Result<(), DeviceError> {
        device.read(from.0, from.1, into)?;
        if self.spec.dtype == DType::Float32 {
            tensor::make_canonical(into);
        }
        Ok(())
    }

    /// Where a unit's own bytes begin in the buffer, and how many they are.
    fn own(&self, units: &UnitTable, unit: u64) -> (u64, u64) {
        let (first, items) = units.items_of(unit, 1);
        // Before a unit lie rows, but never copies.
        (self.spec.room(0, first), self.spec.room(1, items))
    }
}

impl<'d, D: Device> KernelJob<'d, D> {
    /// Checks, compiles and uploads; `memory` bounds what the job takes in all, in bytes.
    pub fn load(
        device: &'d D,
        load: &Load,
        workload: &KernelWorkload,
        memory: u64,
    ) -> Result<KernelJob<'d, D>, Refusal> {
        let sizes = load.check_kernel(workload, memory)?;
        let floats = text::check(workload)?;
        check_device(load, workload, &sizes, device.limits())?;
        let mut kernel = device.build(&preamble::program(workload, &floats), &workload.entry_point)?;
        let bindings = arguments::fit(load, workload, &sizes, &device.params(&kernel)?)?;
        let required = device.required_group(&kernel)?;
        let groups = Groups::of(workload, device.limits(), device.kernel_group(&kernel)?, required)?;
        let inputs = inputs::upload(device, load, &sizes.inputs)?;
        let outputs = allocate(device, load, &sizes)?;
        let mut per_unit = Vec::new();
        for (index, binding) in (0..).zip(bindings) {
            let bound = match binding {
                Binding::Input(at) => Bound::Buffer(&inputs[at].buffer),
                Binding::Output(at) => Bound::Buffer(&outputs[at].buffer),
                Binding::Value(dtype, bits) => Bound::Value(dtype, bits),
                Binding::Local(bytes) => Bound::Local(bytes),
                Binding::PerUnit(dtype, builtin) => {
                    per_unit.push((index, dtype, builtin));
                    continue;
                }
            };
            device.bind(&mut kernel, index, bound)?;
        }
        let staged: u64 = outputs.iter().map(|output| output.spec.room(1, unit_items(&load.units))).sum();
        let staging = match sizes.staged_units {
            0 => None,
            units => Some(device.allocate(staged * units)?),
        };
        let (global, units, staged_units) = (workload.global_size.clone(), load.units, sizes.staged_units);
        let given: u64 = sizes.inputs.iter().map(|input| input.bytes).sum();
        let made: u64 = outputs.iter().map(|output| output.whole).sum();
        let device_bytes = given + made + staged * staged_units;
        Ok(KernelJob {
            device,
            kernel,
            groups,
            global,
            units,
            per_unit,
            staging,
            staged_units,
            device_bytes,
            inputs,
            outputs,
        })
    }

    /// How its items are cut.
    pub fn units(&self) -> &UnitTable {
        &self.units
    }

    /// Runs the units `[first, first + count)`, which exist, and returns their rows with their tails; `progress` hears how many are done. A kernel
    /// that wrote to its inputs meanwhile gets no rows.
    pub fn run(&mut self, first: u64, count: u64, mut progress: impl FnMut(u64)) -> Result<Rows, Refusal> {
        let end = first.saturating_add(count);
        let items = self.units.items_of(first, count).1;
        let room = |output: &Output<D::Buffer>| usize::try_from(output.spec.room(count, items)).unwrap_or_default();
        // All at once: growing by doubling would take up to twice as much.
        let mut rows: Rows = self.outputs.iter().map(|output| Vec::with_capacity(room(output))).collect();
        let (mut at, mut together) = (first, 1);
        while at < end {
            let batch = at..end.min(at + together);
            let started = Instant::now();
            self.batch(&batch, &mut rows)?;
            let done = batch.end - batch.start;
            let nanos = (started.elapsed().as_nanos() / u128::from(done)).max(1);
            together = u64::try_from(BATCH_TIME.as_nanos() / nanos).unwrap_or(u64::MAX);
            together = together.clamp(1, self.staged_units.max(1));
            at = batch.end;
            progress(at - first);
        }
        inputs::check(self.device, &self.inputs)?;
        Ok(rows)
    }

    /// Runs a few units without waiting between them, and appends their rows.
    fn batch(&mut self, units: &Range<u64>, rows: &mut Rows) -> Result<(), DeviceError> {
        let Some(staging) = self.staging.take_if(|_| units.end - units.start > 1) else {
            for unit in units.clone() {
                self.alone(unit, Choice::Usual, rows)?;
            }
            return Ok(());
        };
        let result = self.batch_staged(units, &staging, rows);
        self.staging = Some(staging);
        result
    }

    /// Runs units one after the other; the rows of each are copied aside on the device before the next one starts.
    fn batch_staged(&mut self, units: &Range<u64>, staging: &D::Buffer, rows: &mut Rows) -> Result<(), DeviceError> {
        let (batch_first, batch_items) = self.units.items_of(units.start, units.end - units.start);
        for unit in units.clone() {
            self.launch(unit, Choice::Usual)?;
            let (first, _) = self.units.items_of(unit, 1);
            for output in &self.outputs {
                let (from, bytes) = output.own(&self.units, unit);
                let to = output.staged_at + output.spec.room(unit - units.start, first - batch_first);
                self.device.copy((&output.buffer, from), (staging, to), bytes)?;
            }
        }
        for (output, rows) in self.outputs.iter().zip(rows) {
            let rows = grow(rows, output.spec.room(units.end - units.start, batch_items));
            output.read(self.device, (staging, output.staged_at), rows)?;
        }
        Ok(())
    }

    /// Runs one unit, waits for it, and appends its rows.
    pub(crate) fn alone(&mut self, unit: u64, choice: Choice, rows: &mut Rows) -> Result<(), DeviceError> {
        self.launch(unit, choice)?;
        for (output, rows) in self.outputs.iter().zip(rows) {
            let (from, bytes) = output.own(&self.units, unit);
            output.read(self.device, (&output.buffer, from), grow(rows, bytes))?;
        }
        Ok(())
    }

    /// Whether there is another group size than the usual one for this unit.
    pub(crate) fn has_other_groups(&self, unit: u64) -> bool {
        self.groups.size(&self.space(unit), Choice::Other).is_some()
    }

    pub(crate) fn device(&self) -> &'d D {
        self.device
    }

    /// Zeroes the unit's rows and launches it.
    fn launch(&mut self, unit: u64, choice: Choice) -> Result<(), DeviceError> {
        let (first, items) = self.units.items_of(unit, 1);
        for output in &self.outputs {
            let (from, bytes) = output.own(&self.units, unit);
            self.device.fill(&output.buffer, 0, from, bytes)?;
        }
        for (index, dtype, builtin) in &self.per_unit {
            let number = match builtin {
                Builtin::Items => self.units.items,
                Builtin::UnitFirst => first,
                Builtin::UnitItems => items,
            };
            self.device.bind(&mut self.kernel, *index, Bound::Value(*dtype, number))?;
        }
        let global = self.space(unit);
        let usual = self.groups.size(&global, Choice::Usual);
        let local = self.groups.size(&global, choice).or(usual).unwrap_or_else(|| vec![1; global.len()]);
        let mut offset = vec![0; global.len()];
        if let Some(last) = offset.last_mut() {
            *last = first;
        }
        self.device.launch(&self.kernel, &Launch { global, offset, local })
    }

    /// The index space of one unit.
    fn space(&self, unit: u64) -> Vec<u64> {
        let mut space = self.global.clone();
        if let Some(last) = space.last_mut() {
            *last = self.units.items_of(unit, 1).1;
        }
        space
    }
}

fn unit_items(units: &UnitTable) -> u64 {
    units.items_of(0, 1).1
}

/// Refuses what is beyond the device, before anything is allocated.
fn check_device(load: &Load, workload: &KernelWorkload, sizes: &Sizes, limits: &Limits) -> Result<(), Refusal> {
    let too_large = |why: String| Err(Refusal::new(Reason::TooLarge, why));
    let inputs = sizes.inputs.iter().enumerate().map(|(at, input)| (format!("input {at}"), input.bytes));
    let outputs = load.outputs.iter().zip(&sizes.outputs).map(|(spec, size)| (format!("output {}", spec.name), *size));
    for (what, bytes) in inputs.chain(outputs) {
        if bytes > limits.buffer_bytes {
            let most = limits.buffer_bytes;
            return too_large(format!("{what} has {bytes} bytes, a buffer of this device at most {most}"));
        }
    }
    if sizes.total > limits.memory_bytes {
        let most = limits.memory_bytes;
        return too_large(format!("the job's buffers take {} bytes together, this device has {most}", sizes.total));
    }
    let local = workload.arguments.iter().map(|argument| match argument {
        orion_protocol::task::Argument::Local(bytes) => *bytes,
        _ => 0,
    });
    let local = local.fold(0_u64, u64::saturating_add);
    if local > limits.local_bytes {
        let most = limits.local_bytes;
        return too_large(format!("the arguments take {local} bytes of local memory, a group has {most} here"));
    }
    Ok(())
}

fn allocate<D: Device>(device: &D, load: &Load, sizes: &Sizes) -> Result<Vec<Output<D::Buffer>>, DeviceError> {
    let mut staged_at = 0;
    let mut outputs = Vec::with_capacity(load.outputs.len());
    for (spec, size) in load.outputs.iter().zip(&sizes.outputs) {
        let buffer = device.allocate(*size)?;
        device.fill(&buffer, 0, 0, *size)?;
        outputs.push(Output { spec: spec.clone(), whole: *size, buffer, staged_at });
        staged_at += spec.room(1, unit_items(&load.units)) * sizes.staged_units;
    }
    Ok(outputs)
}

/// Makes room for `bytes` more bytes and returns it.
fn grow(rows: &mut Vec<u8>, bytes: u64) -> &mut [u8] {
    let at = rows.len();
    // Sizes are bounded by the job's memory; a length that does not fit a usize was refused with it.
    rows.resize(at + usize::try_from(bytes).unwrap_or(usize::MAX - at), 0);
    &mut rows[at..]
}
