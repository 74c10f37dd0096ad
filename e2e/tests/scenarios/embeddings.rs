//! The example with sentence embeddings, as its README tells it: weights fetched, model built and put, job applied, questions answered, vectors
//! compared with onnxruntime's.
//!
//! It should take two to three minutes on 2 cores, of which the platform is used for one and a half: six executors compile the model's kernels for the
//! first time. Where the cache has nothing yet, two more: 84 MB of weights, and 300 MB of Python packages for the comparison. Nobody waits for either.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use orion_e2e::{Example, Namespace};
use orion_protocol::Digest;
use orion_protocol::subjects::BUCKET_IN;

use crate::{SHORT, shared};

/// For the job, on a machine that does other things besides.
const WHOLE: Duration = Duration::from_mins(6);

#[tokio::test]
async fn sentences_that_answer_questions_are_found_with_vectors_that_are_the_same_everywhere() -> Result<()> {
    let example = Example::sentence_embeddings()?;
    let (ground, world) = shared().await?;
    // As many as the README says that it takes.
    let namespace = Namespace::with_credits(&world, "embeddings", "50").await?;
    let model = example.folder.join("model.onnx");
    let model = model.to_str().context("a path")?;
    let put = world.orion_exits(0, &["put", model])?;
    world.apply(&namespace.name, &example.folder)?;
    let job = namespace.succeeded("sentence-embeddings", WHOLE).await?;
    let named =
        job.spec.inputs.iter().find_map(|input| input.source.object.as_ref()).context("a model by its digest")?;
    ensure!(put.contains(&named.digest), "job.yaml names {}: {put}", named.digest);
    world.ledger()?.complete(&job)?;
    let seconds = SHORT.as_secs().to_string();
    world.orion_exits(0, &["watch", "sentence-embeddings", "-n", &namespace.name, "--timeout", &seconds])?;
    let folder = tempfile::tempdir()?;
    let directory = folder.path().to_str().context("a path")?;
    world.orion_exits(0, &["result", "sentence-embeddings", "-n", &namespace.name, "--dir", directory])?;
    // Another round puts it again.
    let digest: Digest = named.digest.parse().ok().context("a digest")?;
    world.broker().await?.delete(BUCKET_IN, &digest).await?;
    // What follows needs nothing of the platform.
    namespace.passed();
    drop(ground);

    let vectors = [folder.path().join("embeddings.npy")];
    example.documented(&example.says("search.py", &vectors)?)?;
    println!("{}", example.says("check.py", &vectors)?);
    example.is_the_same_everywhere(&world, &job, &["--object", model])
}
