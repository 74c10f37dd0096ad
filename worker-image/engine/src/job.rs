//! A loaded job, of whatever kind: ready to run any of its units, each as if it were alone.

use orion_protocol::rows::{RowsError, Span};
use orion_protocol::task::{OutputSpec, UnitTable, Workload};
use orion_protocol::{Reason, Refusal};

use crate::device::Device;
use crate::inference::{Inference, Model};
use crate::kernel::KernelJob;
use crate::load::Load;
use crate::session::Library;

/// The rows of some units: the bytes of each output, in the order of the spec.
pub type Rows = Vec<Vec<u8>>;

/// Takes the tails out of rows of these units. Where an item has more entries than there is room for, that is its kernel's fault.
pub fn keep(units: &Span<'_>, rows: &mut Rows) -> Result<(), Refusal> {
    units.keep(rows).map_err(|error| {
        let reason = match error {
            RowsError::Overflow { .. } => Reason::OutputOverflow,
            RowsError::Length { .. } | RowsError::Outputs { .. } => Reason::InternalError,
        };
        Refusal::new(reason, error.to_string())
    })
}

/// A job on a device.
pub enum Job<'d, D: Device> {
    /// A kernel of the user's.
    Kernel(KernelJob<'d, D>),
    /// A model over rows.
    Inference(Box<Inference<'d, D>>),
}

/// What loading a job found out about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What comes out, complete.
    pub outputs: Vec<OutputSpec>,
    /// Operations an item: a model's are counted, a kernel's are declared.
    pub work_per_item: u64,
    /// The most that the job takes of the device's memory, in bytes: all its buffers, which are made when it is loaded.
    pub device_bytes: u64,
}

impl<'d, D: Device> Job<'d, D> {
    /// Checks, compiles and uploads; `memory` bounds what the job takes in all, in bytes. Built-in kernels come from `library`.
    pub fn load(
        device: &'d D,
        load: &Load,
        memory: u64,
        library: &mut Library<D::Kernel>,
    ) -> Result<Job<'d, D>, Refusal> {
        match &load.workload {
            Workload::Kernel(workload) => Ok(Job::Kernel(KernelJob::load(device, load, workload, memory)?)),
            Workload::Inference(workload) => {
                let model = Model::new(load, workload, memory)?;
                Ok(Job::Inference(Box::new(Inference::load(device, model, library)?)))
            }
        }
    }

    /// What was found out about it.
    pub fn found(&self) -> Found {
        match self {
            Job::Kernel(job) => {
                let outputs = job.outputs.iter().map(|output| output.spec.clone()).collect();
                Found { outputs, work_per_item: job.units().work_per_item, device_bytes: job.device_bytes }
            }
            Job::Inference(job) => {
                let (outputs, work_per_item) = (job.model().outputs.clone(), job.model().work_per_item);
                Found { outputs, work_per_item, device_bytes: job.device_bytes() }
            }
        }
    }

    /// How its items are cut.
    pub fn units(&self) -> &UnitTable {
        match self {
            Job::Kernel(job) => job.units(),
            Job::Inference(job) => job.units(),
        }
    }

    /// Runs the units `[first, first + count)` and returns their rows as the device left them, with tails that [`keep`] takes out; `progress` hears
    /// how many are done.
    pub fn run(&mut self, first: u64, count: u64, progress: impl FnMut(u64)) -> Result<Rows, Refusal> {
        let units = self.units();
        if count == 0 || first.checked_add(count).is_none_or(|end| end > units.units()) {
            let why = format!("{count} units from {first} on, of a job of {} units", units.units());
            return Err(Refusal::new(Reason::LeaseRefused, why));
        }
        match self {
            Job::Kernel(job) => job.run(first, count, progress),
            Job::Inference(job) => job.run(first, count, progress),
        }
    }

    /// Tries the job out: refuses it where its units are not pure; returns the median time of a unit in nanoseconds.
    pub fn preflight(&mut self) -> Result<u64, Refusal> {
        match self {
            Job::Kernel(job) => job.preflight(),
            Job::Inference(job) => job.preflight(),
        }
    }
}
