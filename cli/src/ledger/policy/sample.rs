//! What a policy would pay for a job that is easily redone by hand: seven units of 10^9 work in shards of three, three and one,
//! one unit of each audited, all of it accepted. It is computed by what the ledger computes with.

use orion_ledger_core::contract::{Division, Done, Facts, Parameters, divide};
use orion_protocol::dtype::DType;
use orion_protocol::ledger::tx::Policy;
use orion_protocol::price::escrow_of;
use orion_protocol::task::{Comparator, OutputSpec, TaskSpec, UnitTable};
use orion_protocol::{Digest, JobId};
use serde_json::{Value, json};

use super::file::lasting;

/// Work of a unit.
const WORK: u64 = 1_000_000_000;
/// Units of each shard.
const SHARDS: [u64; 3] = [3, 3, 1];

/// What would be paid.
pub struct Sample<'p> {
    policy: &'p Policy,
    facts: Facts,
    division: Division,
}

/// For the sample job.
pub fn of(policy: &Policy) -> anyhow::Result<Sample<'_>> {
    let done = |at: usize, work: u64| Done { id: Digest([u8::try_from(at).unwrap_or(0); 32]), work };
    let workers = SHARDS.iter().enumerate().map(|(at, units)| done(at, units * WORK)).collect();
    let validators = SHARDS.iter().enumerate().map(|(at, _)| done(at, WORK)).collect();
    let facts = Facts { escrowed: escrow_of(&task(policy)?, policy)?, workers, validators };
    let division = divide(&Parameters(policy), &facts)?;
    Ok(Sample { policy, facts, division })
}

fn task(policy: &Policy) -> anyhow::Result<TaskSpec> {
    let items = SHARDS.iter().sum();
    let out = OutputSpec { name: "out".parse()?, dtype: DType::Int32, shape: vec![items], layout: None };
    Ok(TaskSpec {
        job: JobId::NONE,
        workload: Digest::ZERO,
        inputs: Vec::new(),
        kernel_set: 0,
        units: UnitTable { items, items_per_unit: 1, units_per_shard: SHARDS[0], work_per_item: WORK },
        outputs: vec![out],
        comparator: Comparator::Exact,
        audits_per_shard: 1,
        price: policy.price,
        fee_ppm: policy.fee_ppm,
        policy: policy.digest(),
    })
}

impl Sample<'_> {
    /// Who, for which work, how many micro-credits.
    fn rows(&self) -> Vec<(&'static str, u64, u64)> {
        let Division { workers, validators, treasury: _ } = &self.division;
        let computed = self.facts.workers.iter().zip(workers).map(|(done, pay)| ("computing", done.work, *pay));
        let checked = self.facts.validators.iter().zip(validators).map(|(done, pay)| ("checking", done.work, *pay));
        computed.chain(checked).collect()
    }

    fn refund(&self) -> u64 {
        let paid: u64 = self.rows().iter().map(|(.., pay)| pay).sum();
        self.facts.escrowed.saturating_sub(paid).saturating_sub(self.division.treasury)
    }

    /// For people.
    pub fn print(&self) {
        let Sample { policy, facts, division } = self;
        println!(
            "a sample job: 7 units of 10^9 work, in shards of 3, 3 and 1; one unit of each is audited, all is accepted"
        );
        println!("  {:<12} {:>12} {:>16}", "for", "work", "micro-credits");
        for (what, work, pay) in self.rows() {
            println!("  {what:<12} {work:>12} {pay:>16}");
        }
        for (what, amount) in [("platform", division.treasury), ("refunded", self.refund()), ("locked", facts.escrowed)]
        {
            println!("  {what:<12} {:>12} {amount:>16}", "");
        }
        match policy.vesting_ms {
            0 => println!("  computing and checking is paid at once"),
            window => println!("  computing and checking is held back for {}", lasting(window)),
        }
    }

    /// For scripts.
    pub fn as_json(&self) -> Value {
        let rows = self.rows().into_iter().map(|(what, work, pay)| json!({"for": what, "work": work, "amount": pay}));
        json!({
            "shares": rows.collect::<Vec<_>>(), "treasury": self.division.treasury, "refunded": self.refund(),
            "escrowed": self.facts.escrowed,
        })
    }
}
