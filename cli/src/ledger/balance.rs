//! `orion ledger balance`: what an account holds, as the ledger says.

use clap::ArgGroup;
use orion_protocol::ledger::api::AccountView;
use orion_protocol::price::format_credits;
use serde_json::json;

use super::ask::{Ledger, WHOSE, Whose};
use crate::cluster::Access;
use crate::{Format, Verdict};

/// `orion ledger balance ...`
#[derive(clap::Args)]
#[command(group = ArgGroup::new("whose").args(WHOSE).required(true))]
pub struct BalanceArgs {
    #[command(flatten)]
    whose: Whose,
}

/// Runs the command.
pub async fn run(access: &Access, format: Format, args: &BalanceArgs) -> anyhow::Result<Verdict> {
    let ledger = Ledger::connect(access).await?;
    let (id, name) = ledger.account(&args.whose).await?;
    let AccountView { account, balance } = ledger.get(&format!("/v1/accounts/{id}")).await?;
    anyhow::ensure!(account == id, "the ledger answers for account {account}, asked for {id}");
    match format {
        Format::Text => println!("{name} {account}: {} credits", format_credits(balance)),
        Format::Json => println!("{}", json!({"account": account, "balance": balance})),
    }
    Ok(Verdict::Good)
}
