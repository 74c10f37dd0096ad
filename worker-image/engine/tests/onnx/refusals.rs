//! Every refusal of a decoded model but those of its tensors, with its whole message.

use orion_engine::onnx::proto::attribute_proto::AttributeType;
use orion_engine::onnx::proto::tensor_proto::DataType;
use orion_engine::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
    TrainingInfoProto, ValueInfoProto, type_proto,
};
use orion_engine::onnx::{Limits, read};
use orion_protocol::{Reason, Refusal};
use prost::Message;

use crate::models::{
    attribute, constant, dim, edited, int, ints, node, opset, plain, raw, read_model, regraphed, typed, value,
};

pub fn check(model: &ModelProto, message: &str) {
    let refused = read_model(model).err().map(|error| error.to_string());
    assert_eq!(refused.as_deref(), Some(message));
}

/// The plain model with another constant.
pub fn check_tensor(tensor: TensorProto, message: &str) {
    check(&regraphed(|graph| graph.initializer.push(tensor)), message);
}

/// The plain model with another node at the end.
fn check_node(node: NodeProto, message: &str) {
    check(&regraphed(|graph| graph.node.push(node)), message);
}

/// The plain model with this attribute at its node `act`.
pub fn check_attribute(attribute: AttributeProto, fault: &str) {
    let name = attribute.name().to_owned();
    let model = regraphed(|graph| graph.node[1].attribute.push(attribute));
    check(&model, &format!("node \"act\" (Relu), attribute {name:?}: {fault}"));
}

pub fn check_input(input: ValueInfoProto, message: &str) {
    check(&regraphed(|graph| graph.input.push(input)), message);
}

fn check_limit(model: &ModelProto, lower: impl FnOnce(&mut Limits), message: &str) {
    let mut limits = Limits::default();
    lower(&mut limits);
    let refused = read(model.encode_to_vec().into(), &limits).err().map(|error| (error.reason(), error.to_string()));
    assert_eq!(refused, Some((Reason::TooLarge, message.to_owned())));
}

#[test]
fn versions_outside_of_those_known_are_refused() {
    check(&edited(|model| model.ir_version = None), "model: has no IR version");
    check(&edited(|model| model.ir_version = Some(2)), "model: IR version 2 is not supported: use 3 to 13");
    check(&edited(|model| model.ir_version = Some(14)), "model: IR version 14 is not supported: use 3 to 13");
    for version in [-1, 6, 23] {
        let words = format!("model: opset {version} is not supported: use 7 to 22 (onnx.version_converter changes it)");
        check(&edited(|model| model.opset_import = vec![opset("", version)]), &words);
    }
    let missing = "model: has no opset of ONNX's own operators";
    check(&edited(|model| model.opset_import.clear()), missing);
    check(&edited(|model| model.opset_import = vec![opset("ai.onnx.ml", 3)]), missing);
    let twice = edited(|model| model.opset_import.push(opset("ai.onnx", 17)));
    check(&twice, "model: its field opset_import of ONNX's own operators is there twice");
}

#[test]
fn parts_that_are_not_read_are_refused() {
    check(&edited(|model| model.graph = None), "model: has no graph");
    check(&edited(|model| model.functions = vec![FunctionProto::default()]), "model: functions are not supported");
    let training = edited(|model| model.training_info = vec![TrainingInfoProto::default()]);
    check(&training, "model: graphs for training are not supported");
    let sparse = regraphed(|graph| graph.sparse_initializer = vec![SparseTensorProto::default()]);
    check(&sparse, "model: sparse initializers are not supported");
}

#[test]
fn other_domains_are_refused_where_they_are_used() {
    let foreign = NodeProto { domain: Some("com.microsoft".to_owned()), ..node("gelu", "FastGelu", &["y"], &["z"]) };
    check_node(
        foreign,
        "node \"gelu\" (FastGelu): its operator is of the domain \"com.microsoft\": only ONNX's own are supported",
    );
    let overload = NodeProto { overload: Some("1".to_owned()), ..node("", "Relu", &["y"], &["z"]) };
    check_node(overload, "node #2 (Relu): functions are not supported");
}

#[test]
fn control_flow_is_refused_by_the_node() {
    let body = AttributeProto { g: Some(Box::default()), ..attribute("body", AttributeType::Graph) };
    let holding = NodeProto { attribute: vec![body], ..node("steps", "Loop", &["y"], &["z"]) };
    check_node(holding, "node \"steps\" (Loop), attribute \"body\": holds a graph: control flow is not supported");
    check_attribute(attribute("a", AttributeType::Graphs), "holds a graph: control flow is not supported");
    let hidden = AttributeProto { graphs: vec![GraphProto::default()], ..int("a", 1) };
    check_attribute(hidden, "holds a graph: control flow is not supported");
}

#[test]
fn inputs_are_tensors_with_a_type() {
    let sequence = type_proto::Value::SequenceType(Box::default());
    check_input(typed("i", sequence), "input \"i\": is no tensor, and only tensors are supported");
    let untyped = ValueInfoProto { name: Some("i".to_owned()), ..ValueInfoProto::default() };
    check_input(untyped, "input \"i\": has no type");
    check_input(value("", DataType::Float, &[]), "input \"\": has no name");
    check_input(value("i", DataType::Float, &[dim(-3)]), "input \"i\": dimension -3 is negative");
}

#[test]
fn a_default_keeps_its_declaration() {
    let held = "and the file's constant of this name is float32 [2, 2]";
    check_input(
        value("w", DataType::Float, &[dim(2), dim(3)]),
        &format!("input \"w\": is declared as float32 [2, 3], {held}"),
    );
    check_input(value("w", DataType::Int32, &[]), &format!("input \"w\": is declared as int32 [], {held}"));
}

#[test]
fn a_value_is_made_once() {
    check_tensor(raw("w", DataType::Float, &[0], &[]), "tensor \"w\": a value named \"w\" is there already");
    check_input(value("x", DataType::Float, &[]), "input \"x\": a value named \"x\" is there already");
    let twice = regraphed(|graph| graph.input.extend(vec![value("w", DataType::Float, &[dim(2), dim(2)]); 2]));
    check(&twice, "input \"w\": a value named \"w\" is there already");
    for name in ["x", "w", "h"] {
        let words = format!("node \"again\" (Relu): a value named {name:?} is there already");
        check_node(node("again", "Relu", &["x"], &[name]), &words);
    }
    check_node(node("", "Split", &["x"], &["a", "a"]), "node #2 (Split): a value named \"a\" is there already");
    let again = constant("", "x", int("value_int", 1));
    check_node(again, "node #2 (Constant): a value named \"x\" is there already");
    let outputs = regraphed(|graph| graph.output.push(value("y", DataType::Float, &[])));
    check(&outputs, "output \"y\": a value named \"y\" is there already");
    check_tensor(raw("", DataType::Float, &[0], &[]), "tensor \"\": has no name");
}

#[test]
fn a_value_is_made_before_it_is_used() {
    check_node(
        node("last", "Add", &["y", "ghost"], &["z"]),
        "node \"last\" (Add): takes \"ghost\", which nothing makes",
    );
    check_node(
        node("snake", "Add", &["y", "z"], &["z"]),
        "node \"snake\" (Add): takes \"z\", which node \"snake\" (Add) makes: nodes must be sorted, and free of cycles",
    );
    let unsorted = regraphed(|graph| graph.node.swap(0, 1));
    check(
        &unsorted,
        "node \"act\" (Relu): takes \"h\", which node \"mul\" (MatMul) makes: nodes must be sorted, and free of cycles",
    );
    let cycle = regraphed(|graph| {
        graph.node.extend([node("", "Relu", &["b"], &["a"]), node("", "Relu", &["a"], &["b"])]);
    });
    check(&cycle, "node #2 (Relu): takes \"b\", which node #3 (Relu) makes: nodes must be sorted, and free of cycles");
    let output = regraphed(|graph| graph.output.push(value("ghost", DataType::Float, &[])));
    check(&output, "output \"ghost\": nothing makes it");
    check(&regraphed(|graph| graph.output.clear()), "model: has no outputs");
}

#[test]
fn a_node_has_an_operator_and_makes_something() {
    check_node(node("idle", "", &["y"], &["z"]), "node \"idle\" (): has no operator");
    check_node(node("idle", "Relu", &["y"], &[""]), "node \"idle\" (Relu): has no outputs");
}

#[test]
fn an_attribute_is_what_its_type_says() {
    check_attribute(AttributeProto { floats: vec![1.0], ..int("a", 1) }, "says it is of type INT, and holds FLOATS");
    check_attribute(AttributeProto { r#type: None, ..int("a", 1) }, "says it is of type UNDEFINED, and holds INT");
    check_attribute(attribute("a", AttributeType::Undefined), "has no type");
    check_attribute(attribute("a", AttributeType::Tensor), "has no tensor");
    check_attribute(attribute("a", AttributeType::Strings), "attributes of type \"strings\" are not supported");
    check_attribute(AttributeProto { r#type: Some(77), ..int("a", 1) }, "attributes of type \"77\" are not supported");
    let text = AttributeProto { s: Some(vec![0xff].into()), ..attribute("a", AttributeType::String) };
    check_attribute(text, "is not UTF-8");
    let reference = AttributeProto { ref_attr_name: Some("b".to_owned()), ..attribute("a", AttributeType::Int) };
    check_attribute(reference, "references to attributes of functions are not supported");
    check_attribute(int("", 1), "has no name");
    let twice = regraphed(|graph| graph.node[1].attribute = vec![int("a", 1), int("a", 2)]);
    check(&twice, "node \"act\" (Relu), attribute \"a\": is there twice");
}

#[test]
fn a_constant_has_one_value() {
    let one =
        "node \"c\" (Constant): has to have exactly one of value, value_float, value_floats, value_int and value_ints";
    check_node(node("c", "Constant", &[], &["z"]), one);
    check_node(
        NodeProto {
            attribute: vec![int("value_int", 1), ints("value_ints", &[])],
            ..node("c", "Constant", &[], &["z"])
        },
        one,
    );
    check_node(constant("c", "z", int("value", 1)), one);
    let text = AttributeProto { s: Some("a".into()), ..attribute("value_string", AttributeType::String) };
    check_node(constant("c", "z", text), one);
    let operands = "node \"c\" (Constant): takes nothing and makes one value, and this one has other inputs or outputs";
    let taking = NodeProto { input: vec!["y".to_owned()], ..constant("c", "z", int("value_int", 1)) };
    check_node(taking, operands);
    let making = NodeProto { output: vec!["z".to_owned(); 2], ..constant("c", "", int("value_int", 1)) };
    check_node(making, operands);
}

#[test]
fn every_limit_holds() {
    let model = plain();
    let length = model.encoded_len();
    check_limit(
        &model,
        |limits| limits.file_bytes = length - 1,
        &format!("model: bytes of the file: {length}, and at most {} are read", length - 1),
    );
    check_limit(&model, |limits| limits.nodes = 1, "model: nodes: 2, and at most 1 are read");
    check_limit(&model, |limits| limits.values = 3, "node \"act\" (Relu): values: 4, and at most 3 are read");
    check_limit(&model, |limits| limits.operands = 1, "node \"mul\" (MatMul): inputs: 2, and at most 1 are read");
    check_limit(&model, |limits| limits.rank = 1, "tensor \"w\": dimensions: 2, and at most 1 are read");
    let words = "tensor \"w\": bytes of constants: 16, and at most 15 are read";
    check_limit(&model, |limits| limits.constant_bytes = 15, words);

    let long = "n".repeat(1025);
    let shown = format!("{}...", &long[..80]);
    let words = format!("tensor {shown:?}: bytes of a value's name: 1025, and at most 1024 are read");
    check_tensor(raw(&long, DataType::Float, &[0], &[]), &words);
    let operator = node("a", &long, &["y"], &["z"]);
    check_node(
        operator,
        &format!("node \"a\" ({shown}): bytes of its operator's name: 1025, and at most 1024 are read"),
    );
    let outputs: Vec<String> = (0..4097).map(|at| format!("o{at}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    check_node(node("a", "Split", &["y"], &outputs), "node \"a\" (Split): outputs: 4097, and at most 4096 are read");

    check_attribute(ints("a", &vec![0; 65_537]), "numbers in the list: 65537, and at most 65536 are read");
    let text = AttributeProto { s: Some(vec![b'a'; 1025].into()), ..attribute("a", AttributeType::String) };
    check_attribute(text, "bytes of text: 1025, and at most 1024 are read");
    let many = regraphed(|graph| graph.node[1].attribute = (0..65).map(|at| int(&format!("a{at}"), 0)).collect());
    check(&many, "node \"act\" (Relu): attributes: 65, and at most 64 are read");
    let deep = value("i", DataType::Float, &vec![dim(1); 9]);
    check_input(deep, "input \"i\": dimensions: 9, and at most 8 are read");
}

#[test]
fn constants_in_nodes_count() {
    let model = regraphed(|graph| graph.node.push(constant("c", "z", ints("value_ints", &[1, 2]))));
    let words = "node \"c\" (Constant): bytes of constants: 32, and at most 31 are read";
    check_limit(&model, |limits| limits.constant_bytes = 31, words);
}

#[test]
fn names_are_shown_escaped_and_the_refusal_has_a_reason() {
    check_node(
        node("a\n\u{1b}[2J", "R\"\n", &["no\0pe"], &["z"]),
        "node \"a\\n\\u{1b}[2J\" (R\\\"\\n): takes \"no\\0pe\", which nothing makes",
    );
    let error = read_model(&edited(|model| model.graph = None)).unwrap_err();
    let refusal = Refusal::new(Reason::InvalidInput, "model: has no graph");
    assert_eq!(Refusal::from(error), refusal);
}
