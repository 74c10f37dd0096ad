//! `orion-executor`: the far side of an executor on this machine's OpenCL device.

use std::process::ExitCode;

use orion_opencl::OpenCl;

fn main() -> ExitCode {
    orion_worker::far_side::run(OpenCl::open)
}
