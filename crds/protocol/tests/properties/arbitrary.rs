//! Random values of every type, within the bounds that the types' own checks demand.

use minicbor::bytes::ByteVec;
use orion_protocol::files::Extract;
use orion_protocol::ledger::api::LeafProof;
use orion_protocol::ledger::leaf::{Code, LeafBody, Receipt, Seal, Totals, Transfer};
use orion_protocol::ledger::tx::{
    Approved, Close, CloseRound, Consumer, Deposit, DrawnUnit, Envelope, Issuers, KeyRole, Mode, OpenEpoch, OpenEscrow,
    Params, Policy, PublishPolicy, Purse, RecordVerdict, RegisterProvider, Release, Reserve, Rotate, RoundEntry,
    Settle, ShardVerdict, Slash, Split, Stake, TopUp, Withdraw,
};
use orion_protocol::ledger::{Leaf, Transaction};
use orion_protocol::messages::{Alive, Answer, AnswerBody, Beat, Committed, Manifest, Role, Task, TaskBody, Trial};
use orion_protocol::statements::{
    Aggregated, Approval, AuditOf, Commitment, Failed, Found, Ingested, LeaseCore, LeaseKind, LeaseTail, Preflighted,
    ResultObject, Token, UnitDigest, Vote,
};
use orion_protocol::task::{
    Argument, Builtin, Combine, Comparator, Feed, FeedFrom, InferenceWorkload, KernelWorkload, Layout, OutputSpec,
    TaskSpec, UnitTable, Workload,
};
use orion_protocol::{
    AccountId, ChainId, Digest, Format, JobId, Name, PublicKey, Reason, Refusal, SecretKey, Signed, Statement, TxId,
    dtype::DType,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

pub fn chain() -> ChainId {
    ChainId::of_genesis(b"properties")
}

/// One of three keys.
pub fn secret() -> impl Strategy<Value = SecretKey> {
    (1..4_u8).prop_map(|byte| SecretKey::from_seed(&[byte; 32]))
}

pub fn signed<T: Statement + std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Signed<T>> {
    (secret(), value).prop_map(|(key, value)| Signed::new(&chain(), &key, &value))
}

pub fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn public() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey)
}

/// Numbers of every encoded length, small ones often.
pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..30_u64, any::<u8>().prop_map(u64::from), any::<u32>().prop_map(u64::from), any::<u64>()]
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn bytes(max: usize) -> impl Strategy<Value = ByteVec> {
    vec(any::<u8>(), 0..max).prop_map(ByteVec::from)
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (select(Reason::ALL), "\\PC{0,80}").prop_map(|(reason, message)| Refusal::new(reason, message))
}

fn dtype() -> impl Strategy<Value = DType> {
    use DType::{Float32, Float64, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
    select(vec![Uint8, Int8, Uint16, Int16, Uint32, Int32, Uint64, Int64, Float32, Float64])
}

pub fn lease() -> impl Strategy<Value = LeaseCore> {
    use LeaseKind::{Aggregate, Audit, Ingest, Preflight, Referee, Work};
    let kind = select(vec![Preflight, Work, Audit, Ingest, Aggregate, Referee]);
    let token = (number(), any::<u32>(), 0..3_u32).prop_map(|(epoch, attempt, copy)| Token { epoch, attempt, copy });
    let audit =
        (digest(), digest(), vec(number(), 0..5)).prop_map(|(round, lease, units)| AuditOf { round, lease, units });
    (kind, digest(), any::<u32>(), number(), number(), token, public(), name(), audit).prop_map(
        |(kind, task, shard, first_unit, units, token, provider, worker, audit)| {
            let audit = matches!(kind, Audit | Referee).then_some(audit);
            LeaseCore { kind, task, shard, first_unit, units, token, provider, worker, audit }
        },
    )
}

pub fn tail() -> impl Strategy<Value = LeaseTail> {
    (digest(), number(), proptest::option::of(digest())).prop_map(|(lease, deadline_ms, salt)| LeaseTail {
        lease,
        deadline_ms,
        salt,
    })
}

pub fn preflighted() -> impl Strategy<Value = Preflighted> {
    let found =
        (number(), number(), outputs(7), number()).prop_map(|(unit_nanos, work_per_item, outputs, load_nanos)| Found {
            unit_nanos,
            work_per_item,
            outputs,
            load_nanos,
        });
    (digest(), prop_oneof![found.prop_map(Ok), refusal().prop_map(Err)]).prop_map(|(lease, result)| Preflighted {
        lease,
        found: result.clone().ok(),
        refused: result.err(),
    })
}

pub fn commitment() -> impl Strategy<Value = Commitment> {
    (digest(), number(), digest(), vec(digest(), 0..=8), digest(), digest(), "\\PC{0,30}").prop_map(
        |(lease, units, root, outputs, digest_list, class, driver)| Commitment {
            lease,
            units,
            root,
            outputs,
            digest_list,
            class,
            driver,
        },
    )
}

pub fn ingested() -> impl Strategy<Value = Ingested> {
    (digest(), proptest::option::of(refusal())).prop_map(|(commitment, refused)| Ingested { commitment, refused })
}

pub fn vote() -> impl Strategy<Value = Vote> {
    let units = btree_set(number(), 1..=32).prop_flat_map(|units| {
        let units = units.into_iter().map(|unit| digest().prop_map(move |digest| UnitDigest { unit, digest }));
        units.collect::<Vec<_>>()
    });
    let task = proptest::option::of(digest());
    (digest(), digest(), units, digest(), task).prop_map(|(round, lease, units, class, task)| Vote {
        round,
        lease,
        units,
        class,
        task,
    })
}

pub fn aggregated() -> impl Strategy<Value = Aggregated> {
    let extract = select(vec![None, Some(Extract::Values), Some(Extract::Offsets), Some(Extract::Units)]);
    let result = (name(), digest(), number(), extract, number()).prop_map(|(name, digest, size, extract, entries)| {
        let entries = (extract == Some(Extract::Values)).then_some(entries);
        ResultObject { name, digest, size, extract, entries }
    });
    (digest(), prop_oneof![vec(result, 1..=16).prop_map(Ok), refusal().prop_map(Err)]).prop_map(|(lease, result)| {
        Aggregated { lease, results: result.clone().unwrap_or_default(), refused: result.err() }
    })
}

pub fn failed() -> impl Strategy<Value = Failed> {
    (digest(), refusal()).prop_map(|(lease, refusal)| Failed { lease, refusal })
}

pub fn envelope() -> impl Strategy<Value = Envelope> {
    (public(), number(), any::<[u8; 16]>(), bytes(200)).prop_map(|(signer, epoch, id, payload)| Envelope {
        signer,
        epoch,
        id: TxId(id),
        payload,
    })
}

pub fn unit_table() -> impl Strategy<Value = UnitTable> {
    (1..100_000_u64, 1..2_000_u64, 1..1_000_u64, 1..1_000_000_u64).prop_map(
        |(items, items_per_unit, units_per_shard, work_per_item)| UnitTable {
            items,
            items_per_unit,
            units_per_shard,
            work_per_item,
        },
    )
}

/// Between 1 and 8 outputs of so many items, each with a name of its own: rows, copies for each unit, and entries whose number another one says.
pub fn outputs(items: u64) -> impl Strategy<Value = Vec<OutputSpec>> {
    let combine = select(vec![Combine::Sum, Combine::Min, Combine::Max]);
    let layout = proptest::option::of(prop_oneof![Just(Layout::Lengths(0)), combine.prop_map(Layout::Unit),]);
    vec((dtype(), vec(1..9_u64, 1..4), layout), 1..=8).prop_map(move |outputs| {
        let named = outputs.into_iter().enumerate().map(|(at, (dtype, mut shape, layout))| {
            let name = format!("output-{at}").parse().unwrap();
            if at == 0 {
                // One that can say how many entries the others have.
                return OutputSpec { name, dtype: DType::Uint16, shape: vec![items], layout: None };
            }
            let layout = layout.map(|layout| if dtype.is_float() { sums(layout) } else { layout });
            if !matches!(layout, Some(Layout::Unit(_))) {
                shape.insert(0, items);
            }
            OutputSpec { name, dtype, shape, layout }
        });
        named.collect()
    })
}

/// What floats may have.
fn sums(layout: Layout) -> Layout {
    match layout {
        Layout::Unit(_) => Layout::Unit(Combine::Sum),
        Layout::Lengths(at) => Layout::Lengths(at),
    }
}

pub fn task_spec() -> impl Strategy<Value = TaskSpec> {
    let table = unit_table().prop_flat_map(|units| (Just(units), outputs(units.items)));
    let money = (1..=32_u32, number(), 0..=1_000_000_u32, digest());
    (digest(), digest(), vec(digest(), 0..=8), any::<u32>(), table, money).prop_map(
        |(job, workload, inputs, kernel_set, (units, outputs), (audits_per_shard, price, fee_ppm, policy))| TaskSpec {
            job: JobId(job.0),
            workload,
            inputs,
            kernel_set,
            units,
            outputs,
            comparator: Comparator::Exact,
            audits_per_shard,
            price,
            fee_ppm,
            policy,
        },
    )
}

pub fn workload() -> impl Strategy<Value = Workload> {
    let builtin = select(vec![Builtin::Items, Builtin::UnitFirst, Builtin::UnitItems]);
    let argument = prop_oneof![
        any::<u32>().prop_map(Argument::Input),
        any::<u32>().prop_map(Argument::Output),
        (dtype(), number()).prop_map(|(dtype, bits)| Argument::Scalar(dtype, bits)),
        builtin.prop_map(Argument::Builtin),
        number().prop_map(Argument::Local),
    ];
    let sizes = (vec(number(), 1..=3), proptest::option::of(vec(number(), 1..=3)));
    let kernel = ("\\PC{0,100}", "[a-z_]{1,9}", sizes, vec(("[A-Z]{1,5}", "[0-9]{0,5}"), 0..4), vec(argument, 0..8))
        .prop_map(|(source, entry_point, (global_size, local_size), defines, arguments)| {
            Workload::Kernel(KernelWorkload { source, entry_point, global_size, local_size, defines, arguments })
        });
    let from = prop_oneof![
        any::<u32>().prop_map(FeedFrom::Rows),
        any::<u32>().prop_map(FeedFrom::Shared),
        "[0-9.]{1,5}".prop_map(FeedFrom::Fill),
    ];
    let feed = ("\\PC{1,20}", from, proptest::option::of("\\PC{1,20}")).prop_map(|(tensor, from, key)| Feed {
        tensor,
        from,
        key,
    });
    let inference = (any::<u32>(), vec(("[a-z]{1,5}", number()), 0..4), vec(feed, 0..4), vec("\\PC{1,20}", 0..4))
        .prop_map(|(model, dims, tensors, results)| {
            Workload::Inference(InferenceWorkload { model, dims, tensors, results })
        });
    prop_oneof![kernel, inference]
}

pub fn task() -> impl Strategy<Value = Task> {
    let trial = (digest(), vec(digest(), 0..3), unit_table(), outputs(7), digest()).prop_map(
        |(workload, inputs, units, outputs, job)| Trial { workload, inputs, units, outputs, job: JobId(job.0) },
    );
    let committed = (name(), signed(lease()), signed(commitment()))
        .prop_map(|(provider, lease, commitment)| Committed { provider, lease, commitment });
    let body = prop_oneof![
        Just(TaskBody::Execute),
        trial.prop_map(TaskBody::Preflight),
        committed.prop_map(TaskBody::Ingest),
        digest().prop_map(TaskBody::Aggregate),
    ];
    let opened = proptest::option::of((vec(any::<u8>(), 0..99), "[ -~\n]{0,99}"))
        .prop_map(|opened| opened.map(|(leaf, proof)| LeafProof { leaf: leaf.into(), proof }));
    (signed(lease()), signed(tail()), name(), body, opened).prop_map(|(lease, tail, job_uid, body, opened)| Task {
        lease,
        tail,
        job_uid,
        body,
        opened,
    })
}

pub fn answer() -> impl Strategy<Value = Answer> {
    let body = prop_oneof![
        signed(preflighted()).prop_map(AnswerBody::Preflighted),
        signed(commitment()).prop_map(AnswerBody::Committed),
        signed(vote()).prop_map(AnswerBody::Voted),
        signed(ingested()).prop_map(AnswerBody::Ingested),
        signed(aggregated()).prop_map(AnswerBody::Aggregated),
        signed(failed()).prop_map(AnswerBody::Failed),
    ];
    (signed(lease()), body).prop_map(|(lease, body)| Answer { lease, body })
}

pub fn beat() -> impl Strategy<Value = Beat> {
    let role = select(vec![Role::Worker, Role::Validator, Role::Platform]);
    let (device, fault) = ((digest(), "\\PC{0,30}"), proptest::option::of("[a-z]{1,9}"));
    let alive = (role, device, 0..=16_u32, vec(signed(lease()), 0..3), "[0-9.]{1,9}", any::<bool>(), fault).prop_map(
        |(role, (class, driver), slots, leases, version, kernels, fault)| Alive {
            role,
            class,
            driver,
            slots,
            leases,
            version,
            kernels,
            fault,
        },
    );
    prop_oneof![
        alive.prop_map(Beat::Alive),
        signed(lease()).prop_map(Beat::Started),
        (digest(), number()).prop_map(|(lease, units)| Beat::Progress(lease, units)),
    ]
}

pub fn manifest() -> impl Strategy<Value = Manifest> {
    (digest(), vec(vec(digest(), 1..4), 0..8), vec(select(vec![Format::Npy, Format::Safetensors]), 0..4))
        .prop_map(|(task, shards, formats)| Manifest { task, shards, formats })
}

fn close_round() -> impl Strategy<Value = CloseRound> {
    let entry = (signed(lease()), signed(commitment()), signed(ingested()))
        .prop_map(|(lease, commitment, ingested)| RoundEntry { lease, commitment, ingested });
    (digest(), number(), vec(entry, 1..3), btree_set(public(), 0..6)).prop_map(|(job, sequence, entries, eligible)| {
        CloseRound { job: JobId(job.0), sequence, entries, eligible: eligible.into_iter().collect() }
    })
}

fn record_verdict() -> impl Strategy<Value = RecordVerdict> {
    let drawn = (number(), digest(), digest(), vec(digest(), 0..5)).prop_map(|(unit, digest, salt, path)| DrawnUnit {
        unit,
        digest,
        salt,
        path,
    });
    let votes = (vec(signed(vote()), 0..3), vec(public(), 0..3), proptest::option::of(signed(vote())));
    let shard = (digest(), vec(drawn, 0..3), votes).prop_map(|(lease, drawn, (votes, absent, referee))| ShardVerdict {
        lease,
        drawn,
        votes,
        absent,
        referee,
    });
    (digest(), digest(), number(), vec(shard, 0..3)).prop_map(|(job, round, sequence, shards)| RecordVerdict {
        job: JobId(job.0),
        round,
        sequence,
        shards,
    })
}

pub fn transaction() -> impl Strategy<Value = Transaction> {
    let consumer = || any::<[u8; 32]>().prop_map(|id| Consumer { account: AccountId(id) });
    let job = || digest().prop_map(|job| JobId(job.0));
    prop_oneof![
        (public(), name(), any::<bool>()).prop_map(|(key, owner, validates)| {
            Transaction::RegisterProvider(RegisterProvider { key, owner, validates })
        }),
        (number(), bytes(20)).prop_map(|(epoch, nonce)| Transaction::OpenEpoch(OpenEpoch { epoch, nonce })),
        (consumer(), number()).prop_map(|(consumer, amount)| Transaction::Deposit(Deposit { consumer, amount })),
        (consumer(), task_spec(), number()).prop_map(|(consumer, task, budget)| {
            Transaction::OpenEscrow(OpenEscrow { consumer, task: task.object().into(), budget })
        }),
        close_round().prop_map(Transaction::CloseRound),
        record_verdict().prop_map(Transaction::RecordVerdict),
        (job(), number()).prop_map(|(job, page)| Transaction::Settle(Settle { job, page })),
        job().prop_map(|job| Transaction::Close(Close { job })),
        (job(), number()).prop_map(|(job, amount)| Transaction::TopUp(TopUp { job, amount })),
        (bytes(40), vec(signed(approval()), 0..3))
            .prop_map(|(inner, approvals)| Transaction::Approved(Approved { inner, approvals })),
        (purse(), number(), digest(), proptest::option::of(digest()))
            .prop_map(|(from, amount, to, reserve)| { Transaction::Withdraw(Withdraw { from, amount, to, reserve }) }),
        (number(), number()).prop_map(|(amount, expires_ms)| Transaction::Reserve(Reserve { amount, expires_ms })),
        digest().prop_map(|reserve| Transaction::Release(Release { reserve })),
        (any::<u32>(), vec(public(), 0..3))
            .prop_map(|(threshold, keys)| Transaction::Issuers(Issuers { threshold, keys })),
        number().prop_map(|amount| Transaction::Stake(Stake { amount })),
        Just(Transaction::Unstake),
        (key_role(), public(), public(), any::<bool>())
            .prop_map(|(role, old, new, lost)| Transaction::Rotate(Rotate { role, old, new, lost })),
        (bytes(40), bytes(40), signed(lease()), signed(vote()), signed(vote())).prop_map(
            |(workload, task, lease, first, second)| {
                Transaction::Slash(Box::new(Slash { workload, task, lease, first, second }))
            },
        ),
        policy().prop_map(|policy| Transaction::PublishPolicy(PublishPolicy { policy: policy.to_bytes().into() })),
        digest().prop_map(|policy| Transaction::Params(Params { policy })),
    ]
}

fn key_role() -> impl Strategy<Value = KeyRole> {
    select(vec![KeyRole::Operator, KeyRole::Platform, KeyRole::Provider, KeyRole::Checkpoint])
}

/// Any numbers at all, in bounds or not.
pub fn policy() -> impl Strategy<Value = Policy> {
    let split = any::<[u32; 3]>()
        .prop_map(|[workers, validators, treasury]| Mode::Pool(Split { workers, validators, treasury }));
    let mode = prop_oneof![Just(Mode::PerWork), split];
    (any::<[u64; 3]>(), any::<u32>(), proptest::option::of(any::<u32>()), mode).prop_map(
        |([price, vesting_ms, escrow_ms], fee_ppm, validator_ppm, mode)| Policy {
            price,
            fee_ppm,
            vesting_ms,
            escrow_ms,
            validator_ppm,
            mode,
        },
    )
}

pub fn approval() -> impl Strategy<Value = Approval> {
    digest().prop_map(|action| Approval { action })
}

fn purse() -> impl Strategy<Value = Purse> {
    prop_oneof![
        public().prop_map(Purse::Available),
        Just(Purse::Treasury),
        any::<[u8; 32]>().prop_map(|id| Purse::Consumer(AccountId(id))),
    ]
}

pub fn leaf() -> impl Strategy<Value = Leaf> {
    let account = || any::<[u8; 32]>().prop_map(AccountId);
    let transfer =
        (account(), account(), number()).prop_map(|(from, to, amount)| Transfer { from, to, amount }).boxed();
    let code = select(vec![Code::Ok, Code::StaleEpoch, Code::UnknownPolicy]);
    let receipt =
        move || (code.clone(), vec(transfer.clone(), 0..4)).prop_map(|(code, transfers)| Receipt { code, transfers });
    let totals =
        any::<[u64; 10]>().prop_map(|[deposited, consumers, escrows, vesting, providers, treasury, later @ ..]| {
            // Nothing is left out of the bytes.
            let [stakes, unbonding, slash_pool, withdrawn] = later.map(|sum| if sum % 2 == 0 { 0 } else { sum });
            Totals {
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
            }
        });
    let seal = (number(), digest(), digest(), totals).prop_map(|(time_ms, previous, state, totals)| Seal {
        time_ms,
        previous,
        state,
        totals,
    });
    let body = prop_oneof![
        bytes(300).prop_map(LeafBody::Genesis),
        (signed(envelope()), receipt()).prop_map(|(envelope, receipt)| LeafBody::Transaction(envelope, receipt)),
        (digest(), receipt()).prop_map(|(job, receipt)| LeafBody::Expire(JobId(job.0), receipt)),
        seal.prop_map(LeafBody::Seal),
        (digest(), receipt()).prop_map(|(job, receipt)| LeafBody::Mature(JobId(job.0), receipt)),
        (digest(), receipt()).prop_map(|(reserve, receipt)| LeafBody::Lapse(reserve, receipt)),
    ];
    (number(), number(), body).prop_map(|(height, index, body)| Leaf { height, index, body })
}
