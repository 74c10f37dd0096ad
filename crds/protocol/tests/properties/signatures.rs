//! Signed statements: any changed byte, another chain, another key and another type are refused.

use orion_protocol::ledger::tx::Envelope;
use orion_protocol::statements::{
    Aggregated, Commitment, Failed, Found, Ingested, LeaseCore, LeaseTail, Preflighted, Vote,
};
use orion_protocol::{ChainId, PublicKey, SecretKey, Signed, Statement, cbor};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary::{self, chain, secret, signed};
use crate::runner::check;

/// Whether wire bytes hold a `T` that `key` signed for `chain`.
fn accepts<T: Statement>(wire: &[u8], chain: &ChainId, key: &PublicKey) -> bool {
    cbor::from_slice::<Signed<T>>("signed", wire, 1 << 16).is_ok_and(|signed| signed.verify(chain, key).is_ok())
}

type Accepts = fn(&[u8], &ChainId, &PublicKey) -> bool;

/// The readers of every statement, by domain.
const ACCEPTS: [(&str, Accepts); 9] = [
    (LeaseCore::DOMAIN, accepts::<LeaseCore>),
    (LeaseTail::DOMAIN, accepts::<LeaseTail>),
    (Preflighted::DOMAIN, accepts::<Preflighted>),
    (Commitment::DOMAIN, accepts::<Commitment>),
    (Ingested::DOMAIN, accepts::<Ingested>),
    (Vote::DOMAIN, accepts::<Vote>),
    (Aggregated::DOMAIN, accepts::<Aggregated>),
    (Failed::DOMAIN, accepts::<Failed>),
    (Envelope::DOMAIN, accepts::<Envelope>),
];

/// Wire bytes, signer, domain.
type Wire = (Vec<u8>, PublicKey, &'static str);

fn wire<T: Statement + std::fmt::Debug + 'static>(values: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Wire> {
    signed(values).prop_map(|signed| (cbor::to_vec(&signed), signed.key(), T::DOMAIN)).boxed()
}

fn any_statement() -> impl Strategy<Value = Wire> {
    prop_oneof![
        wire(arbitrary::lease()),
        wire(arbitrary::tail()),
        wire(arbitrary::preflighted()),
        wire(arbitrary::commitment()),
        wire(arbitrary::ingested()),
        wire(arbitrary::vote()),
        wire(arbitrary::aggregated()),
        wire(arbitrary::failed()),
        wire(arbitrary::envelope()),
    ]
}

fn accepted(domain: &str, wire: &[u8], chain: &ChainId, key: &PublicKey) -> bool {
    ACCEPTS.iter().any(|(other, accepts)| *other == domain && accepts(wire, chain, key))
}

#[test]
fn a_signature_that_was_verified_ahead_is_judged_as_one_that_was_not() {
    let statements = (signed(arbitrary::vote()), any::<bool>(), any::<Index>(), 0..8_u8);
    check(400, &statements, |(good, flip, at, bit)| {
        let mut wire = cbor::to_vec(&good);
        if flip {
            let at = at.index(wire.len());
            wire[at] ^= 1 << bit;
        }
        let Ok(fresh) = cbor::from_slice::<Signed<Vote>>("signed", &wire, 1 << 16) else { return Ok(()) };
        let ahead = fresh.clone();
        let (own, other) = (chain(), ChainId::of_genesis(b"another"));
        ahead.preverify(&other);
        ahead.preverify(&own);
        for copy in [&ahead, &ahead.clone()] {
            for chain in [&own, &other] {
                for key in [fresh.key(), good.key()] {
                    let judge = |signed: &Signed<Vote>| {
                        signed
                            .verify(chain, &key)
                            .map(|vote| (vote.digest(), vote.key()))
                            .map_err(|error| error.to_string())
                    };
                    prop_assert_eq!(judge(copy), judge(&fresh));
                }
            }
        }
        prop_assert!(!flip || fresh == ahead);
        prop_assert_eq!(cbor::to_vec(&ahead), wire, "nothing of it is written");
        Ok(())
    });
}

#[test]
fn a_statement_verifies_as_its_own_type_and_as_no_other() {
    check(500, &any_statement(), |(wire, key, domain)| {
        for (other, accepts) in ACCEPTS {
            prop_assert_eq!(accepts(&wire, &chain(), &key), other == domain, "{} as {}", domain, other);
        }
        Ok(())
    });
}

#[test]
fn one_changed_byte_is_refused() {
    check(5000, &(any_statement(), any::<Index>(), 1..=u8::MAX), |((mut wire, key, domain), at, change)| {
        let at = at.index(wire.len());
        wire[at] ^= change;
        prop_assert!(!accepted(domain, &wire, &chain(), &key), "byte {} of {}", at, domain);
        Ok(())
    });
}

#[test]
fn every_byte_of_one_statement_counts() {
    let tail = orion_protocol::statements::LeaseTail {
        lease: orion_protocol::Digest([7; 32]),
        deadline_ms: 1_800_000_000_000,
        salt: Some(orion_protocol::Digest([8; 32])),
    };
    let signed = Signed::new(&chain(), &SecretKey::from_seed(&[9; 32]), &tail);
    let good = cbor::to_vec(&signed);
    assert!(accepts::<LeaseTail>(&good, &chain(), &signed.key()));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut wire = good.clone();
            wire[at] ^= 1 << bit;
            assert!(!accepts::<LeaseTail>(&wire, &chain(), &signed.key()), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn another_chain_and_another_key_are_refused() {
    check(300, &(any_statement(), any::<u64>()), |((wire, key, domain), other)| {
        let other_chain = ChainId::of_genesis(&other.to_le_bytes());
        prop_assert!(!accepted(domain, &wire, &other_chain, &key));
        let other_key = SecretKey::from_seed(&[0xEE; 32]).public();
        prop_assert!(!accepted(domain, &wire, &chain(), &other_key));
        Ok(())
    });
}

#[test]
fn the_digest_is_of_chain_and_content_not_of_key_and_signature() {
    check(200, &(arbitrary::commitment(), secret(), secret()), |(commitment, a, b)| {
        let (by_a, by_b) = (Signed::new(&chain(), &a, &commitment), Signed::new(&chain(), &b, &commitment));
        prop_assert_eq!(by_a.digest(&chain()), by_b.digest(&chain()));
        prop_assert_eq!(by_a == by_b, a.public() == b.public());
        let other = ChainId::of_genesis(b"another");
        prop_assert_ne!(by_a.digest(&chain()), by_a.digest(&other));
        let verified = by_a.verify(&chain(), &a.public()).unwrap();
        prop_assert_eq!(verified.digest(), by_a.digest(&chain()));
        prop_assert_eq!(verified.into_inner(), commitment);
        Ok(())
    });
}

/// A signature over something that the type's own check refuses: it verifies, and is refused all the same.
fn refused_though_signed<T: Statement>(value: &T) {
    let key = SecretKey::from_seed(&[5; 32]);
    let signed = Signed::new(&chain(), &key, value);
    let error = signed.verify(&chain(), &key.public()).err().unwrap();
    assert!(matches!(error, orion_protocol::sign::VerifyError::Content(_)), "{error}");
}

#[test]
fn statements_out_of_bounds_are_refused_though_signed() {
    use orion_protocol::statements::{AuditOf, LeaseKind, Token, UnitDigest};
    use orion_protocol::{Digest, Reason, Refusal};
    let zero = Digest::ZERO;
    let refusal = Refusal::new(Reason::KernelFault, "why");
    let long = Refusal { reason: Reason::KernelFault, message: "x".repeat(Refusal::MAX_MESSAGE + 1) };
    let units = |units: &[u64]| units.iter().map(|unit| UnitDigest { unit: *unit, digest: zero }).collect::<Vec<_>>();
    let vote = |list: &[u64]| Vote { round: zero, lease: zero, units: units(list), class: zero, task: None };
    refused_though_signed(&vote(&[]));
    refused_though_signed(&vote(&[2, 1]));
    refused_though_signed(&vote(&(0..33).collect::<Vec<_>>()));
    refused_though_signed(&Preflighted { lease: zero, found: None, refused: None });
    let found = Found { unit_nanos: 1, work_per_item: 1, outputs: vec![], load_nanos: 1 };
    refused_though_signed(&Preflighted { lease: zero, found: Some(found), refused: Some(refusal.clone()) });
    refused_though_signed(&Aggregated { lease: zero, results: vec![], refused: None });
    refused_though_signed(&Ingested { commitment: zero, refused: Some(long.clone()) });
    refused_though_signed(&Failed { lease: zero, refusal: long });
    let commitment = |outputs: usize, driver: usize| Commitment {
        lease: zero,
        units: 1,
        root: zero,
        outputs: vec![zero; outputs],
        digest_list: zero,
        class: zero,
        driver: "x".repeat(driver),
    };
    refused_though_signed(&commitment(9, 0));
    refused_though_signed(&commitment(1, 129));
    let lease = |kind, audit| LeaseCore {
        kind,
        task: zero,
        shard: 0,
        first_unit: 0,
        units: 1,
        token: Token { epoch: 1, attempt: 1, copy: 0 },
        provider: PublicKey([0; 32]),
        worker: "w".parse().unwrap(),
        audit,
    };
    let audit = |units: u64| Some(AuditOf { round: zero, lease: zero, units: (0..units).collect() });
    refused_though_signed(&lease(LeaseKind::Audit, None));
    refused_though_signed(&lease(LeaseKind::Work, audit(1)));
    refused_though_signed(&lease(LeaseKind::Audit, audit(33)));
}
