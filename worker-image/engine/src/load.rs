//! A job as it arrives, and everything about it that can be judged without a device: index space, units, arguments' indices,
//! input files, sizes. Agent and executor both check it, so that a bad job costs no process and no bad job is believed.

use std::sync::Arc;

use orion_protocol::dtype::DType;
use orion_protocol::npy;
use orion_protocol::task::{
    Argument, Builtin, InferenceWorkload, KernelWorkload, MAX_ARRAYS, OutputSpec, UnitTable, Workload, check_outputs,
};
use orion_protocol::{Reason, Refusal};

use crate::need::{Need, Staged};

/// Memory that a job may take where nobody says otherwise: 1 GiB.
pub const DEFAULT_MEMORY: u64 = 1 << 30;
/// The longest kernel source, in bytes.
pub const MAX_SOURCE: usize = 64 * 1024;
/// The longest identifier, in bytes.
pub const MAX_IDENT: usize = 64;
/// At most so many kernel parameters.
pub const MAX_ARGUMENTS: usize = 64;
/// At most so many defines.
pub const MAX_DEFINES: usize = 64;
/// The longest value of a define, in bytes.
pub const MAX_DEFINE: usize = 1024;

/// A job to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// What runs.
    pub workload: Workload,
    /// How its items are cut.
    pub units: UnitTable,
    /// What comes out, in the order of the spec.
    pub outputs: Vec<OutputSpec>,
    /// What goes in, in the order of the spec: whole npy files. Shared, because they are the largest things around.
    pub inputs: Vec<Arc<Vec<u8>>>,
}

/// Sizes of a job whose every bound was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of each input: its type, and where its data begins in the file.
    pub inputs: Vec<InputSize>,
    /// Of each output's buffer, in bytes.
    pub outputs: Vec<u64>,
    /// How many units' rows may wait on the device; below 2 there is no staging.
    pub staged_units: u64,
    /// All buffers together, in bytes.
    pub total: u64,
    /// What the job takes in all, copies included.
    pub need: Need,
}

/// An input's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSize {
    /// Element type.
    pub dtype: DType,
    /// Where the data begins in the file.
    pub at: usize,
    /// Length of the data, in bytes.
    pub bytes: u64,
}

impl Load {
    /// Checks all that needs no device; `memory` bounds what the job takes in all, in bytes.
    pub fn check(&self, memory: u64) -> Result<Need, Refusal> {
        match &self.workload {
            Workload::Kernel(kernel) => Ok(self.check_kernel(kernel, memory)?.need),
            Workload::Inference(workload) => self.check_inference(workload, memory),
        }
    }

    /// Checks a kernel and everything around it.
    pub(crate) fn check_kernel(&self, kernel: &KernelWorkload, memory: u64) -> Result<Sizes, Refusal> {
        let invalid = |why: String| Refusal::new(Reason::InvalidSpec, why);
        self.units.check().map_err(invalid)?;
        check_outputs(&self.outputs, self.units.items, self.units.units()).map_err(invalid)?;
        check_names(kernel)?;
        self.check_space(kernel)?;
        self.check_arguments(kernel)?;
        self.sizes(memory)
    }

    /// Checks what can be said of a model without reading it. Outputs that the job does not know yet have no shape.
    fn check_inference(&self, workload: &InferenceWorkload, memory: u64) -> Result<Need, Refusal> {
        self.units.check().map_err(invalid)?;
        if self.inputs.len() > MAX_ARRAYS || workload.tensors.len() > MAX_ARGUMENTS || workload.dims.len() > MAX_DEFINES
        {
            return Err(invalid("workload.inference: too many inputs, tensors or dims"));
        }
        if let Some(output) = self.outputs.iter().find(|output| output.layout.is_some()) {
            let name = &output.name;
            return Err(invalid(format!("outputs[{name}]: lengths and scope Unit are for kernels")));
        }
        let known: Vec<OutputSpec> = self.outputs.iter().filter(|output| !output.shape.is_empty()).cloned().collect();
        if !known.is_empty() {
            check_outputs(&known, self.units.items, self.units.units()).map_err(invalid)?;
        }
        if self.outputs.is_empty() || self.outputs.len() > MAX_ARRAYS {
            return Err(invalid(format!("outputs: between 1 and {MAX_ARRAYS} are allowed")));
        }
        let files: Vec<u64> = self.inputs.iter().map(|file| file.len() as u64).collect();
        let need = Need::of_model(&self.units, &self.outputs, &files, workload.model);
        if need.all() > memory {
            let why = format!(
                "the job takes {} bytes of memory, copies of the model included; at most {memory} are allowed",
                need.all()
            );
            return Err(Refusal::new(Reason::TooLarge, why));
        }
        Ok(need)
    }

    fn check_space(&self, kernel: &KernelWorkload) -> Result<(), Refusal> {
        let KernelWorkload { global_size, local_size, .. } = kernel;
        if global_size.is_empty() || global_size.len() > 3 || global_size.contains(&0) {
            return Err(invalid("globalSize: between 1 and 3 dimensions, each at least 1"));
        }
        let whole = global_size.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        if whole.is_none_or(|items| items > 1 << 40) {
            return Err(invalid("globalSize: over 2^40 work-items"));
        }
        let (items, unit) = (self.units.items, self.units.items_per_unit);
        if global_size.last() != Some(&items) {
            return Err(invalid(format!("globalSize: the last dimension must be the {items} items")));
        }
        let Some(local) = local_size else { return Ok(()) };
        if local.len() != global_size.len() || local.contains(&0) {
            return Err(invalid("localSize: as many dimensions as globalSize, each at least 1"));
        }
        for (at, (local, global)) in local.iter().zip(global_size).enumerate() {
            if global % local != 0 {
                return Err(invalid(format!("localSize[{at}]: {local} does not divide globalSize[{at}], {global}")));
            }
        }
        match local.last() {
            Some(last) if unit % last != 0 && unit < items => {
                Err(invalid(format!("localSize: {last} on the item dimension does not divide itemsPerUnit, {unit}")))
            }
            _ => Ok(()),
        }
    }

    fn check_arguments(&self, kernel: &KernelWorkload) -> Result<(), Refusal> {
        let KernelWorkload { arguments, local_size, .. } = kernel;
        if arguments.len() > MAX_ARGUMENTS {
            return Err(invalid(format!("arguments: more than {MAX_ARGUMENTS}")));
        }
        let mut bound = vec![0_usize; self.outputs.len()];
        for (at, argument) in arguments.iter().enumerate() {
            match *argument {
                Argument::Input(input) if input as usize >= self.inputs.len() => {
                    return Err(invalid(format!("arguments[{at}]: there is no input {input}")));
                }
                Argument::Output(output) => match bound.get_mut(output as usize) {
                    Some(times) => *times += 1,
                    None => return Err(invalid(format!("arguments[{at}]: there is no output {output}"))),
                },
                Argument::Scalar(dtype, bits) if dtype.size() < 8 && bits >> (8 * dtype.size()) != 0 => {
                    return Err(invalid(format!("arguments[{at}]: {bits:#x} does not fit a {}", dtype.opencl())));
                }
                Argument::Local(bytes) if local_size.is_none() || bytes == 0 => {
                    return Err(invalid(format!("arguments[{at}]: local memory needs localSize and at least 1 byte")));
                }
                Argument::Input(_) | Argument::Scalar(..) | Argument::Builtin(_) | Argument::Local(_) => {}
            }
        }
        match bound.iter().position(|times| *times != 1) {
            None => Ok(()),
            Some(at) => {
                let (name, times) = (&self.outputs[at].name, bound[at]);
                Err(invalid(format!("arguments: output {name} is bound {times} times, it must be once")))
            }
        }
    }

    fn sizes(&self, memory: u64) -> Result<Sizes, Refusal> {
        if self.inputs.len() > MAX_ARRAYS {
            return Err(invalid(format!("inputs: more than {MAX_ARRAYS}")));
        }
        let inputs = self.inputs.iter().enumerate().map(|(at, file)| input_size(at, file));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<u64> = self.outputs.iter().map(|output| output.room(1, self.units.items)).collect();
        let staged = Staged::of(&self.units, &self.outputs);
        // Outputs are at most 8 of at most 2^40 bytes, inputs are in memory: no sum overflows.
        let input_bytes: u64 = inputs.iter().map(|input| input.bytes).sum();
        let total = input_bytes + outputs.iter().sum::<u64>() + staged.bytes;
        let need = Need::of(&self.units, &self.outputs, input_bytes);
        if need.all() > memory {
            let why = format!(
                "the job takes {} bytes of memory, {total} in buffers and the rest in copies; at most {memory} are allowed",
                need.all()
            );
            return Err(Refusal::new(Reason::TooLarge, why));
        }
        Ok(Sizes { inputs, outputs, staged_units: staged.units, total, need })
    }
}

fn check_names(kernel: &KernelWorkload) -> Result<(), Refusal> {
    if kernel.source.len() > MAX_SOURCE {
        return Err(invalid(format!("source: over {MAX_SOURCE} bytes")));
    }
    if !is_ident(&kernel.entry_point) {
        return Err(invalid(format!("entryPoint: {:?} is no name of a function", kernel.entry_point)));
    }
    if kernel.defines.len() > MAX_DEFINES {
        return Err(invalid(format!("defines: more than {MAX_DEFINES}")));
    }
    if !kernel.defines.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(invalid("defines: not ascending by name, or one is there twice"));
    }
    for (name, value) in &kernel.defines {
        if !is_ident(name) {
            return Err(invalid(format!("defines: {name:?} is no name of a macro")));
        }
        if value.len() > MAX_DEFINE || value.contains(['\n', '\r', '\\']) {
            return Err(invalid(format!("defines[{name}]: over {MAX_DEFINE} bytes, of several lines, or with \\")));
        }
    }
    Ok(())
}

/// What a built-in number is called in specs.
pub fn builtin_name(builtin: Builtin) -> &'static str {
    match builtin {
        Builtin::Items => "Items",
        Builtin::UnitFirst => "UnitFirst",
        Builtin::UnitItems => "UnitItems",
    }
}

fn input_size(at: usize, file: &[u8]) -> Result<InputSize, Refusal> {
    let invalid = |why: String| Refusal::new(Reason::InvalidInput, format!("input {at}: {why}"));
    let (header, data) = npy::parse(file).map_err(|error| invalid(error.to_string()))?;
    if data.is_empty() {
        return Err(invalid("it has no elements".into()));
    }
    Ok(InputSize { dtype: header.dtype, at: file.len() - data.len(), bytes: data.len() as u64 })
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidSpec, why)
}

/// Whether `text` is an identifier of C, and not an unreasonably long one.
fn is_ident(text: &str) -> bool {
    let letter = |c: u8| c.is_ascii_alphabetic() || c == b'_';
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(|c| letter(*c));
    first && bytes.len() <= MAX_IDENT && bytes.iter().all(|c| letter(*c) || c.is_ascii_digit())
}
