//! What whoever follows the keys asks the service for: whose they are, and the proof of any leaf.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_protocol::SecretKey;
use orion_protocol::cbor;
use orion_protocol::ids::TxId;
use orion_protocol::ledger::api::{KeysView, OperatorKey, Submitted};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use support::world::{Keys, approve, key};
use support::{Client, Home};

/// Replaces the operator with a key, by the issuer's word.
fn rotate(client: Client, old: &SecretKey, new: u8, lost: bool) -> Code {
    let (issuer, chain) = (Keys::new().issuer, Keys::new().genesis().chain());
    let (role, old, new) = (KeyRole::Operator, old.public(), key(new).public());
    let id = TxId([new.0[0]; 16]);
    let tx = Transaction::Rotate(Rotate { role, old, new, lost });
    let approved = approve(&chain, &issuer, id, &tx, std::slice::from_ref(&issuer));
    client.submit(&Transaction::Approved(approved).sign(&chain, &issuer, 0, id)).receipt.code
}

fn open_epoch(client: Client, by: &SecretKey, epoch: u64) -> Submitted {
    let chain = Keys::new().genesis().chain();
    let opens = Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![7; 16].into() });
    client.submit(&opens.sign(&chain, by, epoch, TxId([epoch.to_le_bytes()[0]; 16])))
}

fn keys(client: Client) -> KeysView {
    let answer = client.get("/v1/keys");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/cbor"));
    cbor::from_slice("keys", &answer.body, 1 << 20).unwrap()
}

#[test]
fn the_keys_are_told_as_the_log_has_them_also_after_a_restart() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let Keys { operator, platform, issuer, checkpoint: _ } = Keys::new();
    let first = OperatorKey { from_epoch: 0, key: operator.public(), lost: false };
    let issuers = Issuers { threshold: 1, keys: vec![issuer.public()] };
    let all =
        |operators: Vec<OperatorKey>| KeysView { operators, platform: platform.public(), issuers: issuers.clone() };
    assert_eq!(keys(client), all(vec![first]));
    assert_eq!(open_epoch(client, &operator, 1).receipt.code, Code::Ok);
    assert_eq!(rotate(client, &operator, 53, true), Code::Ok);
    let second = OperatorKey { from_epoch: 2, key: key(53).public(), lost: false };
    let want = all(vec![OperatorKey { lost: true, ..first }, second]);
    assert_eq!(keys(client), want);
    assert_eq!(open_epoch(client, &key(53), 2).receipt.code, Code::Ok);
    assert_eq!(keys(client), want);
    ledger.kill();
    let ledger = home.start();
    assert_eq!(keys(ledger.client()), want);
    assert_eq!(ledger.client().post("/v1/keys", b"").status, 405);
}
