//! `orion ledger tx slash` as a program, on exports of logs that the real rules made: what it writes is what the ledger takes, and whatever
//! the ledger would refuse is refused before.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../ledger/core/tests/support/mod.rs"]
mod support;

mod said;

use std::path::{Path, PathBuf};
use std::process::Command;

use orion_crds::{OrionJob, ValidatedJob};
use orion_protocol::bytes::hex;
use orion_protocol::ids::Account;
use orion_protocol::ledger::leaf::{Code, Receipt};
use orion_protocol::ledger::tx::*;
use orion_protocol::price::format_credits;
use orion_protocol::statements::Vote;
use orion_protocol::task::{KernelWorkload, TaskSpec, Workload};
use orion_protocol::{Digest, JobId, SecretKey, Signed, cbor};
use said::Said;
use serde_json::Value;
use support::{Ballot, Keys, POLICY, Work, World, key, spec_under};
use tempfile::TempDir;

/// Earnings vest for 50 s.
const VESTING: Policy = Policy { vesting_ms: 50_000, ..POLICY };
/// Half of everything is lost.
const BONDS: Bonds = Bonds { unbonding_ms: 20_000, slash_ppm: 500_000 };
/// What most calls end with.
const EVIDENCE: &str = "--export log --log-key vkey --second second --workload job.yaml";

/// The job of the example.
fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits-cnn/job.yaml")
}

fn model() -> Workload {
    let text = std::fs::read_to_string(manifest()).unwrap();
    let mut job: OrionJob = serde_saphyr::from_str(&text).unwrap();
    (job.metadata.namespace, job.metadata.uid) = (Some("default".into()), Some("uid".into()));
    ValidatedJob::try_from(&job).unwrap().workload
}

fn kernel() -> Workload {
    Workload::Kernel(KernelWorkload {
        source: "kernel void k(global orion_float *p) {}".into(),
        entry_point: "k".into(),
        global_size: vec![10],
        local_size: None,
        defines: vec![],
        arguments: vec![],
    })
}

fn task(policy: &Policy) -> TaskSpec {
    TaskSpec { workload: Digest::of(&model().object()), kernel_set: 1, ..spec_under(policy, 1, 10, 2, 2) }
}

/// A log in which bob (12) voted about a shard of alice's (11), and the program in a folder with its export and another vote of bob's.
struct Desk {
    folder: TempDir,
    world: World,
    task: TaskSpec,
    /// Bob's vote in the log.
    first: Vote,
}

impl Desk {
    /// Settled and closed.
    fn new() -> Desk {
        Desk::of(BONDS, task(&VESTING), &VESTING).paid().closed()
    }

    /// Judged, and no more than that.
    fn of(bonds: Bonds, task: TaskSpec, policy: &Policy) -> Desk {
        let genesis = Genesis { bonds: Some(bonds), ..Keys::new().genesis_under(policy.clone()) };
        let mut world = World::bare_of(&genesis);
        for (number, owner) in [(11, "alice"), (12, "bob"), (13, "carol")] {
            assert_eq!(world.register(number, owner), Code::Ok);
        }
        assert_eq!((world.deposit(10_000_000), world.open_escrow(&task)), (Code::Ok, Code::Ok));
        let work =
            [(0, 11), (1, 11), (2, 12)].map(|(shard, by)| world.signers.work(&task, shard, 1, key(by).public(), &[]));
        let all: Vec<&Work> = work.iter().collect();
        let closed = world.close_round(&task, &all);
        // As workers vote now: by a task.
        let evidence = |work: &Work| {
            let mut shard = world.signers.evidence(work, &task, &closed, &Ballot::default());
            for vote in &mut shard.votes {
                let said = vote.verify(&world.signers.chain, &vote.key()).unwrap().into_inner();
                *vote = world.signers.vote_by_task(vote.key(), said.round, (&task, said.lease), said.units);
            }
            shard
        };
        let shards: Vec<ShardVerdict> = work.iter().map(evidence).collect();
        let first = shards[0].votes.iter().find(|vote| vote.key() == key(12).public()).unwrap();
        let first = first.verify(&world.signers.chain, &first.key()).unwrap().into_inner();
        let verdict = world.verdict_tx(&task, &closed, shards);
        assert_eq!(world.send(&Transaction::RecordVerdict(verdict)), Code::Ok);
        let folder = TempDir::new().unwrap();
        let desk = Desk { folder, world, task, first };
        desk.put("genesis", hex(&genesis.to_bytes()));
        for (name, number) in [("operator", 1), ("issuer", 3), ("alice", 11)] {
            desk.put(&format!("{name}.key"), format!("{}\n", hex(&[number; 32])));
        }
        std::fs::copy(manifest(), desk.path("job.yaml")).unwrap();
        desk.put("second", format!("{}\n", hex(&cbor::to_vec(&desk.vote(&key(12), lie)))));
        desk.export();
        desk
    }

    fn paid(mut self) -> Desk {
        assert_eq!(self.world.settle(&self.task, 0).code, Code::Ok);
        self.export();
        self
    }

    fn closed(mut self) -> Desk {
        assert_eq!(self.world.close(&self.task).code, Code::Ok);
        self.export();
        self
    }

    /// The log as it is now.
    fn export(&self) {
        let (log, vkey) = self.world.export();
        self.put("log", log);
        self.put("vkey", vkey.to_string());
    }

    /// Bob's vote, changed and signed by somebody.
    fn vote(&self, by: &SecretKey, change: impl Fn(&mut Vote)) -> Signed<Vote> {
        let mut vote = self.first.clone();
        change(&mut vote);
        Signed::new(&self.world.signers.chain, by, &vote)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn call(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion"));
        Said::of(command.args(words.split(' ')).current_dir(self.folder.path()))
    }

    fn tx(&self, sender: &str, evidence: &str) -> Said {
        self.call(&format!("ledger tx --genesis genesis --key {sender}.key --out draft slash {evidence}"))
    }

    /// No draft is written; it ends with this code and these words.
    fn refused(&self, sender: &str, evidence: &str, code: i32, said: &str) {
        let Said { code: have, out, err } = self.tx(sender, evidence);
        assert_eq!((have, self.path("draft").exists()), (Some(code), false), "{evidence}: {out}{err}");
        assert!(err.contains(said), "{said:?} is not in: {out}{err}");
    }

    /// Refused with another second vote.
    fn refused_with(&self, vote: &Signed<Vote>, code: i32, said: &str) {
        self.put("other", cbor::to_vec(vote));
        self.refused("issuer", &EVIDENCE.replace("--second second", "--second other"), code, said);
    }

    /// Writes and signs it; the ledger's rules take it. What the ledger says.
    fn send(&mut self, sender: &str, evidence: &str) -> Receipt {
        let said = self.tx(sender, evidence);
        assert_eq!(said.code, Some(0), "{said:?}");
        let says = format!("has a draft to slash {} for two votes that differ about the work lease ", key(12).public());
        assert!(said.out.contains(&says), "{said:?}");
        let signed = self.call(&format!("ledger sign draft --key {sender}.key --out signed"));
        assert_eq!(signed.code, Some(0), "{signed:?}");
        let bytes = std::fs::read(self.path("signed")).unwrap();
        std::fs::remove_file(self.path("draft")).unwrap();
        let receipt = self.world.block(vec![cbor::from_slice("envelope", &bytes, bytes.len()).unwrap()]).remove(0);
        self.export();
        receipt
    }

    fn bobs_pending(&self) -> u64 {
        self.world.balance(&Account::Vesting(key(12).public(), self.task.job))
    }
}

/// About the first unit.
fn lie(vote: &mut Vote) {
    vote.units[0].digest = support::digest_of(vote.units[0].unit, true);
}

#[test]
fn two_votes_that_differ_become_what_the_ledger_slashes_by() {
    let mut desk = Desk::new();
    let pending = desk.bobs_pending();
    assert!(pending > 1);
    let said = desk.tx("issuer", EVIDENCE);
    let loses = format!("as of this export {} would lose {} credits", key(12).public(), format_credits(pending / 2));
    assert!(said.out.contains(&loses), "{said:?}");
    let approved = desk.call("ledger approve draft --key issuer.key");
    assert!(approved.code == Some(2) && approved.err.contains("its sender signs it"), "{approved:?}");
    let receipt = desk.send("issuer", EVIDENCE);
    let lost: u64 = receipt.transfers.iter().map(|one| one.amount).sum();
    assert_eq!((receipt.code, lost, desk.bobs_pending()), (Code::Ok, pending / 2, pending - pending / 2));
    desk.refused("issuer", EVIDENCE, 1, "was slashed for job");
}

#[test]
fn the_operator_sends_it_too_and_files_may_hold_bytes_or_hex() {
    let mut desk = Desk::new();
    desk.put("object", model().object());
    desk.put("said", cbor::to_vec(&desk.vote(&key(12), lie)));
    desk.put("before", hex(&cbor::to_vec(&desk.vote(&key(12), |_| ()))));
    let evidence = "--export log --log-key vkey --second said --first before --workload object";
    assert_eq!(desk.send("operator", evidence).code, Code::Ok);
}

#[test]
fn a_vote_that_shows_nothing_is_refused_and_why() {
    let desk = Desk::new();
    let (bob, other) = (key(12), Digest::of(b"another"));
    desk.refused_with(
        &desk.vote(&bob, |_| ()),
        1,
        "the votes do not differ about any unit of the lease; give both votes",
    );
    desk.refused_with(&desk.vote(&bob, |vote| vote.class = other), 1, "do not differ");
    desk.refused_with(&desk.vote(&bob, |vote| vote.task = None), 2, "says no task");
    desk.refused_with(&desk.vote(&bob, |vote| vote.task = Some(other)), 2, "the log has no job with the task");
    desk.refused_with(&desk.vote(&bob, |vote| vote.round = other), 2, "has no round");
    desk.refused_with(&desk.vote(&bob, |vote| vote.lease = other), 2, "is not about the lease");
    desk.refused_with(&desk.vote(&key(11), lie), 2, "give its other vote with --first");
    let mut elsewhere = desk.first.clone();
    lie(&mut elsewhere);
    let elsewhere = Signed::new(&orion_protocol::ChainId::of_genesis(b"another"), &bob, &elsewhere);
    desk.refused_with(&elsewhere, 2, "other is no vote on this chain");
    desk.put("noise", "noise");
    desk.refused("issuer", &EVIDENCE.replace("second second", "second noise"), 2, "noise is no vote on this chain");
    desk.refused("issuer", &EVIDENCE.replace("second second", "second nowhere"), 2, "opening nowhere");

    let with_first = |vote: &Signed<Vote>, code, said| {
        desk.put("before", cbor::to_vec(vote));
        desk.refused("issuer", &format!("{EVIDENCE} --first before"), code, said);
    };
    with_first(&desk.vote(&bob, |vote| vote.round = other), 1, "the votes are about two rounds; --first");
    with_first(&desk.vote(&bob, |vote| vote.lease = other), 1, "the first vote is about another lease");
    with_first(&desk.vote(&bob, |vote| vote.task = None), 1, "the first vote is about no task");
    with_first(&desk.vote(&key(13), |_| ()), 2, "both must be one validator's");
    let stranger = key(66);
    desk.put("before", cbor::to_vec(&desk.vote(&stranger, |_| ())));
    desk.put("other", cbor::to_vec(&desk.vote(&stranger, lie)));
    let strangers = format!("{} --first before", EVIDENCE.replace("--second second", "--second other"));
    desk.refused("issuer", &strangers, 1, "is no provider's key; nothing can be done");
}

#[test]
fn what_else_the_ledger_would_refuse_is_refused_before() {
    let desk = Desk::new();
    desk.refused("alice", EVIDENCE, 2, "nobody else may slash; name one of theirs");
    desk.put("object", kernel().object());
    desk.refused("issuer", &EVIDENCE.replace("job.yaml", "object"), 1, "the task names");
    desk.put("noise", "noise");
    desk.refused(
        "issuer",
        &EVIDENCE.replace("job.yaml", "noise"),
        2,
        "noise is neither an OrionJob nor a workload object",
    );
    let said = desk.call(&format!("-o json ledger tx --genesis genesis --key alice.key --out draft slash {EVIDENCE}"));
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &json["slashable"], &json["code"]), (Some(2), &false.into(), &"NotAllowed".into()));

    let (mut log, _) = desk.world.export();
    let at = log.len() / 2;
    log[at] ^= 1;
    desk.put("broken", log);
    desk.refused("issuer", &EVIDENCE.replace("export log", "export broken"), 1, "NOT verified");
    desk.put("genesis", hex(&Keys::new().genesis().to_bytes()));
    desk.refused("issuer", EVIDENCE, 2, "name those of one install");

    let off = Bonds { slash_ppm: 0, ..BONDS };
    Desk::of(off, task(&VESTING), &VESTING).paid().refused("issuer", EVIDENCE, 1, "slash_ppm 0; nothing can be done");
    let open = Desk::of(BONDS, task(&VESTING), &VESTING);
    open.refused("issuer", EVIDENCE, 2, "is not settled yet; wait for its last page");
    let poor = Desk::of(BONDS, task(&POLICY), &POLICY).paid();
    poor.refused("issuer", EVIDENCE, 1, "has nothing left to lose");
    let mut late = Desk::new();
    late.world.time_ms += VESTING.vesting_ms;
    assert_eq!(late.world.deposit(1), Code::Ok);
    late.export();
    late.refused("issuer", EVIDENCE, 1, "all pay for job");
}

#[test]
fn honest_machines_may_differ_about_a_users_kernel() {
    for kernel_set in [0, 1] {
        let task = TaskSpec { workload: Digest::of(&kernel().object()), kernel_set, ..task(&VESTING) };
        let desk = Desk::of(BONDS, task, &VESTING).paid();
        desk.put("object", kernel().object());
        desk.refused("issuer", &EVIDENCE.replace("job.yaml", "object"), 1, "is a kernel that a user wrote");
    }
}

/// The vote in the log says no task; the one that the operator's log has beside the second one may.
#[test]
fn a_log_of_before_shows_nothing_by_itself() {
    let mut desk = Desk::new();
    let task = TaskSpec { job: JobId([2; 32]), ..desk.task.clone() };
    assert_eq!(desk.world.open_escrow(&task), Code::Ok);
    let work = desk.world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let closed = desk.world.close_round(&task, &[&work]);
    assert_eq!(desk.world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(desk.world.settle(&task, 0).code, Code::Ok);
    desk.export();
    let about = |vote: &mut Vote| (vote.round, vote.lease, vote.task) = (closed.round, work.lease, Some(task.digest()));
    let second = desk.vote(&key(12), |vote| {
        about(vote);
        lie(vote);
    });
    desk.refused_with(&second, 1, "the first vote is about no task");
    desk.put("second", cbor::to_vec(&second));
    desk.put("before", cbor::to_vec(&desk.vote(&key(12), about)));
    assert_eq!(desk.send("issuer", &format!("{EVIDENCE} --first before")).code, Code::Ok);
}
