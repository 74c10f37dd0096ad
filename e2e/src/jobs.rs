//! Jobs to submit: those of the files, and busy work of any size.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use orion_crds::OrionJob;

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The example's folder.
pub fn digits_folder() -> PathBuf {
    root().join("examples/digits-knn")
}

/// The example.
pub fn digits() -> Result<OrionJob> {
    read(&digits_folder().join("job.yaml"))
}

/// The example's inputs.
pub fn digits_inputs() -> Result<ConfigMap> {
    read(&digits_folder().join("configmap.yaml"))
}

/// The folder of the example with a network.
pub fn network_folder() -> PathBuf {
    root().join("examples/digits-cnn")
}

/// The example with a network.
pub fn network() -> Result<OrionJob> {
    read(&network_folder().join("job.yaml"))
}

/// Its model and its images.
pub fn network_inputs() -> Result<ConfigMap> {
    read(&network_folder().join("configmap.yaml"))
}

/// The folder of the example whose windows keep some places and whose units count words.
pub fn motifs_folder() -> PathBuf {
    root().join("examples/dna-motifs")
}

/// The example with motifs.
pub fn motifs() -> Result<OrionJob> {
    read(&motifs_folder().join("job.yaml"))
}

/// Its sequence.
pub fn motifs_inputs() -> Result<ConfigMap> {
    read(&motifs_folder().join("configmap.yaml"))
}

/// 40 units of about a quarter of a second each.
pub fn slow() -> Result<OrionJob> {
    read(&root().join("e2e/jobs/slow.yaml"))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("understanding {}", path.display()))
}

/// The kernel of `slow.yaml` with other numbers: one item a unit.
#[derive(Clone, Debug)]
pub struct Busy {
    /// The job's name.
    pub name: String,
    /// The output's name.
    pub output: String,
    /// Units in all.
    pub units: i64,
    /// Units a shard.
    pub units_per_shard: i64,
    /// Multiply-adds a unit; 1,500,000 take about 2 ms.
    pub steps: u64,
    /// Drawn units a shard.
    pub audits: i32,
    /// Shards at a time.
    pub parallelism: i32,
    /// In ORION.
    pub budget: String,
}

impl Busy {
    /// A small job.
    pub fn named(name: &str) -> Busy {
        Busy {
            name: name.into(),
            output: "last".into(),
            units: 8,
            units_per_shard: 2,
            steps: 1_500_000,
            audits: 1,
            parallelism: 4,
            budget: "10".into(),
        }
    }

    /// The job.
    pub fn job(&self) -> Result<OrionJob> {
        let mut job = slow()?;
        job.metadata.name = Some(self.name.clone());
        let kernel = job.spec.workload.kernel.as_mut().context("slow.yaml has a kernel")?;
        kernel.global_size = vec![self.units];
        kernel.defines.insert("STEPS".into(), self.steps.to_string());
        kernel.work_per_item = self.steps.to_string();
        for argument in &mut kernel.arguments {
            argument.output = Some(self.output.clone());
        }
        let output = job.spec.outputs.first_mut().context("slow.yaml has an output")?;
        output.name.clone_from(&self.output);
        output.shape = Some(vec![self.units]);
        job.spec.sharding.units_per_shard = Some(self.units_per_shard);
        job.spec.validation.audits_per_shard = self.audits;
        job.spec.parallelism = self.parallelism;
        job.spec.budget.max_credits.clone_from(&self.budget);
        Ok(job)
    }

    /// What comes out: computed here, independently of any device.
    pub fn expected(&self) -> Vec<u32> {
        let one = |item: u32| {
            let step = |x: u32| x.wrapping_mul(x | 5).wrapping_add(item);
            (0..self.steps).fold(item + 1, |x, _| step(x))
        };
        (0..u32::try_from(self.units).unwrap_or_default()).map(one).collect()
    }
}
