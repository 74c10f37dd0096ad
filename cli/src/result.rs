//! `orion result`: fetches a job's files, recomputes the ledger, and hashes every unit against the accepted roots before any
//! file appears under its name.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orion_crds::job::OutputStatus;
use orion_crds::validated::ValidatedJob;
use orion_ledger_core::report::Report;
use orion_ledger_core::verify;
use orion_protocol::bytes::unhex;
use orion_protocol::{Digest, JobId};
use serde_json::{Value, json};

use crate::check::{Checked, Delivered};
use crate::cluster::{Access, Cluster, Purpose};
use crate::{Format, Verdict, check, inputs, ledger};

/// `orion result`
#[derive(clap::Args)]
pub struct ResultArgs {
    /// The OrionJob.
    job: String,
    /// Where the files go, as <output>.<format>, or <output>.<part>.<format> where an output has several.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The log's key; from the platform's namespace when not given.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Check files that are in the folder already, instead of fetching them.
    #[arg(long)]
    check_only: bool,
    /// Write the job's salt to this file too: with it and the files, `orion ledger prove` proves any unit. Whoever has it can
    /// guess at results by their digests.
    #[arg(long)]
    salt: Option<PathBuf>,
}

/// Largest file that is fetched, in bytes.
pub const MAX_FILE: usize = 1 << 32;

/// Runs the command.
pub async fn run(access: &Access, format: Format, args: &ResultArgs) -> anyhow::Result<Verdict> {
    let cluster = Cluster::connect(access).await?;
    let job = cluster.job(&args.job).await?;
    let status = job.status.clone().unwrap_or_default();
    anyhow::ensure!(
        status.outputs.iter().any(|output| output.digest.is_some()),
        "OrionJob {} has no results yet: orion watch {} shows how far it is",
        args.job,
        args.job
    );
    let report = match replay(&cluster, args.key.as_deref()).await? {
        Ok(report) => report,
        Err(why) => return Ok(refuse(format, &format!("the ledger does not verify: {why}"))),
    };
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let id = JobId::derive(&report.chain, &cluster.uid().await?, &uid);
    let Some(record) = report.job(&id) else {
        return Ok(refuse(format, "the ledger has no such job"));
    };
    let valid =
        ValidatedJob::try_from(&job).map_err(|refusal| anyhow::anyhow!("the job's spec: {}", refusal.message))?;
    let asked = check::task(&record.spec, &valid, &status.inputs);
    let outputs = match asked.and_then(|()| check::listed(&record.spec, &status.outputs)) {
        Ok(outputs) => outputs,
        Err(error) => return Ok(refuse(format, &error.to_string())),
    };
    let inputs = inputs::compare(&cluster, &valid, &record.spec).await?;
    if let Some(why) = inputs.wrong {
        return Ok(refuse(format, &why));
    }
    let mut files = Vec::new();
    // Under their names in the log, which are names and no paths.
    let path = |file: Delivered| args.dir.join(format!("{}.{}", file.name(&record.spec), valid.formats[file.at]));
    let paths: Vec<PathBuf> = check::delivered(&record.spec).into_iter().map(path).collect();
    for (output, path) in outputs.iter().zip(&paths) {
        match fetch(&cluster, output, path, args.check_only).await? {
            Ok(file) => files.push(file),
            Err(why) => return Ok(refuse(format, &why)),
        }
    }
    let salt = salt(&cluster, &args.job).await?;
    match check::result(record, &salt, &valid.formats, &files) {
        Err(error) => Ok(refuse(format, &error.to_string())),
        Ok(checked) => {
            if !args.check_only {
                for (path, file) in paths.iter().zip(&files) {
                    save(path, file)?;
                }
            }
            if let Some(path) = &args.salt {
                save(path, format!("{salt}\n").as_bytes())?;
            }
            say(format, &paths, &outputs, &checked, &report, record);
            for why in inputs.unknown {
                eprintln!("result: not compared with the input {why}");
            }
            Ok(Verdict::Good)
        }
    }
}

/// One file, whose digest is as the status says; or why it is not.
async fn fetch(
    cluster: &Cluster,
    output: &OutputStatus,
    path: &Path,
    check_only: bool,
) -> anyhow::Result<Result<Vec<u8>, String>> {
    let Some(digest) = &output.digest else {
        return Ok(Err(format!("the job's status has no digest for the output {}", output.name)));
    };
    let file = if check_only {
        std::fs::read(path).with_context(|| format!("reading {}", path.display()))?
    } else {
        cluster.gateway().get(&format!("/v1/results/{digest}"), MAX_FILE).await?
    };
    let have = Digest::of(&file).to_string();
    if have == *digest {
        return Ok(Ok(file));
    }
    Ok(Err(format!("output {} hashes to {have}, the job's status says {digest}", output.name)))
}

/// The log, fetched and recomputed; or what is wrong with it.
async fn replay(cluster: &Cluster, key: Option<&Path>) -> anyhow::Result<Result<Report, String>> {
    let key = cluster.log_key(key).await?;
    let mut export = tempfile::tempfile().context("making a file for the ledger's export")?;
    cluster.ledger(Purpose::Read).await?.fetch("/v1/export", &mut export).await?;
    export.rewind().context("reading the export")?;
    match verify::log_on(crate::ledger::threads(), std::io::BufReader::new(export), &key) {
        Ok(report) => Ok(Ok(report)),
        Err(error) => Ok(Err(ledger::chain(&error))),
    }
}

async fn salt(cluster: &Cluster, job: &str) -> anyhow::Result<Digest> {
    let path = format!("/v1/jobs/{}/{job}/salt", cluster.namespace);
    let answer = cluster.gateway().get(&path, 4096).await?;
    let answer: Value = serde_json::from_slice(&answer).context("reading the job's salt")?;
    let text = answer.get("salt").and_then(Value::as_str).context("the gateway's answer has no salt")?;
    Ok(Digest(unhex(text).context("reading the job's salt")?))
}

/// Writes a file, which appears whole or not at all.
fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut file =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
    file.write_all(bytes).with_context(|| format!("writing {}", path.display()))?;
    file.persist(path).with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}

fn refuse(format: Format, why: &str) -> Verdict {
    match format {
        Format::Text => eprintln!("result: REFUSED: {why}"),
        Format::Json => println!("{}", json!({"verified": false, "error": why})),
    }
    Verdict::Bad
}

fn say(
    format: Format,
    paths: &[PathBuf],
    outputs: &[&OutputStatus],
    checked: &Checked,
    report: &Report,
    record: &orion_ledger_core::report::JobReport,
) {
    match format {
        Format::Text => {
            for ((output, file), path) in outputs.iter().zip(&checked.files).zip(paths) {
                let digest = output.digest.as_deref().unwrap_or("?");
                println!("{}  {} {:?}  sha3-256 {digest}", path.display(), file.dtype, file.shape);
            }
            let (units, shards) = (checked.units, record.spec.units.shards());
            println!("result: verified {units} units against the accepted roots of {shards} shards");
            ledger::print_job(record);
            println!("{}", ledger::headline(report));
        }
        Format::Json => {
            let files: Vec<Value> = outputs
                .iter()
                .zip(&checked.files)
                .zip(paths)
                .map(|((output, file), path)| json!({"name": file.name, "path": path, "digest": output.digest}))
                .collect();
            println!(
                "{}",
                json!({"verified": true, "units": checked.units, "files": files, "entries": report.entries})
            );
        }
    }
}
