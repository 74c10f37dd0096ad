//! Files that are put on the platform for jobs that name them: cut off and gone on with, damaged, waited for.

use anyhow::{Context, Result, ensure};
use orion_broker::{Arrived, Incoming};
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::Namespace;
use orion_e2e::namespace::reason;
use orion_protocol::Digest;
use orion_protocol::dtype::DType;
use orion_protocol::npy::{self, Header};
use orion_protocol::subjects::BUCKET_IN;
use serde_json::json;

use crate::{LONG, SHORT, shared};

/// Bytes that one item looks at.
const STRIPE: usize = 1 << 20;
const ITEMS: usize = 40;

/// An array of so many stripes, another one for each `seed`.
fn file(seed: &str, stripes: usize) -> (Vec<u8>, Digest) {
    let data = STRIPE * stripes;
    let mut bytes = Header { dtype: DType::Uint8, shape: vec![data as u64] }.to_bytes();
    let mut state = u64::from_be_bytes(Digest::of(seed.as_bytes()).0[..8].try_into().unwrap_or_default()) | 1;
    bytes.extend((0..data / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    }));
    let digest = Digest::of(&bytes);
    (bytes, digest)
}

/// One number for each stripe of the file.
fn job(digest: &Digest) -> Result<OrionJob> {
    let kernel = format!(
        "__kernel void sums(__global const uchar* data, __global uint* sums) {{
             size_t item = get_global_id(0);
             uint sum = 0;
             for (uint at = 0; at < {STRIPE}; at++) sum = sum * 31 + data[item * {STRIPE} + at];
             sums[item] = sum;
         }}"
    );
    let job = json!({
        "apiVersion": "orion.dev/v1alpha1",
        "kind": "OrionJob",
        "metadata": {"name": "sums"},
        "spec": {
            "workload": {"kernel": {
                "source": {"inline": kernel},
                "entryPoint": "sums",
                "globalSize": [ITEMS],
                "workPerItem": STRIPE.to_string(),
                "arguments": [{"input": "data"}, {"output": "sums"}],
            }},
            "inputs": [{"name": "data", "source": {"object": {"digest": digest}}}],
            "outputs": [{"name": "sums", "type": "uint32", "shape": [ITEMS]}],
            "sharding": {"itemsPerUnit": 1, "unitsPerShard": 10},
            "parallelism": 4,
            "budget": {"maxCredits": "5"},
        },
    });
    serde_json::from_value(job).context("the job")
}

fn expected(file: &[u8]) -> Result<Vec<u8>> {
    let (_, data) = npy::parse(file)?;
    let sum = |stripe: &[u8]| stripe.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    Ok(data.chunks(STRIPE).flat_map(|stripe| sum(stripe).to_le_bytes()).collect())
}

#[tokio::test]
async fn an_upload_that_was_cut_off_goes_on_and_the_job_that_waits_for_it_runs() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "objects", "10").await?;
    let (bytes, digest) = file(&namespace.name, ITEMS);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data.npy");
    std::fs::write(&path, &bytes)?;
    let path = path.to_str().context("a path")?;
    namespace.submit(&job(&digest)?).await?;
    let waits = |job: &OrionJob| reason(job, ConditionType::Accepted).starts_with("Unknown InputNotFound: ");
    let waiting = namespace.wait_for("sums", "the missing object", SHORT, waits).await?;
    let words = reason(&waiting, ConditionType::Accepted);
    ensure!(words.contains("orion put FILE") && words.contains(&digest.to_string()), "{words}");

    // Its beginning came; whoever sent it was cut off, and remembers nothing.
    let broker = world.broker().await?;
    let size = bytes.len() as u64;
    let upload = Incoming { digest, size };
    let begun = broker.append(BUCKET_IN, &upload, Arrived::default(), &bytes[..STRIPE]).await?;
    begun.context("nobody else writes")?;
    ensure!(waits(&namespace.get("sums").await?), "the job does not wait for all of it");

    let words = world.orion_exits(0, &["put", path])?;
    ensure!(words.contains(&digest.to_string()) && words.contains("went on after"), "{words}");
    let words = world.orion_exits(0, &["put", path])?;
    ensure!(words.contains("is there already"), "{words}");
    let said: serde_json::Value = serde_json::from_str(&world.orion_exits(0, &["put", path, "-o", "json"])?)?;
    ensure!(said == json!({"digest": digest, "sizeBytes": size}), "{said}");

    let job = namespace.succeeded("sums", LONG).await?;
    world.ledger()?.complete(&job)?;
    let inputs = job.status.context("a job that is over has a status")?.inputs;
    let shown: Vec<(&str, u64)> = inputs.iter().map(|input| (input.digest.as_str(), input.size_bytes)).collect();
    ensure!(shown == [(digest.to_string().as_str(), size)], "{shown:?}");
    let directory = folder.path().to_str().context("a path")?;
    world.orion_exits(0, &["result", "sums", "-n", &namespace.name, "--dir", directory])?;
    let result = std::fs::read(folder.path().join("sums.npy"))?;
    ensure!(npy::parse(&result)?.1 == expected(&bytes)?, "the result is wrong");
    // Many rounds in a row would fill the bucket: objects are kept for a day.
    broker.delete(BUCKET_IN, &digest).await?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn an_upload_with_a_flipped_part_is_refused_and_can_be_repeated() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::poor(&world, "flipped").await?;
    let (bytes, digest) = file(&namespace.name, 3);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data.npy");
    std::fs::write(&path, &bytes)?;
    let path = path.to_str().context("a path")?;
    // Somebody else has begun the upload, with something else.
    let mut flipped = bytes[..STRIPE].to_vec();
    flipped[STRIPE / 2] ^= 1;
    let broker = world.broker().await?;
    let upload = Incoming { digest, size: bytes.len() as u64 };
    broker.append(BUCKET_IN, &upload, Arrived::default(), &flipped).await?.context("nobody else writes")?;
    let words = world.orion_exits(2, &["put", path])?;
    ensure!(words.contains("put the file again"), "{words}");
    ensure!(broker.arrived(BUCKET_IN, &upload).await? == Arrived::default(), "its parts are still there");
    let words = world.orion_exits(0, &["put", path])?;
    ensure!(words.contains("is there now"), "{words}");
    broker.delete(BUCKET_IN, &digest).await?;
    namespace.passed();
    Ok(())
}
