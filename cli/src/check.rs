//! Whether the log judged what was asked for, and whether result files are what was accepted: every unit is hashed again, and
//! each shard's root compared with the one in the log. Pure; of the job's status it believes what it says about inputs, which [`crate::inputs`] looks at.

mod files;

use orion_crds::job::InputStatus;
use orion_crds::validated::{InputSource, Items, ValidatedJob};
use orion_protocol::rows::RowsError;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, PublicKey};

pub use files::{Checked, Delivered, delivered, digests, listed, result};

/// Why files are not the result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// The log does not have an accepted attempt for every shard.
    #[error("the log has no accepted attempt for every shard of this job")]
    Incomplete,
    /// The task in the log is not the job's.
    #[error("the task in the log is not this job: {0} differs")]
    Task(&'static str),
    /// The status does not list what the task gives.
    #[error("the job's status lists the outputs {listed:?}, the task in the log gives {given:?}")]
    Outputs {
        /// Names in the status.
        listed: Vec<String>,
        /// Names in the log.
        given: Vec<String>,
    },
    /// A file is no array of its type and shape, or says otherwise than those beside it.
    #[error("{file}: {why}")]
    File {
        /// The file, without its end.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// The rows are not those of the job's units.
    #[error(transparent)]
    Rows(RowsError),
    /// The rows of a shard do not hash to its accepted root.
    #[error(
        "shard {shard} (units {first} to {last}) does not hash to the root that was accepted from provider {provider}"
    )]
    Root {
        /// The shard.
        shard: u32,
        /// Its first unit.
        first: u64,
        /// Its last unit.
        last: u64,
        /// Who committed to the root.
        provider: PublicKey,
    },
}

/// Whether the task in the log is what the job's spec says. How many units make a shard is the operator's to choose; what the
/// inputs held was written down in the status when they were read.
pub fn task(spec: &TaskSpec, job: &ValidatedJob, inputs: &[InputStatus]) -> Result<(), CheckError> {
    let have = &spec.units;
    let known = |asked: Option<u64>, have: u64| asked.is_none_or(|asked| asked == have);
    let items = match job.items {
        Items::Known(items) => Some(items),
        // The log's own digest of that input says how many it has.
        Items::RowsOf(_) => None,
    };
    let same_outputs = spec.outputs.len() == job.outputs.len()
        && spec.outputs.iter().zip(&job.outputs).all(|(have, asked)| asked.is_met_by(have));
    let read: Vec<&str> = inputs.iter().map(|input| input.digest.as_str()).collect();
    let judged: Vec<String> = spec.inputs.iter().map(Digest::to_string).collect();
    let named = job.inputs.iter().zip(&spec.inputs).all(|(asked, judged)| match &asked.source {
        InputSource::Object(digest) => digest == judged,
        InputSource::ConfigMap { .. } => true,
    });
    let same = [
        ("workload", spec.workload == Digest::of(&job.workload.object())),
        ("inputs", read == judged && judged.len() == job.inputs.len() && named),
        ("outputs", same_outputs),
        ("the kernel set", spec.kernel_set == job.workload.kernel_set()),
        ("the number of items", known(items, have.items)),
        ("itemsPerUnit", have.items_per_unit == job.items_per_unit),
        ("the declared work", known(job.work_per_item, have.work_per_item)),
        ("auditsPerShard", spec.audits_per_shard == job.audits_per_shard),
    ];
    same.iter().find(|(_, same)| !same).map_or(Ok(()), |(what, _)| Err(CheckError::Task(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_task_of_a_job_is_its_task() {
        assert_eq!(task(&fixtures::task(), &fixtures::job(), &fixtures::inputs()), Ok(()));
    }

    #[test]
    fn a_task_that_differs_is_refused_by_what_differs() {
        type Edit = fn(&mut TaskSpec);
        let edits: [(&str, Edit); 8] = [
            ("workload", |task| task.workload = Digest::ZERO),
            ("inputs", |task| task.inputs[fixtures::ROWS] = Digest::ZERO),
            ("inputs", |task| task.inputs.truncate(1)),
            ("outputs", |task| task.outputs[0].name = "z".parse().unwrap()),
            ("outputs", |task| task.outputs.clear()),
            ("the kernel set", |task| task.kernel_set = 0),
            ("itemsPerUnit", |task| task.units.items_per_unit = 1),
            ("auditsPerShard", |task| task.audits_per_shard = 0),
        ];
        for (what, edit) in edits {
            let mut spec = fixtures::task();
            edit(&mut spec);
            assert_eq!(task(&spec, &fixtures::job(), &fixtures::inputs()), Err(CheckError::Task(what)));
        }
    }

    #[test]
    fn an_object_that_the_job_names_must_be_the_one_that_was_judged() {
        let mut job = fixtures::job();
        job.inputs[fixtures::MODEL].source = InputSource::Object(Digest::of(b"another model"));
        assert_eq!(task(&fixtures::task(), &job, &fixtures::inputs()), Err(CheckError::Task("inputs")));
    }

    #[test]
    fn what_the_spec_says_of_items_and_work_must_be_in_the_log() {
        let mut job = fixtures::job();
        (job.items, job.work_per_item) = (Items::Known(3), Some(100));
        assert_eq!(task(&fixtures::task(), &job, &fixtures::inputs()), Ok(()));
        job.items = Items::Known(4);
        let wrong = CheckError::Task("the number of items");
        assert_eq!(task(&fixtures::task(), &job, &fixtures::inputs()), Err(wrong));
        (job.items, job.work_per_item) = (Items::Known(3), Some(99));
        let wrong = CheckError::Task("the declared work");
        assert_eq!(task(&fixtures::task(), &job, &fixtures::inputs()), Err(wrong));
    }
}
