//! A transaction on its way to the ledger, as a file that people pass on: who is to send it, what it says, and the words of those who
//! approved. JSON, so that it can be looked at; what counts are the canonical bytes in it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use orion_protocol::bytes::{hex, unhex};
use orion_protocol::ids::action_digest;
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::tx::{Approved, Envelope, Policy, Purse, Withdraw};
use orion_protocol::price::format_credits;
use orion_protocol::statements::Approval;
use orion_protocol::{ChainId, Digest, PublicKey, SecretKey, Signed, TxId, cbor};
use serde_json::{Value, json};

use super::read;

/// No draft is longer, in bytes: a transaction and its approvals in hex.
const MAX_BYTES: usize = 256 * 1024;
/// No approval is longer, in bytes.
const MAX_APPROVAL_BYTES: usize = 512;

/// A transaction that nobody has sent.
pub struct Draft {
    pub chain: ChainId,
    /// Who signs and sends it.
    pub sender: PublicKey,
    pub id: TxId,
    pub transaction: Transaction,
    /// By key; every signature was checked.
    pub approvals: BTreeMap<PublicKey, Signed<Approval>>,
}

impl Draft {
    /// Reads a file, and checks the signatures in it.
    pub fn load(file: &Path) -> anyhow::Result<Draft> {
        let bytes = read(file, MAX_BYTES)?;
        Draft::parse(&bytes).with_context(|| format!("{} is no draft of a transaction", file.display()))
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Draft> {
        let value: Value = serde_json::from_slice(bytes).context("reading JSON")?;
        let text = |name: &str| value[name].as_str().with_context(|| format!("the field {name} is missing"));
        let chain = text("chain")?;
        let chain: ChainId = cbor::from_slice("chain id", &cbor::to_vec(&chain), 64)?;
        let (sender, id) = (text("sender")?.parse().context("sender")?, text("id")?.parse().context("id")?);
        let transaction = Transaction::from_bytes(&bytes_of(text("transaction")?)?)?;
        let mut draft = Draft { chain, sender, id, transaction, approvals: BTreeMap::new() };
        for approval in value["approvals"].as_array().context("the field approvals is missing")? {
            let bytes = bytes_of(approval.as_str().context("an approval is no text")?)?;
            draft.add(cbor::from_slice("approval", &bytes, MAX_APPROVAL_BYTES)?)?;
        }
        Ok(draft)
    }

    /// Writes the file, which appears whole or not at all.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let Draft { chain, sender, id, transaction, approvals } = self;
        let words: Vec<String> = approvals.values().map(|one| hex(&cbor::to_vec(one))).collect();
        let value = json!({
            "chain": chain.as_str(), "sender": sender, "id": id, "says": self.says(),
            "transaction": hex(&cbor::to_vec(transaction)), "approvals": words,
        });
        let text = serde_json::to_string_pretty(&value).context("writing JSON")?;
        super::write(file, format!("{text}\n").as_bytes())
    }

    /// What those who approve it sign.
    pub fn action(&self) -> Digest {
        action_digest(&self.sender, &self.id, &cbor::to_vec(&self.transaction))
    }

    /// Approves it.
    pub fn approve(&mut self, key: &SecretKey) -> anyhow::Result<()> {
        let action = self.action();
        self.add(Signed::new(&self.chain, key, &Approval { action }))
    }

    /// Takes up an approval, which must be of this very draft.
    pub fn add(&mut self, approval: Signed<Approval>) -> anyhow::Result<()> {
        ensure!(self.takes_approvals(), "nobody's approval is needed to {}: its sender signs it", self.says());
        let key = approval.key();
        let said = approval.verify(&self.chain, &key).with_context(|| format!("the approval of {key}"))?;
        ensure!(said.action == self.action(), "the approval of {key} is about something else");
        self.approvals.insert(key, approval);
        Ok(())
    }

    /// Whether others' words count.
    fn takes_approvals(&self) -> bool {
        !matches!(
            self.transaction,
            Transaction::Stake(_) | Transaction::Unstake | Transaction::Reserve(_) | Transaction::Slash(_)
        )
    }

    /// The envelope, signed by its sender.
    pub fn sign(&self, key: &SecretKey) -> anyhow::Result<Signed<Envelope>> {
        if key.public() != self.sender {
            bail!(
                "the key is {}, but the draft is for {} to send: start again with --sender",
                key.public(),
                self.sender
            );
        }
        let inner = &self.transaction;
        let approvals: Vec<Signed<Approval>> = self.approvals.values().cloned().collect();
        let sent = if approvals.is_empty() {
            inner.clone()
        } else {
            Transaction::Approved(Approved { inner: cbor::to_vec(inner).into(), approvals })
        };
        Ok(sent.sign(&self.chain, key, 0, self.id))
    }

    /// What it does, in words.
    pub fn says(&self) -> String {
        let credits = |amount: &u64| format!("{} credits", format_credits(*amount));
        match &self.transaction {
            Transaction::Deposit(tx) => format!("deposit {} for consumer {}", credits(&tx.amount), tx.consumer.account),
            Transaction::Withdraw(Withdraw { from, amount, to, reserve }) => {
                let from = match from {
                    Purse::Available(key) => format!("provider {key}"),
                    Purse::Treasury => "the treasury".into(),
                    Purse::Consumer(account) => format!("consumer {account}"),
                };
                let reserve = reserve.map_or_else(String::new, |id| format!(", out of the reserve {id}"));
                format!("withdraw {} of {from} to {to}{reserve}", credits(amount))
            }
            Transaction::Reserve(tx) => format!("reserve {} until {} ms", credits(&tx.amount), tx.expires_ms),
            Transaction::Release(tx) => format!("give up the reserve {}", tx.reserve),
            Transaction::Stake(tx) => format!("put {} at stake", credits(&tx.amount)),
            Transaction::Unstake => "take back everything at stake".into(),
            Transaction::Rotate(tx) => {
                let lost = if tx.lost { ", which is lost" } else { "" };
                format!("put the {:?} key {} in the place of {}{lost}", tx.role, tx.new, tx.old)
            }
            Transaction::Issuers(tx) => {
                let keys: Vec<String> = tx.keys.iter().map(ToString::to_string).collect();
                format!("let any {} of these issue: {}", tx.threshold, keys.join(", "))
            }
            Transaction::PublishPolicy(tx) => match Policy::from_bytes(&tx.policy) {
                Ok(policy) => format!("publish the reward policy {}", policy.digest()),
                Err(error) => format!("publish what is no reward policy: {error}"),
            },
            Transaction::Params(tx) => format!("make the reward policy {} that of jobs that name none", tx.policy),
            Transaction::Slash(tx) => {
                let lease = tx.lease.digest(&self.chain);
                format!("slash {} for two votes that differ about the work lease {lease}", tx.first.key())
            }
            other => format!("do a {}", other.kind()),
        }
    }
}

/// Hex of any length.
pub fn bytes_of(text: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| unhex::<1>(pair).ok()).map(|[byte]| byte);
    pairs.map(byte).collect::<Option<Vec<u8>>>().context("expected hex digits")
}
