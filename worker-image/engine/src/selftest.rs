//! The small self-test whose answers are a device's class: signed zeros, NaN, denormals, fma, integers, several group sizes.
//!
//! A class is a label: devices of one class may be expected to agree. It proves nothing, and nobody is paid or blamed for it.

use orion_protocol::cbor::{Part, frame_digest};
use orion_protocol::dtype::DType;
use orion_protocol::{Digest, Refusal};

use crate::device::{Bound, Device, DeviceError, Launch};

const SOURCE: &str = include_str!("selftest.cl");
/// The group sizes that are tried; a device that has no such groups answers with nothing.
const GROUP_SIZES: [u64; 4] = [1, 4, 16, 64];
/// Operands that are special, every one with every other.
const SPECIAL: [u32; 16] = [
    0x0000_0000, // +0
    0x8000_0000, // -0
    0x0000_0001, // smallest denormal
    0x807f_ffff, // largest denormal, negative
    0x0080_0000, // smallest normal
    0x3f80_0000, // 1
    0xbf80_0000, // -1
    0x3f80_0001, // the float after 1
    0x3eaa_aaab, // a third
    0x7f7f_ffff, // largest
    0xff7f_ffff, // largest, negative
    0x7f80_0000, // infinity
    0xff80_0000, // infinity, negative
    0x7fc0_0000, // NaN
    0x4b80_0000, // 2^24, where integers end
    0xffff_ffff, // NaN again; as an integer, all ones
];
const RANDOM: usize = 256;

/// The device's class.
pub fn class<D: Device>(device: &D) -> Result<Digest, Refusal> {
    Ok(answers(device)?)
}

fn answers<D: Device>(device: &D) -> Result<Digest, DeviceError> {
    let [a, b, c] = operands();
    let inputs = [upload(device, &a)?, upload(device, &b)?, upload(device, &c)?];
    let count = a.len() as u64;
    let mut answers = Vec::new();
    for (entry, words) in [("floats", 8), ("integers", 12)] {
        let mut kernel = device.build(SOURCE, entry)?;
        let out = device.allocate(count * words * 4)?;
        for (index, input) in (0..).zip(&inputs) {
            device.bind(&mut kernel, index, Bound::Buffer(input))?;
        }
        device.bind(&mut kernel, 3, Bound::Buffer(&out))?;
        device.launch(&kernel, &Launch { global: vec![count], offset: vec![0], local: vec![1] })?;
        answers.push(download(device, &out, count * words * 4)?);
    }
    let mut kernel = device.build(SOURCE, "groups")?;
    let most = device.limits().group.min(device.limits().group_dims[0]).min(device.kernel_group(&kernel)?);
    for size in GROUP_SIZES {
        if size > most {
            answers.push(Vec::new());
            continue;
        }
        let items = count / 64 * size;
        let out = device.allocate(items * 8)?;
        device.bind(&mut kernel, 0, Bound::Buffer(&inputs[0]))?;
        device.bind(&mut kernel, 1, Bound::Local(size * DType::Uint32.size()))?;
        device.bind(&mut kernel, 2, Bound::Buffer(&out))?;
        device.launch(&kernel, &Launch { global: vec![items], offset: vec![0], local: vec![size] })?;
        answers.push(download(device, &out, items * 8)?);
    }
    let parts: Vec<Part<'_>> = answers.iter().map(|answer| Part::Bytes(answer)).collect();
    Ok(frame_digest("orion/device-class/v1", &parts))
}

/// Three columns: every special value with every other, then random bits of moderate exponents.
fn operands() -> [Vec<u32>; 3] {
    let mut columns = [const { Vec::new() }; 3];
    for (at, x) in SPECIAL.iter().enumerate() {
        for (other, y) in SPECIAL.iter().enumerate() {
            let third = SPECIAL[(at * 5 + other * 3) % SPECIAL.len()];
            columns.iter_mut().zip([*x, *y, third]).for_each(|(column, value)| column.push(value));
        }
    }
    let mut state = 0x9e37_79b9_u32;
    let mut random = || {
        // xorshift32
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let exponent = 97 + (state >> 9) % 60;
        (state & 0x807f_ffff) | exponent << 23
    };
    for _ in 0..RANDOM {
        for column in &mut columns {
            column.push(random());
        }
    }
    columns
}

fn upload<D: Device>(device: &D, words: &[u32]) -> Result<D::Buffer, DeviceError> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let buffer = device.allocate(bytes.len() as u64)?;
    device.write(&buffer, 0, &bytes)?;
    Ok(buffer)
}

fn download<D: Device>(device: &D, buffer: &D::Buffer, bytes: u64) -> Result<Vec<u8>, DeviceError> {
    let mut out = vec![0; usize::try_from(bytes).unwrap_or_default()];
    device.read(buffer, 0, &mut out)?;
    Ok(out)
}
