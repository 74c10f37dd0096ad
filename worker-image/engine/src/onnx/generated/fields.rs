//! What a decoder of `onnx-ml.proto` makes of each field, and how large it is. Written by `cargo xtask codegen`.

use super::proto;
use crate::onnx::scan::{Field, Message, Of};

pub(in crate::onnx) static ATTRIBUTE_PROTO: Message = Message {
    bytes: size_of::<proto::AttributeProto>(),
    fields: &[
        Field { number: 1, name: "name", many: false, of: Of::Text },
        Field { number: 2, name: "f", many: false, of: Of::Fixed(4) },
        Field { number: 3, name: "i", many: false, of: Of::Varint(8) },
        Field { number: 4, name: "s", many: false, of: Of::Bytes },
        Field { number: 5, name: "t", many: false, of: Of::Message(&TENSOR_PROTO) },
        Field { number: 6, name: "g", many: false, of: Of::Message(&GRAPH_PROTO) },
        Field { number: 7, name: "floats", many: true, of: Of::Fixed(4) },
        Field { number: 8, name: "ints", many: true, of: Of::Varint(8) },
        Field { number: 9, name: "strings", many: true, of: Of::Bytes },
        Field { number: 10, name: "tensors", many: true, of: Of::Message(&TENSOR_PROTO) },
        Field { number: 11, name: "graphs", many: true, of: Of::Message(&GRAPH_PROTO) },
        Field { number: 13, name: "doc_string", many: false, of: Of::Text },
        Field { number: 14, name: "tp", many: false, of: Of::Message(&TYPE_PROTO) },
        Field { number: 15, name: "type_protos", many: true, of: Of::Message(&TYPE_PROTO) },
        Field { number: 20, name: "type", many: false, of: Of::Varint(4) },
        Field { number: 21, name: "ref_attr_name", many: false, of: Of::Text },
        Field { number: 22, name: "sparse_tensor", many: false, of: Of::Message(&SPARSE_TENSOR_PROTO) },
        Field { number: 23, name: "sparse_tensors", many: true, of: Of::Message(&SPARSE_TENSOR_PROTO) },
    ],
};

pub(in crate::onnx) static VALUE_INFO_PROTO: Message = Message {
    bytes: size_of::<proto::ValueInfoProto>(),
    fields: &[
        Field { number: 1, name: "name", many: false, of: Of::Text },
        Field { number: 2, name: "type", many: false, of: Of::Message(&TYPE_PROTO) },
        Field { number: 3, name: "doc_string", many: false, of: Of::Text },
        Field { number: 4, name: "metadata_props", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};

pub(in crate::onnx) static NODE_PROTO: Message = Message {
    bytes: size_of::<proto::NodeProto>(),
    fields: &[
        Field { number: 1, name: "input", many: true, of: Of::Text },
        Field { number: 2, name: "output", many: true, of: Of::Text },
        Field { number: 3, name: "name", many: false, of: Of::Text },
        Field { number: 4, name: "op_type", many: false, of: Of::Text },
        Field { number: 5, name: "attribute", many: true, of: Of::Message(&ATTRIBUTE_PROTO) },
        Field { number: 6, name: "doc_string", many: false, of: Of::Text },
        Field { number: 7, name: "domain", many: false, of: Of::Text },
        Field { number: 8, name: "overload", many: false, of: Of::Text },
        Field { number: 9, name: "metadata_props", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};

pub(in crate::onnx) static TRAINING_INFO_PROTO: Message = Message {
    bytes: size_of::<proto::TrainingInfoProto>(),
    fields: &[
        Field { number: 1, name: "initialization", many: false, of: Of::Message(&GRAPH_PROTO) },
        Field { number: 2, name: "algorithm", many: false, of: Of::Message(&GRAPH_PROTO) },
        Field { number: 3, name: "initialization_binding", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
        Field { number: 4, name: "update_binding", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};

pub(in crate::onnx) static MODEL_PROTO: Message = Message {
    bytes: size_of::<proto::ModelProto>(),
    fields: &[
        Field { number: 1, name: "ir_version", many: false, of: Of::Varint(8) },
        Field { number: 2, name: "producer_name", many: false, of: Of::Text },
        Field { number: 3, name: "producer_version", many: false, of: Of::Text },
        Field { number: 4, name: "domain", many: false, of: Of::Text },
        Field { number: 5, name: "model_version", many: false, of: Of::Varint(8) },
        Field { number: 6, name: "doc_string", many: false, of: Of::Text },
        Field { number: 7, name: "graph", many: false, of: Of::Message(&GRAPH_PROTO) },
        Field { number: 8, name: "opset_import", many: true, of: Of::Message(&OPERATOR_SET_ID_PROTO) },
        Field { number: 14, name: "metadata_props", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
        Field { number: 20, name: "training_info", many: true, of: Of::Message(&TRAINING_INFO_PROTO) },
        Field { number: 25, name: "functions", many: true, of: Of::Message(&FUNCTION_PROTO) },
    ],
};

pub(in crate::onnx) static STRING_STRING_ENTRY_PROTO: Message = Message {
    bytes: size_of::<proto::StringStringEntryProto>(),
    fields: &[
        Field { number: 1, name: "key", many: false, of: Of::Text },
        Field { number: 2, name: "value", many: false, of: Of::Text },
    ],
};

pub(in crate::onnx) static TENSOR_ANNOTATION: Message = Message {
    bytes: size_of::<proto::TensorAnnotation>(),
    fields: &[
        Field { number: 1, name: "tensor_name", many: false, of: Of::Text },
        Field { number: 2, name: "quant_parameter_tensor_names", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};

pub(in crate::onnx) static GRAPH_PROTO: Message = Message {
    bytes: size_of::<proto::GraphProto>(),
    fields: &[
        Field { number: 1, name: "node", many: true, of: Of::Message(&NODE_PROTO) },
        Field { number: 2, name: "name", many: false, of: Of::Text },
        Field { number: 5, name: "initializer", many: true, of: Of::Message(&TENSOR_PROTO) },
        Field { number: 10, name: "doc_string", many: false, of: Of::Text },
        Field { number: 11, name: "input", many: true, of: Of::Message(&VALUE_INFO_PROTO) },
        Field { number: 12, name: "output", many: true, of: Of::Message(&VALUE_INFO_PROTO) },
        Field { number: 13, name: "value_info", many: true, of: Of::Message(&VALUE_INFO_PROTO) },
        Field { number: 14, name: "quantization_annotation", many: true, of: Of::Message(&TENSOR_ANNOTATION) },
        Field { number: 15, name: "sparse_initializer", many: true, of: Of::Message(&SPARSE_TENSOR_PROTO) },
        Field { number: 16, name: "metadata_props", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};

pub(in crate::onnx) static TENSOR_PROTO: Message = Message {
    bytes: size_of::<proto::TensorProto>(),
    fields: &[
        Field { number: 1, name: "dims", many: true, of: Of::Varint(8) },
        Field { number: 2, name: "data_type", many: false, of: Of::Varint(4) },
        Field { number: 3, name: "segment", many: false, of: Of::Message(&TENSOR_PROTO_SEGMENT) },
        Field { number: 4, name: "float_data", many: true, of: Of::Fixed(4) },
        Field { number: 5, name: "int32_data", many: true, of: Of::Varint(4) },
        Field { number: 6, name: "string_data", many: true, of: Of::Bytes },
        Field { number: 7, name: "int64_data", many: true, of: Of::Varint(8) },
        Field { number: 8, name: "name", many: false, of: Of::Text },
        Field { number: 9, name: "raw_data", many: false, of: Of::Bytes },
        Field { number: 10, name: "double_data", many: true, of: Of::Fixed(8) },
        Field { number: 11, name: "uint64_data", many: true, of: Of::Varint(8) },
        Field { number: 12, name: "doc_string", many: false, of: Of::Text },
        Field { number: 13, name: "external_data", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
        Field { number: 14, name: "data_location", many: false, of: Of::Varint(4) },
        Field { number: 16, name: "metadata_props", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};

pub(in crate::onnx) static TENSOR_PROTO_SEGMENT: Message = Message {
    bytes: size_of::<proto::tensor_proto::Segment>(),
    fields: &[
        Field { number: 1, name: "begin", many: false, of: Of::Varint(8) },
        Field { number: 2, name: "end", many: false, of: Of::Varint(8) },
    ],
};

pub(in crate::onnx) static SPARSE_TENSOR_PROTO: Message = Message {
    bytes: size_of::<proto::SparseTensorProto>(),
    fields: &[
        Field { number: 1, name: "values", many: false, of: Of::Message(&TENSOR_PROTO) },
        Field { number: 2, name: "indices", many: false, of: Of::Message(&TENSOR_PROTO) },
        Field { number: 3, name: "dims", many: true, of: Of::Varint(8) },
    ],
};

pub(in crate::onnx) static TENSOR_SHAPE_PROTO: Message = Message {
    bytes: size_of::<proto::TensorShapeProto>(),
    fields: &[
        Field { number: 1, name: "dim", many: true, of: Of::Message(&TENSOR_SHAPE_PROTO_DIMENSION) },
    ],
};

pub(in crate::onnx) static TENSOR_SHAPE_PROTO_DIMENSION: Message = Message {
    bytes: size_of::<proto::tensor_shape_proto::Dimension>(),
    fields: &[
        Field { number: 1, name: "dim_value", many: false, of: Of::Varint(8) },
        Field { number: 2, name: "dim_param", many: false, of: Of::Text },
        Field { number: 3, name: "denotation", many: false, of: Of::Text },
    ],
};

pub(in crate::onnx) static TYPE_PROTO: Message = Message {
    bytes: size_of::<proto::TypeProto>(),
    fields: &[
        Field { number: 1, name: "tensor_type", many: false, of: Of::Message(&TYPE_PROTO_TENSOR) },
        Field { number: 4, name: "sequence_type", many: false, of: Of::Message(&TYPE_PROTO_SEQUENCE) },
        Field { number: 5, name: "map_type", many: false, of: Of::Message(&TYPE_PROTO_MAP) },
        Field { number: 6, name: "denotation", many: false, of: Of::Text },
        Field { number: 7, name: "opaque_type", many: false, of: Of::Message(&TYPE_PROTO_OPAQUE) },
        Field { number: 8, name: "sparse_tensor_type", many: false, of: Of::Message(&TYPE_PROTO_SPARSE_TENSOR) },
        Field { number: 9, name: "optional_type", many: false, of: Of::Message(&TYPE_PROTO_OPTIONAL) },
    ],
};

pub(in crate::onnx) static TYPE_PROTO_TENSOR: Message = Message {
    bytes: size_of::<proto::type_proto::Tensor>(),
    fields: &[
        Field { number: 1, name: "elem_type", many: false, of: Of::Varint(4) },
        Field { number: 2, name: "shape", many: false, of: Of::Message(&TENSOR_SHAPE_PROTO) },
    ],
};

pub(in crate::onnx) static TYPE_PROTO_SEQUENCE: Message = Message {
    bytes: size_of::<proto::type_proto::Sequence>(),
    fields: &[
        Field { number: 1, name: "elem_type", many: false, of: Of::Message(&TYPE_PROTO) },
    ],
};

pub(in crate::onnx) static TYPE_PROTO_MAP: Message = Message {
    bytes: size_of::<proto::type_proto::Map>(),
    fields: &[
        Field { number: 1, name: "key_type", many: false, of: Of::Varint(4) },
        Field { number: 2, name: "value_type", many: false, of: Of::Message(&TYPE_PROTO) },
    ],
};

pub(in crate::onnx) static TYPE_PROTO_OPTIONAL: Message = Message {
    bytes: size_of::<proto::type_proto::Optional>(),
    fields: &[
        Field { number: 1, name: "elem_type", many: false, of: Of::Message(&TYPE_PROTO) },
    ],
};

pub(in crate::onnx) static TYPE_PROTO_SPARSE_TENSOR: Message = Message {
    bytes: size_of::<proto::type_proto::SparseTensor>(),
    fields: &[
        Field { number: 1, name: "elem_type", many: false, of: Of::Varint(4) },
        Field { number: 2, name: "shape", many: false, of: Of::Message(&TENSOR_SHAPE_PROTO) },
    ],
};

pub(in crate::onnx) static TYPE_PROTO_OPAQUE: Message = Message {
    bytes: size_of::<proto::type_proto::Opaque>(),
    fields: &[
        Field { number: 1, name: "domain", many: false, of: Of::Text },
        Field { number: 2, name: "name", many: false, of: Of::Text },
    ],
};

pub(in crate::onnx) static OPERATOR_SET_ID_PROTO: Message = Message {
    bytes: size_of::<proto::OperatorSetIdProto>(),
    fields: &[
        Field { number: 1, name: "domain", many: false, of: Of::Text },
        Field { number: 2, name: "version", many: false, of: Of::Varint(8) },
    ],
};

pub(in crate::onnx) static FUNCTION_PROTO: Message = Message {
    bytes: size_of::<proto::FunctionProto>(),
    fields: &[
        Field { number: 1, name: "name", many: false, of: Of::Text },
        Field { number: 4, name: "input", many: true, of: Of::Text },
        Field { number: 5, name: "output", many: true, of: Of::Text },
        Field { number: 6, name: "attribute", many: true, of: Of::Text },
        Field { number: 7, name: "node", many: true, of: Of::Message(&NODE_PROTO) },
        Field { number: 8, name: "doc_string", many: false, of: Of::Text },
        Field { number: 9, name: "opset_import", many: true, of: Of::Message(&OPERATOR_SET_ID_PROTO) },
        Field { number: 10, name: "domain", many: false, of: Of::Text },
        Field { number: 11, name: "attribute_proto", many: true, of: Of::Message(&ATTRIBUTE_PROTO) },
        Field { number: 12, name: "value_info", many: true, of: Of::Message(&VALUE_INFO_PROTO) },
        Field { number: 13, name: "overload", many: false, of: Of::Text },
        Field { number: 14, name: "metadata_props", many: true, of: Of::Message(&STRING_STRING_ENTRY_PROTO) },
    ],
};
