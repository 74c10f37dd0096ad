"""The log replayed: each leaf must be what follows from those before it, receipts, seals and the ledger's own acts included."""

import functools
from types import SimpleNamespace

import money
import rounds
import rules
import stakes
from books import No
from canonical import Refused, decode, sha3
from forms import Unknown
from shapes import CODES, ENVELOPE, GENESIS, LEAF, MAX_LEAF, TRANSACTION
from state import State, is_genesis
from strict import opened, verifies

MAX_SIGNED, MAX_GENESIS = MAX_LEAF - 1024, 1024
# Of what is due but escrows, a block does so much.
MAX_OTHERS = 256
GENESIS_LEAF, TRANSACTION_LEAF, EXPIRE, SEAL, MATURE, LAPSE = range(6)
# What an escrow's end, a maturity and a lapse are called.
OWN = {EXPIRE: "an escrow's end", MATURE: "a maturity", LAPSE: "a lapse"}


class Wrong(Exception):
    """This leaf does not follow from those before it."""

    def __init__(self, leaf: int, words: str):
        super().__init__(f"leaf {leaf}: {words}")
        self.leaf = leaf


class Undecided(Exception):
    """Something that these rules do not know."""


@functools.lru_cache(maxsize=256)
def read_leaf(data: bytes):
    if len(data) > MAX_LEAF:
        raise Refused("too long")
    return LEAF.read(decode(data))


@functools.lru_cache(maxsize=256)
def read_payload(payload: bytes):
    return TRANSACTION.read(decode(payload))


class Machine:
    def __init__(self, chain: str, checkpoint_key: bytes):
        self.chain, self.checkpoint_key = chain, checkpoint_key
        self.state, self.genesis = None, None
        self.height, self.time_ms = 0, None
        self.previous, self.state_hash = bytes(32), bytes(32)
        # Leaves in sealed blocks, and the bodies of those that wait for their seal.
        self.base, self.pending = 0, []
        # (signer, id) of what was ordered; a refusal for its epoch does not hold its id.
        self.sent = set()

    def leaf(self, data: bytes, tree) -> None:
        """Takes the next leaf; `tree` is the log's up to it, this leaf included."""
        at = self.base + len(self.pending)
        try:
            read = read_leaf(data)
            number, body = read.body
            if (read.height, read.index) != (self.height, len(self.pending)):
                raise Refused(f"says it is {read.index} in block {read.height}, and is {len(self.pending)} in {self.height}")
            if (number == GENESIS_LEAF) != (at == 0):
                raise Refused("the log must hold one genesis, and first")
            if number == TRANSACTION_LEAF:
                body = self.envelope(body)
            self.pending.append((number, body))
        except Unknown as unknown:
            raise Undecided(f"leaf {at}: cannot judge kind {unknown.number}") from None
        except (Refused, RecursionError) as error:
            raise Wrong(at, str(error)) from None
        if number == SEAL:
            self.block(body.seal, sha3(data), tree)

    def envelope(self, body) -> SimpleNamespace:
        """Form and signature, and that its signer may have it ordered, by the state before the block."""
        if self.state is None:
            raise Refused("block 0 holds a transaction")
        signed = body.signed
        if not verifies(signed.key, ENVELOPE.statement(self.chain, signed.payload), signed.signature):
            raise Refused("the envelope's signature does not verify")
        sent = opened(ENVELOPE, signed.payload)
        if sent.signer != signed.key:
            raise Refused("the envelope names another signer than its key")
        number, transaction = read_payload(sent.payload)
        # A map of three fields, each with a key of one byte and a head of as many as its length needs.
        if 4 + length_of(len(signed.payload)) + length_of(32) + length_of(64) > MAX_SIGNED:
            raise Refused("the envelope is too long")
        if not rules.orderable(self.state, number, signed.key):
            raise Refused(f"{signed.key.hex()} may not have it ordered")
        return SimpleNamespace(sent=sent, number=number, tx=getattr(transaction, "tx", None), receipt=body.receipt)

    def block(self, seal, digest: bytes, tree) -> None:
        pending, self.pending = self.pending, []
        last = self.base + len(pending) - 1
        if self.time_ms is not None and seal.time_ms <= self.time_ms:
            raise Wrong(last, "block time does not rise")
        if len(pending) == 1:
            raise Wrong(last, "seals a block with nothing in it")
        if self.state is None:
            self.start(pending)
        own = self.due(seal.time_ms, last)
        for at, (number, body) in enumerate(pending[:-1], self.base):
            if own:
                self.act(at, number, body, *own.pop(0))
            elif number in OWN:
                raise Wrong(at, f"is {OWN[number]} that is not due")
            elif number == TRANSACTION_LEAF:
                self.transaction(at, body, seal.time_ms)
        if own:
            raise Wrong(last, f"{OWN[own[0][0]]} is missing from the block")
        self.end(last, seal)
        rounds.sealed(self.state, tree.size, tree.root())
        self.previous, self.time_ms = digest, seal.time_ms
        self.height, self.base = self.height + 1, last + 1

    def start(self, pending) -> None:
        data = pending[0][1].genesis
        if "orion-" + sha3(data)[:16].hex() != self.chain:
            raise Wrong(0, f"the genesis does not start {self.chain}")
        try:
            genesis = GENESIS.read(decode(data))
        except Refused as error:
            raise Wrong(0, f"the genesis: {error}") from None
        if len(data) > MAX_GENESIS or not is_genesis(genesis):
            raise Wrong(0, "the genesis is out of bounds, or gives one key two roles")
        if genesis.checkpoint != self.checkpoint_key:
            raise Wrong(0, "the genesis names another checkpoint key")
        self.state = State(self.chain, genesis)

    def due(self, time_ms: int, last: int):
        """What the ledger does by itself in a block of this time: (leaf number, whose, transfers), in order."""
        state, acts = self.state, []
        others = [(until, MATURE, name) for name, (until, _) in state.vests.items() if until < time_ms]
        ending = (*state.reserves.items(), *state.unbondings.items())
        others += [(until, LAPSE, name) for name, (_, _, until) in ending if until < time_ms]
        others.sort(key=lambda one: (one[0], one[1], one[2]) if one[1] == LAPSE else (one[0], one[1], *one[2]))
        try:
            for _, job in sorted((job, job) for when, job in state.deadlines if when < time_ms):
                acts += [(EXPIRE, job, receipt) for receipt in money.expire(state, job, time_ms)]
            for _, number, name in others[:MAX_OTHERS]:
                if number == MATURE:
                    acts.append((MATURE, name[0], money.mature(state, *name)))
                elif name in state.reserves:
                    state.end_reserve(name)
                    acts.append((LAPSE, name, []))
                else:
                    acts.append((LAPSE, name, stakes.free(state, name)))
        except No as no:
            raise Wrong(last, f"something that is due cannot be done: {no.code}") from None
        return acts

    def act(self, at: int, number: int, body, want: int, whose: bytes, transfers) -> None:
        if number != want or (body.reserve if want == LAPSE else body.job) != whose:
            raise Wrong(at, f"{OWN[want]} of {whose.hex()} is due here")
        self.receipt(at, body.receipt, "Ok", transfers)

    def transaction(self, at: int, body, time_ms: int) -> None:
        name = (body.sent.signer, body.sent.id)
        if name in self.sent:
            raise Wrong(at, "its id was used before, so that it leaves no leaf")
        sent = SimpleNamespace(**vars(body.sent), time_ms=time_ms)
        try:
            code, transfers = rules.apply(self.state, body.number, body.tx, sent)
        except Unknown as unknown:
            raise Undecided(f"leaf {at}: cannot judge kind {unknown.number}") from None
        self.receipt(at, body.receipt, code, transfers)
        if code != "StaleEpoch":
            self.sent.add(name)

    def receipt(self, at: int, have, code: str, transfers) -> None:
        if CODES[have.code] != code:
            raise Wrong(at, f"its receipt says {CODES[have.code]}, the rules say {code}")
        said = [(getattr(one, "from"), one.to, one.amount) for one in have.transfers]
        if said != transfers:
            raise Wrong(at, f"its receipt moves {money_in(said)}, the rules move {money_in(transfers)}")

    def end(self, last: int, seal) -> None:
        books = self.state.books
        self.state_hash = books.state_hash(self.state_hash)
        if seal.previous != self.previous:
            raise Wrong(last, "the seal's hash of the seal before is another's")
        if seal.state != self.state_hash:
            raise Wrong(last, "the seal's state hash is not what follows")
        totals = {name: value for name, value in vars(seal.totals).items() if value is not None}
        if totals != {name: value for name, value in books.sums.items() if name in totals or value}:
            raise Wrong(last, f"the seal's totals are {totals}, the rules give {books.sums}")
        wrong = books.wrong() or self.jobs_wrong()
        if wrong:
            raise Wrong(last, wrong)

    def jobs_wrong(self) -> str | None:
        """The identity of every job's money: what was locked was paid, refunded, or is still there."""
        state = self.state
        for name, job in state.jobs.items():
            left = state.books.balance(state.books.place(money.books.ESCROW, name))
            if job.escrowed != sum(job.paid.values()) + left:
                return f"job {name.hex()}: {job.escrowed} locked, {job.paid} paid, {left} left"
            if job.phase in ("closed", "expired") and left:
                return f"job {name.hex()} is {job.phase} with {left} locked"
        return None


def length_of(size: int) -> int:
    """The bytes that a byte string takes."""
    return size + 1 + (size >= 24) + (size >= 1 << 8) + 2 * (size >= 1 << 16)


def money_in(transfers) -> str:
    return f"{sum(amount for _, _, amount in transfers)} in {len(transfers)}"
