//! What the engine asks of a device, so that a backend can be replaced: buffers, kernels, and one queue in order.
//!
//! Commands take effect in the order in which they were given. `fill`, `copy` and `launch` may return before they are done;
//! `write`, `read` and `finish` do not. A device never chooses anything: sizes, offsets and groups are the caller's.

use orion_protocol::dtype::DType;
use orion_protocol::{Reason, Refusal};

/// What a device can hold and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest single buffer, in bytes.
    pub buffer_bytes: u64,
    /// All buffers together, in bytes.
    pub memory_bytes: u64,
    /// Local memory of a work-group, in bytes.
    pub local_bytes: u64,
    /// Work-items in a work-group.
    pub group: u64,
    /// Work-items in a work-group, by dimension.
    pub group_dims: [u64; 3],
    /// Work-groups that run at the same time.
    pub compute_units: u64,
    /// Floats in one of the device's registers.
    pub lanes: u32,
}

/// Where a kernel parameter points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// `__global`.
    Global,
    /// `__constant`.
    Constant,
    /// `__local`.
    Local,
    /// Passed by value.
    Private,
}

/// A kernel parameter as the compiler saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type without qualifiers: `uchar*`, `uint`.
    pub type_name: String,
    /// Where it points.
    pub space: Space,
    /// Whether what it points to is const.
    pub is_const: bool,
}

/// What a kernel parameter is set to.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'a, B> {
    /// A buffer, whole.
    Buffer(&'a B),
    /// A scalar: its type, and its little-endian bits in the low bytes.
    Value(DType, u64),
    /// Local memory of so many bytes.
    Local(u64),
}

/// One launch. All three have as many entries as the index space has dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Work-items.
    pub global: Vec<u64>,
    /// First work-item.
    pub offset: Vec<u64>,
    /// Work-items in a group; divides `global`.
    pub local: Vec<u64>,
}

/// A device that runs kernels.
pub trait Device {
    /// Memory on the device.
    type Buffer;
    /// A compiled kernel with its bound arguments.
    type Kernel;

    /// What it can hold and run.
    fn limits(&self) -> &Limits;

    /// Platform, driver version and device name, for people.
    fn driver(&self) -> &str;

    /// Compiles `source` as OpenCL C 1.2 and picks the kernel `entry_point`.
    fn build(&self, source: &str, entry_point: &str) -> Result<Self::Kernel, DeviceError>;

    /// The same kernel once more, without a second compilation and with nothing bound.
    fn again(&self, kernel: &Self::Kernel) -> Result<Self::Kernel, DeviceError>;

    /// The kernel's parameters, in order.
    fn params(&self, kernel: &Self::Kernel) -> Result<Vec<Param>, DeviceError>;

    /// The work-group size that the kernel's own text demands.
    fn required_group(&self, kernel: &Self::Kernel) -> Result<Option<[u64; 3]>, DeviceError>;

    /// Work-items that a group of this kernel may have here.
    fn kernel_group(&self, kernel: &Self::Kernel) -> Result<u64, DeviceError>;

    /// Makes a buffer of `bytes` bytes, at least 1; its content is unspecified.
    fn allocate(&self, bytes: u64) -> Result<Self::Buffer, DeviceError>;

    /// Copies `data` to `buffer` from byte `offset` on.
    fn write(&self, buffer: &Self::Buffer, offset: u64, data: &[u8]) -> Result<(), DeviceError>;

    /// Copies from byte `offset` of `buffer` on until `into` is full.
    fn read(&self, buffer: &Self::Buffer, offset: u64, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Sets `bytes` bytes from `offset` on to `byte`.
    fn fill(&self, buffer: &Self::Buffer, byte: u8, offset: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Copies `bytes` bytes between two different buffers, each given with its offset.
    fn copy(&self, from: (&Self::Buffer, u64), to: (&Self::Buffer, u64), bytes: u64) -> Result<(), DeviceError>;

    /// Sets parameter `index`, for launches from now on.
    fn bind(&self, kernel: &mut Self::Kernel, index: u32, bound: Bound<'_, Self::Buffer>) -> Result<(), DeviceError>;

    /// Runs the kernel.
    fn launch(&self, kernel: &Self::Kernel, launch: &Launch) -> Result<(), DeviceError>;

    /// Waits until everything is done.
    fn finish(&self) -> Result<(), DeviceError>;
}

/// Why a device did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is none.
    #[error("there is no OpenCL device here: {0}")]
    NoDevice(String),
    /// The kernel does not compile.
    #[error("the kernel does not compile:\n{log}")]
    Build {
        /// The compiler's own words.
        log: String,
    },
    /// The program has no such kernel.
    #[error("the source has no kernel {name}")]
    NoKernel {
        /// The entry point that was asked for.
        name: String,
    },
    /// No memory left, on the device or for the driver.
    #[error("{doing}: out of memory")]
    OutOfMemory {
        /// What was attempted.
        doing: &'static str,
    },
    /// An access beyond a buffer's end, caught before the driver saw it.
    #[error("{doing}: bytes {offset} to {end} of a buffer of {bytes}")]
    OutOfRange {
        /// What was attempted.
        doing: &'static str,
        /// First byte.
        offset: u64,
        /// One past the last byte.
        end: u64,
        /// The buffer's length.
        bytes: u64,
    },
    /// Anything else that the driver said.
    #[error("{doing}: {why}")]
    Driver {
        /// What was attempted.
        doing: &'static str,
        /// The driver's own words.
        why: String,
    },
}

impl DeviceError {
    /// The refusal for a job that met this error.
    pub fn refusal(&self) -> Refusal {
        let reason = match self {
            DeviceError::Build { .. } => Reason::CompileFailed,
            DeviceError::NoKernel { .. } => Reason::InvalidSpec,
            DeviceError::OutOfMemory { .. } => Reason::OutOfMemory,
            DeviceError::NoDevice(_) | DeviceError::OutOfRange { .. } => Reason::InternalError,
            DeviceError::Driver { .. } => Reason::KernelFault,
        };
        Refusal::new(reason, self.to_string())
    }
}

impl From<DeviceError> for Refusal {
    fn from(error: DeviceError) -> Refusal {
        error.refusal()
    }
}
