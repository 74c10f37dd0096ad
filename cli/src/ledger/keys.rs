//! `orion ledger keys`: whose keys do what, as the ledger says.

use orion_protocol::ledger::api::{KeysView, OperatorKey};
use orion_protocol::ledger::tx::Issuers;
use serde_json::{Value, json};

use super::ask::Ledger;
use crate::cluster::Access;
use crate::{Format, Verdict};

/// What an operator's key does in an epoch.
#[derive(Clone, Copy)]
enum Standing {
    /// It signs the leases of new work.
    InForce,
    /// It comes into force by opening the next epoch.
    Waits,
    /// It signs no new work; the leases of its epochs still count.
    Replaced,
    /// Nothing counts that it signed and that is not in the log.
    Lost,
}

impl Standing {
    /// In `epoch`, whose operator is `in_force`.
    fn of(operator: &OperatorKey, epoch: u64, in_force: Option<&OperatorKey>) -> Standing {
        match operator {
            OperatorKey { lost: true, .. } => Standing::Lost,
            OperatorKey { from_epoch, .. } if *from_epoch > epoch => Standing::Waits,
            operator if in_force == Some(operator) => Standing::InForce,
            _ => Standing::Replaced,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Standing::InForce => "in force",
            Standing::Waits => "waits for its epoch",
            Standing::Replaced => "replaced",
            Standing::Lost => "lost",
        }
    }
}

/// Runs the command.
pub async fn run(access: &Access, format: Format) -> anyhow::Result<Verdict> {
    // The epoch is asked for first: a key that opens the next one in between is shown as waiting, and none as in force too soon.
    let ledger = Ledger::connect(access).await?;
    let keys: KeysView = ledger.get("/v1/keys").await?;
    match format {
        Format::Text => print(&keys, ledger.epoch),
        Format::Json => println!("{}", as_json(&keys, ledger.epoch)),
    }
    Ok(Verdict::Good)
}

fn print(keys: &KeysView, epoch: u64) {
    let KeysView { operators, platform, issuers: Issuers { threshold, keys: issuers }, replaced } = keys;
    let in_force = keys.operator_at(epoch);
    println!("epoch {epoch}");
    println!("  {:<8}  {:>10}  {:<64}  standing", "role", "from epoch", "key");
    for operator in operators {
        let OperatorKey { from_epoch, key, lost: _ } = operator;
        let standing = Standing::of(operator, epoch, in_force).as_str();
        println!("  {:<8}  {from_epoch:>10}  {key}  {standing}", "operator");
    }
    println!("  {:<8}  {:>10}  {platform}  in force", "platform", "");
    for issuer in issuers {
        println!("  {:<8}  {:>10}  {issuer}  in force", "issuer", "");
    }
    for key in replaced {
        println!("  {:<8}  {:>10}  {key}  replaced", "provider", "");
    }
    println!("issuers: the words of {threshold} of {} are needed", issuers.len());
}

fn as_json(keys: &KeysView, epoch: u64) -> Value {
    let KeysView { operators, platform, issuers: Issuers { threshold, keys: issuers }, replaced } = keys;
    let in_force = keys.operator_at(epoch);
    let operator = |operator: &OperatorKey| {
        let OperatorKey { from_epoch, key, lost: _ } = operator;
        json!({"fromEpoch": from_epoch, "key": key, "standing": Standing::of(operator, epoch, in_force).as_str()})
    };
    json!({
        "epoch": epoch,
        "operators": operators.iter().map(operator).collect::<Vec<_>>(),
        "platform": platform,
        "issuers": {"threshold": threshold, "keys": issuers},
        "replacedProviders": replaced,
    })
}
