//! The files of a result: units are hashed out of rows, kept entries and copies, and what else there is must follow from those.

use orion_crds::job::OutputStatus;
use orion_ledger_core::report::{Attempt, JobReport};
use orion_protocol::combine::Combined;
use orion_protocol::files::{Extract, File};
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::npy::Header;
use orion_protocol::rows::{Span, offsets};
use orion_protocol::task::{Layout, TaskSpec, unit_digest, unit_salt};
use orion_protocol::{Digest, Format};

use super::CheckError;

/// A file that a job delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Of which output.
    pub at: usize,
    /// What it has of it.
    pub extract: Option<Extract>,
}

impl Delivered {
    /// Its name, without its end.
    pub fn name(self, spec: &TaskSpec) -> String {
        self.file(spec, None).name
    }

    fn file(self, spec: &TaskSpec, entries: Option<u64>) -> File {
        spec.outputs[self.at].file(self.extract, &spec.units, entries)
    }

    /// Whether units are hashed out of it.
    fn is_hashed(self, spec: &TaskSpec) -> bool {
        match spec.outputs[self.at].layout {
            None => true,
            Some(Layout::Lengths(_)) => self.extract == Some(Extract::Values),
            Some(Layout::Unit(_)) => self.extract == Some(Extract::Units),
        }
    }
}

/// The files that a job delivers, in order.
pub fn delivered(spec: &TaskSpec) -> Vec<Delivered> {
    let outputs = spec.outputs.iter().enumerate();
    outputs
        .flat_map(|(at, output)| output.extracts().iter().map(move |extract| Delivered { at, extract: *extract }))
        .collect()
}

/// The status's entries in the order of the task's files, one for each; nothing else may be listed.
pub fn listed<'s>(spec: &TaskSpec, status: &'s [OutputStatus]) -> Result<Vec<&'s OutputStatus>, CheckError> {
    let names: Vec<String> = delivered(spec).into_iter().map(|file| file.name(spec)).collect();
    let find = |name: &String| status.iter().find(|listed| listed.name == *name);
    let found: Option<Vec<&OutputStatus>> = names.iter().map(find).collect();
    found.filter(|found| found.len() == status.len()).ok_or_else(|| CheckError::Outputs {
        listed: status.iter().map(|output| output.name.clone()).collect(),
        given: names,
    })
}

/// A job's files that were checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many units were hashed.
    pub units: u64,
    /// The array of each file.
    pub files: Vec<File>,
}

/// Checks `files`, whole files in the order of [`delivered`].
pub fn result(job: &JobReport, salt: &Digest, formats: &[Format], files: &[Vec<u8>]) -> Result<Checked, CheckError> {
    let accepted = job.accepted().ok_or(CheckError::Incomplete)?;
    let arrays = arrays(&job.spec, formats, files)?;
    let rows: Vec<&[u8]> =
        arrays.iter().filter(|array| array.of.is_hashed(&job.spec)).map(|array| array.data).collect();
    units(job, salt, &accepted, &rows)?;
    for array in &arrays {
        follows(&job.spec, array, &rows)
            .map_err(|why| CheckError::File { file: array.file.name.clone(), why: why.to_owned() })?;
    }
    Ok(Checked { units: job.spec.units.units(), files: arrays.into_iter().map(|array| array.file).collect() })
}

/// The digests of the units of `range`, in order, out of `files`, whole files in the order of [`delivered`]. Nothing is compared with
/// any root.
pub fn digests(
    spec: &TaskSpec,
    formats: &[Format],
    files: &[Vec<u8>],
    range: std::ops::Range<u64>,
) -> Result<Vec<Digest>, CheckError> {
    let arrays = arrays(spec, formats, files)?;
    let hashed = arrays.iter().filter(|array| array.of.is_hashed(spec));
    let rows: Vec<&[u8]> = hashed.map(|array| array.data).collect();
    let units = Span::whole(&spec.outputs, &spec.units).units(&rows).map_err(CheckError::Rows)?;
    let task = spec.digest();
    let of_range = units.filter(|(unit, _)| range.contains(unit));
    Ok(of_range.map(|(unit, outputs)| unit_digest(&task, unit, &outputs)).collect())
}

/// The array in a file.
struct Array<'f> {
    of: Delivered,
    file: File,
    data: &'f [u8],
}

/// All files taken apart. How long the values of an output are follows from the output that says how many entries its items keep.
fn arrays<'f>(spec: &TaskSpec, formats: &[Format], files: &'f [Vec<u8>]) -> Result<Vec<Array<'f>>, CheckError> {
    let (span, all) = (Span::whole(&spec.outputs, &spec.units), delivered(spec));
    let array = |number: usize, entries: Option<u64>| {
        let file = all[number].file(spec, entries);
        let wrong = |why: String| CheckError::File { file: file.name.clone(), why };
        let given = files.get(number).zip(formats.get(all[number].at));
        let (bytes, format) = given.ok_or_else(|| wrong("is missing".into()))?;
        // There is one way to write the array down.
        let size = Header { dtype: file.dtype, shape: file.shape.clone() }.data_bytes();
        let data = bytes.strip_prefix(format.head(&file).as_slice()).filter(|data| Some(data.len() as u64) == size);
        let what = || format!("is no {format} file of {} {:?}", file.dtype, file.shape);
        let data = data.ok_or_else(|| wrong(what()))?;
        Ok(Array { of: all[number], file, data })
    };
    let mut arrays = Vec::with_capacity(all.len());
    for (number, of) in all.iter().enumerate() {
        let lengths = span.lengths_of(of.at).and_then(|lengths| all.iter().position(|of| of.at == lengths));
        let entries = match lengths {
            Some(lengths) => Some(span.entries(of.at, array(lengths, None)?.data).map_err(CheckError::Rows)?),
            None => None,
        };
        arrays.push(array(number, entries)?);
    }
    Ok(arrays)
}

/// Hashes every unit, and compares each shard with the root that was accepted.
fn units(job: &JobReport, salt: &Digest, accepted: &[&Attempt], rows: &[&[u8]]) -> Result<(), CheckError> {
    let units = Span::whole(&job.spec.outputs, &job.spec.units).units(rows).map_err(CheckError::Rows)?;
    let mut leaves = units
        .map(|(unit, outputs)| Sha3::unit_leaf(&unit_salt(salt, unit), unit, &unit_digest(&job.task, unit, &outputs)));
    for attempt in accepted {
        let lease = &attempt.lease;
        // Shards come in order, and their units are those of the task: the log's rules say so.
        let shard: Vec<[u8; 32]> = leaves.by_ref().take(usize::try_from(lease.units).unwrap_or(usize::MAX)).collect();
        if merkle::root::<Sha3>(&shard) != attempt.commitment.root.0 {
            let (shard, first, provider) = (lease.shard, lease.first_unit, lease.provider);
            let last = first.saturating_add(lease.units).saturating_sub(1);
            return Err(CheckError::Root { shard, first, last, provider });
        }
    }
    Ok(())
}

/// Whether a file that no unit is hashed from says what follows from those that are.
fn follows(spec: &TaskSpec, array: &Array<'_>, rows: &[&[u8]]) -> Result<(), &'static str> {
    let Array { of, file: _, data } = array;
    if of.is_hashed(spec) {
        return Ok(());
    }
    let output = &spec.outputs[of.at];
    if let Some(mut combined) = Combined::new(output) {
        combined.add(rows[of.at]);
        let same = combined.value() == *data;
        return same.then_some(()).ok_or("is not what the copies of the accepted units combine to");
    }
    let lengths = Span::whole(&spec.outputs, &spec.units).lengths_of(of.at).ok_or("belongs to no lengths")?;
    let (ends, _) = offsets(spec.outputs[lengths].dtype, rows[lengths], 0);
    let same = data.split_first_chunk::<8>().is_some_and(|(first, rest)| *first == [0; 8] && *rest == ends);
    same.then_some(()).ok_or("does not say where the entries of the accepted units begin and end")
}

#[cfg(test)]
mod tests {
    use orion_protocol::merkle::Tree;

    use super::*;
    use crate::fixtures;

    #[test]
    fn the_status_lists_the_tasks_outputs_and_no_others() {
        let (spec, y, z) = (fixtures::task(), fixtures::output("y"), fixtures::output("z"));
        assert_eq!(listed(&spec, std::slice::from_ref(&y)), Ok(vec![&y]));
        for status in [vec![], vec![z.clone()], vec![y.clone(), z.clone()], vec![y.clone(), y.clone()]] {
            assert!(matches!(listed(&spec, &status), Err(CheckError::Outputs { .. })), "{status:?}");
        }
        let spec = fixtures::layouts();
        let names = ["hits.values", "hits.offsets", "counts", "sums", "sums.units"];
        let status: Vec<OutputStatus> = names.into_iter().rev().map(fixtures::output).collect();
        assert_eq!(listed(&spec, &status), Ok(status.iter().rev().collect()));
        assert!(matches!(listed(&spec, &status[1..]), Err(CheckError::Outputs { .. })));
    }

    const SALT: Digest = Digest([5; 32]);

    /// What units keep of each output: items have 2, 0 and 1 entries of 2 bytes; the copies of units are 1 and 255.
    fn rows() -> [Vec<u8>; 3] {
        [vec![1, 1, 2, 2, 3, 3], vec![2, 0, 1], vec![1, 255]]
    }

    /// The files that follow from them.
    fn files() -> Vec<Vec<u8>> {
        let ends: Vec<u8> = [0_i64, 2, 2, 3].into_iter().flat_map(i64::to_le_bytes).collect();
        let [values, counts, copies] = rows();
        let (spec, data) = (fixtures::layouts(), [values, ends, counts, vec![0], copies]);
        let file = |(of, data): (Delivered, Vec<u8>)| [Format::Npy.head(&of.file(&spec, Some(3))), data].concat();
        delivered(&spec).into_iter().zip(data).map(file).collect()
    }

    /// A log in which both units are accepted, each a shard.
    fn log(rows: &[Vec<u8>]) -> JobReport {
        let spec = fixtures::layouts();
        let slices: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let units = Span::whole(&spec.outputs, &spec.units).units(&slices).unwrap();
        let roots = units.map(|(unit, outputs)| {
            let mut tree = Tree::<Sha3>::default();
            let digest = unit_digest(&spec.digest(), unit, &outputs);
            tree.push(Sha3::unit_leaf(&unit_salt(&SALT, unit), unit, &digest));
            tree.root()
        });
        let roots: Vec<[u8; 32]> = roots.collect();
        fixtures::log(spec, &roots)
    }

    fn check(files: &[Vec<u8>]) -> Result<Checked, CheckError> {
        result(&log(&rows()), &SALT, &[Format::Npy; 3], files)
    }

    #[test]
    fn files_that_follow_from_accepted_units_are_good() {
        let checked = check(&files()).unwrap();
        let shapes: Vec<_> = checked.files.iter().map(|file| (file.name.as_str(), file.shape.as_slice())).collect();
        let want: [(&str, &[u64]); 5] = [
            ("hits.values", &[3, 2]),
            ("hits.offsets", &[4]),
            ("counts", &[3]),
            ("sums", &[1]),
            ("sums.units", &[2, 1]),
        ];
        assert_eq!((checked.units, shapes), (2, want.to_vec()));
    }

    #[test]
    fn a_changed_byte_in_any_file_is_found_by_what_is_wrong_with_it() {
        for (number, at, words) in [
            (0, 1, "shard 1 (units 1 to 1) does not hash"),
            (1, 1, "hits.offsets: does not say where the entries"),
            (2, 1, "hits.values: is no npy file of uint8 [2, 2]"),
            (2, 3, "output hits: item 0 has 3 entries, there is room for 2"),
            (3, 1, "sums: is not what the copies"),
            (4, 1, "shard 1 (units 1 to 1) does not hash"),
        ] {
            let mut files = files();
            let place = files[number].len() - at;
            files[number][place] ^= 1;
            let error = check(&files).unwrap_err().to_string();
            assert!(error.starts_with(words), "file {number}, byte {at} from its end: {error}");
        }
        // Entries of one item under another.
        let mut files = files();
        let end = files[2].len();
        files[2].swap(end - 3, end - 2);
        assert!(check(&files).unwrap_err().to_string().starts_with("shard 0 "));
        assert!(matches!(check(&files[..4]), Err(CheckError::File { .. })));
    }
}
