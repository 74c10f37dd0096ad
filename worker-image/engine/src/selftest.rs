//! The small self-test whose answers are a device's class: signed zeros, NaN, denormals, fma, integers, several group sizes; then what the engine
//! itself runs, its own functions and a small model.
//!
//! A class is a label: devices of one class may be expected to agree. It proves nothing, and nobody is paid or blamed for it. An answer that is
//! wrong is another thing: such a device would make a liar of an honest worker, and is given nothing.

mod expected;
mod own;

use orion_protocol::cbor::{Part, frame_digest};
use orion_protocol::dtype::DType;
use orion_protocol::{Digest, Refusal};

use crate::device::{Bound, Device, DeviceError, Launch};

const SOURCE: &str = include_str!("selftest.cl");
/// The group sizes that are tried, those of the engine's kernels among them; a device that has no such groups answers with nothing.
const GROUP_SIZES: [[u64; 2]; 6] = [[1, 1], [4, 1], [16, 1], [64, 1], [16, 4], [256, 1]];
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

/// What the probes of `floats` and `integers` are called, in the order of their answers.
const FLOATS: [&str; 8] = [
    "x + y",
    "x - y",
    "x * y",
    "x * y + z",
    "fma(x, y, z)",
    "comparisons of x and y",
    "int x as float",
    "uint z as float",
];
const INTEGERS: [&str; 12] = [
    "x * y + z",
    "mul_hi(x, y)",
    "x / y",
    "x % y",
    "int x >> y",
    "rotate(x, y)",
    "clz and popcount of x",
    "add_sat(x, y)",
    "sub_sat(x, y)",
    "a product of ulongs",
    "a quotient of ulongs",
    "convert_char_sat and convert_short_sat of x",
];

/// The device's class, and the first answer that is not what IEEE 754, OpenCL and the kernel set demand, in printable ASCII: such a device gives other bits than honest
/// ones.
pub fn run<D: Device>(device: &D) -> Result<(Digest, Option<String>), Refusal> {
    let mut found = Found::default();
    arithmetic(device, &mut found)?;
    own::functions(device, &mut found)?;
    own::model(device, &mut found)?;
    let parts: Vec<Part<'_>> = found.answers.iter().map(|answer| Part::Bytes(answer)).collect();
    Ok((frame_digest("orion/device-class/v2", &parts), found.fault))
}

/// What a device answered so far.
#[derive(Default)]
struct Found {
    answers: Vec<Vec<u8>>,
    /// The first answer that is wrong.
    fault: Option<String>,
}

impl Found {
    /// Takes in one kernel's answer; `name` says what a word of it is.
    fn take(&mut self, answer: Vec<u8>, expected: &[u32], name: impl Fn(usize) -> String) {
        let wrong = (0..expected.len()).find(|at| word(&answer, *at) != expected[*at]);
        if let (None, Some(at)) = (&self.fault, wrong) {
            self.fault = Some(format!("{} gives {:08x}, not {:08x}", name(at), word(&answer, at), expected[at]));
        }
        self.answers.push(answer);
    }
}

fn arithmetic<D: Device>(device: &D, found: &mut Found) -> Result<(), DeviceError> {
    let [a, b, c] = operands(RANDOM);
    let inputs = [upload(device, &a)?, upload(device, &b)?, upload(device, &c)?];
    let count = a.len() as u64;
    let columns = || a.iter().zip(&b).zip(&c).map(|((x, y), z)| [*x, *y, *z]);
    let floats: Vec<u32> = columns().flat_map(expected::floats).collect();
    let integers: Vec<u32> = columns().flat_map(expected::integers).collect();
    for (entry, names, expected) in [("floats", &FLOATS[..], floats), ("integers", &INTEGERS[..], integers)] {
        let mut kernel = device.build(SOURCE, entry)?;
        let words = names.len();
        let out = device.allocate(count * words as u64 * 4)?;
        for (index, input) in (0..).zip(&inputs) {
            device.bind(&mut kernel, index, Bound::Buffer(input))?;
        }
        device.bind(&mut kernel, 3, Bound::Buffer(&out))?;
        device.launch(&kernel, &Launch { global: vec![count], offset: vec![0], local: vec![1] })?;
        found.take(download(device, &out, count * words as u64 * 4)?, &expected, |at| {
            let (item, name) = (at / words, names[at % words]);
            format!("{name} of {:08x} {:08x} {:08x}", a[item], b[item], c[item])
        });
    }
    groups(device, &a, &inputs[0], found)
}

/// Groups of several sizes and of two dimensions, each of which looks at 64 words.
fn groups<D: Device>(device: &D, a: &[u32], input: &D::Buffer, found: &mut Found) -> Result<(), DeviceError> {
    let mut kernel = device.build(SOURCE, "groups")?;
    let limits = device.limits();
    let most = limits.group.min(device.kernel_group(&kernel)?);
    let count = a.len() as u64 / 64;
    for [x, y] in GROUP_SIZES {
        let size = x * y;
        if size > most || x > limits.group_dims[0] || y > limits.group_dims[1] {
            found.answers.push(Vec::new());
            continue;
        }
        let out = device.allocate(count * size * 8)?;
        device.bind(&mut kernel, 0, Bound::Buffer(input))?;
        device.bind(&mut kernel, 1, Bound::Local(size * DType::Uint32.size()))?;
        device.bind(&mut kernel, 2, Bound::Buffer(&out))?;
        let (global, local) = if y == 1 { (vec![count * x], vec![x]) } else { (vec![count * x, y], vec![x, y]) };
        device.launch(&kernel, &Launch { offset: vec![0; local.len()], global, local })?;
        let expected = expected::groups(a, usize::try_from(size).unwrap_or(1));
        let name = |at: usize| format!("work-item {} in groups of {x} x {y}", at / 2);
        found.take(download(device, &out, count * size * 8)?, &expected, name);
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.as_chunks::<4>().0.get(at).map_or(0, |word| u32::from_le_bytes(*word))
}

/// Three columns: every special value with every other, then so many random bits of moderate exponents.
fn operands(random: usize) -> [Vec<u32>; 3] {
    let mut columns = [const { Vec::new() }; 3];
    for (at, x) in SPECIAL.iter().enumerate() {
        for (other, y) in SPECIAL.iter().enumerate() {
            let third = SPECIAL[(at * 5 + other * 3) % SPECIAL.len()];
            columns.iter_mut().zip([*x, *y, third]).for_each(|(column, value)| column.push(value));
        }
    }
    let mut bits = Random::default();
    for _ in 0..random {
        for column in &mut columns {
            column.push(bits.moderate());
        }
    }
    columns
}

/// The same bits everywhere.
struct Random(u32);

impl Default for Random {
    fn default() -> Random {
        Random(0x9e37_79b9)
    }
}

impl Random {
    /// xorshift32
    fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A float between 2^-30 and 2^30 of either sign, as bits.
    fn moderate(&mut self) -> u32 {
        let bits = self.word();
        (bits & 0x807f_ffff) | (97 + (bits >> 9) % 60) << 23
    }

    /// A float between 1 and 2 of either sign, all its bits in use: sums of products are never exact by chance.
    fn near_one(&mut self) -> f32 {
        f32::from_bits((self.word() & 0x807f_ffff) | 0x3f80_0000)
    }
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
