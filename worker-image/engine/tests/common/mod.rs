//! Builders for jobs on the real OpenCL runtime of this machine.
#![expect(dead_code, reason = "each test binary uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use orion_engine::session::Library;
use orion_engine::{DEFAULT_MEMORY, Job, Load};
use orion_opencl::OpenCl;
use orion_protocol::dtype::DType;
use orion_protocol::npy::Header;
use orion_protocol::task::{Argument, Combine, KernelWorkload, Layout, OutputSpec, UnitTable, Workload};
use orion_protocol::{Reason, Refusal};

/// A device, or the test fails: these tests are about the real thing.
pub fn device() -> OpenCl {
    OpenCl::open().unwrap()
}

/// A job under construction.
#[derive(Clone)]
pub struct Kernel {
    pub load: Load,
}

impl Kernel {
    /// A kernel `run` over `items` items, all of them one unit.
    pub fn new(source: &str, items: u64) -> Kernel {
        let kernel = KernelWorkload {
            source: source.to_owned(),
            entry_point: "run".to_owned(),
            global_size: vec![items],
            local_size: None,
            defines: Vec::new(),
            arguments: Vec::new(),
        };
        let units = UnitTable { items, items_per_unit: items, units_per_shard: 1, work_per_item: 1 };
        Kernel { load: Load { workload: Workload::Kernel(kernel), units, outputs: Vec::new(), inputs: Vec::new() } }
    }

    pub fn edit(mut self, edit: impl FnOnce(&mut KernelWorkload)) -> Kernel {
        let Workload::Kernel(kernel) = &mut self.load.workload else { panic!("it is a kernel") };
        edit(kernel);
        self
    }

    pub fn unit(mut self, items: u64) -> Kernel {
        self.load.units.items_per_unit = items;
        self
    }

    pub fn local(self, size: &[u64]) -> Kernel {
        self.edit(|kernel| kernel.local_size = Some(size.to_vec()))
    }

    pub fn global(self, size: &[u64]) -> Kernel {
        self.edit(|kernel| kernel.global_size = size.to_vec())
    }

    pub fn define(self, name: &str, value: &str) -> Kernel {
        self.edit(|kernel| kernel.defines.push((name.to_owned(), value.to_owned())))
    }

    pub fn argument(self, argument: Argument) -> Kernel {
        self.edit(|kernel| kernel.arguments.push(argument))
    }

    /// An input, and the argument that binds it.
    pub fn input(mut self, dtype: DType, shape: &[u64], data: &[u8]) -> Kernel {
        let at = u32::try_from(self.load.inputs.len()).unwrap();
        self.load.inputs.push(npy(dtype, shape, data).into());
        self.argument(Argument::Input(at))
    }

    /// An output, and the argument that binds it.
    pub fn output(mut self, dtype: DType, rest: &[u64]) -> Kernel {
        let at = self.load.outputs.len();
        let name = format!("out{at}").parse().unwrap();
        let shape = [&[self.load.units.items], rest].concat();
        self.load.outputs.push(OutputSpec { name, dtype, shape, layout: None });
        self.argument(Argument::Output(u32::try_from(at).unwrap()))
    }

    /// An output of which each item keeps as many entries as the output `lengths` says, with the argument that binds it.
    pub fn kept(mut self, dtype: DType, rest: &[u64], lengths: u32) -> Kernel {
        self = self.output(dtype, rest);
        self.load.outputs.last_mut().unwrap().layout = Some(Layout::Lengths(lengths));
        self
    }

    /// An output of which each unit has a copy, with the argument that binds it.
    pub fn copies(mut self, dtype: DType, shape: &[u64]) -> Kernel {
        self = self.output(dtype, &[]);
        let output = self.load.outputs.last_mut().unwrap();
        (output.shape, output.layout) = (shape.to_vec(), Some(Layout::Unit(Combine::Sum)));
        self
    }

    pub fn job<'d>(&self, device: &'d OpenCl) -> Result<Job<'d, OpenCl>, Refusal> {
        Job::load(device, &self.load, DEFAULT_MEMORY, &mut Library::default())
    }

    /// All units in one run, the first output as numbers.
    pub fn run(&self, device: &OpenCl) -> Vec<u32> {
        let mut job = self.job(device).unwrap();
        let rows = job.run(0, self.load.units.units(), |_| {}).unwrap();
        words(&rows[0])
    }

    pub fn refusal(&self, device: &OpenCl) -> Refusal {
        self.job(device).err().expect("the job should be refused")
    }
}

/// Loading is refused with this reason and these words.
pub fn check_refused(device: &OpenCl, kernel: &Kernel, reason: Reason, words: &str) {
    let refusal = kernel.refusal(device);
    assert_eq!(refusal.reason, reason, "{refusal}");
    assert!(refusal.message.contains(words), "{words:?} is not in: {refusal}");
}

pub fn npy(dtype: DType, shape: &[u64], data: &[u8]) -> Vec<u8> {
    [Header { dtype, shape: shape.to_vec() }.to_bytes(), data.to_vec()].concat()
}

pub fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Numbers that look random and are the same every time.
pub fn noise(seed: u32, count: usize) -> Vec<u32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..count).map(|_| next()).collect()
}
