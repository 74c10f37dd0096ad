//! The calls of the driver that Rust cannot vouch for. Everything here is private to the backend, which has checked every
//! offset and length against the buffer before.
#![expect(unsafe_code, reason = "this is the seam to the OpenCL driver, which is written in C")]

use std::ffi::c_void;
use std::ptr;

use ocl::core::{self, ArgVal, CommandQueue, Context, Kernel, Mem, MemFlags, Result};
use orion_protocol::dtype::DType;

use orion_engine::device::Launch;

pub(super) fn create_buffer(context: &Context, bytes: usize) -> Result<Mem> {
    // SAFETY: no host pointer is passed, so READ_WRITE is the only flag and the right one; the driver refuses bad sizes.
    unsafe { core::create_buffer::<_, u8>(context, MemFlags::READ_WRITE, bytes, None) }
}

pub(super) fn write(queue: &CommandQueue, mem: &Mem, offset: usize, data: &[u8]) -> Result<()> {
    // SAFETY: the call blocks until the driver has read all of `data`, which is borrowed for as long.
    unsafe { core::enqueue_write_buffer(queue, mem, true, offset, data, None::<()>, None::<()>) }
}

pub(super) fn read(queue: &CommandQueue, mem: &Mem, offset: usize, into: &mut [u8]) -> Result<()> {
    // SAFETY: the call blocks until the driver has filled `into`, which is borrowed mutably for as long and is initialised.
    unsafe { core::enqueue_read_buffer(queue, mem, true, offset, into, None::<()>, None::<()>) }
}

pub(super) fn bind_buffer(kernel: &Kernel, index: u32, mem: &Mem) -> Result<()> {
    core::set_kernel_arg(kernel, index, ArgVal::mem(mem))
}

pub(super) fn bind_value(kernel: &Kernel, index: u32, dtype: DType, bits: u64) -> Result<()> {
    let bytes = bits.to_le_bytes();
    let size = usize::try_from(dtype.size()).unwrap_or(bytes.len()).min(bytes.len());
    // SAFETY: `bytes` outlives the call, which copies `size` bytes, and `size` is at most its length.
    let value = unsafe { ArgVal::from_raw(size, bytes.as_ptr().cast::<c_void>(), false) };
    core::set_kernel_arg(kernel, index, value)
}

pub(super) fn bind_local(kernel: &Kernel, index: u32, bytes: usize) -> Result<()> {
    // SAFETY: a null value with a size is how local memory is asked for; nothing is read.
    let value = unsafe { ArgVal::from_raw(bytes, ptr::null(), false) };
    core::set_kernel_arg(kernel, index, value)
}

pub(super) fn launch(queue: &CommandQueue, kernel: &Kernel, launch: &Launch) -> Result<()> {
    let Launch { global, offset, local } = launch;
    let dimensions = u32::try_from(global.len().min(3)).unwrap_or(3);
    let (global, offset, local) = (three(global, 1), three(offset, 0), three(local, 1));
    // SAFETY: on the host's side the three arrays outlive the call, which reads `dimensions <= 3` entries of each, and the
    // bound buffers are kept alive beside the kernel until the queue is done with them (OpenCL retains what is enqueued).
    // What the kernel itself reads and writes is a stranger's doing and can be anything; the process exists to contain it.
    unsafe {
        core::enqueue_kernel(queue, kernel, dimensions, Some(offset), &global, Some(local), None::<()>, None::<()>)
    }
}

/// The first three entries, filled up.
fn three(sizes: &[u64], rest: usize) -> [usize; 3] {
    let at = |index: usize| sizes.get(index).and_then(|size| usize::try_from(*size).ok()).unwrap_or(rest);
    [at(0), at(1), at(2)]
}
