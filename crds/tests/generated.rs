//! The committed files are what the types say: the CRDs twice (here and in the chart), and their columns as people see them.
//! With `ORION_WRITE_GENERATED=1` it writes them instead, which is what `cargo xtask codegen` asks `orion_crds::yaml` for.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use orion_crds::schema::{MAX_CRD_BYTES, crds, yaml};

const FIX: &str =
    "run `cargo xtask codegen` (or `ORION_WRITE_GENERATED=1 cargo test -p orion-crds`) and review the diff";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares a file with what it should be, or writes it.
fn check(path: &Path, want: &str) {
    if std::env::var_os("ORION_WRITE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("making the folder");
        std::fs::write(path, want).expect("writing the file");
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(have == want, "{} is not what the types say: {FIX}", path.display());
}

#[test]
fn committed_crds_are_the_generated_ones() {
    for folder in ["crds/yaml", "charts/orion/crds"] {
        let folder = root().join(folder);
        for (name, text) in yaml() {
            check(&folder.join(name), &text);
        }
        let files = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(files, yaml().len(), "{} holds a file that is not generated: {FIX}", folder.display());
    }
}

#[test]
fn printer_columns_are_as_reviewed() {
    let mut text = String::from("kind: column (type) <- path; [wide] only with -o wide\n");
    for crd in crds() {
        let names = crd.spec.names;
        let (short, categories) = (names.short_names.unwrap_or_default(), names.categories.unwrap_or_default());
        writeln!(text, "\n{} ({}; {})", names.kind, short.join(", "), categories.join(", ")).unwrap();
        for column in crd.spec.versions.iter().flat_map(|version| version.additional_printer_columns.iter().flatten()) {
            let wide = if column.priority.unwrap_or(0) > 0 { " [wide]" } else { "" };
            writeln!(text, "  {} ({}) <- {}{wide}", column.name, column.type_, column.json_path).unwrap();
        }
    }
    check(&root().join("crds/tests/columns.txt"), &text);
}

#[test]
fn no_crd_is_too_large() {
    for (name, text) in yaml() {
        assert!(
            text.len() <= MAX_CRD_BYTES,
            "{name} is {} bytes long, at most {MAX_CRD_BYTES} are allowed",
            text.len()
        );
    }
}

/// Every string, list and map has a bound, so that the API server can bound what a CEL rule costs, and every kind starts
/// with an observedGeneration that nobody takes for ready.
#[test]
fn every_schema_is_bounded() {
    fn walk(path: &str, schema: &serde_json::Value) {
        let has = |key: &str| schema.get(key).is_some();
        match schema["type"].as_str() {
            Some("string") => assert!(has("maxLength") || has("enum"), "{path} has no maxLength"),
            Some("array") => {
                assert!(has("maxItems"), "{path} has no maxItems");
                assert!(has("x-kubernetes-list-type"), "{path} has no list type");
                walk(&format!("{path}[]"), &schema["items"]);
            }
            Some("integer") => assert!(has("minimum") || path.ends_with("observedGeneration"), "{path} has no minimum"),
            Some("object") => {
                assert!(!has("additionalProperties") || has("maxProperties"), "{path} has no maxProperties");
                for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                    walk(&format!("{path}.{name}"), inner);
                }
            }
            Some("boolean") => {}
            other => panic!("{path} has the type {other:?}"),
        }
        for odd in ["anyOf", "oneOf", "allOf", "nullable", "x-kubernetes-preserve-unknown-fields"] {
            assert!(!has(odd), "{path} has {odd}");
        }
    }
    for crd in crds() {
        let schema = serde_json::json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema);
        walk(&crd.spec.names.kind, &schema);
        assert_eq!(schema["properties"]["status"]["default"], serde_json::json!({"observedGeneration": -1}));
    }
}
