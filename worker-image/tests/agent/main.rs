//! The agent end to end: a real broker, real executors on the real OpenCL runtime, and an operator that a test plays.
#![cfg(test)]

mod executors;
mod faults;
mod layouts;
mod life;
mod rounds;
mod support;
