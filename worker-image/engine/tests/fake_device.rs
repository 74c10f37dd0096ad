//! The engine on a device that is not OpenCL: what it asks of a device can be counted, and what a real device does by chance
//! can be done on purpose.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Kernel, words};
use orion_engine::device::{Bound, Device, DeviceError, Launch, Limits, Param, Space};
use orion_engine::session::Library;
use orion_engine::{DEFAULT_MEMORY, Job};
use orion_protocol::Reason;
use orion_protocol::dtype::DType;

/// Runs one kernel: item i stores i + 1, and perhaps the group's size.
struct Fake {
    shows_groups: bool,
    out_of_memory: bool,
    asked: RefCell<Asked>,
    limits: Limits,
}

/// What was asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    launches: u64,
    filled: u64,
    copied: u64,
    written: u64,
    reads: u64,
}

type Memory = Rc<RefCell<Vec<u8>>>;

impl Fake {
    fn new() -> Fake {
        let limits = Limits {
            buffer_bytes: 1 << 40,
            memory_bytes: 1 << 40,
            local_bytes: 1 << 10,
            group: 64,
            group_dims: [64; 3],
            compute_units: 1,
            lanes: 8,
        };
        Fake { shows_groups: false, out_of_memory: false, asked: RefCell::default(), limits }
    }

    fn since_last(&self) -> Asked {
        std::mem::take(&mut self.asked.borrow_mut())
    }
}

fn range(offset: u64, bytes: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + bytes
}

impl Device for Fake {
    type Buffer = Memory;
    type Kernel = Option<Memory>;

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn driver(&self) -> &'static str {
        "fake"
    }

    fn build(&self, source: &str, entry_point: &str) -> Result<Self::Kernel, DeviceError> {
        assert!(source.contains("#line 1") && entry_point == "run");
        Ok(None)
    }

    fn again(&self, _: &Self::Kernel) -> Result<Self::Kernel, DeviceError> {
        Ok(None)
    }

    fn params(&self, _: &Self::Kernel) -> Result<Vec<Param>, DeviceError> {
        Ok(vec![Param {
            name: "out".into(),
            type_name: "unsigned int *".into(),
            space: Space::Global,
            is_const: false,
        }])
    }

    fn required_group(&self, _: &Self::Kernel) -> Result<Option<[u64; 3]>, DeviceError> {
        Ok(None)
    }

    fn kernel_group(&self, _: &Self::Kernel) -> Result<u64, DeviceError> {
        Ok(self.limits.group)
    }

    fn allocate(&self, bytes: u64) -> Result<Memory, DeviceError> {
        if self.out_of_memory {
            return Err(DeviceError::OutOfMemory { doing: "allocate" });
        }
        Ok(Rc::new(RefCell::new(vec![0x77; usize::try_from(bytes).unwrap()])))
    }

    fn write(&self, buffer: &Memory, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.asked.borrow_mut().written += data.len() as u64;
        buffer.borrow_mut()[range(offset, data.len())].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, buffer: &Memory, offset: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.asked.borrow_mut().reads += 1;
        into.copy_from_slice(&buffer.borrow()[range(offset, into.len())]);
        Ok(())
    }

    fn fill(&self, buffer: &Memory, byte: u8, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        self.asked.borrow_mut().filled += bytes;
        buffer.borrow_mut()[range(offset, usize::try_from(bytes).unwrap())].fill(byte);
        Ok(())
    }

    fn copy(&self, from: (&Memory, u64), to: (&Memory, u64), bytes: u64) -> Result<(), DeviceError> {
        self.asked.borrow_mut().copied += bytes;
        let bytes = usize::try_from(bytes).unwrap();
        to.0.borrow_mut()[range(to.1, bytes)].copy_from_slice(&from.0.borrow()[range(from.1, bytes)]);
        Ok(())
    }

    fn bind(&self, kernel: &mut Self::Kernel, _: u32, bound: Bound<'_, Memory>) -> Result<(), DeviceError> {
        if let Bound::Buffer(buffer) = bound {
            *kernel = Some(Rc::clone(buffer));
        }
        Ok(())
    }

    fn launch(&self, kernel: &Self::Kernel, launch: &Launch) -> Result<(), DeviceError> {
        self.asked.borrow_mut().launches += 1;
        let Launch { global, offset, local } = launch;
        assert!(global.iter().zip(local).all(|(global, local)| global % local == 0), "{launch:?}");
        let mut memory = kernel.as_ref().unwrap().borrow_mut();
        for item in offset[0]..offset[0] + global[0] {
            let shown = if self.shows_groups { local[0] * 1000 } else { 0 };
            let value = u32::try_from(item + 1 + shown).unwrap();
            memory[range(item * 4, 4)].copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

fn kernel(items: u64) -> Kernel {
    Kernel::new("__kernel void run(__global uint *out) {}", items).unit(8).output(DType::Uint32, &[])
}

#[test]
fn a_run_costs_its_own_units_and_not_the_whole_buffer() {
    let device = Fake::new();
    let mut costs = Vec::new();
    for items in [64, 1 << 16] {
        let mut job = Job::load(&device, &kernel(items).load, DEFAULT_MEMORY, &mut Library::default()).unwrap();
        device.since_last();
        let rows = job.run(2, 3, |_| {}).unwrap();
        assert_eq!(words(&rows[0]), (17..41).collect::<Vec<_>>());
        costs.push(device.since_last());
    }
    // The first unit is read alone, the other two are put aside and read together.
    assert_eq!(costs[0], Asked { launches: 3, filled: 96, copied: 64, written: 0, reads: 2 });
    assert_eq!(costs[1], costs[0]);
}

#[test]
fn a_difference_between_group_sizes_is_the_kernels_fault() {
    let device = Fake { shows_groups: true, ..Fake::new() };
    let mut job = Job::load(&device, &kernel(64).load, DEFAULT_MEMORY, &mut Library::default()).unwrap();
    let refusal = job.preflight().unwrap_err();
    assert_eq!(refusal.reason, Reason::KernelNotUnitPure);
    assert!(refusal.message.contains("work-group size"), "{refusal}");
    let device = Fake::new();
    assert!(Job::load(&device, &kernel(64).load, DEFAULT_MEMORY, &mut Library::default()).unwrap().preflight().is_ok());
}

#[test]
fn a_device_without_memory_says_so() {
    let device = Fake { out_of_memory: true, ..Fake::new() };
    let refusal = Job::load(&device, &kernel(64).load, DEFAULT_MEMORY, &mut Library::default()).err().unwrap();
    assert_eq!(refusal.reason, Reason::OutOfMemory);
}
