//! What was measured, as a table for docs/benchmarks, each figure beside what is asked of it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::load::{Load, SUBMITTERS};
use crate::proof::{COMPUTED_LEAVES, COSIGNERS, Proof};

/// Entries of the log that disk and memory are computed for.
const COMPUTED_ENTRIES: f64 = 1e8;

/// What one run found.
pub struct Report {
    pub machine: Machine,
    /// Signatures a second on one thread and on two.
    pub verify: [f64; 2],
    /// Synced writes a second.
    pub sync: f64,
    /// The release build under load.
    pub release: Load,
    /// The shipped build under the same load, where it was measured.
    pub shipped: Option<Load>,
    pub replay: Replay,
    pub proofs: [Proof; 2],
    /// Ascending; a much larger log is computed from the last two.
    pub sizes: [Size; 3],
    /// From the start after SIGKILL until it takes transactions.
    pub restart: Duration,
}

/// What it was measured on.
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub filesystem: String,
    /// Processes that ran or waited to run, before anything was measured: others.
    pub load: String,
}

/// A check of the whole log.
pub struct Replay {
    pub entries: u64,
    pub time: Duration,
}

/// What a log of so many entries takes.
pub struct Size {
    pub entries: u64,
    pub memory: u64,
    pub disk: u64,
}

/// A row's figure meets what is asked, or not.
fn met(good: bool) -> &'static str {
    if good { "yes" } else { "**no**" }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# The ledger beside its bounds\n\nWritten by `make bench-ledger`.\n\n");
        let Machine { processor, processors, memory_gib, kernel, filesystem, load } = &self.machine;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Processor: {processor}, {processors} of them; {memory_gib:.0} GiB; Linux {kernel}; {filesystem}. Load before the run: {load}."
        );
        let _ = writeln!(
            text,
            "{SUBMITTERS} submitters, each with one connection and one deposit under way, share the machine with the ledger; deposits were signed before. \
             Built in release mode, but where it says otherwise."
        );
        text += "\n| what | is | aim | met |\n| --- | --- | --- | --- |\n";
        for (what, is, aim, good) in self.rows() {
            let _ = writeln!(text, "| {what} | {is} | {aim} | {} |", good.map_or("", met));
        }
        text += &self.growth();
        text
    }

    fn rows(&self) -> Vec<(String, String, &'static str, Option<bool>)> {
        let [one, two] = self.verify;
        let mut rows = vec![
            ("`verify_strict` in a bare loop, 1 thread".into(), format!("{one:.0} /s"), "", None),
            ("the same, 2 threads".into(), format!("{two:.0} /s"), "", None),
            ("writes of 4 KiB with fsync, bare loop".into(), format!("{:.0} /s", self.sync), "", None),
        ];
        let loads = [("", Some(&self.release)), (", shipped build (dev profile)", self.shipped.as_ref())];
        for (which, load) in loads.into_iter().filter_map(|(which, load)| load.map(|load| (which, load))) {
            let rate = load.rate();
            let p99 = load.wait(990);
            rows.push((
                format!("entries acknowledged, each synced{which}"),
                format!(
                    "{rate:.0} /s over {:.0} s: {:.0} % of the loop of 2 threads",
                    load.time.as_secs_f64(),
                    100.0 * rate / two
                ),
                "2,000 /s",
                Some(rate >= 2000.0),
            ));
            rows.push((
                format!("from submission to acknowledgement{which}"),
                format!("p50 {:.1} ms, p99 {:.1} ms", ms(load.wait(500)), ms(p99)),
                "p99 500 ms",
                Some(p99 < Duration::from_millis(500)),
            ));
        }
        let Replay { entries, time } = self.replay;
        let ratio = time.as_secs_f64() / float(entries) * one;
        rows.push((
            "check of the whole log, 1 thread".into(),
            format!(
                "{:.0} entries/s of {entries}: {ratio:.2} times the loop's time",
                float(entries) / time.as_secs_f64()
            ),
            "6 times",
            Some(ratio <= 6.0),
        ));
        for Proof { leaves, hashes, bytes } in &self.proofs {
            let computed = if *leaves == COMPUTED_LEAVES { ", computed" } else { "" };
            rows.push((
                format!("proof at {leaves} leaves with {COSIGNERS} cosignatures{computed}"),
                format!("{bytes} B, {hashes} hashes"),
                "4 KiB",
                Some(*bytes < 4096),
            ));
        }
        rows.push((
            format!("start after SIGKILL under load at {} entries", self.sizes[2].entries),
            format!("{:.2} s", self.restart.as_secs_f64()),
            "2 s",
            Some(self.restart < Duration::from_secs(2)),
        ));
        rows
    }

    /// What a log takes, and what a much larger one would.
    fn growth(&self) -> String {
        let mut text = String::from("\n| entries | memory, MiB | disk, MiB |\n| --- | --- | --- |\n");
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        for Size { entries, memory, disk } in &self.sizes {
            let _ = writeln!(text, "| {entries} | {:.1} | {:.1} |", mib(float(*memory)), mib(float(*disk)));
        }
        let [_, small, large] = &self.sizes;
        let apart = float((large.entries - small.entries).max(1));
        let slope = |small: u64, large: u64| (float(large) - float(small)).max(0.0) / apart;
        let (memory, disk) = (slope(small.memory, large.memory), slope(small.disk, large.disk));
        let at = |bytes: u64, slope: f64| mib(float(bytes) + slope * (COMPUTED_ENTRIES - float(large.entries)));
        let _ = writeln!(
            text,
            "| {COMPUTED_ENTRIES:.0}, computed | {:.0} | {:.0} |\n\nAn entry takes {memory:.0} B of memory and {disk:.0} B of disk, by the last two rows that were \
             measured; memory is what the process holds (VmRSS), the store's cache of 64 MiB included.",
            at(large.memory, memory),
            at(large.disk, disk),
        );
        text
    }
}
