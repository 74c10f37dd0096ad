//! The protocol's types as JSON with their fields' names, for the vectors. Structs are taken apart without `..`, so a new
//! field that is not written down does not compile.

use minicbor::bytes::ByteVec;
use orion_protocol::files::Extract;
use orion_protocol::ledger::api::{
    AccountView, EntryVerdict, Head, History, HistoryRow, JobPhase, JobView, KeysView, LeafProof, OpenJobs,
    OperatorKey, Paid, Policies, RoundView, SealRef, WitnessView, Witnessed, Witnesses,
};
use orion_protocol::ledger::leaf::{Code, LeafBody, Receipt, Seal, Totals, Transfer};
use orion_protocol::ledger::tx::{
    Approved, Bonds, Close, CloseRound, Consumer, Deposit, DrawnUnit, Envelope, Issuers, KeyRole, Mode, OpenEpoch,
    OpenEscrow, Params, PublishPolicy, Purse, RecordVerdict, RegisterProvider, Release, Reserve, Rotate, RoundEntry,
    Settle, ShardVerdict, Slash, Split, Stake, TopUp, Withdraw,
};
use orion_protocol::ledger::{Genesis, Leaf, Policy, Submitted, Transaction};
use orion_protocol::messages::{Alive, Answer, AnswerBody, Beat, Committed, Manifest, Role, Task, TaskBody, Trial};
use orion_protocol::statements::{
    Aggregated, Approval, AuditOf, Commitment, Failed, Found, Ingested, LeaseCore, LeaseKind, LeaseTail, Preflighted,
    ResultObject, Token, UnitDigest, Vote,
};
use orion_protocol::task::{
    Argument, Builtin, Combine, Comparator, Feed, FeedFrom, InferenceWorkload, KernelWorkload, Layout, OutputSpec,
    TaskSpec, UnitTable, Workload,
};
use orion_protocol::{AccountId, ChainId, Digest, JobId, Name, PublicKey, Reason, Refusal, Signed, Statement, TxId};
use orion_protocol::{Format, bytes::hex, dtype::DType};
use serde_json::{Value, json};

use crate::fixtures::{chain, key_name};

/// A value as it stands in the vectors.
pub trait Json {
    fn json(&self) -> Value;
}

macro_rules! as_number {
    ($($name:ident)*) => { $(impl Json for $name { fn json(&self) -> Value { json!(self) } })* };
}
as_number!(u32 u64 bool String);

/// Byte strings as hex, names as text.
macro_rules! as_text {
    ($($name:ident)*) => { $(impl Json for $name { fn json(&self) -> Value { json!(self.to_string()) } })* };
}
as_text!(Digest JobId AccountId TxId PublicKey ChainId Name DType Format);

/// Words as they are in the code; the reader knows their numbers.
macro_rules! as_word {
    ($($name:ident)*) => { $(impl Json for $name { fn json(&self) -> Value { json!(format!("{self:?}")) } })* };
}
as_word!(KeyRole LeaseKind Combine Comparator Extract Builtin Reason Code Role JobPhase EntryVerdict);

impl Json for ByteVec {
    fn json(&self) -> Value {
        json!(hex(self))
    }
}

impl<T: Json> Json for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::json)
    }
}

impl<T: Json> Json for Vec<T> {
    fn json(&self) -> Value {
        self.iter().map(T::json).collect()
    }
}

impl<A: Json, B: Json> Json for (A, B) {
    fn json(&self) -> Value {
        json!([self.0.json(), self.1.json()])
    }
}

impl<A: Json, B: Json, C: Json> Json for (A, B, C) {
    fn json(&self) -> Value {
        json!([self.0.json(), self.1.json(), self.2.json()])
    }
}

/// Who signed, by the name of the key in `keys.json`, and what.
impl<T: Statement + Json> Json for Signed<T> {
    fn json(&self) -> Value {
        let value = self.verify(&chain(), &self.key()).unwrap();
        json!({"signer": key_name(&self.key()), "value": value.json()})
    }
}

macro_rules! as_object {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        $(impl Json for $name {
            fn json(&self) -> Value {
                let $name { $($field),* } = self;
                json!({ $((stringify!($field)): $field.json()),* })
            }
        })*
    };
}

as_object! {
    AccountView { account, balance }
    Aggregated { lease, results, refused }
    Alive { role, class, driver, slots, leases, version, kernels, fault }
    Answer { lease, body }
    Approval { action }
    Approved { inner, approvals }
    AuditOf { round, lease, units }
    Close { job }
    CloseRound { job, sequence, entries, eligible }
    Commitment { lease, units, root, outputs, digest_list, class, driver }
    Committed { provider, lease, commitment }
    Consumer { account }
    Deposit { consumer, amount }
    DrawnUnit { unit, digest, salt, path }
    Envelope { signer, epoch, id, payload }
    Failed { lease, refusal }
    Feed { tensor, from, key }
    Found { unit_nanos, work_per_item, outputs, load_nanos }
    Genesis { nonce, operator, platform, issuer, checkpoint, policy, issuers, bonds }
    Issuers { threshold, keys }
    Head { chain, seal, epoch, providers }
    InferenceWorkload { model, dims, tensors, results }
    History { rows, next }
    HistoryRow { leaf, height, time_ms, kind, code, job, transfer }
    Ingested { commitment, refused }
    JobView { task, consumer, phase, escrowed, deadline_ms, rounds, verdicts, pages, paid }
    KernelWorkload { source, entry_point, global_size, local_size, defines, arguments }
    Leaf { height, index, body }
    LeaseCore { kind, task, shard, first_unit, units, token, provider, worker, audit }
    LeaseTail { lease, deadline_ms, salt }
    Manifest { task, shards, formats }
    OpenEpoch { epoch, nonce }
    OpenEscrow { consumer, task, budget }
    OpenJobs { jobs }
    OutputSpec { name, dtype, shape, layout }
    Paid { workers, validators, fee, refunded }
    Bonds { unbonding_ms, slash_ppm }
    Params { policy }
    Policies { default, policies }
    Preflighted { lease, found, refused }
    PublishPolicy { policy }
    Receipt { code, transfers }
    RecordVerdict { job, round, sequence, shards }
    Refusal { reason, message }
    Release { reserve }
    Reserve { amount, expires_ms }
    RegisterProvider { key, owner, validates }
    ResultObject { name, digest, size, extract, entries }
    Rotate { role, old, new, lost }
    RoundEntry { lease, commitment, ingested }
    RoundView { round, closed, seal, verdicts }
    Seal { time_ms, previous, state, totals }
    SealRef { height, size, root, time_ms }
    Settle { job, page }
    Split { workers, validators, treasury }
    ShardVerdict { lease, drawn, votes, absent, referee }
    Slash { workload, task, lease, first, second }
    Stake { amount }
    Submitted { leaf, receipt, seal }
    Task { lease, tail, job_uid, body, opened }
    TaskSpec {
        job, workload, inputs, kernel_set, units, outputs, comparator, audits_per_shard, price, fee_ppm, policy
    }
    Token { epoch, attempt, copy }
    TopUp { job, amount }
    Transfer { from, to, amount }
    Trial { workload, inputs, units, outputs, job }
    UnitDigest { unit, digest }
    UnitTable { items, items_per_unit, units_per_shard, work_per_item }
    Vote { round, lease, units, class, task }
    Withdraw { from, amount, to, reserve }
    WitnessView { name, size, seconds, refused, error }
    Witnessed { size, note, by }
    KeysView { operators, platform, issuers, replaced }
    OperatorKey { from_epoch, key, lost }
    LeafProof { leaf, proof }
    Witnesses { quorum, blocked, published, witnessed, witnesses }
}

impl Json for Totals {
    fn json(&self) -> Value {
        let Totals {
            deposited,
            consumers,
            escrows,
            vesting,
            providers,
            treasury,
            stakes,
            unbonding,
            slash_pool,
            withdrawn,
        } = *self;
        // What is nothing is left out of the later ones.
        let later = |sum: u64| (sum > 0).then_some(sum);
        json!({"deposited": deposited, "consumers": consumers, "escrows": escrows, "vesting": vesting,
               "providers": providers, "treasury": treasury, "stakes": later(stakes), "unbonding": later(unbonding),
               "slash_pool": later(slash_pool), "withdrawn": later(withdrawn)})
    }
}

impl Json for Policy {
    fn json(&self) -> Value {
        let Policy { price, fee_ppm, vesting_ms, escrow_ms, validator_ppm, mode } = self;
        // Payment by the work is left out.
        let mode = Some(*mode).filter(|mode| *mode != Mode::PerWork);
        json!({"price": price, "fee_ppm": fee_ppm, "vesting_ms": vesting_ms, "escrow_ms": escrow_ms,
               "validator_ppm": validator_ppm.json(), "mode": mode.json()})
    }
}

/// A variant as `{"Name": [fields]}`.
macro_rules! as_variants {
    ($($name:ident { $($variant:ident $(($($field:ident),*))?),* $(,)? })*) => {
        $(impl Json for $name {
            fn json(&self) -> Value {
                match self {
                    $($name::$variant $(($($field),*))? => json!({ (stringify!($variant)): [$($($field.json()),*)?] }),)*
                }
            }
        })*
    };
}

as_variants! {
    AnswerBody { Preflighted(a), Committed(a), Voted(a), Ingested(a), Aggregated(a), Failed(a) }
    Argument { Input(at), Output(at), Scalar(dtype, bits), Builtin(which), Local(bytes) }
    Beat { Alive(a), Started(lease), Progress(lease, units) }
    Layout { Lengths(output), Unit(combine) }
    LeafBody { Genesis(bytes), Transaction(envelope, receipt), Expire(job, receipt), Seal(seal), Mature(job, receipt),
        Lapse(reserve, receipt),
    }
    Mode { PerWork, Pool(split) }
    Purse { Available(key), Treasury, Consumer(account) }
    TaskBody { Execute, Preflight(trial), Ingest(committed), Aggregate(manifest) }
    Transaction {
        RegisterProvider(a), OpenEpoch(a), Deposit(a), OpenEscrow(a), CloseRound(a), RecordVerdict(a), Settle(a), Close(a),
        TopUp(a), Approved(a), Withdraw(a), Reserve(a), Release(a), Stake(a), Unstake, Rotate(a),
        Issuers(a), PublishPolicy(a), Params(a), Slash(a)
    }
    FeedFrom { Rows(at), Shared(at), Fill(text) }
    Workload { Kernel(kernel), Inference(inference) }
}
