//! A job's inputs on the device, and whether they still are what they were.
//!
//! A kernel that casts const away can store into them, and would spoil what later units compute: bits would come to depend on
//! what ran before, and an honest worker would look like a liar. Read-only buffers do not help, PoCL lets such stores land. So
//! no rows are given out before the inputs were compared with the files they came from. Comparing is at the speed of memory
//! (64 MiB take 12 ms on PoCL, a hash takes twenty times as long) and catches carelessness and tricks within OpenCL C; a kernel
//! that finds its way to the copy in this process was never contained by the language.

use std::sync::Arc;

use orion_protocol::{Reason, Refusal};

use crate::device::{Device, DeviceError};
use crate::load::{InputSize, Load};

/// Bytes read and compared at a time.
const CHUNK: usize = 1 << 20;

/// An input: its buffer, and the file whose data it holds.
pub(crate) struct Input<B> {
    pub(crate) buffer: B,
    file: Arc<Vec<u8>>,
    at: usize,
}

impl<B> Input<B> {
    fn data(&self) -> &[u8] {
        &self.file[self.at..]
    }
}

/// Puts all inputs on the device.
pub(crate) fn upload<D: Device>(
    device: &D,
    load: &Load,
    sizes: &[InputSize],
) -> Result<Vec<Input<D::Buffer>>, DeviceError> {
    let one = |(file, size): (&Arc<Vec<u8>>, &InputSize)| {
        let input = Input { buffer: device.allocate(size.bytes)?, file: Arc::clone(file), at: size.at };
        device.write(&input.buffer, 0, input.data())?;
        Ok(input)
    };
    load.inputs.iter().zip(sizes).map(one).collect()
}

/// The first input that is not what it was.
pub(crate) fn altered<D: Device>(device: &D, inputs: &[Input<D::Buffer>]) -> Result<Option<usize>, DeviceError> {
    let longest = inputs.iter().map(|input| input.data().len()).max().unwrap_or(0);
    let mut have = vec![0; longest.min(CHUNK)];
    for (number, input) in inputs.iter().enumerate() {
        let mut at = 0;
        for want in input.data().chunks(CHUNK) {
            let have = &mut have[..want.len()];
            device.read(&input.buffer, at, have)?;
            if have != want {
                return Ok(Some(number));
            }
            at += want.len() as u64;
        }
    }
    Ok(None)
}

/// Refuses what was computed from inputs that changed meanwhile, and puts them right for what comes next.
pub(crate) fn check<D: Device>(device: &D, inputs: &[Input<D::Buffer>]) -> Result<(), Refusal> {
    let Some(number) = altered(device, inputs)? else { return Ok(()) };
    inputs.iter().try_for_each(|input| device.write(&input.buffer, 0, input.data()))?;
    Err(Refusal::new(Reason::KernelFault, format!("the kernel wrote to input {number}")))
}
