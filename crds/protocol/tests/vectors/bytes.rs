//! Vectors of the lowest layer: keys, frames, encodings that are refused, ids, names and words.

use orion_protocol::bytes::hex;
use orion_protocol::cbor::{self, Part};
use orion_protocol::ids::{self, Account};
use orion_protocol::ledger::tx::Settle;
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::statements::LeaseTail;
use orion_protocol::{Digest, JobId, Name, Reason, TxId, subjects};
use serde_json::{Value, json};

use crate::fixtures::{CLUSTER, JOB_UID, KEYS, chain, digest, genesis, job, name, public, secret, workload};
use crate::json::Json;

pub fn keys() -> Value {
    let note = "seeds are one byte, 32 times";
    let message = "bare bytes";
    let keys: Vec<Value> = KEYS
        .iter()
        .map(|(name, byte)| {
            let signature = secret(name).sign_bytes(message.as_bytes());
            json!({"name": name, "seed": hex(&[*byte; 32]), "public": public(name).json(), "signature": signature.to_string()})
        })
        .collect();
    json!({"note": note, "message": message, "keys": keys})
}

fn part_json(part: &Part<'_>) -> Value {
    match part {
        Part::U64(x) => json!({"u64": x}),
        Part::Text(x) => json!({"text": x}),
        Part::Bytes(x) if x.len() > 4096 => json!({"fill": x[0], "times": x.len()}),
        Part::Bytes(x) => json!({"bytes": hex(x)}),
        Part::List(parts) => json!({"list": parts.iter().map(part_json).collect::<Vec<_>>()}),
    }
}

pub fn frames() -> Value {
    let (short, long) = ([7; 23], vec![8; 65_536]);
    let (text_24, text_256) = ("x".repeat(24), "y".repeat(256));
    let numbers = [0, 1, 23, 24, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, u64::MAX].map(Part::U64);
    let inner = [Part::Text("a"), Part::List(&[]), Part::U64(1)];
    let many = [Part::U64(0); 24];
    let cases: [(&str, &[Part<'_>]); 8] = [
        ("orion/empty/v1", &[]),
        ("", &[Part::U64(0)]),
        ("orion/numbers/v1", &numbers),
        ("orion/bytes/v1", &[Part::Bytes(&[]), Part::Bytes(&short), Part::Bytes(&[9; 24]), Part::Bytes(&[9; 256])]),
        ("orion/long/v1", &[Part::Bytes(&long)]),
        (
            "orion/text/v1",
            &[Part::Text(""), Part::Text("Grüße, мир, 世界"), Part::Text(&text_24), Part::Text(&text_256)],
        ),
        ("orion/nested/v1", &[Part::List(&inner), Part::List(&[Part::List(&inner)]), Part::Bytes(b"z")]),
        ("orion/many/v1", &many),
    ];
    let case = |(domain, parts): &(&str, &[Part<'_>])| {
        let frame = cbor::frame(domain, parts);
        assert_eq!(cbor::frame_digest(domain, parts), Digest::of(&frame));
        // The long one is checked by its digest alone.
        let bytes = if frame.len() < 4096 { json!(hex(&frame)) } else { Value::Null };
        let parts: Vec<Value> = parts.iter().map(part_json).collect();
        json!({"domain": domain, "parts": parts, "frame": bytes, "sha3": Digest::of(&frame).json()})
    };
    json!(cases.iter().map(case).collect::<Vec<_>>())
}

/// Encodings that no reader may take, each of something that has a good encoding.
pub fn refused() -> Value {
    let settle = |bytes: &str, why: &str| {
        assert!(cbor::from_slice::<Settle>("settle", &unhex(bytes), 64).is_err(), "{why}");
        json!({"type": "Settle", "bytes": bytes, "why": why})
    };
    let tail = |bytes: &str, why: &str| {
        assert!(cbor::from_slice::<LeaseTail>("tail", &unhex(bytes), 256).is_err(), "{why}");
        json!({"type": "LeaseTail", "bytes": bytes, "why": why})
    };
    let (job, zero) = (format!("5820{}", "11".repeat(32)), "00".repeat(32));
    let good = format!("a200{job}0105");
    assert!(cbor::from_slice::<Settle>("settle", &unhex(&good), 64).is_ok());
    let good_tail = format!("a2005820{zero}0105");
    assert!(cbor::from_slice::<LeaseTail>("tail", &unhex(&good_tail), 256).is_ok());
    json!({
        "accepted": [{"type": "Settle", "bytes": good}, {"type": "LeaseTail", "bytes": good_tail}],
        "refused": [
            settle(&format!("a200{job}011805"), "5 in two bytes"),
            settle(&format!("a200{job}01190005"), "5 in three bytes"),
            settle(&format!("a200{job}011a00000005"), "5 in five bytes"),
            settle(&format!("a200{job}011b0000000000000005"), "5 in nine bytes"),
            settle(&format!("b80200{job}0105"), "the map's length in two bytes"),
            settle(&format!("a21800{job}0105"), "a key in two bytes"),
            settle(&format!("a2005900{}{}0105", "20", "11".repeat(32)), "a byte string's length in three bytes"),
            settle(&format!("a2010500{job}"), "keys out of order"),
            settle(&format!("a300{job}01050105"), "a key twice"),
            settle(&format!("a300{job}01050200"), "an unknown key"),
            settle(&format!("a300{job}010502f6"), "an unknown key that holds null"),
            settle(&format!("a100{job}"), "a key is missing"),
            settle(&format!("bf00{job}0105ff"), "a map of indefinite length"),
            settle(&format!("a2005f{job}ff0105"), "a byte string of indefinite length"),
            settle(&format!("a200{job}010500"), "a byte too many"),
            settle(&format!("a200{job}01"), "a byte too few"),
            settle(&format!("a200{job}01f94500"), "5.0 as a float"),
            settle(&format!("a200{job}01fb4014000000000000"), "5.0 as a double"),
            settle(&format!("a200{job}01c105"), "a tag"),
            settle(&format!("c6a200{job}0105"), "a tag around all"),
            settle(&format!("a200{job}01f6"), "null"),
            settle(&format!("a200{job}01f7"), "undefined"),
            settle(&format!("a200{job}01f5"), "a boolean"),
            settle(&format!("a200{job}0124"), "a negative number"),
            settle(&format!("a200{job}01c24105"), "a bignum"),
            settle(&format!("a200581f{}0105", "11".repeat(31)), "31 bytes for 32"),
            settle(&format!("a2007820{}0105", "11".repeat(32)), "text for bytes"),
            settle(&format!("82{job}05"), "an array for a map"),
            settle(&format!("a2613058{}0105", &job[2..]), "a key of text"),
            settle("", "nothing"),
            tail(&format!("a3005820{zero}010502f6"), "null for what is absent"),
            tail(&format!("a3005820{zero}010502f7"), "undefined for what is absent"),
            tail(&format!("a3005820{zero}01050240"), "no bytes for what is absent"),
        ],
    })
}

pub fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

pub fn ids() -> Value {
    let (chain, genesis) = (chain(), genesis());
    let workload = Digest::of(&workload().object());
    let inputs = [digest("digits.npy"), digest("labels.npy")];
    let accounts = [
        ("issuance", vec![], Account::Issuance),
        (
            "consumer.available",
            vec![json!({"text": CLUSTER}), json!({"text": "default"})],
            Account::Consumer { cluster: CLUSTER, namespace: "default" },
        ),
        ("escrow", vec![json!({"bytes": job().json()})], Account::Escrow(job())),
        ("provider.available", vec![json!({"bytes": public("worker").json()})], Account::Available(public("worker"))),
        (
            "provider.vesting",
            vec![json!({"bytes": public("worker").json()}), json!({"bytes": job().json()})],
            Account::Vesting(public("worker"), job()),
        ),
        ("treasury", vec![], Account::Treasury),
        ("provider.stake", vec![json!({"bytes": public("worker").json()})], Account::Stake(public("worker"))),
        ("provider.unbonding", vec![json!({"bytes": public("worker").json()})], Account::Unbonding(public("worker"))),
        ("slash_pool", vec![], Account::SlashPool),
    ];
    let accounts: Vec<Value> = accounts
        .into_iter()
        .map(|(kind, owner, account)| json!({"kind": kind, "owner": owner, "id": account.id(&chain).json()}))
        .collect();
    let transactions = [("OpenEpoch", JobId::NONE, 3, 0), ("CloseRound", job(), 0, 0), ("CloseRound", job(), 0, 1), ("Settle", job(), u64::MAX, 2)]
        .map(|(kind, job, sequence, attempt)| {
            json!({"kind": kind, "job": job.json(), "sequence": sequence, "try": attempt, "id": TxId::derive(kind, &job, sequence, attempt).json()})
        });
    let preflight = ids::preflight_digest(&job(), &workload, &inputs);
    let unbond = TxId::derive("Unstake", &JobId::NONE, 9, 0);
    let aggregate = ids::aggregate_digest(&digest("a task"), &digest("a manifest"));
    json!({
        "genesis": genesis.json(),
        "genesis_bytes": hex(&genesis.to_bytes()),
        "policy_digest": genesis.policy.digest().json(),
        "chain": chain.json(),
        "log_origin": chain.log_origin(),
        "job": {"cluster": CLUSTER, "uid": JOB_UID, "id": job().json()},
        "no_job": JobId::NONE.json(),
        "accounts": accounts,
        "transactions": transactions,
        "preflight": {"job": job().json(), "workload": workload.json(), "inputs": inputs.to_vec().json(), "digest": preflight.json()},
        "unbonding": {"signer": public("worker").json(), "id": unbond.json(), "digest": ids::unbonding_id(&public("worker"), &unbond).json()},
        "aggregate": {"task": digest("a task").json(), "manifest": digest("a manifest").json(), "digest": aggregate.json()},
    })
}

pub fn names() -> Value {
    let good = ["a", "0", "worker-0", "p1", "a--b", JOB_UID];
    let longest = "n".repeat(63);
    let too_long = "n".repeat(64);
    let bad = ["", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", "a*", ">", too_long.as_str()];
    for text in good.iter().copied().chain([longest.as_str()]) {
        assert!(text.parse::<Name>().is_ok(), "{text:?}");
    }
    for text in bad {
        assert!(text.parse::<Name>().is_err(), "{text:?}");
    }
    let (provider, worker, uid, lease) = (name("acme"), name("worker-0"), name(JOB_UID), digest("a lease"));
    let reasons: serde_json::Map<String, Value> =
        Reason::ALL.iter().map(|reason| (reason.to_string(), number_of(reason))).collect();
    json!({
        "good": good.iter().copied().chain([longest.as_str()]).collect::<Vec<_>>(),
        "bad": bad,
        "subjects": {
            "provider": provider.json(), "worker": worker.json(), "job_uid": uid.json(), "lease": lease.json(),
            "work_stream": subjects::work_stream(&provider),
            "work": subjects::work(&provider, &worker),
            "work_all": subjects::work_all(&provider),
            "commit_stream": subjects::commit_stream(&provider),
            "commit": subjects::commit(&provider, &worker, &uid, &lease),
            "commit_all": subjects::commit_all(&provider),
            "commit_job": subjects::commit_job(&provider, &uid),
            "heartbeat": subjects::heartbeat(&provider, &worker),
            "heartbeats": subjects::HEARTBEATS,
            "bucket_in": subjects::BUCKET_IN,
            "bucket_out": subjects::bucket_out(&provider),
            "bucket_held": subjects::BUCKET_HELD,
            "bucket_results": subjects::BUCKET_RESULTS,
            "bucket_stream": subjects::bucket_stream(&subjects::bucket_out(&provider)),
            "work_of_the_platform": subjects::work_stream(&name(subjects::PLATFORM)),
            "object": subjects::object(&lease),
        },
        "reasons": reasons,
        "codes": codes(),
        "transaction_kinds": kinds(),
    })
}

/// The number that stands for a word in CBOR.
fn number_of<T: minicbor::Encode<()>>(word: &T) -> Value {
    json!(minicbor::decode::<u64>(&cbor::to_vec(word)).unwrap())
}

/// Receipt codes, in the order of their numbers.
fn codes() -> Value {
    let code = |number: u64| minicbor::decode::<Code>(&cbor::to_vec(&Part::U64(number))).ok();
    (0..256).filter_map(code).map(|code| json!(code.as_str())).collect()
}

/// The kinds of transactions, in the order of their numbers.
fn kinds() -> Vec<&'static str> {
    let mut kinds: Vec<(u64, &str)> = crate::ledger::all()
        .into_iter()
        .map(|(transaction, ..)| (variant_of(&transaction), transaction.kind()))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.into_iter().map(|(_, kind)| kind).collect()
}

fn variant_of(transaction: &Transaction) -> u64 {
    let bytes = cbor::to_vec(transaction);
    let mut decoder = minicbor::Decoder::new(&bytes);
    decoder.array().unwrap();
    decoder.u64().unwrap()
}
