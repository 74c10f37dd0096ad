//! The platform by Helm, as on any cluster.

use anyhow::{Context, Result};
use serde_json::json;

use super::{AGENT, NAMESPACE, Platform, Provider, Witness};
use crate::cluster::Cluster;
use crate::images::ImageRefs;
use crate::programs::Programs;
use crate::progress::Steps;
use crate::{files, process};

/// Installs or upgrades the release and waits until everything in it is ready.
pub fn install(
    cluster: &Cluster,
    programs: &Programs,
    images: &ImageRefs,
    providers: &[Provider],
    witnesses: &[Witness],
) -> Result<Platform> {
    let mut steps = Steps::new("platform", 3);
    let chart = programs.root.join("charts/orion");
    steps.run("namespace", |_| {
        let labels = "{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}";
        cluster
            .apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, labels: {labels}}}}}"))
    })?;
    steps.run("helm upgrade --install, until ready", |step| {
        let chart = chart.to_str().context("the path of the chart")?;
        let mut arguments =
            vec!["upgrade", "--install", "orion", chart, "--namespace", NAMESPACE, "--wait", "--timeout", "5m"];
        let values: Vec<String> = ["operator", "ledger", "worker", "nats"]
            .into_iter()
            .filter_map(|name| images.get(name).map(|reference| format!("images.{name}.ref={reference}")))
            .collect();
        for value in &values {
            arguments.extend(["--set", value]);
        }
        let providers = demo_providers(images, providers)?;
        let witnesses = demo_witnesses(witnesses);
        arguments.extend(["--set-json", &providers, "--set-json", &witnesses]);
        process::run_long(&mut cluster.helm(&arguments)?, step)
    })?;
    let log_key = cluster.state_dir.join("orion.vkey");
    steps.run("the log's key", |_| {
        let arguments =
            ["get", "configmap", "orion-genesis", "-n", NAMESPACE, "-o", "jsonpath={.data.checkpoint\\.vkey}"];
        files::write(&log_key, process::output(&mut cluster.kubectl(&arguments)?)?)
    })?;
    steps.finish();
    Ok(Platform {
        log_key,
        environment: Vec::new(),
        orion: programs.path("orion"),
        kubeconfig: cluster.kubeconfig.clone(),
    })
}

/// The value `demoProviders`. Who does not run the agent has an image of its own.
fn demo_providers(images: &ImageRefs, providers: &[Provider]) -> Result<String> {
    let mut entries = Vec::new();
    for Provider { name, program } in providers {
        let mut entry = json!({"name": name, "owner": name});
        if *program != AGENT {
            let image = program.trim_start_matches("orion-");
            let reference = images.get(image).with_context(|| format!("{name} needs the image {image}"))?;
            entry["image"] = json!({"ref": reference});
        }
        entries.push(entry);
    }
    Ok(format!("demoProviders={}", json!(entries)))
}

/// The value `demoWitnesses`.
fn demo_witnesses(witnesses: &[Witness]) -> String {
    let entry = |Witness { name, log }: &Witness| match log {
        Some(log) => json!({"name": name, "log": log}),
        None => json!({"name": name}),
    };
    format!("demoWitnesses={}", json!(witnesses.iter().map(entry).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_does_not_run_the_agent_has_an_image_of_its_own() {
        let providers = [Provider { name: "ann", program: AGENT }, Provider { name: "bob", program: "orion-liar" }];
        let images = ImageRefs::from([("liar".to_owned(), "liar:1".to_owned())]);
        assert_eq!(
            demo_providers(&images, &providers).unwrap(),
            r#"demoProviders=[{"name":"ann","owner":"ann"},{"image":{"ref":"liar:1"},"name":"bob","owner":"bob"}]"#
        );
        let error = demo_providers(&ImageRefs::new(), &providers).unwrap_err();
        assert_eq!(error.to_string(), "bob needs the image liar");
    }
}
