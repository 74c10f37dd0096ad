//! Good files.

use std::collections::BTreeMap;
use std::sync::Arc;

use orion_engine::graph::{Attribute, Dim, Graph, Input, ValueId};
use orion_engine::onnx::proto::attribute_proto::AttributeType;
use orion_engine::onnx::proto::tensor_proto::DataType;
use orion_engine::onnx::proto::{AttributeProto, ModelProto, NodeProto, TensorProto, type_proto};
use orion_engine::tensor::{Kind, Tensor};

use crate::models::{
    attribute, constant, dim, edited, floats, int, ints, node, opset, param, plain, raw, read_model, regraphed, tensor,
    tensor_attribute, typed, value,
};

fn graph(model: &ModelProto) -> Graph {
    read_model(model).unwrap_or_else(|error| panic!("{error}"))
}

/// The constant of this name.
fn held(graph: &Graph, name: &str) -> Option<Tensor> {
    let value = graph.constants.iter().find(|(value, _)| graph.name(**value) == name);
    value.map(|(_, tensor)| (**tensor).clone())
}

#[test]
fn a_model_becomes_a_graph() {
    let graph = graph(&plain());
    assert_eq!(graph.opset, 17);
    assert_eq!(graph.values, ["w", "x", "h", "y"]);
    let shape = Some(vec![Dim::Named("batch".to_owned()), Dim::Known(2)]);
    assert_eq!(graph.inputs, [Input { value: ValueId(1), kind: Kind::F32, shape }]);
    let weights = Tensor::new(vec![2, 2], vec![1.0_f32, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(graph.constants, BTreeMap::from([(ValueId(0), Arc::new(weights))]));
    assert_eq!(graph.outputs, [ValueId(3)]);
    let [first, second] = graph.nodes.as_slice() else { panic!("{:?}", graph.nodes) };
    assert_eq!((first.name.as_str(), first.operator.as_str()), ("mul", "MatMul"));
    assert_eq!(first.inputs, [Some(ValueId(1)), Some(ValueId(0))]);
    assert_eq!(first.outputs, [Some(ValueId(2))]);
    assert_eq!(second.inputs, [Some(ValueId(2))]);
    assert_eq!(second.outputs, [Some(ValueId(3))]);
}

#[test]
fn tensors_come_raw_or_listed() {
    let listed = |edit: fn(&mut TensorProto), kind, dims: &[i64], name: &str| {
        let mut listed = tensor(name, kind, dims);
        edit(&mut listed);
        listed
    };
    let long: Vec<u8> = [1_i64, -2].iter().flat_map(|value| value.to_le_bytes()).collect();
    let short: Vec<u8> = [7_i32, -8].iter().flat_map(|value| value.to_le_bytes()).collect();
    let model = regraphed(|graph| {
        graph.initializer.extend([
            raw("raw i64", DataType::Int64, &[2], &long),
            raw("raw i32", DataType::Int32, &[1, 2], &short),
            raw("raw bool", DataType::Bool, &[2], &[0, 1]),
            raw("nothing", DataType::Float, &[3, 0], &[]),
            tensor("nothing listed", DataType::Int64, &[0]),
            listed(|t| t.float_data = vec![0.5], DataType::Float, &[], "f32"),
            listed(|t| t.int64_data = vec![i64::MIN, 3], DataType::Int64, &[2], "i64"),
            listed(|t| t.int32_data = vec![i32::MIN, 3], DataType::Int32, &[2], "i32"),
            listed(|t| t.int32_data = vec![1, 0, 1], DataType::Bool, &[3], "bool"),
        ]);
    });
    let graph = graph(&model);
    let want: [(&str, Tensor); 9] = [
        ("raw i64", Tensor::list(vec![1_i64, -2])),
        ("raw i32", Tensor::new(vec![1, 2], vec![7_i32, -8]).unwrap()),
        ("raw bool", Tensor::list(vec![false, true])),
        ("nothing", Tensor::new(vec![3, 0], Vec::<f32>::new()).unwrap()),
        ("nothing listed", Tensor::list(Vec::<i64>::new())),
        ("f32", Tensor::scalar(0.5_f32)),
        ("i64", Tensor::list(vec![i64::MIN, 3])),
        ("i32", Tensor::list(vec![i32::MIN, 3])),
        ("bool", Tensor::list(vec![true, false, true])),
    ];
    for (name, tensor) in want {
        assert_eq!(held(&graph, name), Some(tensor), "{name}");
    }
}

#[test]
fn nodes_of_constants_become_constants() {
    let float = AttributeProto { f: Some(1.5), ..attribute("value_float", AttributeType::Float) };
    let list = AttributeProto { floats: vec![1.0, 2.0], ..attribute("value_floats", AttributeType::Floats) };
    let inner = raw("", DataType::Float, &[1], &floats(&[9.0]));
    let model = regraphed(|graph| {
        graph.node.splice(
            0..0,
            [
                constant("", "tensor", tensor_attribute("value", inner)),
                constant("", "float", float),
                constant("", "floats", list),
                constant("", "int", int("value_int", -4)),
                constant("", "ints", ints("value_ints", &[5, 6])),
            ],
        );
    });
    let graph = graph(&model);
    assert_eq!(graph.nodes.len(), 2);
    assert_eq!(held(&graph, "tensor"), Some(Tensor::list(vec![9.0_f32])));
    assert_eq!(held(&graph, "float"), Some(Tensor::scalar(1.5_f32)));
    assert_eq!(held(&graph, "floats"), Some(Tensor::list(vec![1.0_f32, 2.0])));
    assert_eq!(held(&graph, "int"), Some(Tensor::scalar(-4_i64)));
    assert_eq!(held(&graph, "ints"), Some(Tensor::list(vec![5_i64, 6])));
}

#[test]
fn an_input_with_a_default_is_a_constant() {
    for ir in [3, 8] {
        let model = edited(|model| {
            model.ir_version = Some(ir);
            let weights = value("w", DataType::Float, &[param("rows"), dim(2)]);
            model.graph.iter_mut().for_each(|graph| graph.input.push(weights.clone()));
        });
        let graph = graph(&model);
        assert_eq!(graph.inputs.len(), 1);
        assert_eq!(graph.name(graph.inputs[0].value), "x");
        assert!(held(&graph, "w").is_some());
    }
}

#[test]
fn what_is_optional_may_be_absent() {
    let model = regraphed(|graph| {
        graph.node.push(node("", "Clip", &["y", "", "w"], &["z"]));
        graph.node.push(node("", "Dropout", &["z"], &["", "mask"]));
        let free = type_proto::Tensor { elem_type: Some(DataType::Bool as i32), shape: None };
        graph.input.push(typed("any", type_proto::Value::TensorType(free)));
        graph.input.push(value("loose", DataType::Int32, &[param(""), dim(0)]));
    });
    let graph = graph(&model);
    let id =
        |name: &str| graph.values.iter().position(|have| have == name).map(|at| ValueId(u32::try_from(at).unwrap()));
    let [.., clip, dropout] = graph.nodes.as_slice() else { panic!("{:?}", graph.nodes) };
    assert_eq!(clip.name, "#2");
    assert_eq!(clip.inputs, [id("y"), None, id("w")]);
    assert_eq!(dropout.outputs, [None, id("mask")]);
    assert_eq!(graph.inputs[1].shape, None);
    assert_eq!(graph.inputs[2].shape, Some(vec![Dim::Free, Dim::Known(0)]));
}

#[test]
fn attributes_keep_their_values() {
    let text = AttributeProto { s: Some("SAME_UPPER".into()), ..attribute("auto_pad", AttributeType::String) };
    let zero = attribute("zero", AttributeType::Int);
    let alpha = AttributeProto { f: Some(0.1), ..attribute("alpha", AttributeType::Float) };
    let model = regraphed(|graph| {
        graph.node[1].attribute = vec![text, zero, alpha, ints("axes", &[-1, 0]), ints("none", &[])];
    });
    let want = [
        ("alpha", Attribute::Float(0.1)),
        ("auto_pad", Attribute::Text("SAME_UPPER".to_owned())),
        ("axes", Attribute::Ints(vec![-1, 0])),
        ("none", Attribute::Ints(Vec::new())),
        ("zero", Attribute::Int(0)),
    ];
    let want: BTreeMap<String, Attribute> = want.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(graph(&model).nodes[1].attributes, want);
}

#[test]
fn the_domain_may_be_written_out_and_others_be_imported_unused() {
    let model = edited(|model| {
        model.opset_import = vec![opset("com.microsoft", 1), opset("ai.onnx", 22), opset("ai.onnx.ml", 3)];
        let named = |node: &mut NodeProto| node.domain = Some("ai.onnx".to_owned());
        model.graph.iter_mut().for_each(|graph| graph.node.iter_mut().for_each(named));
    });
    assert_eq!(graph(&model).opset, 22);
}

#[test]
fn an_output_may_be_an_input_or_a_constant() {
    let model = regraphed(|graph| {
        graph.output.push(value("x", DataType::Float, &[]));
        graph.output.push(value("w", DataType::Float, &[]));
    });
    let graph = graph(&model);
    let names: Vec<&str> = graph.outputs.iter().map(|output| graph.name(*output)).collect();
    assert_eq!(names, ["y", "x", "w"]);
}
