//! The broker layout against a real nats-server: what each identity can do, and above all what it cannot.

mod answers;
mod denials;
mod objects;
mod support;
mod tasks;
