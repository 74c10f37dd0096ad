//! Random histories: honest and lying workers, lying and silent validators, wrong sequences, stale epochs, deadlines. After
//! every block all identities of money hold, no slot is paid twice, and at the end the log replays to the same state.
//! A failure prints its seed; `ORION_SEED` runs it again.

#[path = "support/history.rs"]
mod history;
mod support;

use history::History;

/// Histories a run.
const HISTORIES: u64 = 24;
const STEPS: u64 = 60;

#[test]
fn whatever_happens_the_books_balance_and_the_log_replays() {
    let seed = support::seed();
    println!("ORION_SEED={seed}");
    let mut verdicts = [0; 2];
    for round in 0..HISTORIES {
        let history = seed.wrapping_add(round);
        println!("history with ORION_SEED={history}");
        let mut history = History::new(history, &support::POLICY);
        for _ in 0..STEPS {
            history.step();
            history.check();
        }
        verdicts = [verdicts[0] + history.verdicts[0], verdicts[1] + history.verdicts[1]];
        history.end();
    }
    assert!(verdicts[0] > 0 && verdicts[1] > 0, "both kinds of verdict happened: {verdicts:?}");
}
