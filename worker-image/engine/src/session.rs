//! A plan on a device: memory made, weights written and kernels compiled once, then run as often as there are inputs.

use std::collections::BTreeMap;

use orion_protocol::dtype::DType;

use crate::device::{Bound, Device, DeviceError, Launch};
use crate::plan::{Content, Plan, SLACK, Text};
use crate::tensor::{self, Facts, Kind, Misfit, Tensor};

/// Kernels of a device by their text, so that models which need the same compile it once.
pub struct Library<K> {
    kernels: BTreeMap<Text, K>,
}

impl<K> Default for Library<K> {
    fn default() -> Library<K> {
        Library { kernels: BTreeMap::new() }
    }
}

/// A model that is ready to run.
pub struct Session<'d, D: Device> {
    device: &'d D,
    plan: Plan,
    buffers: Vec<D::Buffer>,
    kernels: Vec<D::Kernel>,
}

/// Why a session did not run.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An input of another type or shape, or a result that is none.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// An input is missing or is another one.
    #[error("input {at} is {have}, expected {expected}")]
    Input {
        /// Which one.
        at: usize,
        /// What was given.
        have: String,
        /// What the plan is for.
        expected: String,
    },
}

impl<'d, D: Device> Session<'d, D> {
    /// Makes everything that the plan needs.
    pub fn new(device: &'d D, plan: Plan, library: &mut Library<D::Kernel>) -> Result<Session<'d, D>, SessionError> {
        let mut buffers = Vec::with_capacity(plan.buffers.len() + 1);
        for buffer in &plan.buffers {
            let made = device.allocate((buffer.bytes + SLACK) as u64)?;
            match &buffer.content {
                Content::Any => {}
                Content::Zeros => device.fill(&made, 0, 0, buffer.bytes as u64)?,
                // OpenCL 1.2 takes no write of nothing.
                Content::Tensor(tensor) if tensor.data().is_empty() => {}
                Content::Tensor(tensor) => device.write(&made, 0, &tensor.to_le_bytes())?,
                Content::Panels(panels) => match panels.to_le_bytes() {
                    bytes if bytes.is_empty() => {}
                    bytes => device.write(&made, 0, &bytes)?,
                },
            }
            buffers.push(made);
        }
        let meta: Vec<u8> = plan.meta.iter().flat_map(|value| value.to_le_bytes()).collect();
        let sizes = device.allocate(meta.len().max(1) as u64)?;
        if !meta.is_empty() {
            device.write(&sizes, 0, &meta)?;
        }
        for text in &plan.texts {
            if !library.kernels.contains_key(text) {
                library.kernels.insert(text.clone(), device.build(&text.source, text.entry)?);
            }
        }
        let mut kernels = Vec::with_capacity(plan.launches.len());
        for launch in &plan.launches {
            let Some(kernel) = plan.texts.get(launch.text).and_then(|text| library.kernels.get(text)) else { continue };
            let mut kernel = device.again(kernel)?;
            let mut index = 0;
            for buffer in &launch.buffers {
                device.bind(&mut kernel, index, Bound::Buffer(&buffers[buffer.0 as usize]))?;
                index += 1;
            }
            device.bind(&mut kernel, index, Bound::Buffer(&sizes))?;
            device.bind(&mut kernel, index + 1, Bound::Value(DType::Int64, launch.meta as u64))?;
            kernels.push(kernel);
        }
        buffers.push(sizes);
        device.finish()?;
        Ok(Session { device, plan, buffers, kernels })
    }

    /// Runs the model once.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, SessionError> {
        for (at, (_, facts)) in self.plan.inputs.iter().enumerate() {
            let given = inputs.get(at).filter(|input| input.facts() == *facts).ok_or_else(|| SessionError::Input {
                at,
                have: inputs.get(at).map_or_else(|| "missing".into(), |input| input.facts().to_string()),
                expected: facts.to_string(),
            })?;
            self.write(at, &given.to_le_bytes())?;
        }
        self.launch()?;
        let output = |at: usize, facts: &Facts| {
            let mut bytes = vec![0; facts.elements().unwrap_or(0) * facts.kind.bytes()];
            self.read(at, &mut bytes)?;
            Ok(Tensor::from_le_bytes(facts.clone(), &bytes)?)
        };
        self.plan.outputs.iter().enumerate().map(|(at, (_, facts))| output(at, facts)).collect()
    }

    /// Writes one of the inputs, in little-endian bytes, from its beginning on. Inputs must be written before every launch.
    pub fn write(&self, input: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        let (buffer, _) = self.plan.inputs[input];
        // OpenCL 1.2 takes no write of nothing.
        if bytes.is_empty() {
            return Ok(());
        }
        self.device.write(&self.buffers[buffer.0 as usize], 0, bytes)
    }

    /// Starts everything; what is read after it waits for it.
    pub fn launch(&self) -> Result<(), DeviceError> {
        (0..self.kernels.len()).try_for_each(|at| self.start(at))
    }

    /// Runs one launch after the other and says of each, by its place in the plan, when it is over: slower than [`Session::launch`], for finding out where
    /// time goes.
    pub fn launch_each(&self, mut over: impl FnMut(usize)) -> Result<(), DeviceError> {
        for at in 0..self.kernels.len() {
            self.start(at)?;
            self.device.finish()?;
            over(at);
        }
        Ok(())
    }

    fn start(&self, at: usize) -> Result<(), DeviceError> {
        let launch = &self.plan.launches[at];
        let [global, local] = [launch.global, self.plan.texts[launch.text].group].map(sizes);
        self.device.launch(&self.kernels[at], &Launch { global, offset: vec![0; 3], local })
    }

    /// What is run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads an output's first bytes, little-endian, NaN canonical.
    pub fn read(&self, output: usize, into: &mut [u8]) -> Result<(), DeviceError> {
        let (buffer, facts) = &self.plan.outputs[output];
        if into.is_empty() {
            return Ok(());
        }
        self.device.read(&self.buffers[buffer.0 as usize], 0, into)?;
        if facts.kind == Kind::F32 {
            tensor::make_canonical(into);
        }
        Ok(())
    }
}

fn sizes(sizes: [usize; 3]) -> Vec<u64> {
    sizes.map(|size| size as u64).to_vec()
}
