//! The self-test: a device that computes as it must passes, one that does not is told apart by the probe that shows it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::Cell;

use orion_engine::device::{Bound, Device, DeviceError, Launch, Limits, Param};
use orion_engine::selftest;
use orion_opencl::OpenCl;

/// A device that takes some text for another.
struct Wrong {
    device: OpenCl,
    from: &'static str,
    to: &'static str,
    /// Whether it ever did.
    met: Cell<bool>,
}

impl Device for Wrong {
    type Buffer = orion_opencl::Buffer;
    type Kernel = orion_opencl::Kernel;

    fn limits(&self) -> &Limits {
        self.device.limits()
    }

    fn driver(&self) -> &str {
        self.device.driver()
    }

    fn build(&self, source: &str, entry_point: &str) -> Result<Self::Kernel, DeviceError> {
        self.met.set(self.met.get() || source.contains(self.from));
        self.device.build(&source.replace(self.from, self.to), entry_point)
    }

    fn again(&self, kernel: &Self::Kernel) -> Result<Self::Kernel, DeviceError> {
        self.device.again(kernel)
    }

    fn params(&self, kernel: &Self::Kernel) -> Result<Vec<Param>, DeviceError> {
        self.device.params(kernel)
    }

    fn required_group(&self, kernel: &Self::Kernel) -> Result<Option<[u64; 3]>, DeviceError> {
        self.device.required_group(kernel)
    }

    fn kernel_group(&self, kernel: &Self::Kernel) -> Result<u64, DeviceError> {
        self.device.kernel_group(kernel)
    }

    fn allocate(&self, bytes: u64) -> Result<Self::Buffer, DeviceError> {
        self.device.allocate(bytes)
    }

    fn write(&self, buffer: &Self::Buffer, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.device.write(buffer, offset, data)
    }

    fn read(&self, buffer: &Self::Buffer, offset: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.device.read(buffer, offset, into)
    }

    fn fill(&self, buffer: &Self::Buffer, byte: u8, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        self.device.fill(buffer, byte, offset, bytes)
    }

    fn copy(&self, from: (&Self::Buffer, u64), to: (&Self::Buffer, u64), bytes: u64) -> Result<(), DeviceError> {
        self.device.copy(from, to, bytes)
    }

    fn bind(&self, kernel: &mut Self::Kernel, index: u32, bound: Bound<'_, Self::Buffer>) -> Result<(), DeviceError> {
        self.device.bind(kernel, index, bound)
    }

    fn launch(&self, kernel: &Self::Kernel, launch: &Launch) -> Result<(), DeviceError> {
        self.device.launch(kernel, launch)
    }

    fn finish(&self) -> Result<(), DeviceError> {
        self.device.finish()
    }
}

/// What a device that takes `from` for `to` is told: that it computes wrongly, beginning with `probe`, and another class.
fn told(from: &'static str, to: &'static str, probe: &str) {
    let (class, fault) = selftest::run(&OpenCl::open().unwrap()).unwrap();
    assert_eq!(fault, None);
    let wrong = Wrong { device: OpenCl::open().unwrap(), from, to, met: Cell::new(false) };
    let (other, fault) = selftest::run(&wrong).unwrap();
    assert!(wrong.met.get(), "no text has {from}");
    let fault = fault.unwrap_or_default();
    assert!(fault.starts_with(probe) && fault.contains(", not "), "{to}: {fault:?}");
    assert!(fault.len() <= 160 && fault.is_ascii() && other != class, "{fault:?}");
}

#[test]
fn a_device_that_computes_wrongly_is_told_by_the_probe_that_shows_it() {
    let flushed = "bits((as_uint(x + y) & 0x7f800000u) == 0 ? copysign(0.0f, x + y) : x + y)";
    for (from, to, probe) in [
        ("bits(x + y)", flushed, "x + y of "),
        ("bits(fma(x, y, z))", "bits(x * y + z)", "fma(x, y, z) of "),
        ("bits(product + z)", "bits(fma(x, y, z))", "x * y + z of "),
        ("(x < y ? 1u : 0u)", "(x < y || x != x ? 1u : 0u)", "comparisons of x and y of "),
        ("mul_hi(x, y)", "(x * y)", "mul_hi(x, y) of "),
        ("s >> (y & 31u)", "x >> (y & 31u)", "int x >> y of "),
        ("0.1f, sum", "0.10000001f, sum", "work-item "),
        (
            "size = get_local_size(0) * get_local_size(1)",
            "size = get_local_size(0)",
            "work-item 0 in groups of 16 x 4 ",
        ),
    ] {
        told(from, to, probe);
    }
}

#[test]
fn a_device_that_gets_a_kernel_of_the_engine_wrong_is_told_which() {
    // A coefficient of another one's place; half of a constant lost; a product rounded where it may not be; taps from the last.
    told("float p = ORION_SIN_3;", "float p = ORION_SIN_2;", "sin of ");
    if OpenCl::open().unwrap().limits().lanes == 1 {
        return;
    }
    for (from, to, probe) in [
        ("r = fma(-k, K16(ORION_LN2_LO), high)", "r = high", "exp16 of "),
        (
            "fma((float16)((AT)[i * STRIDE]), b[v], acc[i][v])",
            "(float16)((AT)[i * STRIDE]) * b[v] + acc[i][v]",
            "matrix product, ",
        ),
        ("TERM(&staged[t][k * cs + c])", "TERM(&staged[t][(ts - 1 - k) * cs + c])", "convolution, "),
    ] {
        told(from, to, probe);
    }
}
