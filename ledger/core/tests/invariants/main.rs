//! The ledger's invariants as properties over random histories, each test named after the one it shows. A failure prints its
//! seed; `ORION_SEED` runs it again. The named tests have a few histories each; all that they check is checked together in as many
//! histories as `ORION_LEDGER_HISTORIES` asks for.

mod contracts;
mod envelopes;
mod every;
#[path = "../support/history.rs"]
mod history;
mod identity;
mod log;
mod money;
mod shares;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod transfers;
mod two_phase;
mod validation;

use history::History;
use orion_protocol::ledger::Policy;
use support::POLICY;

/// Seeds a test, and steps a history.
const HISTORIES: u64 = 6;
const STEPS: u64 = 40;

/// Earnings vest for 5 s: half of the pause that a history makes now and then.
const VESTING: Policy = Policy { vesting_ms: 5_000, ..POLICY };

/// Calls `each` with some histories, which it drives itself: for each seed, without and with a window. Prints the seed that makes
/// them again.
fn histories(mut each: impl FnMut(History)) {
    let seed = support::seed();
    for number in 0..HISTORIES {
        let seed = seed.wrapping_add(number);
        println!("ORION_SEED={seed}");
        for policy in [POLICY, VESTING] {
            each(History::new(seed, &policy));
        }
    }
}
