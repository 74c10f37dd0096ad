//! A job out of files, as `kubectl apply` would take it: one OrionJob, the ConfigMaps that it reads, and files that stand for objects by their
//! digests. What an API server would refuse is refused here too, as far as no cluster is needed for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use orion_crds::validated::{InputRef, InputSource};
use orion_crds::{OrionJob, ValidatedJob};
use orion_engine::Load;
use orion_protocol::npy::Header;
use orion_protocol::put::MAX_OBJECT_BYTES;
use orion_protocol::task::Workload;
use orion_protocol::{Digest, Reason, Refusal};
use serde_json::Value;

use super::Stop;

/// The longest file of YAML, in bytes: some ConfigMaps of 1 MiB in base64.
const MAX_YAML: u64 = 16 << 20;
/// Most files that are read of a directory.
const MAX_FILES: usize = 256;
/// Where no namespace is written.
const NAMESPACE: &str = "default";
/// The uid that an API server would give.
const UID: &str = "local";

/// What files say.
#[derive(Default)]
pub struct Files {
    jobs: Vec<Value>,
    /// By namespace and name.
    maps: BTreeMap<(String, String), ConfigMap>,
    objects: BTreeMap<Digest, Arc<Vec<u8>>>,
}

impl Files {
    /// Reads files of YAML, directories of them, and objects.
    pub fn read(paths: &[PathBuf], objects: &[PathBuf]) -> anyhow::Result<Files> {
        let mut files = Files::default();
        for path in paths {
            if path.is_dir() {
                for path in manifests(path)? {
                    files.add(&path)?;
                }
            } else {
                files.add(path)?;
            }
        }
        for path in objects {
            let bytes = read(path, MAX_OBJECT_BYTES)?;
            files.objects.insert(Digest::of(&bytes), Arc::new(bytes));
        }
        Ok(files)
    }

    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        self.add_text(path, read(path, MAX_YAML)?)
    }

    fn add_text(&mut self, path: &Path, bytes: Vec<u8>) -> anyhow::Result<()> {
        let name = || format!("understanding {}", path.display());
        let text = String::from_utf8(bytes).with_context(name)?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).with_context(name)?;
        for document in documents {
            let word = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
            match (word("apiVersion"), word("kind")) {
                ("orion.dev/v1alpha1", "OrionJob") => self.jobs.push(document),
                ("v1", "ConfigMap") => {
                    let map: ConfigMap = serde_json::from_value(document).with_context(name)?;
                    let namespace = map.metadata.namespace.clone().unwrap_or_else(|| NAMESPACE.into());
                    let key = (namespace, map.metadata.name.clone().unwrap_or_default());
                    if self.maps.contains_key(&key) {
                        bail!("{}: ConfigMap {} is there twice", path.display(), key.1);
                    }
                    self.maps.insert(key, map);
                }
                ("", _) | (_, "") => bail!("{}: a document without apiVersion and kind", path.display()),
                // A namespace, another tool's objects: nothing that a run needs.
                _ => {}
            }
        }
        Ok(())
    }

    /// The one job there is, checked.
    fn written(&self) -> Result<ValidatedJob, Stop> {
        let [written] = self.jobs.as_slice() else {
            let names: Vec<&str> = self.jobs.iter().filter_map(|job| job.pointer("/metadata/name")?.as_str()).collect();
            let why = match names.as_slice() {
                [] => "the files hold no OrionJob".to_owned(),
                names => format!("the files hold several OrionJobs ({}): name the file of one", names.join(", ")),
            };
            return Err(Stop::Failed(anyhow::anyhow!(why)));
        };
        Ok(ValidatedJob::try_from(&parse(written)?)?)
    }

    /// The one job there is, checked, and all that an executor needs of it.
    pub fn job(&self) -> Result<(ValidatedJob, Load), Stop> {
        let job = self.written()?;
        let inputs = job.inputs.iter().map(|input| self.input(&job, input)).collect::<Result<Vec<_>, _>>()?;
        let header = |(at, file): (usize, &Arc<Vec<u8>>)| job.header(at, file, file.len() as u64);
        let headers: Vec<Option<Header>> = inputs.iter().enumerate().map(header).collect::<Result<_, _>>()?;
        let units = job.units_by(|at| headers.get(at).and_then(Option::as_ref))?;
        let load = Load { workload: job.workload.clone(), units, outputs: job.outputs.clone(), inputs };
        Ok((job, load))
    }

    fn input(&self, job: &ValidatedJob, input: &InputRef) -> Result<Arc<Vec<u8>>, Refusal> {
        let field = format!("spec.inputs[{}].source", input.name);
        let missing = |why: String| Refusal::new(Reason::InputNotFound, why);
        match &input.source {
            InputSource::Object(digest) => self.objects.get(digest).cloned().ok_or_else(|| {
                missing(format!("{field}.object: no given file has the digest {digest}; give it with --object FILE"))
            }),
            InputSource::ConfigMap { name, key } => {
                let map = self.maps.get(&(job.namespace.clone(), name.clone())).ok_or_else(|| {
                    missing(format!(
                        "{field}.configMap: {name} is in none of the files; name its file too, or the directory"
                    ))
                })?;
                let bytes = map.binary_data.as_ref().and_then(|data| data.get(key));
                let bytes = bytes
                    .ok_or_else(|| missing(format!("{field}.configMap: {name} has no key {key} in binaryData")))?;
                Ok(Arc::new(bytes.0.clone()))
            }
        }
    }
}

/// The workload of a job in YAML, or the one of which the file is the object.
pub fn workload(file: &Path) -> anyhow::Result<Workload> {
    let bytes = read(file, MAX_YAML)?;
    let object = Workload::from_object(&bytes);
    let job = || {
        let mut files = Files::default();
        files.add_text(file, bytes)?;
        files.written()
    };
    let workload = object.or_else(|_| Ok(job()?.workload)).map_err(|stop| match stop {
        Stop::Refused(refusal) => anyhow::anyhow!("{refusal}"),
        Stop::Failed(error) => error,
    });
    workload.with_context(|| format!("{} is neither an OrionJob nor a workload object", file.display()))
}

/// The job as an API server would hold it; a field that it does not know is refused, as `kubectl apply` does.
fn parse(written: &Value) -> Result<OrionJob, Refusal> {
    let invalid = |why: String| Refusal::new(Reason::InvalidSpec, why);
    let mut job: OrionJob = serde_json::from_value(written.clone()).map_err(|error| invalid(error.to_string()))?;
    let known = serde_json::to_value(&job.spec).map_err(|error| invalid(error.to_string()))?;
    if let Some(field) = written.get("spec").and_then(|spec| unknown("spec", spec, &known)) {
        return Err(invalid(format!("{field}: there is no such field")));
    }
    job.metadata.namespace.get_or_insert_with(|| NAMESPACE.into());
    job.metadata.uid = Some(UID.into());
    Ok(job)
}

/// The first field that was written and not understood.
fn unknown(path: &str, written: &Value, known: &Value) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match known.get(key) {
                Some(known) => unknown(&path, value, known),
                // What holds nothing may be left out.
                None if matches!(value, Value::Null) || is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(known)) => {
            let mut pairs = written.iter().zip(known).enumerate();
            pairs.find_map(|(at, (written, known))| unknown(&format!("{path}[{at}]"), written, known))
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// The files of a directory that kubectl would apply, by name.
fn manifests(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let name = || format!("reading {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(name)?.collect::<Result<Vec<_>, _>>().with_context(name)?;
    let is_manifest = |path: &PathBuf| {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        path.is_file() && ["yaml", "yml", "json"].contains(&end)
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_manifest).collect();
    ensure!(!paths.is_empty(), "{} holds no files of YAML", folder.display());
    ensure!(paths.len() <= MAX_FILES, "{} holds over {MAX_FILES} files of YAML", folder.display());
    paths.sort();
    Ok(paths)
}

/// A whole file of at most `max` bytes.
fn read(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    let name = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).with_context(name)?.take(max + 1).read_to_end(&mut bytes).with_context(name)?;
    ensure!(bytes.len() as u64 <= max, "{} has over {max} bytes", path.display());
    Ok(bytes)
}
