//! The ONNX reader: any bytes are a graph or a refusal.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use orion_engine::onnx::{self, Limits};
use orion_fuzz::{Counting, bounded};

#[global_allocator]
static COUNTING: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    let file = Bytes::copy_from_slice(data);
    let _ = bounded(data.len(), || onnx::read(file, &Limits::default()));
});
