//! Bytes that are no model: the words where a person may meet them, and no panic whatever they are.

use orion_engine::onnx::{Limits, read};
use prost::Message;

use crate::models::{Random, constant, ints, regraphed, spoiled};

fn check(bytes: &[u8], message: &str) {
    let refused = read(bytes.to_vec().into(), &Limits::default()).err().map(|error| error.to_string());
    assert_eq!(refused.as_deref(), Some(message), "{bytes:02x?}");
}

/// A field with a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    [bytes, content.to_vec()].concat()
}

#[test]
fn bytes_that_are_no_protobuf_are_refused() {
    check(b"", "model: the file is empty");
    check(b"\x93NUMPY", "model: it is no protobuf of ONNX");
    check(&[0x08], "model: it ends within a field");
    check(&[0x08, 0x80], "model: it ends within a field");
    check(
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        "model: a number is longer than ten bytes",
    );
    check(&[0x02, 0x00], "model: it is no protobuf of ONNX");
    check(&[0x0b, 0x0c], "model: it is no protobuf of ONNX");
    // A length of 2^63.
    check(&[0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], "model: it ends within a field");
}

#[test]
fn a_fault_of_the_bytes_is_found_by_its_path() {
    let attribute = [0x0a, 0x05, b'a'];
    let nodes = [field(1, &field(3, b"fine")), field(1, &field(5, &attribute))].concat();
    check(&field(7, &nodes), "graph.node[1].attribute[0]: it ends within a field");
    let twice = field(7, &field(1, &[field(3, b"a"), field(3, b"b")].concat()));
    check(&twice, "graph.node[0]: its field name is there twice");
    let graphs = [field(7, &[]), field(7, &[])].concat();
    check(&graphs, "model: its field graph is there twice");
}

#[test]
fn text_that_is_none_and_wrong_wire_types_are_the_decoders_to_refuse() {
    for bytes in [field(2, &[0xff]), vec![0x3a, 0x02, 0x08, 0x01], vec![0x38, 0x01]] {
        let refused = read(bytes.clone().into(), &Limits::default()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.starts_with("model: it does not decode: "), "{refused}, for {bytes:02x?}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    // Types of sequences of sequences: model.graph.input.type, then elements of elements.
    let mut inner = Vec::new();
    for _ in 0..2000 {
        inner = field(4, &field(1, &inner));
    }
    let bytes = field(7, &field(11, &field(2, &inner)));
    let refused = read(bytes.into(), &Limits::default()).map(|_| ()).unwrap_err().to_string();
    assert!(refused.starts_with("graph.input[0].type.sequence_type.elem_type.sequence_type"), "{refused}");
    assert!(refused.ends_with(": messages within messages: 65, and at most 64 are read"), "{refused}");
}

#[test]
fn spoiled_models_never_panic() {
    let mut random = Random::new();
    let model = regraphed(|graph| graph.node.push(constant("c", "z", ints("value_ints", &[1, 2]))));
    let good = model.encode_to_vec();
    let (mut read_well, rounds) = (0, 50_000);
    for _ in 0..rounds {
        let bytes = spoiled(&good, &mut random);
        read_well += usize::from(read(bytes.into(), &Limits::default()).is_ok());
    }
    // Some faults are in names and weights: without them the loop would only try the first check.
    assert!((1..rounds).contains(&read_well), "{read_well} of {rounds}");
}
