//! Vectors that others made, in `vectors/outside`: RFC 6962 inclusion proofs, and ed25519 signatures on edge-case points.

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use orion_protocol::merkle::{self, Sha256};
    use orion_protocol::{PublicKey, Signature};
    use serde_json::Value;

    fn read(name: &str) -> Vec<Value> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/outside").join(name);
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// A base64 hash; `None` when it is not 32 bytes long, which no proof may hold.
    fn hash(text: &Value) -> Option<[u8; 32]> {
        STANDARD.decode(text.as_str()?).ok()?.try_into().ok()
    }

    fn proves(case: &Value) -> Option<bool> {
        let path = case["proof"].as_array().map_or(Some(Vec::new()), |path| path.iter().map(hash).collect())?;
        let (at, size) = (case["leafIdx"].as_u64()?, case["treeSize"].as_u64()?);
        let root = merkle::root_from_path::<Sha256>(hash(&case["leafHash"])?, at, size, &path)?;
        Some(root == hash(&case["root"])?)
    }

    #[test]
    fn inclusion_proofs_are_judged_as_others_judge_them() {
        let cases = read("rfc6962-inclusion.json");
        assert_eq!(cases.len(), 98);
        for case in cases {
            let good = proves(&case).unwrap_or(false);
            assert_eq!(!good, case["wantErr"].as_bool().unwrap(), "{}", case["file"]);
        }
    }

    #[test]
    fn signatures_on_edge_case_points_are_judged_strictly() {
        let cases = read("ed25519-edge-cases.json");
        assert_eq!(cases.len(), 914);
        let accepted = cases.iter().filter(|case| {
            let key: PublicKey = case["key"].as_str().unwrap().parse().unwrap();
            let signature: Signature = case["sig"].as_str().unwrap().parse().unwrap();
            let good = key.verifies(case["msg"].as_str().unwrap().as_bytes(), &signature);
            let small_order = case["flags"].as_array().is_some_and(|flags| {
                flags.iter().any(|flag| {
                    matches!(flag.as_str(), Some("low_order_A" | "low_order_R" | "non_canonical_A" | "non_canonical_R"))
                })
            });
            assert!(!(good && small_order), "accepted {case}");
            good
        });
        // Plain verification takes 208 of them, ZIP-215 826: two nodes on different rules would fork.
        assert_eq!(accepted.count(), 43);
    }
}
