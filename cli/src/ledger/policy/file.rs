//! A policy as people write it: YAML or JSON, with the field names of docs/policies.md. Unknown fields are refused, and numbers
//! are whole.

use std::path::Path;

use anyhow::{Context as _, bail};
use orion_protocol::ledger::tx::{Mode, Policy, Split};
use serde::{Deserialize, Serialize};

use super::super::read;

/// A file is at most so long, in bytes.
const MAX_FILE: usize = 64 * 1024;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyFile {
    #[serde(default)]
    mode: ModeName,
    price: u64,
    #[serde(default)]
    fee_ppm: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validator_ppm: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split_ppm: Option<SplitPpm>,
    #[serde(default)]
    vesting_ms: u64,
    escrow_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ModeName {
    #[default]
    PerWork,
    Pool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitPpm {
    workers: u32,
    validators: u32,
    treasury: u32,
}

impl PolicyFile {
    /// Reads a policy; its numbers may be out of bounds.
    pub fn read(file: &Path) -> anyhow::Result<Policy> {
        let bytes = read(file, MAX_FILE)?;
        let text = String::from_utf8(bytes).with_context(|| format!("reading {}", file.display()))?;
        let parsed: PolicyFile =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is no policy", file.display()))?;
        parsed.policy().with_context(|| format!("{} is no policy", file.display()))
    }

    fn policy(self) -> anyhow::Result<Policy> {
        let PolicyFile { mode, price, fee_ppm, validator_ppm, split_ppm, vesting_ms, escrow_ms } = self;
        let mode = match (mode, split_ppm) {
            (ModeName::PerWork, None) => Mode::PerWork,
            (ModeName::Pool, Some(SplitPpm { workers, validators, treasury })) => {
                Mode::Pool(Split { workers, validators, treasury })
            }
            (ModeName::PerWork, Some(_)) => bail!("splitPpm is for mode: Pool"),
            (ModeName::Pool, None) => bail!("mode: Pool needs splitPpm: {{workers, validators, treasury}}"),
        };
        // All of the price is what it is without this.
        let validator_ppm = validator_ppm.filter(|ppm| *ppm != 1_000_000 || mode != Mode::PerWork);
        Ok(Policy { price, fee_ppm, vesting_ms, escrow_ms, validator_ppm, mode })
    }

    /// How it would be written.
    pub fn of(policy: &Policy) -> PolicyFile {
        let Policy { price, fee_ppm, vesting_ms, escrow_ms, validator_ppm, mode } = *policy;
        let (mode, split_ppm) = match mode {
            Mode::PerWork => (ModeName::PerWork, None),
            Mode::Pool(Split { workers, validators, treasury }) => {
                (ModeName::Pool, Some(SplitPpm { workers, validators, treasury }))
            }
        };
        PolicyFile { mode, price, fee_ppm, validator_ppm, split_ppm, vesting_ms, escrow_ms }
    }

    /// A line a field, with what it means: as YAML, the policy again.
    pub fn lines(&self) -> Vec<String> {
        let PolicyFile { mode, price, fee_ppm, validator_ppm, split_ppm, vesting_ms, escrow_ms } = self;
        let mut lines = vec![format!("mode: {mode:?}"), format!("price: {price}  # micro-credits for 10^6 of work")];
        match split_ppm {
            None => lines.push(format!("feePpm: {fee_ppm}  # {} of what the others get", percent(*fee_ppm))),
            Some(SplitPpm { workers, validators, treasury }) => lines.push(format!(
                "splitPpm: {{workers: {workers}, validators: {validators}, treasury: {treasury}}}  # {}, {}, {} of all that is locked",
                percent(*workers),
                percent(*validators),
                percent(*treasury)
            )),
        }
        if let Some(ppm) = validator_ppm {
            lines.push(format!("validatorPpm: {ppm}  # audits are paid {} of the price", percent(*ppm)));
        }
        lines.push(format!("vestingMs: {vesting_ms}  # {}", lasting(*vesting_ms)));
        lines.push(format!("escrowMs: {escrow_ms}  # {}", lasting(*escrow_ms)));
        lines
    }
}

fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Milliseconds, in the two largest units that are not nothing.
pub fn lasting(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let mut left = ms;
    let mut words = Vec::new();
    for (size, name) in units {
        if left >= size {
            words.push(format!("{} {name}", left / size));
            left %= size;
        }
    }
    words.truncate(2);
    if words.is_empty() { "no time".to_owned() } else { words.join(" ") }
}
