//! The ledger's invariants as properties over random histories, each test named after the one it shows. A failure prints its
//! seed; `ORION_SEED` runs it again.

#[path = "../support/history.rs"]
mod history;
mod identity;
mod log;
mod money;
#[path = "../support/mod.rs"]
mod support;

use history::History;

/// Histories a test, and steps a history.
const HISTORIES: u64 = 8;
const STEPS: u64 = 40;

/// Calls `each` with some histories, which it drives itself. Prints the seed that makes each of them again.
fn histories(mut each: impl FnMut(History)) {
    let seed = support::seed();
    for number in 0..HISTORIES {
        let seed = seed.wrapping_add(number);
        println!("ORION_SEED={seed}");
        each(History::new(seed));
    }
}
