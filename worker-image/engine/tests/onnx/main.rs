//! The reader of ONNX files through its public door: what it makes of good files, and the words of each refusal.

mod hostile;
mod models;
mod reads;
mod refusals;
mod tensors;
