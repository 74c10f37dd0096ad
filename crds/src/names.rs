//! Names of objects, labels and the finalizer: one function a name, so that whoever makes an object and whoever looks for it
//! agree. Names are for people; identity is the uid in them.

/// Longest name of an OrionJob: its children's names must fit into one DNS label.
pub const MAX_JOB_NAME: usize = 40;
/// Label on everything that belongs to a job: the job's uid.
pub const LABEL_JOB_UID: &str = "orion.dev/job-uid";
/// Holds a job until what was committed is judged and paid.
pub const FINALIZER: &str = "orion.dev/settlement";
/// The field manager, and the label value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "orion-operator";
/// The field manager of the condition `Final`, which is written apart from the rest of a status.
pub const FINALITY_MANAGER: &str = "orion-operator-finality";

/// `<job>-<uid8>-<index>`.
pub fn shard(job: &str, uid: &str, index: u32) -> String {
    format!("{job}-{}-{index}", uid8(uid))
}

/// `<job>-<uid8>-r<sequence>`.
pub fn round(job: &str, uid: &str, sequence: u64) -> String {
    format!("{job}-{}-r{sequence}", uid8(uid))
}

/// The first eight characters of a uid.
fn uid8(uid: &str) -> &str {
    uid.get(..8).unwrap_or(uid)
}
