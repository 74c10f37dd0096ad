//! What the agent and its executor say to each other over a pipe: a four-byte big-endian length, that many bytes of canonical
//! CBOR, and after some of them raw data whose lengths the message declared.
//!
//! The executor runs code of strangers, so every reply is untrusted: the reader bounds each length before it reads.

use std::io::{self, Read, Write};

use minicbor::{Decode, Encode};
use orion_protocol::task::{OutputSpec, UnitTable, Workload};
use orion_protocol::{CborError, Digest, Refusal, cbor};

use crate::bench::Rates;

/// The longest request without its data, in bytes: a workload, its outputs, and room.
pub const MAX_REQUEST: usize = 128 * 1024;
/// The longest reply without its data, in bytes: a refusal, and room.
pub const MAX_REPLY: usize = 8 * 1024;

/// What the agent asks for. Requests are answered in order, one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// What is this device? Answered by [`Reply::Probed`].
    #[n(0)]
    Probe,
    /// Take this job; the input files follow. Answered by [`Reply::Loaded`].
    #[n(1)]
    Load(#[n(0)] Box<LoadHead>),
    /// Try the job out. Answered by [`Reply::Preflighted`].
    #[n(2)]
    Preflight {
        /// Time left for it, in seconds.
        #[n(0)]
        seconds: u64,
    },
    /// Run these units. Answered by [`Reply::Rows`], after any number of [`Reply::Progress`].
    #[n(3)]
    Run {
        /// First unit, counted over the job.
        #[n(0)]
        first: u64,
        /// How many.
        #[n(1)]
        count: u64,
        /// Time left for it, in seconds.
        #[n(2)]
        seconds: u64,
    },
    /// How fast is this device? Answered by [`Reply::Benched`].
    #[n(4)]
    Bench,
}

/// A job without its input files.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LoadHead {
    /// What runs.
    #[n(0)]
    pub workload: Workload,
    /// How its items are cut.
    #[n(1)]
    pub units: UnitTable,
    /// What comes out.
    #[n(2)]
    pub outputs: Vec<OutputSpec>,
    /// Length of each input file, in bytes; the files follow in this order.
    #[n(3)]
    pub inputs: Vec<u64>,
    /// Bound of what the job takes in all, in bytes.
    #[n(4)]
    pub memory: u64,
}

/// What the executor answers. [`Reply::Refused`] may answer any request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The device.
    #[n(0)]
    Probed {
        /// Digest of its answers to the self-test.
        #[n(0)]
        class: Digest,
        /// Platform, driver, device, for people.
        #[n(1)]
        driver: String,
        /// Whether kernels of users run here.
        #[n(2)]
        kernels: bool,
        /// The first probe of the self-test that the device answers wrongly.
        #[n(3)]
        fault: Option<String>,
    },
    /// The job compiles and its arguments fit.
    #[n(1)]
    Loaded {
        /// What comes out, in the order of the spec.
        #[n(0)]
        outputs: Vec<OutputSpec>,
        /// Operations an item.
        #[n(1)]
        work_per_item: u64,
        /// Bytes of all its buffers on the device, for people.
        #[n(2)]
        device_bytes: u64,
    },
    /// The job runs, and its units are pure.
    #[n(2)]
    Preflighted {
        /// Median time of a unit.
        #[n(0)]
        unit_nanos: u64,
    },
    /// So many units of the run are done.
    #[n(3)]
    Progress {
        /// Units done.
        #[n(0)]
        units: u64,
    },
    /// The run is done; the rows of each output follow.
    #[n(4)]
    Rows {
        /// Length of each output's rows, in bytes.
        #[n(0)]
        lengths: Vec<u64>,
    },
    /// It cannot be done.
    #[n(5)]
    Refused(#[n(0)] Refusal),
    /// How fast the device is.
    #[n(6)]
    Benched(#[n(0)] Rates),
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The pipe failed or ended.
    #[error("the pipe broke")]
    Io(#[from] io::Error),
    /// The declared length is over the bound.
    #[error("a frame of {have} bytes, at most {max} are allowed")]
    TooLong {
        /// The declared length.
        have: u64,
        /// The bound.
        max: usize,
    },
    /// Not the canonical encoding of a message.
    #[error("a frame that is no message")]
    Malformed(#[from] CborError),
}

/// The bytes of a frame.
pub fn frame<T: Encode<()>>(message: &T) -> Vec<u8> {
    let body = cbor::to_vec(message);
    // Every message is bounded far below 4 GiB; one that is not fails at its reader.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// How long the frame is that starts with `prefix`.
pub fn frame_length(prefix: [u8; 4], max: usize) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(length),
        _ => Err(WireError::TooLong { have: u64::from(length), max }),
    }
}

/// Reads a frame's message from its body.
pub fn message<T: Encode<()> + for<'b> Decode<'b, ()>>(body: &[u8], max: usize) -> Result<T, WireError> {
    Ok(cbor::from_slice("frame", body, max)?)
}

/// Reads one frame; `None` at the clean end of the stream.
pub fn read<T: Encode<()> + for<'b> Decode<'b, ()>>(from: &mut impl Read, max: usize) -> Result<Option<T>, WireError> {
    let mut prefix = [0; 4];
    if from.read(&mut prefix[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut prefix[1..])?;
    let mut body = vec![0; frame_length(prefix, max)?];
    from.read_exact(&mut body)?;
    message(&body, max).map(Some)
}

/// Writes one frame and what follows it.
pub fn write<T: Encode<()>>(to: &mut impl Write, message: &T, data: &[Vec<u8>]) -> io::Result<()> {
    to.write_all(&frame(message))?;
    data.iter().try_for_each(|block| to.write_all(block))?;
    to.flush()
}

/// Reads blocks of the given lengths, together at most `max` bytes.
pub fn read_blocks(from: &mut impl Read, lengths: &[u64], max: u64) -> Result<Vec<Vec<u8>>, WireError> {
    let total = lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(*length));
    if total > max {
        return Err(WireError::TooLong { have: total, max: usize::try_from(max).unwrap_or(usize::MAX) });
    }
    let block = |length: &u64| {
        let mut block = Vec::new();
        let have = from.by_ref().take(*length).read_to_end(&mut block)? as u64;
        if have < *length { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(block) }
    };
    lengths.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let reply = Reply::Rows { lengths: vec![3, 0, 1 << 40] };
        let mut bytes = Vec::new();
        write(&mut bytes, &reply, &[vec![1, 2, 3]]).unwrap();
        let mut from = &bytes[..];
        assert_eq!(read::<Reply>(&mut from, MAX_REPLY).unwrap(), Some(reply));
        assert_eq!(read_blocks(&mut from, &[2, 1], 3).unwrap(), [vec![1, 2], vec![3]]);
        assert_eq!(read::<Reply>(&mut from, MAX_REPLY).unwrap(), None);
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_read() {
        let endless = || std::io::repeat(0xff);
        assert!(matches!(read::<Reply>(&mut endless(), MAX_REPLY), Err(WireError::TooLong { .. })));
        let overflowing = [u64::MAX, 2];
        assert!(matches!(read_blocks(&mut endless(), &overflowing, 1 << 20), Err(WireError::TooLong { .. })));
        assert!(matches!(read_blocks(&mut &[1_u8][..], &[2], 2), Err(WireError::Io(_))));
    }

    #[test]
    fn every_changed_byte_is_refused_or_another_message() {
        let reply = Reply::Refused(Refusal::new(orion_protocol::Reason::CompileFailed, "line 3"));
        let bytes = frame(&reply);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let read = read::<Reply>(&mut &changed[..], MAX_REPLY);
                assert!(!read.is_ok_and(|have| have == Some(reply.clone())), "byte {at}, bit {bit}");
            }
        }
    }
}
