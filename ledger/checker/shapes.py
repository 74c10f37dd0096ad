"""The form of everything that a log holds: what a decoded value must look like, and what its fields are called."""

from forms import Bool, Bytes, Choice, Each, Inside, Name, Record, Row, Signed, Text, Uint, Unless, Word

U32, U64, DIGEST, KEY, ID = Uint(32), Uint(64), Bytes(32), Bytes(32), Bytes(16)
REASONS = [*range(12), *range(20, 24), *range(30, 39), *range(40, 54), *range(60, 67), *range(70, 74)]
CODES = dict(enumerate((
    "Ok NotAllowed StaleEpoch EpochTaken ExistsWithDifferentBytes OwnerDiffers InsufficientCredits BudgetTooSmall "
    "OutOfBounds NoSuchJob JobExists EscrowExpired JobSettling WrongSequence BadLease BadCommitment BadIngest SlotTaken "
    "BadValidator NoSuchRound BadDraw BadVote BadReferee RoundOpen NotSettled Overflow UnknownPolicy NotEnoughApprovals "
    "BadApproval NoSuchReserve ReserveOver Revoked CheckpointKeyFixed KeyInUse NoSuchKey NotSlashable - PolicyPrice "
    "PolicyShares PolicyTimes PolicyBytes PolicyTraps"
).split()))
del CODES[36]
MAX_LEAF = 65_535

SPLIT = Record(workers=U32, validators=U32, treasury=U32)
MODE = Choice({0: ("PerWork", {}), 1: ("Pool", {"split": SPLIT})})
POLICY = Record(
    price=U64, fee_ppm=U32, vesting_ms=U64, escrow_ms=U64, validator_ppm_=U32, mode_=Unless(MODE, [0, []])
)
ISSUERS = Record(threshold=U32, keys=Each(KEY))
GENESIS = Record(
    nonce=DIGEST, operator=KEY, platform=KEY, issuer=KEY, checkpoint=KEY, policy=POLICY, issuers_=ISSUERS,
    bonds_=Record(unbonding_ms=U64, slash_ppm=U32),
)

LAYOUT = Choice({0: ("Lengths", {"of": U32}), 1: ("Unit", {"combine": Word(range(3))})})
OUTPUT = Record(name=Name(), dtype=Word(range(10)), shape=Each(U64), layout_=LAYOUT)
UNITS = Record(items=U64, items_per_unit=U64, units_per_shard=U64, work_per_item=U64)
TASK = Inside(
    Record(
        job=DIGEST, workload=DIGEST, inputs=Each(DIGEST), kernel_set=U32, units=UNITS, outputs=Each(OUTPUT),
        comparator=Word([0]), audits_per_shard=U32, price=U64, fee_ppm=U32, policy=DIGEST,
    ),
    "orion/task/v1",
)
REFUSAL = Record(reason=Word(REASONS), message=Text())
LEASE = Signed(
    "orion/lease/v1",
    Record(
        kind=Word(range(6)), task=DIGEST, shard=U32, first_unit=U64, units=U64,
        token=Record(epoch=U64, attempt=U32, copy=U32), provider=KEY, worker=Name(),
        audit_=Record(round=DIGEST, lease=DIGEST, units=Each(U64)),
    ),
    2048,
)
COMMITMENT = Signed(
    "orion/commitment/v1",
    Record(
        lease=DIGEST, units=U64, root=DIGEST, outputs=Each(DIGEST), digest_list=DIGEST, **{"class": DIGEST}, driver=Text()
    ),
    1024,
)
INGESTED = Signed("orion/ingested/v1", Record(commitment=DIGEST, refused_=REFUSAL), 8192)
VOTE = Signed(
    "orion/vote/v1",
    Record(round=DIGEST, lease=DIGEST, units=Each(Record(unit=U64, digest=DIGEST)), **{"class": DIGEST}, task_=DIGEST),
    2048,
)
APPROVAL = Signed("orion/approval/v1", Record(action=DIGEST), 64)

CONSUMER = Record(account=DIGEST)
ENTRY = Record(lease=LEASE, commitment=COMMITMENT, ingested=INGESTED)
DRAWN = Record(unit=U64, digest=DIGEST, salt=DIGEST, path=Each(DIGEST))
VERDICT = Record(lease=DIGEST, drawn=Each(DRAWN), votes=Each(VOTE), absent=Each(KEY), referee_=VOTE)
FEED = Record(
    tensor=Text(),
    **{"from": Choice({0: ("Rows", {"of": U32}), 1: ("Shared", {"of": U32}), 2: ("Fill", {"with": Text()})})},
    key_=Text(),
)
INFERENCE = Record(model=U32, dims=Each(Row(Text(), U64)), tensors=Each(FEED), results=Each(Text()))
# Of workloads nothing but a model's is ever looked into.
MODEL = Inside(Choice({1: ("Inference", {"model": INFERENCE})}), "orion/workload/v1")
PURSE = Choice({0: ("Available", {"key": KEY}), 1: ("Treasury", {}), 2: ("Consumer", {"account": DIGEST})})

# Every kind of transaction: its number, its name, its fields. Who may send it and what it does is in `rules.py`.
KINDS = {
    0: ("RegisterProvider", Record(key=KEY, owner=Name(), validates=Bool())),
    1: ("OpenEpoch", Record(epoch=U64, nonce=Bytes())),
    2: ("Deposit", Record(consumer=CONSUMER, amount=U64)),
    3: ("OpenEscrow", Record(consumer=CONSUMER, task=TASK, budget=U64)),
    4: ("CloseRound", Record(job=DIGEST, sequence=U64, entries=Each(ENTRY), eligible=Each(KEY))),
    5: ("RecordVerdict", Record(job=DIGEST, round=DIGEST, sequence=U64, shards=Each(VERDICT))),
    6: ("Settle", Record(job=DIGEST, page=U64)),
    7: ("Close", Record(job=DIGEST)),
    8: ("TopUp", Record(job=DIGEST, amount=U64)),
    9: ("Approved", Record(inner=Bytes(), approvals=Each(APPROVAL))),
    10: ("Withdraw", Record(**{"from": PURSE}, amount=U64, to=DIGEST, reserve_=DIGEST)),
    11: ("Reserve", Record(amount=U64, expires_ms=U64)),
    12: ("Release", Record(reserve=DIGEST)),
    13: ("Stake", Record(amount=U64)),
    14: ("Unstake", None),
    15: ("Rotate", Record(role=Word(range(4)), old=KEY, new=KEY, lost=Bool())),
    16: ("Issuers", ISSUERS),
    17: ("PublishPolicy", Record(policy=Inside(POLICY))),
    18: ("Params", Record(policy=DIGEST)),
    19: ("Slash", Record(workload=MODEL, task=TASK, lease=LEASE, first=VOTE, second=VOTE)),
}
TRANSACTION = Choice({number: (name, {"tx": shape} if shape else {}) for number, (name, shape) in KINDS.items()})
KINDS[9][1].fields[0] = ("inner", Inside(TRANSACTION), False)

ENVELOPE = Signed("orion/tx/v1", Record(signer=KEY, epoch=U64, id=ID, payload=Inside(TRANSACTION)), MAX_LEAF)
TRANSFER = Record(**{"from": DIGEST}, to=DIGEST, amount=U64)
RECEIPT = Record(code=Word(CODES), transfers=Each(TRANSFER))
SUM = Unless(U64, 0)
TOTALS = Record(
    deposited=U64, consumers=U64, escrows=U64, vesting=U64, providers=U64, treasury=U64, stakes_=SUM, unbonding_=SUM,
    slash_pool_=SUM, withdrawn_=SUM,
)
SEAL = Record(time_ms=U64, previous=DIGEST, state=DIGEST, totals=TOTALS)
LEAF = Record(
    height=U64,
    index=U64,
    body=Choice({
        0: ("Genesis", {"genesis": Inside(GENESIS)}),
        1: ("Transaction", {"signed": ENVELOPE, "receipt": RECEIPT}),
        2: ("Expire", {"job": DIGEST, "receipt": RECEIPT}),
        3: ("Seal", {"seal": SEAL}),
        4: ("Mature", {"job": DIGEST, "receipt": RECEIPT}),
        5: ("Lapse", {"reserve": DIGEST, "receipt": RECEIPT}),
    }),
)
