//! Runs the cases on a real API server. Included by the end-to-end tests, which have a client and a namespace.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use super::cases::{Case, bounds, budget_changes, cases, job, with};

/// Every case, every bound. The CRDs are installed, `namespace` is empty and exists.
pub async fn check(client: Client, namespace: &str) {
    for (at, case) in cases().into_iter().enumerate() {
        run(&client, namespace, &format!("case-{at}"), case).await;
    }
    for (at, (status, changed)) in budget_changes().into_iter().enumerate() {
        let name = format!("budget-{at}");
        let api = api(&client, namespace, "OrionJob");
        exists(&api, &name, job(), status.as_ref()).await;
        update(&api, &name, changed).await.expect("a budget may change until it is funded");
    }
    for bound in bounds() {
        let api = api(&client, namespace, "OrionJob");
        let answer = create(&api, "bound", bound.refused).await.expect_err("the object is out of bounds");
        assert!(answer.contains(bound.words), "expected {:?} in: {answer}", bound.words);
    }
}

async fn run(client: &Client, namespace: &str, name: &str, case: Case) {
    let Case { kind, path, message, before, status, accepted, refused } = case;
    let at = format!("{kind} {path}: {message}");
    let api = api(client, namespace, kind);
    let answer = if let Some(before) = before {
        exists(&api, name, before, status.as_ref()).await;
        let answer = update(&api, name, refused).await;
        if let Err(answer) = update(&api, name, accepted).await {
            panic!("{at}: the accepted object is refused: {answer}");
        }
        answer
    } else {
        let answer = create(&api, name, refused).await;
        if let Err(answer) = create(&api, name, accepted).await {
            panic!("{at}: the accepted object is refused: {answer}");
        }
        answer
    };
    let answer = answer.expect_err(&format!("{at}: the refused object is taken"));
    assert!(answer.contains(message), "{at}: refused with {answer}");
    // The API server names the field; rules about the whole object do it in their message.
    assert!(path.split("[]").all(|part| answer.contains(part)), "{at}: the field is not named in {answer}");
}

fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("orion.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn named(object: Value, name: &str) -> DynamicObject {
    let object = match object["metadata"]["name"] {
        Value::Null => with(object, "/metadata/name", json!(name)),
        _ => object,
    };
    serde_json::from_value(object).expect("a case is an object")
}

async fn create(api: &Api<DynamicObject>, name: &str, object: Value) -> Result<(), String> {
    api.create(&PostParams::default(), &named(object, name)).await.map(drop).map_err(words)
}

async fn exists(api: &Api<DynamicObject>, name: &str, object: Value, status: Option<&Value>) {
    create(api, name, object).await.expect("the object before is good");
    if let Some(status) = status {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch).await.expect("the status before is good");
    }
}

async fn update(api: &Api<DynamicObject>, name: &str, object: Value) -> Result<(), String> {
    let mut object = named(object, name);
    object.metadata.resource_version = api.get(name).await.map_err(words)?.metadata.resource_version;
    api.replace(name, &PostParams::default(), &object).await.map(drop).map_err(words)
}

/// The API server's words.
fn words(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => panic!("no answer from the API server: {other}"),
    }
}
