//! What reading takes in memory, counted by the allocator: at most 64 MiB and sixteen times the file, whatever the file holds.
//!
//! One test, because the allocator counts for the whole process.
#![expect(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts and forwards")]

#[path = "onnx/models.rs"]
mod models;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use orion_engine::onnx::proto::tensor_proto::DataType;
use orion_engine::onnx::proto::{ModelProto, TensorProto};
use orion_engine::onnx::{Limits, read};
use prost::Message;

use models::{Random, constant, floats, int, ints, node, plain, raw, regraphed, spoiled, tensor};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded as it came; `realloc` is the trait's own, which allocates, copies and frees, so that both
// copies count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Reads a file and checks what that took; whether it was read.
fn check(what: &str, file: Vec<u8>) -> bool {
    let file = Bytes::from(file);
    let max = (64 << 20) + 16 * file.len();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = read(file.clone(), &Limits::default());
    let took = PEAK.load(Ordering::Relaxed) - before;
    assert!(took <= max, "{what}: {took} bytes for a file of {}", file.len());
    if file.len() > 1 << 16 {
        let said = result.as_ref().err().map_or_else(|| "read".to_owned(), ToString::to_string);
        eprintln!("{what}: {} KiB, took {} KiB of {}: {said}", file.len() >> 10, took >> 10, max >> 10);
    }
    result.is_ok()
}

#[test]
fn memory_is_bounded() {
    let mut random = Random::new();
    let good = plain().encode_to_vec();
    for _ in 0..5_000 {
        check("spoiled", spoiled(&good, &mut random));
    }
    for field in 1..=25 {
        for content in [&[][..], b"a", &[0x0a, 0x01, b'a', 0x12, 0x00]] {
            inflated(field, content, 50_000);
        }
    }
    for size in 12..23 {
        // Lengths that nothing fills.
        let mut length = vec![0x3a];
        prost::encoding::encode_varint(1 << (4 * size - 30), &mut length);
        check("length", length);
        let listed = TensorProto { int64_data: vec![1; 1 << size], ..tensor("t", DataType::Int64, &[1 << size]) };
        let model = regraphed(|graph| graph.initializer.push(listed));
        check("numbers of one byte", model.encode_to_vec());
    }
    for (what, model) in large() {
        assert!(check(what, model.encode_to_vec()), "{what} is refused");
    }
}

/// A message's field so often, in each place where a list may be.
fn inflated(field: u8, content: &[u8], count: usize) {
    let mut one = Vec::new();
    prost::encoding::encode_varint(u64::from(field) << 3 | 2, &mut one);
    prost::encoding::encode_varint(content.len() as u64, &mut one);
    one.extend_from_slice(content);
    let many = one.repeat(count);
    let within = |path: &[u8]| {
        path.iter().rev().fold(many.clone(), |inner, number| {
            let mut outer = vec![number << 3 | 2];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            [outer, inner].concat()
        })
    };
    // The model, its graph, and of that a node, an attribute, a constant, an input.
    for path in [&[][..], &[7], &[7, 1], &[7, 1, 5], &[7, 5], &[7, 11, 2, 1, 2]] {
        // IR version 8, opset 17.
        let model = [&[0x08, 0x08, 0x42, 0x02, 0x10, 0x11], within(path).as_slice()].concat();
        check(&format!("field {field} of {path:?}, {content:02x?}"), model);
    }
}

/// Models near the limits, all good.
fn large() -> [(&'static str, ModelProto); 5] {
    let chain = |count: usize, attributes: usize| {
        regraphed(|graph| {
            for at in 0..count {
                let taken = if at == 0 { "y".to_owned() } else { format!("v{}", at - 1) };
                let mut node = node("", "Relu", &[&taken], &[&format!("v{at}")]);
                node.attribute = (0..attributes).map(|at| int(&format!("a{at}"), 1)).collect();
                graph.node.push(node);
            }
        })
    };
    let values = regraphed(|graph| {
        for at in 0..31 {
            let names: Vec<String> = (0..4096).map(|output| format!("{at}.{output}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            graph.node.push(node("", "Split", &["x"], &names));
        }
    });
    let constants = regraphed(|graph| {
        graph.node.extend((0..9000).map(|at| constant("", &format!("c{at}"), ints("value_ints", &[1]))));
    });
    let weights = regraphed(|graph| {
        let data = floats(&vec![0.5; 1 << 20]);
        graph.initializer.push(raw("large", DataType::Float, &[1 << 20], &data));
    });
    [
        ("nodes", chain(30_000, 0)),
        ("attributes", chain(8_000, 4)),
        ("values", values),
        ("constants", constants),
        ("weights", weights),
    ]
}
