//! Prices and the split of pools: integer micro-credits, u128 in between, every overflow an error.

use crate::ledger::policy::{Mode, Policy};
use crate::task::{TaskSpec, UnitTable};

/// Micro-credits in one ORION.
pub const MICRO: u64 = 1_000_000;
/// At most so many judged attempts at a shard; escrow covers their audits.
pub const MAX_ATTEMPTS: u32 = 4;

/// A sum that does not fit: the job is too dear to exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an amount of money does not fit in 63 bits")]
pub struct Overflow;

/// floor(work x price / 10^6).
pub fn price_of(work: u128, price: u64) -> Result<u64, Overflow> {
    let amount = work.checked_mul(price.into()).ok_or(Overflow)? / 1_000_000;
    bounded(amount)
}

/// floor(amount x ppm / 10^6).
pub fn fee_of(amount: u64, ppm: u32) -> Result<u64, Overflow> {
    bounded(u128::from(amount) * u128::from(ppm) / 1_000_000)
}

/// What audited work costs: its price, or the policy's part of that, rounded down once.
pub fn audits_of(work: u128, price: u64, validator_ppm: Option<u32>) -> Result<u64, Overflow> {
    let Some(ppm) = validator_ppm else { return price_of(work, price) };
    let exact = work.checked_mul(price.into()).and_then(|amount| amount.checked_mul(ppm.into())).ok_or(Overflow)?;
    bounded(exact / 1_000_000_000_000)
}

/// What a job locks: its own work, the worst case of audits, and the fee on both; where the policy splits a pool, the pool.
pub fn escrow_of(spec: &TaskSpec, policy: &Policy) -> Result<u64, Overflow> {
    let units: &UnitTable = &spec.units;
    let work = price_of(units.work().into(), spec.price)?;
    match policy.mode {
        Mode::Pool(_) => Ok(work),
        Mode::PerWork => {
            let drawn = u128::from(units.units_per_shard.min(u64::from(spec.audits_per_shard)));
            let audits =
                u128::from(MAX_ATTEMPTS) * u128::from(units.shards()) * drawn * u128::from(units.work_of(0, 1));
            let audits = audits_of(audits, spec.price, policy.validator_ppm)?;
            let both = bounded(u128::from(work) + u128::from(audits))?;
            bounded(u128::from(both) + u128::from(fee_of(both, spec.fee_ppm)?))
        }
    }
}

/// Splits `pool` in proportion to `weights`: floors, then one micro-credit each to the largest remainders, ties to the
/// earlier entry (callers order by contribution id). The shares add up to the pool, or are all 0 when the weights are.
pub fn split(pool: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u64| u128::from(pool) * u128::from(*weight);
    // A share is at most the pool, so the narrowing cannot lose anything.
    let mut shares: Vec<u64> = weights.iter().map(|w| u64::try_from(exact(w) / total).unwrap_or(u64::MAX)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(exact(&weights[*at]) % total), *at));
    let given: u64 = shares.iter().sum();
    let left = usize::try_from(pool - given).unwrap_or(0);
    for at in order.into_iter().take(left) {
        shares[at] += 1;
    }
    shares
}

fn bounded(amount: u128) -> Result<u64, Overflow> {
    u64::try_from(amount).ok().filter(|amount| *amount < 1 << 63).ok_or(Overflow)
}

/// Reads a decimal amount of ORION, `^\d{1,12}(\.\d{1,6})?$`, into micro-credits.
pub fn parse_credits(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str, max: usize| {
        (!text.is_empty() && text.len() <= max && text.bytes().all(|c| c.is_ascii_digit())).then_some(())
    };
    digits(whole, 12)?;
    digits(fraction, 6)?;
    let whole: u64 = whole.parse().ok()?;
    let micro: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(whole * MICRO + micro)
}

/// Writes micro-credits as ORION, without trailing zeros.
pub fn format_credits(micro: u64) -> String {
    let text = format!("{}.{:06}", micro / MICRO, micro % MICRO);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
