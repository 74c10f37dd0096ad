"""The shapes of all that is encoded: which fields in which order, and how the names in the vectors become CBOR.

A map's keys are its fields' places here, from 0; what is absent is left out. A choice is the array [place, [fields]]."""

import canonical
import ed25519

REASONS = {
    "InvalidSpec": 0, "InputNotFound": 1, "InvalidInput": 2, "CompileFailed": 3, "ArgumentMismatch": 4,
    "UnsupportedKernel": 5, "NotExact": 6, "KernelNotUnitPure": 7, "WorkUnderdeclared": 8, "TooLarge": 9,
    "PreflightTimeout": 10, "UnsupportedOperator": 11, "BudgetTooSmall": 20, "InsufficientCredits": 21, "DeadlineExceeded": 22, "UnknownPolicy": 23,
    "NoMatchingWorker": 30, "NoPlatformWorker": 31, "BackendUnavailable": 32, "Preflight": 33, "EscrowPending": 34,
    "Computing": 35, "Validating": 36, "Aggregating": 37, "Settling": 38, "WorkerLost": 40, "LeaseExpired": 41,
    "OutputUnavailable": 42, "OutputMismatch": 43, "AuditFailed": 44, "KernelFault": 45, "OutOfMemory": 46,
    "LeaseRefused": 47, "BackoffLimitExceeded": 48, "NoOwnerLeft": 49, "AggregationFailed": 50, "NotConfined": 51, "DeviceInexact": 52, "OutputOverflow": 53, "Accepted": 60,
    "Funded": 61, "Dispatched": 62, "AllShardsAccepted": 63, "Succeeded": 64, "Deleted": 65, "InternalError": 66,
    "WitnessesPending": 70, "Witnessed": 71, "WitnessRefused": 72, "ContradictingVotes": 73,
}
CODES = (
    "Ok NotAllowed StaleEpoch EpochTaken ExistsWithDifferentBytes OwnerDiffers InsufficientCredits BudgetTooSmall "
    "OutOfBounds NoSuchJob JobExists EscrowExpired JobSettling WrongSequence BadLease BadCommitment BadIngest SlotTaken "
    "BadValidator NoSuchRound BadDraw BadVote BadReferee RoundOpen NotSettled Overflow UnknownPolicy NotEnoughApprovals "
    "BadApproval NoSuchReserve ReserveOver Revoked CheckpointKeyFixed KeyInUse NoSuchKey NotSlashable Free36 PolicyPrice "
    "PolicyShares PolicyTimes PolicyBytes PolicyTraps"
).split()
DTYPES = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 float64".split()


class World:
    """The chain for which statements are signed, and the keys by name: (seed, public key)."""

    chain = ""
    keys = {}
    signatures = {}

    @classmethod
    def signed(cls, domain: str, payload: bytes, signer: str) -> dict:
        seed, public = cls.keys[signer]
        message = canonical.frame(domain, cls.chain, payload)
        if (seed, message) not in cls.signatures:
            cls.signatures[seed, message] = ed25519.sign(seed, message)
        return {0: payload, 1: public, 2: cls.signatures[seed, message]}


# A shape is a pair: from JSON to what `canonical.encode` takes, and whether a decoded value has the shape.


def number(bits):
    return lambda x: x, lambda x: type(x) is int and x < 1 << bits


def bytestring(size=None):
    return bytes.fromhex, lambda x: type(x) is bytes and size in (None, len(x))


def word(numbers):
    if not isinstance(numbers, dict):
        numbers = {name: at for at, name in enumerate(numbers)}
    return numbers.__getitem__, lambda x: x in numbers.values()


def each(shape):
    return lambda xs: [shape[0](x) for x in xs], lambda xs: type(xs) is list and all(map(shape[1], xs))


def row(*shapes):
    return (
        lambda xs: [shape[0](x) for shape, x in zip(shapes, xs, strict=True)],
        lambda xs: type(xs) is list and len(xs) == len(shapes) and all(s[1](x) for s, x in zip(shapes, xs)),
    )


def record(**fields):
    """A map; a field whose name ends with _ may be absent, and one without a shape is kept free."""
    names = [(name.rstrip("_"), name.endswith("_") or shape is None, shape) for name, shape in fields.items()]
    used = {at: (name, shape) for at, (name, _, shape) in enumerate(names) if shape is not None}

    def native(values):
        assert sorted(values) == sorted(name for name, _ in used.values()), f"fields {sorted(values)}"
        return {at: shape[0](values[name]) for at, (name, shape) in used.items() if values[name] is not None}

    def fits(values):
        good = type(values) is dict and values.keys() <= used.keys()
        return good and all(shape[1](values[at]) if at in values else free for at, (_, free, shape) in enumerate(names))

    return native, fits


def choice(**variants):
    """One of several, each with its fields in order; one whose fields are None is kept free."""
    nothing = (None, lambda x: False)
    shapes = [(name, nothing if fields is None else row(*fields)) for name, fields in variants.items()]

    def native(value):
        ((name, fields),) = value.items()
        at = [name for name, _ in shapes].index(name)
        return [at, shapes[at][1][0](fields)]

    def fits(x):
        return type(x) is list and len(x) == 2 and type(x[0]) is int and x[0] < len(shapes) and shapes[x[0]][1][1](x[1])

    return native, fits


def signed(domain, shape):
    wire = record(payload=bytestring(), key=bytestring(32), signature=bytestring(64))
    return lambda x: World.signed(domain, canonical.encode(shape[0](x["value"])), x["signer"]), wire[1]


U32, U64 = number(32), number(64)
TEXT = (lambda x: x, lambda x: type(x) is str)
NAME = TEXT
BOOL = (lambda x: x, lambda x: type(x) is bool)
BYTES, ID, DIGEST = bytestring(), bytestring(16), bytestring(32)
REFUSAL = record(reason=word(REASONS), message=TEXT)
DTYPE = word(DTYPES)

UNIT_TABLE = record(items=U64, items_per_unit=U64, units_per_shard=U64, work_per_item=U64)
LAYOUT = choice(Lengths=[U32], Unit=[word(["Sum", "Min", "Max"])])
OUTPUTS = each(record(name=NAME, dtype=DTYPE, shape=each(U64), layout_=LAYOUT))
TASK_SPEC = record(
    job=DIGEST, workload=DIGEST, inputs=each(DIGEST), kernel_set=U32, units=UNIT_TABLE, outputs=OUTPUTS,
    comparator=word(["Exact"]), audits_per_shard=U32, price=U64, fee_ppm=U32, policy=DIGEST,
)
ARGUMENT = choice(
    Input=[U32], Output=[U32], Scalar=[DTYPE, U64], Builtin=[word(["Items", "UnitFirst", "UnitItems"])], Local=[U64]
)
KERNEL = record(
    source=TEXT, entry_point=TEXT, global_size=each(U64), local_size_=each(U64), defines=each(row(TEXT, TEXT)),
    arguments=each(ARGUMENT),
)
FEED = record(tensor=TEXT, **{"from": choice(Rows=[U32], Shared=[U32], Fill=[TEXT])}, key_=TEXT)
INFERENCE = record(model=U32, dims=each(row(TEXT, U64)), tensors=each(FEED), results=each(TEXT))
WORKLOAD = choice(Kernel=[KERNEL], Inference=[INFERENCE])
FOUND = record(unit_nanos=U64, work_per_item=U64, outputs=OUTPUTS, load_nanos=U64)

AUDIT_OF = record(round=DIGEST, lease=DIGEST, units=each(U64))
LEASE_CORE = record(
    kind=word(["Preflight", "Work", "Audit", "Ingest", "Aggregate", "Referee"]), task=DIGEST, shard=U32, first_unit=U64,
    units=U64, token=record(epoch=U64, attempt=U32, copy=U32), provider=DIGEST, worker=NAME, audit_=AUDIT_OF,
)
STATEMENTS = {
    "LeaseCore": ("orion/lease/v1", LEASE_CORE),
    "LeaseTail": ("orion/lease-tail/v1", record(lease=DIGEST, deadline_ms=U64, salt_=DIGEST)),
    "Preflighted": ("orion/preflighted/v1", record(lease=DIGEST, found_=FOUND, refused_=REFUSAL)),
    "Commitment": (
        "orion/commitment/v1",
        record(lease=DIGEST, units=U64, root=DIGEST, outputs=each(DIGEST), digest_list=DIGEST, **{"class": DIGEST}, driver=TEXT),
    ),
    "Ingested": ("orion/ingested/v1", record(commitment=DIGEST, refused_=REFUSAL)),
    "Vote": (
        "orion/vote/v1",
        record(round=DIGEST, lease=DIGEST, units=each(record(unit=U64, digest=DIGEST)), **{"class": DIGEST}, task_=DIGEST),
    ),
    "Aggregated": (
        "orion/aggregated/v1",
        record(
            lease=DIGEST,
            results=each(record(name=NAME, digest=DIGEST, size=U64, extract_=word(["Values", "Offsets", "Units"]), entries_=U64)),
            refused_=REFUSAL,
        ),
    ),
    "Failed": ("orion/failed/v1", record(lease=DIGEST, refusal=REFUSAL)),
    "Envelope": ("orion/tx/v1", record(signer=DIGEST, epoch=U64, id=ID, payload=BYTES)),
    "Approval": ("orion/approval/v1", record(action=DIGEST)),
}
LEASE, TAIL, PREFLIGHTED, COMMITMENT, INGESTED, VOTE, AGGREGATED, FAILED, ENVELOPE, APPROVAL = (
    signed(*statement) for statement in STATEMENTS.values()
)

SPLIT = record(workers=U32, validators=U32, treasury=U32)
POLICY = record(
    price=U64, fee_ppm=U32, vesting_ms=U64, escrow_ms=U64, validator_ppm_=U32, mode_=choice(PerWork=None, Pool=[SPLIT])
)
ISSUERS = record(threshold=U32, keys=each(DIGEST))
GENESIS = record(
    nonce=DIGEST, operator=DIGEST, platform=DIGEST, issuer=DIGEST, checkpoint=DIGEST, policy=POLICY, issuers_=ISSUERS,
    bonds_=record(unbonding_ms=U64, slash_ppm=U32),
)
PURSE = choice(Available=[DIGEST], Treasury=[], Consumer=[DIGEST])
CONSUMER = record(account=DIGEST)
CLOSE_ROUND = record(
    job=DIGEST, sequence=U64, entries=each(record(lease=LEASE, commitment=COMMITMENT, ingested=INGESTED)), eligible=each(DIGEST)
)
SHARD_VERDICT = record(
    lease=DIGEST, drawn=each(record(unit=U64, digest=DIGEST, salt=DIGEST, path=each(DIGEST))), votes=each(VOTE),
    absent=each(DIGEST), referee_=VOTE,
)
SETTLE = record(job=DIGEST, page=U64)
TRANSACTION = choice(
    RegisterProvider=[record(key=DIGEST, owner=NAME, validates=BOOL)],
    OpenEpoch=[record(epoch=U64, nonce=BYTES)],
    Deposit=[record(consumer=CONSUMER, amount=U64)],
    OpenEscrow=[record(consumer=CONSUMER, task=BYTES, budget=U64)],
    CloseRound=[CLOSE_ROUND],
    RecordVerdict=[record(job=DIGEST, round=DIGEST, sequence=U64, shards=each(SHARD_VERDICT))],
    Settle=[SETTLE],
    Close=[record(job=DIGEST)],
    TopUp=[record(job=DIGEST, amount=U64)],
    Approved=[record(inner=BYTES, approvals=each(APPROVAL))],
    Withdraw=[record(**{"from": PURSE}, amount=U64, to=DIGEST, reserve_=DIGEST)],
    Reserve=[record(amount=U64, expires_ms=U64)],
    Release=[record(reserve=DIGEST)],
    Stake=[record(amount=U64)],
    Unstake=[],
    Rotate=[record(role=word(["Operator", "Platform", "Provider", "Checkpoint"]), old=DIGEST, new=DIGEST, lost=BOOL)],
    Issuers=[ISSUERS],
    PublishPolicy=[record(policy=BYTES)],
    Params=[record(policy=DIGEST)],
    Slash=[record(workload=BYTES, task=BYTES, lease=LEASE, first=VOTE, second=VOTE)],
)
TRANSFER = record(**{"from": DIGEST}, to=DIGEST, amount=U64)
TRANSFERS = each(TRANSFER)
RECEIPT = record(code=word(CODES), transfers=TRANSFERS)
TOTALS = record(
    deposited=U64, consumers=U64, escrows=U64, vesting=U64, providers=U64, treasury=U64, stakes_=U64, unbonding_=U64,
    slash_pool_=U64, withdrawn_=U64,
)
SEAL = record(time_ms=U64, previous=DIGEST, state=DIGEST, totals=TOTALS)
LEAF = record(
    height=U64, index=U64,
    body=choice(
        Genesis=[BYTES], Transaction=[ENVELOPE, RECEIPT], Expire=[DIGEST, RECEIPT], Seal=[SEAL], Mature=[DIGEST, RECEIPT],
        Lapse=[DIGEST, RECEIPT],
    ),
)

LEAF_PROOF = record(leaf=BYTES, proof=TEXT)
SEAL_REF = record(height=U64, size=U64, root=DIGEST, time_ms=U64)
ROUND_VIEW = record(round=DIGEST, closed=CLOSE_ROUND, seal=SEAL_REF, verdicts=each(word(["Open", "Accepted", "Rejected"])))
ANSWERS = {
    "Submitted": record(leaf=U64, receipt=RECEIPT, seal=SEAL_REF),
    "Head": record(chain=TEXT, seal=SEAL_REF, epoch=U64, providers=each(row(DIGEST, NAME, BOOL))),
    "AccountView": record(account=DIGEST, balance=U64),
    "OpenJobs": record(jobs=each(DIGEST)),
    "History": record(
        rows=each(record(
            leaf=U64, height=U64, time_ms=U64, kind=TEXT, code=word(CODES), job_=DIGEST, transfer_=TRANSFER,
        )),
        next_=U64,
    ),
    "Policies": record(default=DIGEST, policies=each(POLICY)),
    "JobView": record(
        task=TASK_SPEC, consumer=DIGEST, phase=word(["Open", "Settling", "Closed", "Expired"]), escrowed=U64,
        deadline_ms=U64, rounds=each(ROUND_VIEW), verdicts=U64, pages=row(U64, U64),
        paid=record(workers=U64, validators=U64, fee=U64, refunded=U64),
    ),
    "Witnesses": record(
        quorum=BOOL, blocked=BOOL, published=U64, witnessed_=record(size=U64, note=TEXT, by=each(TEXT)),
        witnesses=each(record(name=TEXT, size=U64, seconds=U64, refused_=TEXT, error_=TEXT)),
    ),
    "KeysView": record(
        operators=each(record(from_epoch=U64, key=DIGEST, lost=BOOL)), platform=DIGEST, issuers=ISSUERS, replaced=each(DIGEST),
    ),
    "LeafProof": LEAF_PROOF,
}
TRIAL = record(workload=DIGEST, inputs=each(DIGEST), units=UNIT_TABLE, outputs=OUTPUTS, job=DIGEST)
COMMITTED = record(provider=NAME, lease=LEASE, commitment=COMMITMENT)
ALIVE = record(
    role=word(["Worker", "Validator", "Platform"]), **{"class": DIGEST}, driver=TEXT, slots=U32, leases=each(LEASE), version=TEXT,
    kernels=BOOL, fault_=TEXT,
)
MESSAGES = {
    "Task": record(
        lease=LEASE, tail=TAIL, job_uid=NAME,
        body=choice(Execute=[], Preflight=[TRIAL], Ingest=[COMMITTED], Aggregate=[DIGEST]),
        opened_=LEAF_PROOF,
    ),
    "Manifest": record(task=DIGEST, shards=each(each(DIGEST)), formats=each(word(["npy", "safetensors"]))),
    "Answer": record(
        lease=LEASE,
        body=choice(
            Preflighted=[PREFLIGHTED], Committed=[COMMITMENT], Voted=[VOTE], Ingested=[INGESTED], Aggregated=[AGGREGATED],
            Failed=[FAILED],
        ),
    ),
    "Beat": choice(Alive=[ALIVE], Started=[LEASE], Progress=[DIGEST, U64]),
}
