//! Everything at once, over as many random histories as are asked for.

use std::time::Instant;

use crate::history::History;
use crate::support::{self, POLICY};
use crate::{VESTING, money, transfers, validation};

/// Histories, unless `ORION_LEDGER_HISTORIES` says how many; and the steps of each.
const MANY: u64 = 600;
const STEPS: u64 = 20;

/// Says how to make a history again, if it fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this history again: ORION_SEED={} ORION_LEDGER_HISTORIES=1", self.0);
        }
    }
}

/// After every step all identities of money hold; at the end everything that the log says of transfers, verdicts and vesting is what
/// the chain says, and the log replays to the same. Gives accepted and rejected verdicts.
fn check(seed: u64) -> [u64; 2] {
    let _told = Told(seed);
    let policy = if seed.is_multiple_of(2) { POLICY } else { VESTING };
    let mut history = History::new(seed, &policy);
    for _ in 0..STEPS {
        history.step();
        history.check();
    }
    money::check_jobs(&history.world);
    if policy == VESTING {
        money::check_vesting(&history.world);
    }
    history.end();
    money::check_jobs(&history.world);
    transfers::check(&history.world);
    validation::check(&history.world);
    history.verdicts
}

#[test]
fn whatever_happens_every_invariant_holds_and_the_log_replays() {
    let (seed, started) = (support::seed(), Instant::now());
    let asked = std::env::var("ORION_LEDGER_HISTORIES").ok().and_then(|text| text.parse().ok());
    let many = asked.unwrap_or(MANY);
    println!("ORION_SEED={seed} ORION_LEDGER_HISTORIES={many}");
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64).min(many);
    let verdicts: Vec<[u64; 2]> = std::thread::scope(|scope| {
        let each = move |first: u64| (first..many).step_by(usize::try_from(threads).unwrap_or(1));
        let run = move |first| each(first).map(|number| check(seed.wrapping_add(number))).fold([0; 2], sum);
        let threads: Vec<_> = (0..threads).map(|first| scope.spawn(move || run(first))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let verdicts = verdicts.into_iter().fold([0; 2], sum);
    let took = started.elapsed();
    println!("{many} histories in {took:.1?}, {threads} at a time; {verdicts:?} verdicts accepted and rejected");
    assert!(many < 50 || (verdicts[0] > 0 && verdicts[1] > 0), "both kinds of verdict happened: {verdicts:?}");
}

fn sum([a, b]: [u64; 2], [c, d]: [u64; 2]) -> [u64; 2] {
    [a + c, b + d]
}
