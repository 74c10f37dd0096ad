//! Models over rows: the example with a network, whose result has the same bits everywhere, arrays in files of safetensors, and a model that cannot
//! be run.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::namespace::reason;
use orion_e2e::{Example, Namespace, World, jobs};
use orion_protocol::npy::{self, Header};
use orion_protocol::{Digest, array};
use serde_json::json;

use crate::{LONG, SHORT, shared};

#[tokio::test]
async fn the_network_classifies_digits_in_the_bits_that_it_has_everywhere() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "cnn", "10").await?;
    let job = classifies_digits(&world, &namespace).await?;
    Example::digits_cnn().is_the_same_everywhere(&world, &job, &[])?;
    namespace.passed();
    Ok(())
}

/// The example with a network succeeds, with the bits that are written down, and as right as its README says.
pub async fn classifies_digits(world: &World, namespace: &Namespace) -> Result<OrionJob> {
    let example = Example::digits_cnn();
    world.apply(&namespace.name, &example.folder)?;
    let job = namespace.succeeded("digits-cnn", LONG).await?;
    world.ledger()?.complete(&job)?;
    let folder = tempfile::tempdir()?;
    result(world, namespace, folder.path())?;
    for (output, line) in ["digit", "probabilities"].iter().zip(example.digests()?) {
        let digest = Digest::of(&std::fs::read(folder.path().join(format!("{output}.npy")))?);
        ensure!(line.ends_with(&digest.to_string()), "{digest} instead of {line}");
    }
    example.documented(&example.says("check.py", &[folder.path().join("digit.npy")])?)?;
    Ok(job)
}

#[tokio::test]
async fn rows_come_out_of_a_safetensors_file_by_their_key_and_go_into_one() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "tensors", "10").await?;
    let mut inputs = jobs::network_inputs()?;
    let data = inputs.binary_data.as_mut().context("the ConfigMap has data")?;
    let images = data.remove("images.npy").context("the ConfigMap has images")?;
    data.insert("images.safetensors".into(), ByteString(as_safetensors(&images.0)?));
    let mut job = jobs::network()?;
    let inference = job.spec.workload.inference.as_mut().context("the job has a model")?;
    inference.tensors[0].key = Some("pixels".into());
    let source = job.spec.inputs[1].source.config_map.as_mut().context("the images are in a ConfigMap")?;
    source.key = "images.safetensors".into();
    job.spec.outputs[1].format = Some("safetensors".into());
    namespace.put(&inputs).await?;
    namespace.submit(&job).await?;
    let over = namespace.succeeded("digits-cnn", LONG).await?;
    world.ledger()?.complete(&over)?;

    let folder = tempfile::tempdir()?;
    let [job_file, map_file] = ["job.json", "configmap.json"].map(|name| folder.path().join(name));
    std::fs::write(&job_file, serde_json::to_vec(&job)?)?;
    std::fs::write(&map_file, serde_json::to_vec(&inputs)?)?;
    let [job_file, map_file] = [&job_file, &map_file].map(|path| path.to_str().unwrap_or_default());
    world.runs_alike(&over, &[job_file, map_file])?;

    // The same rows as of the npy file, and in one.
    result(&world, &namespace, folder.path())?;
    let digit = std::fs::read(folder.path().join("digit.npy"))?;
    let file = std::fs::read(folder.path().join("probabilities.safetensors"))?;
    let found = array::find(&file, file.len() as u64, Some("probabilities"))?;
    let probabilities = [found.header.to_bytes().as_slice(), found.data(&file)].concat();
    for (line, file) in Example::digits_cnn().digests()?.iter().zip([digit, probabilities]) {
        let digest = Digest::of(&file);
        ensure!(line.ends_with(&digest.to_string()), "{digest} instead of {line}");
    }
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn a_model_with_an_unknown_operator_is_refused_by_its_name() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "operator", "10").await?;
    let mut inputs = jobs::network_inputs()?;
    let model = inputs.binary_data.as_mut().and_then(|data| data.get_mut("model.onnx")).context("a model")?;
    let at = model.0.windows(7).position(|word| word == b"Softmax").context("a node of Softmax")?;
    model.0[at..at + 7].copy_from_slice(b"Hardmax");
    namespace.put(&inputs).await?;
    namespace.submit(&jobs::network()?).await?;
    let refused = |job: &OrionJob| reason(job, ConditionType::Accepted).starts_with("False ");
    let job = namespace.wait_for("digits-cnn", "the refusal", SHORT, refused).await?;
    let words = reason(&job, ConditionType::Accepted);
    ensure!(words.starts_with("False UnsupportedOperator: "), "{words}");
    ensure!(words.contains("(Hardmax)"), "the operator is not named: {words}");
    namespace.passed();
    Ok(())
}

/// Fetches the job's files.
fn result(world: &World, namespace: &Namespace, folder: &Path) -> Result<()> {
    let folder = folder.to_str().context("a path")?;
    world.orion_exits(0, &["result", "digits-cnn", "-n", &namespace.name, "--dir", folder]).map(drop)
}

/// The array of an npy file as `pixels` in a file of safetensors, behind another tensor.
fn as_safetensors(file: &[u8]) -> Result<Vec<u8>> {
    let (Header { dtype, shape }, data) = npy::parse(file)?;
    let other = [7_u8; 8];
    let (begin, end) = (other.len(), other.len() + data.len());
    let header = json!({
        "other": {"dtype": "U8", "shape": [begin], "data_offsets": [0, begin]},
        "pixels": {"dtype": dtype.safetensors(), "shape": shape, "data_offsets": [begin, end]},
    });
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    Ok([&length[..], header.as_bytes(), &other, data].concat())
}
