//! Refusals of tensors: where their data is, how much of it, and of what type.

use bytes::Bytes;
use orion_engine::onnx::proto::tensor_proto::{DataLocation, DataType, Segment};
use orion_engine::onnx::proto::{StringStringEntryProto, TensorProto};

use crate::models::{floats, raw, regraphed, tensor, tensor_attribute, value};
use crate::refusals::{check, check_attribute, check_input, check_tensor};

#[test]
fn data_elsewhere_is_refused() {
    let outside = "tensor \"t\": its data is in another file: save the model with its data inside";
    let entry = StringStringEntryProto { key: Some("location".to_owned()), value: Some("/etc/passwd".to_owned()) };
    check_tensor(TensorProto { external_data: vec![entry], ..raw("t", DataType::Float, &[0], &[]) }, outside);
    let location = Some(DataLocation::External as i32);
    check_tensor(TensorProto { data_location: location, ..raw("t", DataType::Float, &[0], &[]) }, outside);
    let segment = Some(Segment::default());
    let segmented = TensorProto { segment, ..raw("t", DataType::Float, &[0], &[]) };
    check_tensor(segmented, "tensor \"t\": tensors in segments are not supported");
}

#[test]
fn data_has_to_fill_its_shape() {
    check_tensor(
        raw("t", DataType::Float, &[2, 3], &[0; 20]),
        "tensor \"t\": 20 bytes of raw_data do not fill float32 [2, 3], which takes 24",
    );
    let listed = TensorProto { int64_data: vec![1], ..tensor("t", DataType::Int64, &[2]) };
    check_tensor(listed, "tensor \"t\": 1 elements do not fill the shape [2]");
    check_tensor(tensor("t", DataType::Float, &[]), "tensor \"t\": 0 elements do not fill the shape []");
    check_tensor(raw("t", DataType::Float, &[-1], &[]), "tensor \"t\": dimension -1 is negative");
    let large = "tensor \"t\": the shape [4294967296, 4294967296] is too large";
    check_tensor(raw("t", DataType::Bool, &[1 << 32, 1 << 32], &[]), large);
    check_tensor(
        raw("t", DataType::Float, &[1 << 40], &[]),
        "tensor \"t\": bytes of constants: 4398046511120, and at most 1073741824 are read",
    );
    check_tensor(
        raw("t", DataType::Bool, &[2], &[1, 2]),
        "tensor \"t\": holds the truth value 2, which is neither 0 nor 1",
    );
    let listed = TensorProto { int32_data: vec![-1], ..tensor("t", DataType::Bool, &[1]) };
    check_tensor(listed, "tensor \"t\": holds the truth value -1, which is neither 0 nor 1");
}

#[test]
fn data_has_to_be_where_its_type_has_it() {
    let both = TensorProto { float_data: vec![1.0], ..raw("t", DataType::Float, &[1], &floats(&[1.0])) };
    check_tensor(both, "tensor \"t\": holds elements in float_data, which is not where its type has them");
    let other = TensorProto { int64_data: vec![1], ..tensor("t", DataType::Int32, &[1]) };
    check_tensor(other, "tensor \"t\": holds elements in int64_data, which is not where its type has them");
    let text = TensorProto { string_data: vec![Bytes::new()], ..tensor("t", DataType::Bool, &[0]) };
    check_tensor(text, "tensor \"t\": holds elements in string_data, which is not where its type has them");
}

#[test]
fn other_element_types_are_refused_by_name() {
    let words =
        |name: &str| format!("elements of type \"{name}\" are not supported: use float32, int64, int32 or bool");
    for (kind, name) in [(DataType::Float16, "float16"), (DataType::Double, "double"), (DataType::String, "string")] {
        check_tensor(tensor("t", kind, &[0]), &format!("tensor \"t\": {}", words(name)));
        check_input(value("i", kind, &[]), &format!("input \"i\": {}", words(name)));
        let output = regraphed(|graph| graph.output[0] = value("y", kind, &[]));
        check(&output, &format!("output \"y\": {}", words(name)));
        check_attribute(tensor_attribute("value", tensor("", kind, &[0])), &words(name));
    }
    let unknown = TensorProto { data_type: Some(99), ..tensor("t", DataType::Float, &[0]) };
    check_tensor(unknown, &format!("tensor \"t\": {}", words("99")));
    let none = TensorProto { data_type: None, ..tensor("t", DataType::Float, &[0]) };
    check_tensor(none, "tensor \"t\": has no element type");
}
