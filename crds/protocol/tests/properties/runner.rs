//! Runs a property with a seed that is printed when it fails.

use std::hash::{BuildHasher, Hasher};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Tries `test` on `cases` values.
pub fn check<S: Strategy>(cases: u32, values: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seed = std::env::var("ORION_TEST_SEED").map_or_else(|_| random(), |text| text.parse().unwrap());
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(values, test) {
        panic!("ORION_TEST_SEED={seed} repeats this: {error}");
    }
}

/// A seed from the randomness that the standard library hashes with.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
