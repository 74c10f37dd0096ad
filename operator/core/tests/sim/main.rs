//! The core in a simulated world: virtual time, real ledger rules, real statements, and everything that can go wrong. Each
//! history hangs on one seed; a failure prints it, `ORION_SIM_SEED` repeats it, `ORION_SIM_SEEDS` runs more of them.

#![expect(clippy::unwrap_used, reason = "what a fixture cannot do fails its test")]

mod actors;
mod event;
mod faults;
mod invariants;
mod leaders;
mod ledger;
mod processes;
mod random;
mod rng;
mod scenarios;
mod truth;
mod world;
