"""The form of everything that a log holds, as data: what a decoded value must look like, and what its fields are called.

`read` turns a decoded value into one with names, or refuses it. `flip.py` walks the same shapes to change field by field."""

import re
from types import SimpleNamespace

import canonical
from canonical import Refused


class Uint:
    def __init__(self, bits: int):
        self.bits = bits

    def read(self, value):
        if type(value) is not int or value >= 1 << self.bits:
            raise Refused(f"expected a number of {self.bits} bits")
        return value


class Bytes:
    def __init__(self, size: int | None = None):
        self.size = size

    def read(self, value):
        if type(value) is not bytes or self.size not in (None, len(value)):
            raise Refused(f"expected {self.size or 'some'} bytes")
        return value


class Text:
    def read(self, value):
        if type(value) is not str:
            raise Refused("expected text")
        return value


class Name(Text):
    """One DNS label."""

    LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)

    def read(self, value):
        if not self.LABEL.fullmatch(super().read(value)):
            raise Refused("expected one DNS label")
        return value


class Bool:
    def read(self, value):
        if type(value) is not bool:
            raise Refused("expected yes or no")
        return value


class Word:
    """One of some numbers, each of which is a word."""

    def __init__(self, numbers):
        self.numbers = frozenset(numbers)

    def read(self, value):
        if type(value) is not int or value not in self.numbers:
            raise Refused("expected one of the numbers that mean something here")
        return value


class Each:
    def __init__(self, shape):
        self.shape = shape

    def read(self, value):
        if type(value) is not list:
            raise Refused("expected a list")
        return [self.shape.read(one) for one in value]


class Record:
    """A map by number. A field's number is its place, or the number given before its shape; a name that ends with _ may be
    absent."""

    def __init__(self, **fields):
        self.fields = {}
        for at, (name, shape) in enumerate(fields.items()):
            key, shape = shape if type(shape) is tuple else (at, shape)
            self.fields[key] = (name.rstrip("_"), shape, name.endswith("_"))

    def read(self, value):
        if type(value) is not dict or not value.keys() <= self.fields.keys():
            raise Refused("expected a map, with no fields but its own")
        read = SimpleNamespace()
        for key, (name, shape, optional) in self.fields.items():
            if key not in value and not optional:
                raise Refused(f"{name} is missing")
            setattr(read, name, shape.read(value[key]) if key in value else None)
        return read


class Choice:
    """[number, [fields]]; read as the number beside the fields."""

    def __init__(self, variants):
        self.variants = {number: (name, Record(**fields)) for number, (name, fields) in variants.items()}

    def read(self, value):
        whole = type(value) is list and len(value) == 2 and type(value[0]) is int and type(value[1]) is list
        if not whole:
            raise Refused("expected a number and fields")
        if value[0] not in self.variants:
            raise Unknown(value[0])
        fields = self.variants[value[0]][1]
        if len(value[1]) != len(fields.fields):
            raise Refused("expected other fields")
        return value[0], fields.read(dict(enumerate(value[1])))


class Unknown(Refused):
    """A choice that these shapes do not know: perhaps of a later release, so nothing is proven wrong."""

    def __init__(self, number: int):
        super().__init__(f"unknown number {number}")
        self.number = number


class Inside(Bytes):
    """Bytes that hold the canonical encoding of something, in a frame where a domain is given. `read` leaves them shut: what
    cannot be opened is for the rules to judge."""

    def __init__(self, shape, domain: str | None = None):
        super().__init__()
        self.shape, self.domain = shape, domain

    def unwrap(self, data: bytes) -> bytes:
        if self.domain is None:
            return data
        value = canonical.decode(data)
        if type(value) is not list or len(value) != 2 or value[0] != self.domain or type(value[1]) is not bytes:
            raise Refused(f"expected a frame of {self.domain}")
        return value[1]

    def wrap(self, data: bytes) -> bytes:
        return data if self.domain is None else canonical.frame(self.domain, data)

    def open(self, data: bytes, most: int):
        inner = self.unwrap(data)
        if len(inner) > most:
            raise Refused("too long")
        return self.shape.read(canonical.decode(inner))


class Signed(Record):
    """A payload with key and signature; see `strict.py`."""

    def __init__(self, domain: str, shape, most: int):
        super().__init__(payload=Inside(shape), key=KEY, signature=Bytes(64))
        self.domain, self.most = domain, most

    def statement(self, chain: str, payload: bytes) -> bytes:
        """What is signed; its SHA3-256 is the statement's digest."""
        return canonical.frame(self.domain, chain, payload)


U32, U64, DIGEST, KEY, ID = Uint(32), Uint(64), Bytes(32), Bytes(32), Bytes(16)
REASONS = [*range(12), 20, 21, 22, *range(30, 39), *range(40, 54), *range(60, 67)]
CODES = (
    "Ok NotAllowed StaleEpoch EpochTaken ExistsWithDifferentBytes OwnerDiffers InsufficientCredits BudgetTooSmall "
    "OutOfBounds NoSuchJob JobExists EscrowExpired JobSettling WrongSequence BadLease BadCommitment BadIngest SlotTaken "
    "BadValidator NoSuchRound BadDraw BadVote BadReferee RoundOpen NotSettled Overflow UnknownPolicy NotEnoughApprovals "
    "BadApproval NoSuchReserve ReserveOver"
).split()
MAX_LEAF = 65_535

POLICY = Record(price=U64, fee_ppm=U32, vesting_ms=U64, escrow_ms=U64)
ISSUERS = Record(threshold=U32, keys=Each(KEY))
GENESIS = Record(
    nonce=DIGEST, operator=KEY, platform=KEY, issuer=KEY, checkpoint=KEY, policy=POLICY, issuers_=ISSUERS
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
    Record(round=DIGEST, lease=DIGEST, units=Each(Record(unit=U64, digest=DIGEST)), **{"class": DIGEST}),
    2048,
)
APPROVAL = Signed("orion/approval/v1", Record(action=DIGEST), 64)

CONSUMER = Record(account=DIGEST)
ENTRY = Record(lease=LEASE, commitment=COMMITMENT, ingested=INGESTED)
DRAWN = Record(unit=U64, digest=DIGEST, salt=DIGEST, path=Each(DIGEST))
VERDICT = Record(lease=DIGEST, drawn=Each(DRAWN), votes=Each(VOTE), absent=Each(KEY), referee_=VOTE)
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
    16: ("Issuers", ISSUERS),
}
TRANSACTION = Choice({number: (name, {"tx": shape}) for number, (name, shape) in KINDS.items()})
KINDS[9][1].fields[0] = ("inner", Inside(TRANSACTION), False)

ENVELOPE = Signed("orion/tx/v1", Record(signer=KEY, epoch=U64, id=ID, payload=Inside(TRANSACTION)), MAX_LEAF)
TRANSFER = Record(**{"from": DIGEST}, to=DIGEST, amount=U64)
RECEIPT = Record(code=Word(range(len(CODES))), transfers=Each(TRANSFER))
TOTALS = Record(
    deposited=U64, consumers=U64, escrows=U64, vesting=U64, providers=U64, treasury=U64, withdrawn_=(9, U64)
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
