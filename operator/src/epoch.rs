//! What a leadership stands on: an epoch that the ledger gave to this operator's key, and the keys that count in it.
//!
//! It leads with no key that the ledger would not take, and no longer than its key and the platform's are in force.

use std::time::Duration;

use anyhow::Context as _;
use orion_protocol::ledger::api::{Head, KeysView, LeafProof};
use orion_protocol::ledger::tx::OpenEpoch;
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::{JobId, PublicKey, TxId};

use crate::edges::Edges;
use crate::job::Chain;

/// Pause before the ledger is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a leader looks whether its keys are still in force.
const LOOK: Duration = Duration::from_secs(10);

/// An epoch that this process has opened.
pub struct Epoch {
    /// Its number, which all transactions of the leadership carry.
    pub number: u64,
    /// The keys as they were when it was opened.
    pub keys: KeysView,
    /// That it was opened by this operator, for workers that know only the genesis' one; `None` where this is that one.
    pub opened: Option<LeafProof>,
}

impl Epoch {
    /// Opens the next epoch; whoever is refused was not first.
    pub async fn open(edges: &Edges) -> anyhow::Result<Epoch> {
        let (identity, own) = (&edges.identity, edges.identity.key.public());
        let (head, keys) = ask(edges, "the ledger's keys", || edges.ledger.head_and_keys()).await?;
        anyhow::ensure!(head.chain == identity.chain, "the ledger is of chain {}, not of this install's", head.chain);
        let number = head.epoch + 1;
        may_open(&keys, number, &own)?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).context("drawing a nonce")?;
        let transaction = Transaction::OpenEpoch(OpenEpoch { epoch: number, nonce: nonce.to_vec().into() });
        let id = TxId::derive(transaction.kind(), &JobId::NONE, number, 0);
        let envelope = transaction.sign(&identity.chain, &identity.key, number, id);
        let outcome = edges.ledger.submit(&envelope).await.context("opening an epoch")?;
        anyhow::ensure!(outcome.receipt.code == Code::Ok, "epoch {number} is another's: {}", outcome.receipt.code);
        let opened = if own == identity.genesis.operator {
            None
        } else {
            Some(ask(edges, "a checkpoint over the opening of the epoch", || edges.ledger.proof(outcome.leaf)).await?)
        };
        Ok(Epoch { number, keys, opened })
    }

    /// Ends the leadership when other keys than its own came into force. What was signed by those that are not counts no more, and
    /// the next leadership has everything done again that is missing by then.
    pub async fn watch(&self, edges: &Edges) {
        let own = edges.identity.key.public();
        while edges.guard.holds() {
            tokio::time::sleep(LOOK).await;
            let Ok((head, now)) = edges.ledger.head_and_keys().await else { continue };
            if let Err(error) = self.still_in_force(&head, &now, &own) {
                tracing::error!(error = format!("{error:#}"), "the leadership ends");
                edges.guard.depose();
            }
        }
    }

    fn still_in_force(&self, head: &Head, now: &KeysView, own: &PublicKey) -> anyhow::Result<()> {
        let (own_epoch, last) = (self.number, head.epoch);
        anyhow::ensure!(last <= own_epoch, "epoch {last} was opened, and this leader's is {own_epoch}");
        may_open(now, self.number, own)?;
        let (before, platform) = (self.keys.platform, now.platform);
        anyhow::ensure!(before == platform, "the platform's key {platform} has come in the place of {before}");
        // A round with a commitment of such a key is refused whole.
        anyhow::ensure!(now.replaced == self.keys.replaced, "a provider's key was replaced");
        Ok(())
    }
}

/// Whether the epoch is, or would be, that of this operator's key.
fn may_open(keys: &KeysView, epoch: u64, own: &PublicKey) -> anyhow::Result<()> {
    let next = "put the key that is in force into the Secret orion-operator-keys; docs/keys.md has the steps";
    let operator = keys.operator_at(epoch).context("the ledger names no operator")?;
    let want = operator.key;
    anyhow::ensure!(want == *own, "epoch {epoch} is for the operator's key {want}, and this one's is {own}: {next}");
    anyhow::ensure!(!operator.lost, "the operator's key {own} was lost, and another one is in its place: {next}");
    Ok(())
}

/// Asks until the ledger answers, or the leadership is over.
async fn ask<T, F>(edges: &Edges, what: &str, question: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, crate::ledger::LedgerError>>,
{
    while edges.guard.holds() {
        match question().await {
            Ok(answer) => return Ok(answer),
            Err(error) => tracing::warn!(error = %Chain(&error), "still waiting for {what}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!("the leadership was over before its epoch was opened")
}
