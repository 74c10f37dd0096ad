//! The broker layout against a real nats-server: what each identity can do, and above all what it cannot.
#![cfg(test)]

mod answers;
mod denials;
mod objects;
mod parts;
mod support;
mod tasks;
