//! Putting the accepted shards together: the files of each output, their rows in the order of the shards, never more than one
//! shard's rows in memory. What a file needs to know before its first row, how many entries items keep, is read first.

use orion_broker::{ObjectError, Upload};
use orion_protocol::combine::Combined;
use orion_protocol::dtype::DType;
use orion_protocol::files::Extract;
use orion_protocol::ids::aggregate_digest;
use orion_protocol::messages::{AnswerBody, Manifest, Message as _, TaskBody};
use orion_protocol::rows::{RowsError, Span, offsets};
use orion_protocol::statements::{Aggregated, ResultObject};
use orion_protocol::subjects::{BUCKET_HELD, BUCKET_IN, BUCKET_RESULTS};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, Reason, Refusal, Signed};

use crate::agent::Agent;
use crate::agent::materials::unusable;
use crate::agent::retry::{self, Deadline, Trouble};
use crate::agent::shard::{self, Units};
use crate::agent::verify::Lease;

/// Lengths whose offsets are made at a time, in bytes: a multiple of every number's size.
const LENGTHS_BYTES: usize = 64 * 1024;

/// Puts the result together; what cannot be put together is an answer.
pub async fn aggregate(agent: &Agent, lease: &Lease, deadline: Deadline) -> Result<AnswerBody, Trouble> {
    let TaskBody::Aggregate(digest) = &lease.body else { return Err(unusable("the task is no aggregation")) };
    let manifest = manifest(agent, digest, deadline).await?;
    if aggregate_digest(&manifest.task, digest) != lease.core.task {
        return Err(unusable("the lease is for another manifest or another task"));
    }
    let spec = agent.source(deadline).task_spec(&manifest.task).await?;
    agent.take_rows(lease, &spec, deadline).await?;
    let (results, refused) = match put_together(agent, &spec, &manifest, deadline).await {
        Ok(results) => (results, None),
        Err(Trouble::Refused(refusal)) => (Vec::new(), Some(refusal)),
        Err(gave_up) => return Err(gave_up),
    };
    let said = Aggregated { lease: lease.digest(), results, refused };
    Ok(AnswerBody::Aggregated(Signed::new(&agent.identity.chain, &agent.identity.key, &said)))
}

async fn manifest(agent: &Agent, digest: &Digest, deadline: Deadline) -> Result<Manifest, Trouble> {
    let get = || agent.broker.get(BUCKET_IN, digest, Manifest::MAX_BYTES as u64);
    let bytes = retry::objects(deadline, get).await.map_err(|error| error.or(|error| failed(&error.to_string())))?;
    Manifest::from_bytes(&bytes).map_err(|error| unusable(&retry::chain(&error)))
}

async fn put_together(
    agent: &Agent,
    spec: &TaskSpec,
    manifest: &Manifest,
    deadline: Deadline,
) -> Result<Vec<ResultObject>, Trouble> {
    let shards = u64::from(spec.units.shards());
    if manifest.shards.len() as u64 != shards {
        let why = format!("the manifest has {} shards, the job {shards}", manifest.shards.len());
        return Err(Trouble::Refused(failed(&why)));
    }
    if manifest.formats.len() != spec.outputs.len() {
        return Err(Trouble::Refused(failed("the manifest has another number of formats than the job has outputs")));
    }
    if let Some(at) = manifest.shards.iter().position(|outputs| outputs.len() != spec.outputs.len()) {
        return Err(Trouble::Refused(failed(&format!("shard {at} has another number of outputs than the job"))));
    }
    let job = Assembly { agent, spec, manifest, deadline };
    let mut results = Vec::with_capacity(spec.outputs.len());
    for (at, output) in spec.outputs.iter().enumerate() {
        for extract in output.extracts() {
            // A broken upload leaves nothing that is found; it is begun again.
            let written = retry::objects(deadline, || async {
                match job.write(at, *extract).await {
                    Ok(written) => Ok(Ok(written)),
                    Err(WriteError::Upload(error)) => Err(error),
                    Err(WriteError::Trouble(trouble)) => Ok(Err(trouble)),
                }
            });
            let written = written.await.map_err(|error| error.or(|error| failed(&error.to_string())))?;
            results.push(written?);
        }
    }
    Ok(results)
}

/// Why a file was not written.
enum WriteError {
    /// The bucket of results did not take it.
    Upload(ObjectError),
    /// The rows are not to be had.
    Trouble(Trouble),
}

/// What is put together.
struct Assembly<'a> {
    agent: &'a Agent,
    spec: &'a TaskSpec,
    manifest: &'a Manifest,
    deadline: Deadline,
}

impl Assembly<'_> {
    /// Writes one file of output `at`.
    async fn write(&self, at: usize, extract: Option<Extract>) -> Result<ResultObject, WriteError> {
        let (output, units) = (&self.spec.outputs[at], &self.spec.units);
        let entries = match extract {
            Some(Extract::Values) => Some(self.entries(at).await.map_err(WriteError::Trouble)?),
            _ => None,
        };
        let mut upload = self.agent.broker.upload(BUCKET_RESULTS).await.map_err(WriteError::Upload)?;
        let head = self.manifest.formats[at].head(&output.file(extract, units, entries));
        upload.write(&head).await.map_err(WriteError::Upload)?;
        if extract == Some(Extract::Offsets) {
            self.write_offsets(at, &mut upload).await?;
        } else {
            let mut combined = if extract.is_none() { Combined::new(output) } else { None };
            for shard in 0..units.shards() {
                let rows = self.rows(shard, at).await.map_err(WriteError::Trouble)?;
                match &mut combined {
                    Some(combined) => combined.add(&rows),
                    None => upload.write(&rows).await.map_err(WriteError::Upload)?,
                }
            }
            if let Some(combined) = combined {
                upload.write(combined.value()).await.map_err(WriteError::Upload)?;
            }
        }
        let (digest, size) = upload.finish().await.map_err(WriteError::Upload)?;
        Ok(ResultObject { name: output.name.clone(), digest, size, extract, entries })
    }

    /// Where the entries of each item that output `at` keeps begin, and where the last ones end.
    async fn write_offsets(&self, at: usize, upload: &mut Upload) -> Result<(), WriteError> {
        let mut end = 0_u64;
        upload.write(&end.to_le_bytes()).await.map_err(WriteError::Upload)?;
        for shard in 0..self.spec.units.shards() {
            let (dtype, lengths) = self.lengths(shard, at).await.map_err(WriteError::Trouble)?;
            for lengths in lengths.chunks(LENGTHS_BYTES) {
                let (ends, last) = offsets(dtype, lengths, end);
                end = last;
                upload.write(&ends).await.map_err(WriteError::Upload)?;
            }
        }
        Ok(())
    }

    /// Entries that all items of output `at` keep together.
    async fn entries(&self, at: usize) -> Result<u64, Trouble> {
        let mut all = 0_u64;
        for shard in 0..self.spec.units.shards() {
            let (_, lengths) = self.lengths(shard, at).await?;
            let entries = self.span(shard).entries(at, &lengths).map_err(|error| of_shard(shard, &error))?;
            all = all.saturating_add(entries);
        }
        Ok(all)
    }

    /// The rows that say how much a shard keeps of output `at`.
    async fn lengths(&self, shard: u32, at: usize) -> Result<(DType, Vec<u8>), Trouble> {
        let lengths = self.span(shard).lengths_of(at).ok_or_else(|| unusable("the output keeps all of its rows"))?;
        let room = self.span(shard).room()[lengths];
        Ok((self.spec.outputs[lengths].dtype, self.object(shard, lengths, room).await?))
    }

    /// What a shard keeps of output `at`.
    async fn rows(&self, shard: u32, at: usize) -> Result<Vec<u8>, Trouble> {
        let span = self.span(shard);
        let lengths = match span.lengths_of(at) {
            Some(_) => self.lengths(shard, at).await?.1,
            None => Vec::new(),
        };
        let size = span.kept(at, |_| &lengths).map_err(|error| of_shard(shard, &error))?;
        self.object(shard, at, size).await
    }

    /// One output object of a shard, of exactly so many bytes.
    async fn object(&self, shard: u32, at: usize, size: u64) -> Result<Vec<u8>, Trouble> {
        let digest = usize::try_from(shard).ok().and_then(|shard| self.manifest.shards.get(shard)?.get(at));
        let digest = digest.ok_or_else(|| unusable("the manifest has no such output"))?;
        let got = retry::objects(self.deadline, || self.agent.broker.get(BUCKET_HELD, digest, size)).await;
        let rows = got.map_err(|error| error.or(|error| failed(&format!("shard {shard}: {error}"))))?;
        if rows.len() as u64 != size {
            let why = format!("shard {shard} holds {} bytes, its units have {size}", rows.len());
            return Err(Trouble::Refused(failed(&why)));
        }
        Ok(rows)
    }

    fn span(&self, shard: u32) -> Span<'_> {
        let (first, count) = self.spec.units.shard(shard).unwrap_or((0, 0));
        shard::span(self.spec, Units { first, count })
    }
}

fn of_shard(shard: u32, error: &RowsError) -> Trouble {
    Trouble::Refused(failed(&format!("shard {shard}: {error}")))
}

fn failed(why: &str) -> Refusal {
    Refusal::new(Reason::AggregationFailed, why)
}
