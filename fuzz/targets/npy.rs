//! The npy reader: any bytes are an array or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orion_fuzz::{Counting, bounded};
use orion_protocol::npy;

#[global_allocator]
static COUNTING: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    if let Ok((header, rows)) = bounded(data.len(), || npy::parse(data)) {
        assert_eq!(header.data_bytes(), Some(rows.len() as u64));
    }
});
