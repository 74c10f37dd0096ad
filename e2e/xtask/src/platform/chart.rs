//! The platform by Helm, as on any cluster.

use anyhow::{Context, Result};

use super::{NAMESPACE, Platform};
use crate::cluster::Cluster;
use crate::images::ImageRefs;
use crate::programs::Programs;
use crate::progress::Steps;
use crate::{files, process};

/// Installs or upgrades the release and waits until everything in it is ready.
pub fn install(cluster: &Cluster, programs: &Programs, images: &ImageRefs) -> Result<Platform> {
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
