//! `orion ledger tx slash`: two votes of one validator that differ, made into what the ledger slashes by. All that they are about is taken
//! from an export, which is verified first; then the ledger's own rule is asked, so that nothing is sent that would be refused as of that export.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use orion_ledger_core::{Chain, NotSlashed, VerifierKey, VerifyError, verify};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::{Slash, Transaction};
use orion_protocol::price::format_credits;
use orion_protocol::statements::{LeaseCore, Vote};
use orion_protocol::task::TaskSpec;
use orion_protocol::{ChainId, Digest, JobId, PublicKey, Signed, Verified, cbor};
use serde_json::json;

use super::{log, open, read_bytes, read_key};
use crate::{Format, Verdict, run};

/// No signed vote is longer, in bytes.
const VOTE_BYTES_MAX: usize = 4096;

/// `orion ledger tx ... slash ...`
#[derive(clap::Args)]
pub struct SlashArgs {
    /// An export of the log.
    #[arg(long, value_name = "FILE")]
    export: PathBuf,
    /// The log's key, as the install wrote it.
    #[arg(long, value_name = "FILE")]
    log_key: PathBuf,
    /// The vote that differs, as the operator's log has it: its canonical bytes, or their hex.
    #[arg(long, value_name = "FILE")]
    second: PathBuf,
    /// The vote that it differs from; without this it is the one that the log has.
    #[arg(long, value_name = "FILE")]
    first: Option<PathBuf>,
    /// The job's workload: its OrionJob in YAML, as it was applied, or the bytes of the workload object.
    #[arg(long, value_name = "FILE")]
    workload: PathBuf,
}

/// What both votes are about, as the log has it.
struct Matter {
    spec: TaskSpec,
    lease: Signed<LeaseCore>,
    lease_digest: Digest,
    round: Digest,
}

/// Puts the evidence together, for this sender; a verdict where something is proven wrong.
pub fn transaction(
    format: Format,
    args: &SlashArgs,
    on: &ChainId,
    sender: &PublicKey,
) -> anyhow::Result<Result<Transaction, Verdict>> {
    let key = read_key(&args.log_key)?;
    let chain = match verify::chain_on(super::threads(), open(&args.export)?, &key) {
        Ok((_, chain)) => chain,
        Err(error) => return Ok(Err(log::refuse(&error, format))),
    };
    let export = args.export.display();
    ensure!(
        chain.id() == on,
        "{export} is of the chain {}, the genesis of {on}: name those of one install",
        chain.id()
    );
    let (second, said) = read_vote(&args.second, chain.id())?;
    let matter = Matter::find(&chain, &args.second, &said)?;
    let first = match &args.first {
        Some(file) => read_vote(file, chain.id())?.0,
        None => match recorded(open(&args.export)?, &key, &matter, &second.key()) {
            Ok(Some(vote)) => vote,
            Ok(None) => bail!(
                "{export} has no verdict with a vote of {} about this work: give its other vote with --first, or a newer export",
                second.key()
            ),
            Err(error) => return Ok(Err(log::refuse(&error, format))),
        },
    };
    ensure!(
        first.key() == second.key(),
        "--first is by {}, --second by {}: both must be one validator's",
        first.key(),
        second.key()
    );
    let (workload, task) = (run::workload(&args.workload)?.object().into(), matter.spec.object().into());
    let tx = Slash { workload, task, lease: matter.lease, first, second };
    match chain.would_slash(sender, &tx) {
        Ok(amount) => {
            if format == Format::Text {
                println!("ledger: as of this export {} would lose {} credits", said.key(), format_credits(amount));
            }
            Ok(Ok(Transaction::Slash(Box::new(tx))))
        }
        Err(why) => Ok(Err(refuse(&why, format))),
    }
}

/// Says why nobody would be slashed.
fn refuse(why: &NotSlashed, format: Format) -> Verdict {
    let text = super::chain(why);
    match format {
        Format::Text => eprintln!("ledger: NOT slashable: {text}{}", next(why)),
        Format::Json => println!("{}", json!({"slashable": false, "code": why.code().as_str(), "error": text})),
    }
    match why {
        // What there is shows nothing against it yet, or was only signed by the wrong hand.
        NotSlashed::NotSettled(_) | NotSlashed::Sender(_) => Verdict::Undecided,
        _ => Verdict::Bad,
    }
}

/// What to do about it, where anything can be done.
fn next(why: &NotSlashed) -> &'static str {
    match why {
        NotSlashed::Sender(_) => "; name one of theirs with --key or --sender",
        NotSlashed::Workload { .. } => "; --workload takes the OrionJob as it was applied",
        NotSlashed::NotSettled(_) => "; wait for its last page, and take a newer export",
        NotSlashed::Same => "; give both votes of the operator's line, with --first and --second",
        NotSlashed::Vote { which: "first", .. } | NotSlashed::About { which: "first", .. } | NotSlashed::OtherRound => {
            "; --first takes the vote that the operator's log names beside the second one"
        }
        NotSlashed::Off
        | NotSlashed::UsersKernel
        | NotSlashed::Over(_)
        | NotSlashed::NoProvider(_)
        | NotSlashed::Again(..)
        | NotSlashed::Lost(_)
        | NotSlashed::Nothing(_) => "; nothing can be done about it",
        _ => "",
    }
}

impl Matter {
    /// What the log has of the round, lease and task that a vote names.
    fn find(chain: &Chain, file: &Path, vote: &Vote) -> anyhow::Result<Matter> {
        let file = file.display();
        let Vote { round, lease, task, units: _, class: _ } = vote;
        let task = task.with_context(|| format!("{file} says no task: votes of earlier releases slash nobody"))?;
        let newer = "; a newer export may have it: orion ledger export";
        let job = chain.jobs().values().find(|job| job.task == task);
        let job = job.with_context(|| format!("the log has no job with the task {task} of {file}{newer}"))?;
        let of = job.rounds.iter().find(|one| one.id == *round);
        let of = of.with_context(|| format!("job {} has no round {round}, of which {file} is{newer}", job.spec.job))?;
        let at = of.entries.iter().position(|entry| entry.lease_digest == *lease);
        let entry = at.and_then(|at| of.closed.entries.get(at));
        let entry =
            entry.with_context(|| format!("round {round} is not about the lease {lease}, of which {file} is"))?;
        Ok(Matter { spec: job.spec.clone(), lease: entry.lease.clone(), lease_digest: *lease, round: *round })
    }

    /// The vote of a key in this leaf, if it is the verdict.
    fn vote_in(&self, leaf: &[u8], key: &PublicKey) -> Option<Signed<Vote>> {
        let JobId(id) = &self.spec.job;
        // Reading a leaf costs more; a leaf about the job holds its id.
        if !leaf.windows(id.len()).any(|window| window == id) {
            return None;
        }
        let LeafBody::Transaction(signed, outcome) = Leaf::from_bytes(leaf).ok()?.body else { return None };
        let Ok(Transaction::RecordVerdict(verdict)) = Transaction::unverified(&signed) else { return None };
        if outcome.code != Code::Ok || verdict.job != self.spec.job || verdict.round != self.round {
            return None;
        }
        let shard = verdict.shards.into_iter().find(|shard| shard.lease == self.lease_digest)?;
        shard.votes.into_iter().find(|vote| vote.key() == *key)
    }
}

/// The vote that the verdict was made with. Replay does not keep it, so the export, which was verified, is read again.
fn recorded(
    export: impl Read,
    key: &VerifierKey,
    matter: &Matter,
    of: &PublicKey,
) -> Result<Option<Signed<Vote>>, VerifyError> {
    let mut found = None;
    verify::leaves(export, key, |leaf| {
        found = found.take().or_else(|| matter.vote_in(leaf, of));
        Ok(())
    })?;
    Ok(found)
}

/// A vote of whoever it says.
fn read_vote(file: &Path, chain: &ChainId) -> anyhow::Result<(Signed<Vote>, Verified<Vote>)> {
    let name = || format!("{} is no vote on this chain", file.display());
    let bytes = read_bytes(file, VOTE_BYTES_MAX)?;
    let vote: Signed<Vote> = cbor::from_slice("vote", &bytes, VOTE_BYTES_MAX).with_context(name)?;
    let said = vote.verify(chain, &vote.key()).with_context(name)?;
    Ok((vote, said))
}
