//! I1 and I3: what the receipts of a log move, account by account, is what the chain says that everybody has.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;

use orion_protocol::ids::{Account, AccountId, reserve_id};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt, Totals};
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, cbor};

use crate::envelopes::opened;
use crate::support::World;
use crate::{STEPS, histories};

/// The books as somebody keeps them who sees nothing but the leaves.
struct Books {
    issuance: AccountId,
    debits: BTreeMap<AccountId, u128>,
    credits: BTreeMap<AccountId, u128>,
    /// Open reserves: whose account, and how much.
    reserves: BTreeMap<Digest, (AccountId, u64)>,
}

impl Books {
    fn sum(sums: &BTreeMap<AccountId, u128>, id: &AccountId) -> u128 {
        sums.get(id).copied().unwrap_or(0)
    }

    fn held(&self, id: &AccountId) -> u128 {
        self.reserves.values().filter(|(whose, _)| whose == id).map(|(_, amount)| u128::from(*amount)).sum()
    }

    /// What an account has; it never has less than nothing, what is held back included.
    fn balance(&self, id: &AccountId) -> u128 {
        Books::sum(&self.credits, id).checked_sub(Books::sum(&self.debits, id)).unwrap()
    }

    fn receipt(&mut self, receipt: &Receipt) {
        assert!(receipt.code == Code::Ok || receipt.transfers.is_empty(), "a refusal moves nothing");
        for transfer in &receipt.transfers {
            assert!(transfer.amount > 0 && transfer.from != transfer.to);
            *self.debits.entry(transfer.from).or_default() += u128::from(transfer.amount);
            *self.credits.entry(transfer.to).or_default() += u128::from(transfer.amount);
            let from = transfer.from;
            assert!(from == self.issuance || self.balance(&from) >= self.held(&from), "below what is held back");
        }
    }

    /// What a transaction that was taken holds back or lets go.
    fn hold(&mut self, world: &World, envelope: &Envelope, tx: &Transaction) {
        let inner = |bytes: &[u8]| cbor::from_slice("transaction", bytes, MAX_LEAF_BYTES).unwrap();
        match tx {
            Transaction::Reserve(Reserve { amount, .. }) => {
                let whose = Account::Available(envelope.signer).id(&world.signers.chain);
                self.reserves.insert(reserve_id(&envelope.signer, &envelope.id), (whose, *amount));
                assert!(self.held(&whose) <= self.balance(&whose));
            }
            Transaction::Release(Release { reserve })
            | Transaction::Withdraw(Withdraw { reserve: Some(reserve), .. }) => {
                self.reserves.remove(reserve).unwrap();
            }
            Transaction::Approved(Approved { inner: bytes, .. }) => self.hold(world, envelope, &inner(bytes)),
            _ => {}
        }
    }
}

/// Reads a log to its end, and compares with the chain that made it.
pub fn check(world: &World) {
    let issuance = Account::Issuance.id(&world.signers.chain);
    let (debits, credits, reserves) = Default::default();
    let mut books = Books { issuance, debits, credits, reserves };
    for leaf in &world.log {
        match Leaf::from_bytes(leaf).unwrap().body {
            LeafBody::Genesis(_) => {}
            LeafBody::Transaction(signed, receipt) => {
                if receipt.code == Code::Ok {
                    let (envelope, tx) = opened(&signed);
                    books.hold(world, &envelope, &tx);
                }
                books.receipt(&receipt);
            }
            LeafBody::Expire(_, receipt) | LeafBody::Mature(_, receipt) => books.receipt(&receipt),
            LeafBody::Lapse(id, receipt) => {
                books.reserves.remove(&id).unwrap();
                books.receipt(&receipt);
            }
            LeafBody::Seal(seal) => {
                let sum = |sums: &BTreeMap<AccountId, u128>| sums.values().sum::<u128>();
                assert_eq!(sum(&books.debits), sum(&books.credits));
                let Totals { deposited, withdrawn, .. } = seal.totals;
                assert_eq!(Books::sum(&books.debits, &issuance), u128::from(deposited));
                assert_eq!(Books::sum(&books.credits, &issuance), u128::from(withdrawn));
            }
        }
    }
    for id in books.debits.keys().chain(books.credits.keys()).filter(|id| **id != issuance) {
        assert_eq!(u128::from(world.chain.account(*id).balance), books.balance(id), "account {id}");
    }
}

#[test]
fn i01_i03_debits_equal_credits_and_no_account_has_less_than_nothing_or_than_it_holds_back() {
    let mut reserved = 0;
    histories(|mut history| {
        history.earn();
        for _ in 0..STEPS {
            history.step();
        }
        check(&history.world);
        reserved += history.reserved;
        history.end();
        check(&history.world);
    });
    assert!(reserved > 0, "something was held back");
}
