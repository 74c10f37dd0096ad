//! Other people's vectors, and another implementation, against the tree, the proofs and the signatures that the log uses.
//! Sources and licences: `vectors/README.md`.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use orion_ledger_core::proof::{consistent, included};
use orion_protocol::merkle::{Sha256, Tree, path};
use orion_protocol::{PublicKey, Signature};

type Hash = [u8; 32];

/// Some vectors hold words instead of hashes ("don't care"). Ours have one length, so words are hashed: equal stays equal.
/// Where there is nothing at all, there is no hash.
fn hash(text: &str) -> Option<Hash> {
    let bytes = BASE64.decode(text).unwrap();
    (!bytes.is_empty()).then(|| bytes.as_slice().try_into().unwrap_or_else(|_| Sha256::leaf(&bytes)))
}

fn proof(hashes: Option<&Vec<String>>) -> Option<Vec<Hash>> {
    hashes.map_or(Some(Vec::new()), |hashes| hashes.iter().map(|text| hash(text)).collect())
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
    file: String,
}

#[test]
fn inclusion_proofs_are_judged_as_published() {
    let cases: Vec<Inclusion> = serde_json::from_str(include_str!("vectors/rfc6962-inclusion.json")).unwrap();
    assert_eq!(cases.len(), 98);
    for case in cases {
        let good = (|| {
            let (leaf, root, proof) = (hash(&case.leaf_hash)?, hash(&case.root)?, proof(case.proof.as_ref())?);
            Some(included(leaf, case.leaf_idx, case.tree_size, &proof, &root))
        })();
        assert_eq!(good == Some(true), !case.want_err, "{}", case.file);
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
    file: String,
}

#[test]
fn consistency_proofs_are_judged_as_published() {
    let cases: Vec<Consistency> = serde_json::from_str(include_str!("vectors/rfc6962-consistency.json")).unwrap();
    assert_eq!(cases.len(), 98);
    for case in cases {
        let good = (|| {
            let (old, new, proof) = (hash(&case.root1)?, hash(&case.root2)?, proof(case.proof.as_ref())?);
            Some(consistent(case.size1, &old, case.size2, &new, &proof))
        })();
        assert_eq!(good == Some(true), !case.want_err, "{}", case.file);
    }
}

#[derive(serde::Deserialize)]
struct EdgeCase {
    number: u32,
    key: String,
    sig: String,
    msg: String,
}

/// The numbers of the accepted edge cases. Another set is another rule: a node with it forks the ledger.
const ACCEPTED: [u32; 43] = [
    7, 29, 50, 117, 139, 161, 182, 249, 305, 411, 425, 438, 465, 473, 481, 489, 497, 511, 525, 538, 565, 573, 581, 589,
    597, 611, 625, 638, 665, 673, 681, 689, 697, 711, 725, 738, 765, 773, 781, 789, 797, 832, 899,
];

#[test]
fn signatures_on_edge_case_points_are_accepted_in_these_43_of_914_cases() {
    let cases: Vec<EdgeCase> = serde_json::from_str(include_str!("vectors/ed25519-edge-cases.json")).unwrap();
    assert_eq!(cases.len(), 914);
    let accepted = cases.iter().filter(|case| {
        let (Ok(key), Ok(signature)) = (case.key.parse::<PublicKey>(), case.sig.parse::<Signature>()) else {
            panic!("case {} is no key and signature", case.number);
        };
        key.verifies(case.msg.as_bytes(), &signature)
    });
    assert_eq!(accepted.map(|case| case.number).collect::<Vec<_>>(), ACCEPTED);
}

#[test]
fn our_tree_is_ct_merkles_tree_at_every_size_to_130() {
    let leaves: Vec<Vec<u8>> = (0_u8..130).map(|n| vec![n; usize::from(n)]).collect();
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| Sha256::leaf(leaf)).collect();
    let mut ours = Tree::<Sha256>::default();
    let mut theirs = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let mut roots = Vec::new();
    for (at, leaf) in leaves.iter().enumerate() {
        ours.push(hashes[at]);
        theirs.push(leaf.clone());
        assert_eq!(ours.root(), <Hash>::from(*theirs.root().as_bytes()), "{} leaves", at + 1);
        roots.push(ours.root());
    }
    let size = leaves.len();
    for at in 0..size {
        assert_eq!(theirs.prove_inclusion(at).as_bytes(), path::<Sha256>(&hashes, at).concat(), "leaf {at}");
        let added = size - at - 1;
        if added > 0 {
            let bytes = theirs.prove_consistency(added);
            let proof: Vec<Hash> = bytes.as_bytes().chunks(32).map(|node| node.try_into().unwrap()).collect();
            assert!(consistent(at as u64 + 1, &roots[at], size as u64, &roots[size - 1], &proof), "from {}", at + 1);
            assert!(!consistent(at as u64 + 1, &roots[at], size as u64, &roots[at], &proof));
        }
    }
}
