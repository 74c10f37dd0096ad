//! The safetensors reader: any bytes have a tensor of that name, within the file, or are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orion_fuzz::{Counting, bounded};
use orion_protocol::array;

#[global_allocator]
static COUNTING: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    if let Ok(array) = bounded(data.len(), || array::find(data, data.len() as u64, Some("t"))) {
        assert_eq!(array.header.data_bytes(), Some(array.data(data).len() as u64));
    }
});
