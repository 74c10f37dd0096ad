//! The engine's OpenCL device, on crate `ocl`: the first GPU of any platform, else the first device of any kind, one context, one queue
//! in order. Only fallible core calls are used: `ocl`'s default platform panics where there is none, its async API is not
//! touched, and reads and writes block.
//!
//! This is the only crate with `unsafe`, in [`calls`], and the only one that links libOpenCL: executors and tests of devices have it, nothing else. What is checked here is what the host does; what a kernel's own code does to this
//! process's memory nobody can check, so the process that calls [`Device::launch`] must hold nothing worth stealing.

mod calls;
mod info;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::sync::{Mutex, PoisonError};

use ocl::core::{
    self, CommandQueue, Context, DeviceId, KernelWorkGroupInfo, KernelWorkGroupInfoResult, Mem, ProgramBuildInfo,
    ProgramBuildInfoResult, ProgramBuildStatus, Status,
};

use orion_engine::device::{Bound, Device, DeviceError, Launch, Limits, Param};

/// An OpenCL device with its context and queue.
#[derive(Debug)]
pub struct OpenCl {
    context: Context,
    queue: CommandQueue,
    device: DeviceId,
    limits: Limits,
    driver: String,
}

/// Memory on the device.
#[derive(Debug)]
pub struct Buffer {
    mem: Mem,
    bytes: u64,
}

/// A kernel, and the buffers it is bound to: the driver does not keep them alive.
#[derive(Debug)]
pub struct Kernel {
    program: core::Program,
    entry: String,
    raw: core::Kernel,
    bound: BTreeMap<u32, Mem>,
}

impl OpenCl {
    /// Opens the device.
    pub fn open() -> Result<OpenCl, DeviceError> {
        // PoCL says that it has no device while another thread is starting it.
        static STARTING: Mutex<()> = Mutex::new(());
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let (platform, device) = info::pick()?;
        drop(starting);
        let limits = info::limits(device)?;
        let driver = info::driver(platform, device)?;
        let context = core::create_context(None, &[device], None, None).map_err(failed("create a context"))?;
        let queue = core::create_command_queue(&context, device, None).map_err(failed("create a queue"))?;
        Ok(OpenCl { context, queue, device, limits, driver })
    }

    /// The compiler's own words, without the NUL that ends them.
    fn build_log(&self, program: &core::Program) -> String {
        match core::get_program_build_info(program, self.device, ProgramBuildInfo::BuildLog) {
            Ok(ProgramBuildInfoResult::BuildLog(log)) => log.trim_matches(['\0', '\n', ' ']).to_owned(),
            _ => "the compiler left no log".into(),
        }
    }

    fn group_info(&self, kernel: &Kernel, what: KernelWorkGroupInfo) -> Result<KernelWorkGroupInfoResult, DeviceError> {
        core::get_kernel_work_group_info(&kernel.raw, self.device, what).map_err(failed("ask for group sizes"))
    }
}

impl Device for OpenCl {
    type Buffer = Buffer;
    type Kernel = Kernel;

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn driver(&self) -> &str {
        &self.driver
    }

    fn build(&self, source: &str, entry_point: &str) -> Result<Kernel, DeviceError> {
        const DOING: &str = "compile the kernel";
        // Options are fixed: whatever the job defines is in the text. Argument information changes no code.
        let options = c_string("-cl-std=CL1.2 -cl-kernel-arg-info")?;
        let program =
            core::create_program_with_source(&self.context, &[c_string(source)?]).map_err(failed("read the source"))?;
        // Kept from its destructor until it is built: where PoCL's compiler runs out of memory, a C++ exception passes through here while the
        // program is locked, and to release it would wait for ever. The exception then ends the process.
        let program = ManuallyDrop::new(program);
        let built = core::build_program(&program, Some(&[self.device]), &options, None, None);
        let program = ManuallyDrop::into_inner(program);
        // A failed build whose log is empty comes back as Ok from `ocl`: the status decides.
        let status = core::get_program_build_info(&program, self.device, ProgramBuildInfo::BuildStatus);
        match (built, status.map_err(failed(DOING))?) {
            (Ok(()), ProgramBuildInfoResult::BuildStatus(ProgramBuildStatus::Success)) => {}
            (Err(error), _) if is_out_of_memory(&error) => return Err(DeviceError::OutOfMemory { doing: DOING }),
            _ => return Err(DeviceError::Build { log: self.build_log(&program) }),
        }
        match core::create_kernel(&program, entry_point) {
            Ok(kernel) => Ok(Kernel { program, entry: entry_point.to_owned(), raw: kernel, bound: BTreeMap::new() }),
            Err(error) if error.api_status() == Some(Status::CL_INVALID_KERNEL_NAME) => {
                Err(DeviceError::NoKernel { name: entry_point.to_owned() })
            }
            Err(error) => Err(failed("create the kernel")(error)),
        }
    }

    fn again(&self, kernel: &Kernel) -> Result<Kernel, DeviceError> {
        let Kernel { program, entry, .. } = kernel;
        let again = core::create_kernel(program, entry).map_err(failed("create the kernel"))?;
        Ok(Kernel { program: program.clone(), entry: entry.clone(), raw: again, bound: BTreeMap::new() })
    }

    fn params(&self, kernel: &Kernel) -> Result<Vec<Param>, DeviceError> {
        info::params(&kernel.raw)
    }

    fn required_group(&self, kernel: &Kernel) -> Result<Option<[u64; 3]>, DeviceError> {
        match self.group_info(kernel, KernelWorkGroupInfo::CompileWorkGroupSize)? {
            KernelWorkGroupInfoResult::CompileWorkGroupSize(size) if size != [0; 3] => {
                Ok(Some(size.map(|size| size as u64)))
            }
            _ => Ok(None),
        }
    }

    fn kernel_group(&self, kernel: &Kernel) -> Result<u64, DeviceError> {
        match self.group_info(kernel, KernelWorkGroupInfo::WorkGroupSize)? {
            KernelWorkGroupInfoResult::WorkGroupSize(size) => Ok(size as u64),
            _ => Ok(self.limits.group),
        }
    }

    fn allocate(&self, bytes: u64) -> Result<Buffer, DeviceError> {
        let mem = calls::create_buffer(&self.context, size(bytes)?).map_err(failed("allocate a buffer"))?;
        Ok(Buffer { mem, bytes })
    }

    fn write(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        const DOING: &str = "write to a buffer";
        let offset = buffer.within(DOING, offset, data.len() as u64)?;
        calls::write(&self.queue, &buffer.mem, offset, data).map_err(failed(DOING))
    }

    fn read(&self, buffer: &Buffer, offset: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        const DOING: &str = "read from a buffer";
        let offset = buffer.within(DOING, offset, into.len() as u64)?;
        calls::read(&self.queue, &buffer.mem, offset, into).map_err(failed(DOING))
    }

    fn fill(&self, buffer: &Buffer, byte: u8, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        const DOING: &str = "fill a buffer";
        let (offset, bytes) = (buffer.within(DOING, offset, bytes)?, size(bytes)?);
        let (queue, mem) = (&self.queue, &buffer.mem);
        // Wide patterns where they fit: drivers fill pattern by pattern.
        let filled = if offset % 8 == 0 && bytes % 8 == 0 {
            let word = u64::from_ne_bytes([byte; 8]);
            core::enqueue_fill_buffer(queue, mem, word, offset / 8, bytes / 8, None::<()>, None::<()>, None)
        } else {
            core::enqueue_fill_buffer(queue, mem, byte, offset, bytes, None::<()>, None::<()>, None)
        };
        filled.map_err(failed(DOING))
    }

    fn copy(&self, from: (&Buffer, u64), to: (&Buffer, u64), bytes: u64) -> Result<(), DeviceError> {
        const DOING: &str = "copy between buffers";
        let from_at = from.0.within(DOING, from.1, bytes)?;
        let to_at = to.0.within(DOING, to.1, bytes)?;
        let (from, to) = (&from.0.mem, &to.0.mem);
        core::enqueue_copy_buffer::<u8, _, _, _>(
            &self.queue,
            from,
            to,
            from_at,
            to_at,
            size(bytes)?,
            None::<()>,
            None::<()>,
        )
        .map_err(failed(DOING))
    }

    fn bind(&self, kernel: &mut Kernel, index: u32, bound: Bound<'_, Buffer>) -> Result<(), DeviceError> {
        let set = match bound {
            Bound::Buffer(buffer) => {
                kernel.bound.insert(index, buffer.mem.clone());
                calls::bind_buffer(&kernel.raw, index, &buffer.mem)
            }
            Bound::Value(dtype, bits) => calls::bind_value(&kernel.raw, index, dtype, bits),
            Bound::Local(bytes) => calls::bind_local(&kernel.raw, index, size(bytes)?),
        };
        set.map_err(failed("bind an argument"))
    }

    fn launch(&self, kernel: &Kernel, launch: &Launch) -> Result<(), DeviceError> {
        calls::launch(&self.queue, &kernel.raw, launch).map_err(failed("launch the kernel"))
    }

    fn finish(&self) -> Result<(), DeviceError> {
        core::finish(&self.queue).map_err(failed("run the kernel"))
    }
}

impl Buffer {
    /// The offset, if `bytes` bytes from there on are within the buffer.
    fn within(&self, doing: &'static str, offset: u64, bytes: u64) -> Result<usize, DeviceError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => size(offset),
            end => Err(DeviceError::OutOfRange { doing, offset, end: end.unwrap_or(u64::MAX), bytes: self.bytes }),
        }
    }
}

fn size(bytes: u64) -> Result<usize, DeviceError> {
    let doing = "address a buffer";
    usize::try_from(bytes).map_err(|error| DeviceError::Driver { doing, why: error.to_string() })
}

fn c_string(text: &str) -> Result<CString, DeviceError> {
    let doing = "pass text to the driver";
    CString::new(text).map_err(|error| DeviceError::Driver { doing, why: error.to_string() })
}

fn is_out_of_memory(error: &core::Error) -> bool {
    matches!(error.api_status(), Some(Status::CL_MEM_OBJECT_ALLOCATION_FAILURE | Status::CL_OUT_OF_HOST_MEMORY))
}

/// Turns the driver's error into ours.
fn failed(doing: &'static str) -> impl Fn(core::Error) -> DeviceError {
    move |error| {
        if is_out_of_memory(&error) {
            return DeviceError::OutOfMemory { doing };
        }
        let why = match error.api_status() {
            Some(status) => format!("{status:?}"),
            None => error.to_string(),
        };
        DeviceError::Driver { doing, why }
    }
}
