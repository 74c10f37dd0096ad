//! The CEL rules of the CRDs, evaluated offline: each has a case, takes what it should take and refuses what it should refuse,
//! in its own words. The same cases run on a real API server in the end-to-end tests.

#[path = "cases/mod.rs"]
mod cases;

use std::collections::BTreeSet;

use cases::{Case, bounds, budget_changes, cases, job, with};
use kube::core::cel::Validator;
use orion_crds::crds;
use serde_json::{Value, json};

/// The schema of a kind.
fn schema(kind: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect("the kind exists");
    json!(crd.spec.versions[0].schema.as_ref().expect("a schema").open_api_v3_schema)
}

/// The messages of the rules that refuse `object`.
fn refusals(kind: &str, object: &Value, before: Option<&Value>) -> Vec<String> {
    let outcome = Validator::new().validate(&schema(kind), object, before);
    outcome
        .err()
        .map(|errors| errors.as_slice().iter().map(|error| error.message.clone()).collect())
        .unwrap_or_default()
}

/// As the API server sees it: the status is that of the object that is there.
fn with_status(object: &Value, status: Option<&Value>) -> Value {
    let status = status.cloned().unwrap_or(json!({"observedGeneration": -1}));
    let named = if object["metadata"]["name"].is_null() {
        with(object.clone(), "/metadata/name", json!("some"))
    } else {
        object.clone()
    };
    with(named, "/status", status)
}

#[test]
fn every_rule_takes_and_refuses() {
    for case in cases() {
        let Case { kind, path, message, before, status, accepted, refused } = case;
        let at = format!("{kind} {path}: {message}");
        let status = status.as_ref();
        let before = before.as_ref().map(|object| with_status(object, status));
        let have = refusals(kind, &with_status(&accepted, status), before.as_ref());
        assert_eq!(have, Vec::<String>::new(), "{at}: the accepted object is refused");
        let have = refusals(kind, &with_status(&refused, status), before.as_ref());
        assert!(have.iter().any(|have| have == message), "{at}: refused with {have:?}");
    }
}

#[test]
fn a_budget_may_change_until_it_is_funded() {
    for (status, changed) in budget_changes() {
        let before = with_status(&job(), status.as_ref());
        assert_eq!(refusals("OrionJob", &with_status(&changed, status.as_ref()), Some(&before)), Vec::<String>::new());
    }
}

#[test]
fn every_rule_has_a_case() {
    fn walk(path: &str, schema: &Value, found: &mut BTreeSet<(String, String)>) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            found.insert((path.to_owned(), rule["message"].as_str().unwrap().to_owned()));
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(&path, inner, found);
        }
        if schema["items"].is_object() {
            walk(&format!("{path}[]"), &schema["items"], found);
        }
    }
    for crd in crds() {
        let kind = crd.spec.names.kind;
        let mut rules = BTreeSet::new();
        walk("", &schema(&kind), &mut rules);
        let mine = cases().into_iter().filter(|case| case.kind == kind);
        let covered: BTreeSet<_> = mine.map(|case| (case.path.to_owned(), case.message.to_owned())).collect();
        assert_eq!(rules, covered, "{kind}: rules on the left, cases on the right");
    }
}

/// The bounds themselves are the API server's to check; that they are about objects no rule refuses is checked here.
#[test]
fn bounds_are_not_about_rules() {
    for bound in bounds() {
        assert_eq!(
            refusals("OrionJob", &with_status(&bound.refused, None), None),
            Vec::<String>::new(),
            "{}",
            bound.words
        );
    }
}
