//! The service's word on reward policies: published through it, asked for, still there after it was killed.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_protocol::Digest;
use orion_protocol::cbor;
use orion_protocol::ids::TxId;
use orion_protocol::ledger::api::Policies;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::{Mode, Params, Policy, PublishPolicy, Split, Transaction};
use support::world::{Keys, POLICY, approve};
use support::{Client, Home};

const POOL: Policy =
    Policy { fee_ppm: 0, mode: Mode::Pool(Split { workers: 900_000, validators: 80_000, treasury: 20_000 }), ..POLICY };

fn issue(client: Client, tx: &Transaction, number: u8) -> Code {
    let (issuer, chain) = (Keys::new().issuer, Keys::new().genesis().chain());
    let id = TxId([number; 16]);
    let approved = approve(&chain, &issuer, id, tx, std::slice::from_ref(&issuer));
    client.submit(&Transaction::Approved(approved).sign(&chain, &issuer, 0, id)).receipt.code
}

fn policies(client: Client) -> Policies {
    let answer = client.get("/v1/policies");
    assert_eq!(answer.status, 200);
    cbor::from_slice("policies", &answer.body, 1 << 20).unwrap()
}

#[test]
fn a_published_policy_is_answered_by_its_id_and_outlives_the_process() {
    let home = Home::new();
    let ledger = home.start();
    let client = Client { address: ledger.address };
    assert_eq!(policies(client), Policies { default: POLICY.digest(), policies: vec![POLICY] });
    let path = |id: Digest| format!("/v1/policies/{id}");
    assert_eq!(client.get(&path(POOL.digest())).status, 404);
    assert_eq!(client.get("/v1/policies/pool").status, 400);
    let publish = Transaction::PublishPolicy(PublishPolicy { policy: POOL.to_bytes().into() });
    assert_eq!(issue(client, &publish, 1), Code::Ok);
    assert_eq!(issue(client, &Transaction::Params(Params { policy: POOL.digest() }), 2), Code::Ok);
    ledger.kill();

    let ledger = home.start();
    let client = Client { address: ledger.address };
    let known = policies(client);
    assert_eq!((known.default, known.policies.len()), (POOL.digest(), 2));
    let answer = client.get(&path(POOL.digest()));
    assert_eq!((answer.status, answer.body), (200, POOL.to_bytes()));
}
