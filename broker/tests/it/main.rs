//! The broker layout against a real nats-server: what each identity can do, and above all what it cannot.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod denials;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tasks;
