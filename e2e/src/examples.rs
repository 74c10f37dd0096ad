//! The examples whose READMEs say what comes out: what their scripts say, the digests that are written down beside them, and `orion run`, which
//! must give those too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use orion_crds::OrionJob;
use orion_crds::job::OutputStatus;
use xtask::python;
use xtask::settings::Settings;

use crate::World;
use crate::jobs::{motifs_folder, network_folder, root};

/// An example, ready to be submitted.
pub struct Example {
    /// Where its files are.
    pub folder: PathBuf,
    python: PathBuf,
    /// Nobody else writes to the folder meanwhile.
    _lock: Option<File>,
}

impl Example {
    /// The one with a network; its scripts need nothing but Python.
    pub fn digits_cnn() -> Example {
        Example { folder: network_folder(), python: "python3".into(), _lock: None }
    }

    /// The one with a kernel on floats; its scripts need nothing but Python.
    pub fn american_puts() -> Example {
        Example { folder: root().join("examples/american-puts"), python: "python3".into(), _lock: None }
    }

    /// The one with motifs; its script needs nothing but Python.
    pub fn dna_motifs() -> Example {
        Example { folder: motifs_folder(), python: "python3".into(), _lock: None }
    }

    /// The one with sentence embeddings: a copy in the cache, where its script has fetched the weights and built the model. The script knows the
    /// weights' digest and `job.yaml` the model's; both are compared each time.
    pub fn sentence_embeddings() -> Result<Example> {
        let settings = Settings::from_env()?;
        let committed = root().join("examples/sentence-embeddings");
        let folder = settings.cache.join("examples/sentence-embeddings");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let lock = File::create(folder.join("lock")).context("making a lock")?;
        lock.lock().context("waiting for the example's folder")?;
        copy_files(&committed, &folder)?;
        let python = python::ensure(&settings, &committed.join("requirements.txt"))?;
        let example = Example { folder, python, _lock: Some(lock) };
        example.documented(&example.says("prepare.py", &[])?)?;
        let read = |folder: &Path| fs::read(folder.join("configmap.yaml")).context("reading a configmap.yaml");
        ensure!(
            read(&example.folder)? == read(&committed)?,
            "prepare.py makes another configmap.yaml than is committed"
        );
        Ok(example)
    }

    /// What one of its scripts prints; it must end well.
    pub fn says(&self, script: &str, arguments: &[PathBuf]) -> Result<String> {
        let mut command = Command::new(&self.python);
        let done = command.arg("-B").arg(self.folder.join(script)).args(arguments).output();
        let done = done.with_context(|| format!("running {script}"))?;
        let [out, errors] = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        ensure!(done.status.success(), "{script}: {}: {out}{errors}", done.status);
        Ok(out)
    }

    /// What was printed must stand in the README as it is.
    pub fn documented(&self, words: &str) -> Result<()> {
        let readme = fs::read_to_string(self.folder.join("README.md")).context("reading the example's README")?;
        ensure!(readme.contains(words.trim()), "the README of {} does not say:\n{words}", self.folder.display());
        Ok(())
    }

    /// Name, type, shape and digest of each output, as they are written down.
    pub fn digests(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.folder.join("digests.txt")).context("reading digests.txt")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The files in the job's status are those that are written down.
    pub fn is_as_written_down(&self, job: &OrionJob) -> Result<()> {
        let outputs = &job.status.as_ref().context("a job that is over has a status")?.outputs;
        let line = |output: &OutputStatus| {
            let digest = output.digest.as_deref().unwrap_or("?");
            format!("{} {} {:?} {digest}", output.name, output.type_, output.shape)
        };
        let shown: Vec<String> = outputs.iter().map(line).collect();
        let expected = self.digests()?;
        ensure!(shown == expected, "{shown:#?} instead of {expected:#?}");
        Ok(())
    }

    /// The same, and `orion run` gives them too, on this machine's device and on the reference; `more` are further arguments for it.
    pub fn is_the_same_everywhere(&self, world: &World, job: &OrionJob, more: &[&str]) -> Result<()> {
        self.is_as_written_down(job)?;
        let folder = self.folder.to_str().context("a path")?;
        let begin: &[&str] = &[folder];
        world.runs_alike(job, &[begin, more].concat())
    }
}

/// Copies what lies in a folder; what else is in the other one stays.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let path = entry.context("listing the example")?.path();
        let name = path.file_name().context("a file has a name")?;
        if path.is_file() {
            fs::copy(&path, to.join(name)).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}
