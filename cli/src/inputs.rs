//! Whether a job was computed with what its namespace holds: the log's digests of its inputs against the ConfigMaps themselves. A
//! ConfigMap that is gone or was edited since proves nothing either way, and is told.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use orion_crds::validated::{InputSource, Items, ValidatedJob};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, array};

use crate::cluster::Cluster;

/// What a look at the inputs found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Names of those that could not be compared, each with why.
    pub unknown: Vec<String>,
    /// Why the task in the log is not this job.
    pub wrong: Option<String>,
}

/// Compares every input, and the number of items where an input says it.
pub async fn compare(cluster: &Cluster, job: &ValidatedJob, task: &TaskSpec) -> anyhow::Result<Inputs> {
    let mut found = Inputs::default();
    for (at, input) in job.inputs.iter().enumerate() {
        let held = match &input.source {
            InputSource::ConfigMap { name, key } => current(cluster, &job.namespace, name, key).await?,
            InputSource::Object(_) => None,
        };
        found.take(job, task, at, held.as_deref());
    }
    Ok(found)
}

impl Inputs {
    /// Compares one input of the job with the log's; `held` is what its ConfigMap holds now.
    fn take(&mut self, job: &ValidatedJob, task: &TaskSpec, at: usize, held: Option<&[u8]>) {
        let (Some(input), Some(digest)) = (job.inputs.get(at), task.inputs.get(at)) else { return };
        let (name, says_items) = (&input.name, job.items == Items::RowsOf(at));
        let bytes = match (&input.source, held) {
            (InputSource::Object(object), _) if object != digest => {
                self.wrong = Some(format!("input {name} of the job is {object}, the log has {digest}"));
                return;
            }
            (InputSource::Object(_), _) => {
                if says_items {
                    self.unknown.push(format!("{name}: its rows were not counted, for it is not here"));
                }
                return;
            }
            (InputSource::ConfigMap { .. }, Some(bytes)) if Digest::of(bytes) == *digest => bytes,
            (InputSource::ConfigMap { .. }, held) => {
                let why = if held.is_some() { "holds something else now" } else { "is gone" };
                self.unknown.push(format!("{name}: its ConfigMap {why}"));
                return;
            }
        };
        if !says_items {
            return;
        }
        let rows = array::find(bytes, bytes.len() as u64, job.key_of(at)).ok();
        let rows = rows.and_then(|array| array.header.shape.first().copied());
        if rows != Some(task.units.items) {
            let items = task.units.items;
            let rows = rows.map_or_else(|| "no".to_owned(), |rows| rows.to_string());
            self.wrong = Some(format!("the log has {items} items, input {name} has {rows} rows"));
        }
    }
}

/// What a ConfigMap holds now.
async fn current(cluster: &Cluster, namespace: &str, map: &str, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let found = api.get_opt(map).await.with_context(|| format!("reading ConfigMap {map}"))?;
    Ok(found.and_then(|map| map.binary_data?.remove(key)).map(|bytes| bytes.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// What is found of the job's rows when their ConfigMap holds this.
    fn found(held: Option<&[u8]>, items: u64) -> Inputs {
        let (job, mut task) = (fixtures::job(), fixtures::task());
        task.units.items = items;
        let mut found = Inputs::default();
        found.take(&job, &task, fixtures::ROWS, held);
        found
    }

    #[test]
    fn rows_are_counted_where_they_are_what_the_log_has() {
        assert_eq!(found(Some(&fixtures::rows()), 3), Inputs::default());
        let wrong = found(Some(&fixtures::rows()), 4);
        assert_eq!(wrong.wrong.as_deref(), Some("the log has 4 items, input rows has 3 rows"));
        assert!(wrong.unknown.is_empty());
    }

    #[test]
    fn a_config_map_that_changed_since_proves_nothing() {
        for (held, why) in [(None, "is gone"), (Some(&b"other bytes"[..]), "holds something else now")] {
            let found = found(held, 3);
            assert_eq!((found.wrong, found.unknown), (None, vec![format!("rows: its ConfigMap {why}")]));
        }
    }

    #[test]
    fn an_object_is_compared_by_its_name_alone() {
        let (mut job, task) = (fixtures::job(), fixtures::task());
        let mut same = Inputs::default();
        same.take(&job, &task, fixtures::MODEL, None);
        assert_eq!(same, Inputs::default());
        job.inputs[fixtures::MODEL].source = InputSource::Object(Digest::of(b"another model"));
        let mut other = Inputs::default();
        other.take(&job, &task, fixtures::MODEL, None);
        assert!(other.wrong.unwrap_or_default().starts_with("input model of the job is "));
        // Rows that are an object are not fetched to be counted.
        job.inputs[fixtures::ROWS].source = InputSource::Object(task.inputs[fixtures::ROWS]);
        let mut rows = Inputs::default();
        rows.take(&job, &task, fixtures::ROWS, None);
        assert_eq!((rows.wrong, rows.unknown.len()), (None, 1));
    }
}
