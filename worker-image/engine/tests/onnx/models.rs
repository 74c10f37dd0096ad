//! Builders of small models, and random numbers whose seed is printed.
#![allow(dead_code, reason = "each test binary uses its own part")]

use bytes::Bytes;
use orion_engine::graph::Graph;
use orion_engine::onnx::proto::attribute_proto::AttributeType;
use orion_engine::onnx::proto::tensor_proto::DataType;
use orion_engine::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use orion_engine::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use orion_engine::onnx::{Limits, ReadError, read};
use prost::Message;

/// A model of opset 17: input `x`, weights `w` of float32 [2, 2], `y = Relu(MatMul(x, w))`.
pub fn plain() -> ModelProto {
    model(GraphProto {
        name: Some("plain".to_owned()),
        input: vec![value("x", DataType::Float, &[param("batch"), dim(2)])],
        initializer: vec![raw("w", DataType::Float, &[2, 2], &floats(&[1.0, 2.0, 3.0, 4.0]))],
        node: vec![node("mul", "MatMul", &["x", "w"], &["h"]), node("act", "Relu", &["h"], &["y"])],
        output: vec![value("y", DataType::Float, &[param("batch"), dim(2)])],
        ..GraphProto::default()
    })
}

/// A model of this graph.
pub fn model(graph: GraphProto) -> ModelProto {
    ModelProto { ir_version: Some(8), opset_import: vec![opset("", 17)], graph: Some(graph), ..ModelProto::default() }
}

pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

pub fn node(name: &str, operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        name: (!name.is_empty()).then(|| name.to_owned()),
        op_type: Some(operator.to_owned()),
        input: owned(inputs),
        output: owned(outputs),
        ..NodeProto::default()
    }
}

/// A node `name` of `Constant` that makes `output`.
pub fn constant(name: &str, output: &str, attribute: AttributeProto) -> NodeProto {
    NodeProto { attribute: vec![attribute], ..node(name, "Constant", &[], &[output]) }
}

/// An attribute without a value.
pub fn attribute(name: &str, says: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(says as i32), ..AttributeProto::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub fn tensor_attribute(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(Box::new(tensor)), ..attribute(name, AttributeType::Tensor) }
}

/// A tensor without data.
pub fn tensor(name: &str, kind: DataType, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(kind as i32),
        dims: dims.to_vec(),
        ..TensorProto::default()
    }
}

pub fn raw(name: &str, kind: DataType, dims: &[i64], data: &[u8]) -> TensorProto {
    TensorProto { raw_data: Some(Bytes::copy_from_slice(data)), ..tensor(name, kind, dims) }
}

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn value(name: &str, kind: DataType, dims: &[Dimension]) -> ValueInfoProto {
    let shape = Some(TensorShapeProto { dim: dims.to_vec() });
    typed(name, type_proto::Value::TensorType(type_proto::Tensor { elem_type: Some(kind as i32), shape }))
}

pub fn typed(name: &str, value: type_proto::Value) -> ValueInfoProto {
    let declared = TypeProto { value: Some(value), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(declared), ..ValueInfoProto::default() }
}

pub fn dim(length: i64) -> Dimension {
    Dimension { value: Some(dimension::Value::DimValue(length)), denotation: None }
}

pub fn param(name: &str) -> Dimension {
    Dimension { value: Some(dimension::Value::DimParam(name.to_owned())), denotation: None }
}

/// The plain model, changed.
pub fn edited(edit: impl FnOnce(&mut ModelProto)) -> ModelProto {
    let mut model = plain();
    edit(&mut model);
    model
}

/// The plain model's graph, changed.
pub fn regraphed(edit: impl FnOnce(&mut GraphProto)) -> ModelProto {
    edited(|model| edit(model.graph.get_or_insert_default()))
}

/// What the reader says to a model.
pub fn read_model(model: &ModelProto) -> Result<Graph, ReadError> {
    read(model.encode_to_vec().into(), &Limits::default())
}

/// Random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    /// From `ORION_TEST_SEED`, or the clock; printed, so that a failing test tells how to repeat it.
    pub fn new() -> Random {
        let given = std::env::var("ORION_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| u64::from(elapsed.subsec_nanos()));
        let seed = given.unwrap_or_else(clock);
        eprintln!("ORION_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }
}

/// The bytes with up to four faults: flipped bytes, cuts, repeated, removed or endless pieces.
pub fn spoiled(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.below(bytes.len());
        let piece = at..(at + 1 + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next().to_le_bytes()[0],
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, bytes[piece].to_vec())),
            _ => drop(bytes.splice(piece, vec![0xff; random.below(12)])),
        }
    }
    bytes
}
