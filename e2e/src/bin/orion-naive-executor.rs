//! `orion-naive-executor`: the executor, but for one thing: it compiles what [`orion_e2e::naive`] hides from the scan of a kernel's text. So
//! attacks in native code reach the sandbox. For tests: it is in no shipped image.

use std::process::ExitCode;

use orion_e2e::naive;
use orion_engine::device::{Bound, Device, DeviceError, Launch, Limits, Param};
use orion_opencl::{Buffer, Kernel, OpenCl};

fn main() -> ExitCode {
    orion_worker::far_side::run(|| OpenCl::open().map(Naive))
}

/// The device, whose compiler sees more than the scan did.
struct Naive(OpenCl);

impl Device for Naive {
    type Buffer = Buffer;
    type Kernel = Kernel;

    fn limits(&self) -> &Limits {
        self.0.limits()
    }

    fn driver(&self) -> &str {
        self.0.driver()
    }

    fn build(&self, source: &str, entry_point: &str) -> Result<Kernel, DeviceError> {
        self.0.build(&naive::uncover(source), entry_point)
    }

    fn again(&self, kernel: &Kernel) -> Result<Kernel, DeviceError> {
        self.0.again(kernel)
    }

    fn params(&self, kernel: &Kernel) -> Result<Vec<Param>, DeviceError> {
        self.0.params(kernel)
    }

    fn required_group(&self, kernel: &Kernel) -> Result<Option<[u64; 3]>, DeviceError> {
        self.0.required_group(kernel)
    }

    fn kernel_group(&self, kernel: &Kernel) -> Result<u64, DeviceError> {
        self.0.kernel_group(kernel)
    }

    fn allocate(&self, bytes: u64) -> Result<Buffer, DeviceError> {
        self.0.allocate(bytes)
    }

    fn write(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.0.write(buffer, offset, data)
    }

    fn read(&self, buffer: &Buffer, offset: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.0.read(buffer, offset, into)
    }

    fn fill(&self, buffer: &Buffer, byte: u8, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        self.0.fill(buffer, byte, offset, bytes)
    }

    fn copy(&self, from: (&Buffer, u64), to: (&Buffer, u64), bytes: u64) -> Result<(), DeviceError> {
        self.0.copy(from, to, bytes)
    }

    fn bind(&self, kernel: &mut Kernel, index: u32, bound: Bound<'_, Buffer>) -> Result<(), DeviceError> {
        self.0.bind(kernel, index, bound)
    }

    fn launch(&self, kernel: &Kernel, launch: &Launch) -> Result<(), DeviceError> {
        self.0.launch(kernel, launch)
    }

    fn finish(&self) -> Result<(), DeviceError> {
        self.0.finish()
    }
}
