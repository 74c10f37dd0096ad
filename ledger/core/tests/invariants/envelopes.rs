//! I16, I17 and I19: an envelope is what was signed, in its one encoding, on its one chain, or it is not let in.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use orion_ledger_core::{Admission, Unorderable};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, Signed, cbor};

use crate::support::{Ballot, Random, Signers, World, approve, key, spec};
use crate::{STEPS, histories};

/// What an envelope in a log says; the log's own checks have verified it.
pub fn opened(signed: &Signed<Envelope>) -> (Envelope, Transaction) {
    let bytes = cbor::to_vec(signed);
    let mut decoder = minicbor::Decoder::new(&bytes);
    assert_eq!((decoder.map().unwrap(), decoder.u64().unwrap()), (Some(3), 0));
    let envelope: Envelope = cbor::from_slice("envelope", decoder.bytes().unwrap(), MAX_LEAF_BYTES).unwrap();
    let transaction = Transaction::from_bytes(&envelope.payload).unwrap();
    (envelope, transaction)
}

/// A few envelopes of a history, of every kind that it has.
fn envelopes(world: &World, random: &mut Random) -> Vec<Signed<Envelope>> {
    let mut kinds = std::collections::BTreeMap::new();
    for leaf in &world.log {
        if let LeafBody::Transaction(signed, _) = Leaf::from_bytes(leaf).unwrap().body {
            let kind = opened(&signed).1.kind();
            if !kinds.contains_key(kind) || random.one_in(8) {
                kinds.insert(kind, signed);
            }
        }
    }
    kinds.into_values().collect()
}

#[test]
fn i16_a_flipped_bit_anywhere_in_an_envelope_is_refused() {
    let mut flipped = 0;
    histories(|mut history| {
        (0..STEPS).for_each(|_| history.step());
        for signed in envelopes(&history.world, &mut history.random) {
            let bytes = cbor::to_vec(&signed);
            assert!(history.world.admission.read(&bytes).is_ok());
            // All of a short one, and a few hundred of one that embeds others.
            let bits = 8 * bytes.len() as u64;
            let step = 1 + bits / 256;
            let mut bit = history.random.below(step);
            while bit < bits {
                let mut changed = bytes.clone();
                changed[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
                assert!(history.world.admission.read(&changed).is_err(), "bit {bit} of {:?}", opened(&signed).1);
                bit += step;
                flipped += 1;
            }
        }
    });
    println!("{flipped} bits");
    assert!(flipped > 5_000);
}

/// Where the heads of all items of these CBOR bytes are, and how long each is.
fn heads(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut heads) = (0, Vec::new());
    while at < bytes.len() {
        let (major, info) = (bytes[at] >> 5, usize::from(bytes[at] & 31));
        let size = if info < 24 { 0 } else { 1 << (info - 24) };
        let number = bytes[at + 1..at + 1 + size].iter().fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte));
        let number = if size == 0 { info } else { number };
        heads.push((at, 1 + size));
        at += 1 + size + if major == 2 || major == 3 { number } else { 0 };
    }
    heads
}

/// Other encodings of the same: each head longer than it must be, lists and maps without a length, something behind, a map with
/// its fields in another order, one twice, one that is null.
fn others(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut others = vec![[bytes, &[0]].concat(), [bytes, &[0xf6]].concat()];
    for (at, length) in heads(bytes) {
        let (before, rest) = (&bytes[..at], &bytes[at + length..]);
        let (major, info) = (bytes[at] & 0xe0, bytes[at] & 31);
        let number = if length == 1 { vec![info] } else { bytes[at + 1..at + length].to_vec() };
        for size in [1, 2, 4, 8].into_iter().filter(|size| *size >= length && major != 0xe0) {
            let head = [24, 25, 26, 27][[1, 2, 4, 8].iter().position(|one| *one == size).unwrap()];
            let longer = [vec![0; size - number.len()], number.clone()].concat();
            others.push([before, &[major | head], &longer, rest].concat());
        }
        // The break of a list or map belongs where it ends; at the very end is enough for those that end there.
        if major == 0x80 || major == 0xa0 {
            others.push([before, &[major | 31], rest, &[0xff]].concat());
        }
        if major == 0xa0 && info > 0 && info < 23 {
            others.push([before, &[major | (info + 1)], rest, &[0x18, 99, 0xf6]].concat());
        }
    }
    others
}

#[test]
fn i17_whatever_is_not_in_its_one_encoding_is_refused_also_when_it_is_signed() {
    let mut refused = 0;
    histories(|mut history| {
        (0..STEPS).for_each(|_| history.step());
        let world = &history.world;
        let keys = &world.signers.keys;
        for signed in envelopes(world, &mut history.random) {
            let bytes = cbor::to_vec(&signed);
            let every = 1 + bytes.len() / 512;
            for other in others(&bytes).iter().step_by(every) {
                assert!(world.admission.read(other).is_err(), "{other:x?}");
                refused += 1;
            }
            // The transaction within, signed by whoever may.
            let (envelope, _) = opened(&signed);
            for other in others(&envelope.payload).into_iter().step_by(every) {
                let secret = if envelope.signer == keys.issuer.public() { &keys.issuer } else { &keys.operator };
                let envelope = Envelope { signer: secret.public(), payload: other.into(), ..envelope.clone() };
                let signed = Signed::new(&world.signers.chain, secret, &envelope);
                assert!(matches!(world.admission.check(signed), Err(Unorderable::Payload(_))), "{envelope:?}");
                refused += 1;
            }
        }
    });
    println!("{refused} encodings");
    assert!(refused > 1_000);
}

#[test]
fn i19_what_was_signed_for_another_chain_is_refused() {
    histories(|mut history| {
        (0..STEPS).for_each(|_| history.step());
        let world = &history.world;
        let other = Admission::new(&Genesis { nonce: Digest::ZERO, ..world.chain.genesis().clone() });
        for signed in envelopes(world, &mut history.random) {
            assert!(matches!(other.read(&cbor::to_vec(&signed)), Err(Unorderable::Signature(_))));
        }
    });
}

#[test]
fn i19_what_is_embedded_was_signed_for_this_chain_too() {
    let mut world = World::new();
    let task = spec(1, 4, 4, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let mut elsewhere = Signers::of(&Genesis { nonce: Digest::ZERO, ..world.chain.genesis().clone() });
    elsewhere.providers = world.signers.providers.clone();
    elsewhere.owners = world.signers.owners.clone();
    let alice = key(11).public();
    let (here, there) = (world.signers.work(&task, 0, 1, alice, &[]), elsewhere.work(&task, 0, 1, alice, &[]));
    // The digests of statements name the chain as well: each is put where everything else is right.
    for (code, change) in [
        (Code::BadLease, (|to: &mut RoundEntry, from: &RoundEntry| to.lease = from.lease.clone()) as fn(&mut _, &_)),
        (Code::BadCommitment, |to, from| to.commitment = from.commitment.clone()),
        (Code::BadIngest, |to, from| to.ingested = from.ingested.clone()),
    ] {
        let mut tx = world.close_tx(&task, &[&here]);
        change(&mut tx.entries[0], &there.entry);
        assert_eq!(world.send(&Transaction::CloseRound(tx)), code);
    }
    let closed = world.close_round(&task, &[&here]);
    let mut evidence = world.signers.evidence(&here, &task, &closed, &Ballot::default());
    evidence.votes = elsewhere.evidence(&here, &task, &closed, &Ballot::default()).votes;
    let tx = world.verdict_tx(&task, &closed, vec![evidence]);
    assert_eq!(world.send(&Transaction::RecordVerdict(tx)), Code::BadVote);

    let consumer = Consumer { account: world.account() };
    let (deposit, id) = (Transaction::Deposit(Deposit { consumer, amount: 1 }), world.id());
    let issuer = world.signers.keys.issuer.clone();
    let approved = approve(&elsewhere.chain, &issuer, id, &deposit, std::slice::from_ref(&issuer));
    let signed = world.sign(&Transaction::Approved(approved), id);
    assert_eq!(world.block(vec![signed])[0].code, Code::BadApproval);
}
