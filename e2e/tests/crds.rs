//! The rules and bounds of the CRDs, each with an object that is taken and one that is refused, on a real API server. Run by
//! `cargo xtask e2e` before there is an operator: it would act on the objects.

#[path = "../../crds/tests/cases/mod.rs"]
mod cases;
#[path = "../../crds/tests/cases/server.rs"]
mod server;

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use orion_e2e::until;
use orion_e2e::world::connect;

#[tokio::test]
async fn every_rule_and_bound_is_the_api_servers() -> Result<()> {
    let kube = connect().await?;
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.generate_name = Some("e2e-crds-".into());
    let name = namespaces.create(&PostParams::default(), &namespace).await.context("making a namespace")?.name_any();
    server::check(kube, &name).await;
    // Who comes next shall find nothing.
    namespaces.delete(&name, &DeleteParams::default()).await.context("deleting the namespace")?;
    let gone = async || Ok(namespaces.get_opt(&name).await?.is_none().then_some(()));
    until("the end of the namespace", Duration::from_mins(1), gone).await
}
