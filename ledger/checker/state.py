"""What the rules read and write: who exists, jobs, what is due. And the bounds of what is pinned."""

from types import SimpleNamespace

from books import AVAILABLE, Books
from canonical import encode, framed
from keys import Keys

NONCE_BYTES = 16
MILLION, YEAR_MS = 1_000_000, 365 * 86_400_000
DTYPE_BYTES = (1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
UNSIGNED, FLOATS = {0, 2, 4, 6}, {8, 9}
LENGTHS, UNIT, SUM = 0, 1, 0


def policy_id(policy) -> bytes:
    fields = [policy.price, policy.fee_ppm, policy.vesting_ms, policy.escrow_ms, policy.validator_ppm]
    fields = {at: value for at, value in enumerate(fields) if value is not None}
    if policy.mode is not None:
        split = policy.mode[1].split
        fields[5] = [1, [{0: split.workers, 1: split.validators, 2: split.treasury}]]
    return framed("orion/policy/v1", encode(fields))


def policy_wrong(policy) -> str | None:
    """The code with which a policy is not published."""
    shares = [policy.fee_ppm <= MILLION, (policy.validator_ppm or 0) <= MILLION]
    if policy.mode is not None:
        split = policy.mode[1].split
        whole = split.workers + split.validators + split.treasury == MILLION
        shares += [whole, policy.fee_ppm == 0, policy.validator_ppm is None]
    times = [policy.vesting_ms <= YEAR_MS, 1 <= policy.escrow_ms <= YEAR_MS]
    checks = [("PolicyPrice", policy.price <= 10**12), ("PolicyShares", shares[0])]
    checks += [("PolicyTimes", good) for good in times] + [("PolicyShares", good) for good in shares[1:]]
    return next((code for code, good in checks if not good), None)


def bonds_of(genesis) -> tuple[int, int]:
    """How long a stake is bound that is taken back, and what is lost by whoever says two things."""
    given = genesis.bonds
    return (given.unbonding_ms, given.slash_ppm) if given else (7 * 86_400_000, 0)


def is_issuers(issuers) -> bool:
    keys = issuers.keys
    return 1 <= len(keys) <= 16 and keys == sorted(set(keys)) and 1 <= issuers.threshold <= len(keys)


def is_genesis(genesis) -> bool:
    policy, issuers = genesis.policy, genesis.issuers
    unbonding_ms, slash_ppm = bonds_of(genesis)
    if policy.vesting_ms > YEAR_MS or policy.escrow_ms == 0 or not 1 <= unbonding_ms <= YEAR_MS or slash_ppm > MILLION:
        return False
    # Prices and times of a genesis may be any; shares are shares.
    bounded = SimpleNamespace(**{**vars(policy), "price": 0, "vesting_ms": 0, "escrow_ms": 1})
    if policy_wrong(bounded):
        return False
    keys = [genesis.issuer]
    if issuers is not None:
        if not is_issuers(issuers) or genesis.issuer not in issuers.keys:
            return False
        keys = issuers.keys
    keys = [*keys, genesis.operator, genesis.platform, genesis.checkpoint]
    return len(set(keys)) == len(keys)


class Cut:
    """How a task's items are cut into units and shards."""

    def __init__(self, table):
        self.items, self.per_unit = table.items, table.items_per_unit
        self.per_shard, self.work_per_item = table.units_per_shard, table.work_per_item
        self.units = -(-self.items // self.per_unit) if self.per_unit else 0
        self.shards = -(-self.units // self.per_shard) if self.per_shard else 0

    def fits(self) -> bool:
        positive = min(self.items, self.per_unit, self.per_shard, self.work_per_item) > 0
        small = self.per_shard <= 100_000 and self.shards <= 10_000
        return positive and small and self.items * self.work_per_item <= 1 << 60

    def shard(self, index: int):
        """First unit and count, or None beyond the last."""
        first = index * self.per_shard
        return (first, min(self.units - first, self.per_shard)) if first < self.units else None

    def work(self, first: int, count: int) -> int:
        start, end = (min(unit * self.per_unit, self.items) for unit in (first, first + count))
        return (end - start) * self.work_per_item


def task_fits(task) -> bool:
    cut = Cut(task.units)
    outputs = task.outputs
    named = 1 <= len(outputs) <= 8 and len({output.name for output in outputs}) == len(outputs)
    return (
        cut.fits()
        and named
        and all(output_fits(outputs, output, cut) for output in outputs)
        and len(task.inputs) <= 8
        and 1 <= task.audits_per_shard <= 32
        and task.fee_ppm <= MILLION
    )


def output_fits(outputs, output, cut) -> bool:
    kind, layout = output.layout or (None, None)
    shape = output.shape
    if not 1 <= len(shape) <= 8 or 0 in shape or (kind != UNIT and shape[0] != cut.items):
        return False
    if kind == LENGTHS:
        of = outputs[layout.of] if layout.of < len(outputs) else None
        if len(shape) < 2 or of is None or of.layout or len(of.shape) != 1 or of.dtype not in UNSIGNED:
            return False
    if kind == UNIT and output.dtype in FLOATS and layout.combine != SUM:
        return False
    room = DTYPE_BYTES[output.dtype] * (cut.units if kind == UNIT else cut.items)
    for dim in shape if kind == UNIT else shape[1:]:
        room *= dim
    return room <= 1 << 40


class Job:
    def __init__(self, task, digest: bytes, consumer: bytes, escrowed: int, deadline: int):
        self.task, self.digest, self.consumer = task, digest, consumer
        self.cut = Cut(task.units)
        self.escrowed, self.deadline = escrowed, deadline
        self.phase = "open"
        self.rounds, self.verdicts = [], 0
        # By shard: [in a round that is not judged, accepted, judged attempts, highest judged attempt].
        self.slots = {}
        # Contributions by id: (provider, work).
        self.workers, self.validators = {}, {}
        # Fixed with page 0: [(provider, is an audit, amount)] and the fee.
        self.shares, self.fee, self.pages_done = None, 0, 0
        self.paid = {"workers": 0, "validators": 0, "fee": 0, "refunded": 0}

    def pages(self) -> int:
        return len(self.shares) // 200 + 1


class State:
    def __init__(self, chain: str, genesis):
        self.chain, self.genesis = chain, genesis
        self.books = Books(chain)
        self.epoch = 0
        given = genesis.issuers
        self.issuers = (given.threshold, tuple(given.keys)) if given else (1, (genesis.issuer,))
        self.keys, self.bonds = Keys(genesis), bonds_of(genesis)
        self.policies = {policy_id(genesis.policy): genesis.policy}
        self.providers, self.jobs = {}, {}
        # By id: (provider, amount, until).
        self.reserves = {}
        # Stakes that were taken back, by id: [provider, amount, until].
        self.unbondings = {}
        # Jobs whose validators can be slashed: (task digest, consumer, those who were).
        self.liable = {}
        # By (job, page): (until, {provider: amount}).
        self.vests = {}
        # (when, job) of open escrows.
        self.deadlines = set()
        # Rounds of the block that is being read; their seed comes with its seal.
        self.unsealed = []

    def end_reserve(self, name: bytes) -> None:
        provider, amount, _ = self.reserves.pop(name)
        self.books.let_go(self.books.place(AVAILABLE, provider), amount)

    def end(self, job_id: bytes, phase: str) -> None:
        self.jobs[job_id].phase = phase
        self.deadlines.discard((self.jobs[job_id].deadline, job_id))
        self.forgive(job_id)

    def forgive(self, job_id: bytes) -> None:
        """Nobody is slashed any more for a job whose last page has matured."""
        is_open = self.jobs[job_id].phase in ("open", "settling")
        if not is_open and all(job != job_id for job, _ in self.vests):
            self.liable.pop(job_id, None)
