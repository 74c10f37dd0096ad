//! `orion run` and `orion bench` as programs, with the worker's executor beside them: the digests are those of a cluster, and what cannot be
//! computed is refused in words that help.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use orion_protocol::Digest;
use serde_json::Value;
use tempfile::TempDir;

/// The program, with folders of its own.
struct Orion {
    folder: TempDir,
}

impl Orion {
    fn new() -> Orion {
        let executor = Path::new(env!("CARGO_BIN_EXE_orion")).with_file_name("orion-executor");
        assert!(executor.exists(), "build the executor before these tests: cargo build --workspace --locked");
        Orion { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        command.args(words).current_dir(self.folder.path());
        command.env_remove("ORION_EXECUTOR").env("ORION_SCRATCH", self.path("scratch"));
        command
    }

    fn call(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    /// Where no driver is listed.
    fn without_opencl(&self, words: &[&str]) -> Said {
        let none = self.path("no-drivers");
        std::fs::create_dir_all(&none).unwrap();
        Said::of(&self.command(words).env("OCL_ICD_VENDORS", none).output().unwrap())
    }

    /// An example's job, with another text in one place.
    fn edited(&self, example: &str, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(examples().join(example).join("job.yaml")).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} is in the example once");
        let path = self.path("job.yaml");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        path.display().to_string()
    }
}

/// What it said, and its exit code.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }

    /// It ended with this code and these words on stderr, and wrote no result.
    fn check(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        for words in words {
            assert!(self.err.contains(words), "{words:?} is not in: {}", self.err);
        }
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn example(name: &str) -> String {
    examples().join(name).display().to_string()
}

/// Name, type, shape and digest of each file, as they are written down beside the model; the files must hash to it.
fn lines(orion: &Orion, answer: &Value) -> Vec<String> {
    let line = |file: &Value| {
        let word = |key: &str| file[key].as_str().unwrap().to_owned();
        let bytes = std::fs::read(orion.folder.path().join(word("path"))).unwrap();
        assert_eq!(
            (Digest::of(&bytes).to_string(), Some(bytes.len() as u64)),
            (word("digest"), file["sizeBytes"].as_u64())
        );
        let shape: Vec<u64> = serde_json::from_value(file["shape"].clone()).unwrap();
        format!("{} {} {shape:?} {}", word("name"), word("type"), word("digest"))
    };
    answer["files"].as_array().unwrap().iter().map(line).collect()
}

fn written_down(example: &str) -> Vec<String> {
    let text = std::fs::read_to_string(examples().join(example).join("digests.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_kernel_gives_the_file_that_a_cluster_gives() {
    let orion = Orion::new();
    let said = orion.call(&["run", &example("digits-knn"), "--dir", "out"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let file = std::fs::read(orion.path("out/predictions.npy")).unwrap();
    assert_eq!(file, std::fs::read(examples().join("digits-knn/expected.npy")).unwrap());
    assert!(said.out.starts_with("out/predictions.npy  uint8 [1797]"), "{said:?}");
    assert!(said.out.contains(&Digest::of(&file).to_string()), "{said:?}");
    assert!(said.err.contains("113 units of digits-knn on "), "{said:?}");
    assert_eq!(std::fs::read_dir(orion.path("out")).unwrap().count(), 1, "nothing else is left");
    let left = std::fs::read_dir(orion.path("scratch")).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["built-in"], "only programs of our own, for the next time");
}

#[test]
fn a_kernel_on_floats_gives_the_digest_that_is_written_down() {
    let orion = Orion::new();
    let said = orion.call(&["-o", "json", "run", &example("american-puts")]);
    assert_eq!(lines(&orion, &said.json()), written_down("american-puts"));
    let job = orion.edited("american-puts", "return value[0];", "float best = 0; return value[0];");
    let map = example("american-puts/configmap.yaml");
    orion.call(&["run", &job, &map]).check(1, &["NotExact", "line 53: `float`", "use orion_float"]);
    let job = orion.edited("american-puts", "return value[0];", "return value[0] + value[1];");
    orion.call(&["run", &job, &map]).check(1, &["CompileFailed", "kernel.cl:53", "invalid operands"]);
}

#[test]
fn kept_entries_and_combined_copies_give_the_files_that_a_cluster_gives() {
    let orion = Orion::new();
    let said = orion.call(&["-o", "json", "run", &example("dna-motifs")]);
    assert_eq!(lines(&orion, &said.json()), written_down("dna-motifs"));
    let check = examples().join("dna-motifs/check.py");
    let python = Command::new("python3").arg("-B").arg(check).current_dir(orion.folder.path()).output().unwrap();
    let python = Said::of(&python);
    assert_eq!(python.code, Some(0), "{python:?}");
    let readme = std::fs::read_to_string(examples().join("dna-motifs/README.md")).unwrap();
    assert!(readme.contains(&python.out), "the README does not say: {}", python.out);
    let files = std::fs::read_dir(orion.folder.path()).unwrap().flatten();
    let files = files.filter(|entry| entry.file_type().unwrap().is_file());
    assert_eq!(files.count(), 7, "nothing else is left");
}

#[test]
fn files_of_one_output_have_its_format_and_their_own_names() {
    let orion = Orion::new();
    let from = "lengths: place-counts}";
    let job = orion.edited("dna-motifs", from, "lengths: place-counts, format: safetensors}");
    let said = orion.call(&["-o", "json", "run", &job, &example("dna-motifs/configmap.yaml")]);
    let files = said.json()["files"].as_array().unwrap().clone();
    for (file, name) in files.iter().zip(["places.values", "places.offsets"]) {
        assert_eq!(file["path"], format!("./{name}.safetensors"));
        let bytes = std::fs::read(orion.path(&format!("{name}.safetensors"))).unwrap();
        let array = orion_protocol::array::find(&bytes, bytes.len() as u64, Some(name)).unwrap();
        assert_eq!(array.header.shape, serde_json::from_value::<Vec<u64>>(file["shape"].clone()).unwrap());
    }
}

#[test]
fn an_item_with_more_entries_than_room_is_named_and_no_file_is_left() {
    let orion = Orion::new();
    for (item, when) in [(3, "the first unit is tried"), (100, "the unit runs")] {
        let text = format!("counts[item] = item == {item} ? 9 : (uchar)found;");
        let job = orion.edited("dna-motifs", "counts[item] = (uchar)found;", &text);
        let said = orion.call(&["run", &job, &example("dna-motifs/configmap.yaml"), "--dir", "out"]);
        let words = format!("OutputOverflow: output places: item {item} has 9 entries, there is room for 8");
        said.check(1, &["run: REFUSED", &words]);
        let left = std::fs::read_dir(orion.path("out")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{when}");
    }
}

#[test]
fn a_model_gives_the_same_digests_on_the_device_and_on_the_reference() {
    let orion = Orion::new();
    let device = orion.call(&["-o", "json", "run", &example("digits-cnn")]);
    assert!(device.json()["device"]["driver"].is_string(), "{device:?}");
    // The model's weights alone are more.
    assert!(device.json()["device"]["bytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{device:?}");
    assert_eq!(lines(&orion, &device.json()), written_down("digits-cnn"));
    let reference = orion.call(&["-o", "json", "run", "--reference", &example("digits-cnn")]);
    assert!(reference.json()["device"].is_null() && reference.err.contains("on the reference"), "{reference:?}");
    assert_eq!(lines(&orion, &reference.json()), written_down("digits-cnn"));
}

#[test]
fn without_opencl_a_model_runs_on_the_reference_and_says_so() {
    let orion = Orion::new();
    let said = orion.without_opencl(&["-o", "json", "run", &example("digits-cnn")]);
    assert_eq!(lines(&orion, &said.json()), written_down("digits-cnn"));
    for words in ["no OpenCL device answers", "the model runs on the reference"] {
        assert!(said.err.contains(words), "{words:?} is not in: {}", said.err);
    }
}

#[test]
fn without_opencl_a_kernel_and_the_bench_say_what_to_install() {
    let orion = Orion::new();
    let words = ["no OpenCL device", "apt install pocl-opencl-icd"];
    orion.without_opencl(&["run", &example("digits-knn")]).check(2, &words);
    orion.without_opencl(&["bench"]).check(2, &words);
    // The library itself is missing: the program does not even start.
    let script = orion.path("no-library");
    std::fs::write(&script, "#!/bin/sh\necho 'libOpenCL.so.1: cannot open shared object file' >&2\nexit 127\n")
        .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = script.display().to_string();
    let said = orion.call(&["run", &example("digits-knn"), "--executor", &program]);
    said.check(2, &[words[0], words[1], "libOpenCL.so.1: cannot open"]);
    let said = orion.call(&["run", &example("digits-knn"), "--executor", "nowhere/orion-executor"]);
    said.check(2, &["nowhere/orion-executor: No such file", "--executor"]);
    orion.call(&["run", &example("digits-knn"), "--reference"]).check(2, &["a kernel in OpenCL C runs on a device"]);
}

#[test]
fn a_bad_spec_is_refused_with_the_field_that_is_wrong() {
    let orion = Orion::new();
    let map = example("digits-knn/configmap.yaml");
    for (from, to, words) in [
        ("globalSize: [1797]", "globalSize: [0]", "InvalidSpec: spec.workload.kernel.globalSize"),
        (
            "sharding: {itemsPerUnit: 16}",
            "sharding: {itemsPerUnit: 16, size: 2}",
            "spec.sharding.size: there is no such",
        ),
        ("- {builtin: Items}\n", "- {builtin: Itmes}\n", "spec.workload.kernel.arguments[2].builtin"),
        ("const uint pixels,", "const uint pixels", "CompileFailed"),
        (
            "labels.npy}",
            "names.npy}",
            "InputNotFound: spec.inputs[labels].source.configMap: digits has no key names.npy",
        ),
    ] {
        let job = orion.edited("digits-knn", from, to);
        orion.call(&["run", &job, &map]).check(1, &["run: REFUSED", words]);
    }
    orion.call(&["run", &example("digits-knn/job.yaml")]).check(1, &["digits is in none of the files", "directory"]);
    orion.call(&["run", &map]).check(2, &["the files hold no OrionJob"]);
    let left = std::fs::read_dir(orion.folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    let results: Vec<_> = left.filter(|name| name.to_string_lossy().contains("npy")).collect();
    assert!(results.is_empty(), "{results:?}");
}

#[test]
fn a_refusal_is_also_there_for_scripts() {
    let orion = Orion::new();
    let job = orion.edited("digits-knn", "globalSize: [1797]", "globalSize: [0]");
    let said = orion.call(&["-o", "json", "run", &job, &example("digits-knn/configmap.yaml")]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["refused"]["reason"], "InvalidSpec", "{answer}");
}

#[test]
fn a_kernel_that_crashes_is_told_with_its_signal() {
    let orion = Orion::new();
    let store = "predictions[item] = winner;";
    let job = orion.edited("digits-knn", store, "*(__global uchar *)(size_t)(item & 0) = winner;");
    let said = orion.call(&["run", &job, &example("digits-knn/configmap.yaml")]);
    said.check(1, &["KernelFault", "crashed its executor with SIGSEGV"]);
}

#[test]
fn an_object_is_found_by_its_digest() {
    let orion = Orion::new();
    let model = example("digits-cnn/model.onnx");
    let digest = Digest::of(&std::fs::read(&model).unwrap());
    let source = "source: {configMap: {name: digits-cnn, key: model.onnx}}";
    let job = orion.edited("digits-cnn", source, &format!("source: {{object: {{digest: {digest}}}}}"));
    let map = example("digits-cnn/configmap.yaml");
    let words = ["InputNotFound: spec.inputs[model].source.object", "--object FILE"];
    orion.call(&["run", "--reference", &job, &map]).check(1, &words);
    let said = orion.call(&["-o", "json", "run", "--reference", &job, &map, "--object", &model]);
    assert_eq!(lines(&orion, &said.json()), written_down("digits-cnn"));
}

#[test]
fn the_bench_names_the_device_and_its_rates() {
    let answer = Orion::new().call(&["-o", "json", "bench"]).json();
    assert!(answer["driver"].as_str().is_some_and(|driver| !driver.is_empty()), "{answer}");
    assert!(answer["class"].as_str().is_some_and(|class| class.parse::<Digest>().is_ok()), "{answer}");
    let rate = |key: &str| answer[key].as_u64().unwrap();
    // Whatever computes here does over a million operations a second, and no product is faster than the peak, but for noise.
    assert!(rate("gemmFlops") > 1_000_000 && rate("gemmFlops") < 4 * rate("peakFlops"), "{answer}");
}

#[test]
fn the_command_line_does_not_link_opencl() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_orion")).unwrap();
    let name = b"libOpenCL.so";
    assert!(!bytes.windows(name.len()).any(|window| window == name));
}
