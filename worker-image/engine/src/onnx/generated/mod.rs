//! What `cargo xtask codegen` writes from `onnx-ml.proto`, the schema of the Python package onnx 1.17.0 as it is published
//! there, under the Apache License 2.0 (Copyright (c) ONNX Project Contributors).

#[rustfmt::skip]
pub(super) mod fields;
#[rustfmt::skip]
pub mod proto;
