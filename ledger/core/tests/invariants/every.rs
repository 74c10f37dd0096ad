//! Everything at once, over as many random histories as are asked for.

use std::time::Instant;

use crate::history::History;
use crate::support::{self, POLICY};
use crate::{VESTING, money, transfers, validation};

/// Histories, unless `ORION_LEDGER_HISTORIES` says how many; and the steps of each.
pub const MANY: u64 = 600;
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
/// the chain says, and the log replays to the same. Gives accepted and rejected verdicts,
/// and how often something was held back.
fn check(seed: u64) -> [u64; 3] {
    let _told = Told(seed);
    let policy = if seed.is_multiple_of(2) { POLICY } else { VESTING };
    let mut history = History::new(seed, &policy);
    history.earn();
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
    [history.verdicts[0], history.verdicts[1], history.reserved]
}

#[test]
fn whatever_happens_every_invariant_holds_and_the_log_replays() {
    let (seed, started) = (support::seed(), Instant::now());
    let asked = std::env::var("ORION_LEDGER_HISTORIES").ok().and_then(|text| text.parse().ok());
    let many = asked.unwrap_or(MANY);
    println!("ORION_SEED={seed} ORION_LEDGER_HISTORIES={many}");
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64).min(many);
    let done: Vec<[u64; 3]> = std::thread::scope(|scope| {
        let each = move |first: u64| (first..many).step_by(usize::try_from(threads).unwrap_or(1));
        let run = move |first| each(first).map(|number| check(seed.wrapping_add(number))).fold([0; 3], sum);
        let threads: Vec<_> = (0..threads).map(|first| scope.spawn(move || run(first))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let done = done.into_iter().fold([0; 3], sum);
    let took = started.elapsed();
    println!(
        "{many} histories in {took:.1?}, {threads} at a time; {done:?} verdicts accepted and rejected, and reserves"
    );
    assert!(many < 50 || done.iter().all(|count| *count > 0), "all of it happened: {done:?}");
}

fn sum(some: [u64; 3], more: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|at| some[at] + more[at])
}
