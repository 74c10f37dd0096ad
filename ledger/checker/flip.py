#!/usr/bin/env python3
"""Changes every field of every leaf of a log, one at a time, and asks the rules about each: the tree, the seals' chain, the
checkpoint and the signatures around the field are made again by the keys of the test logs, so that only a rule can notice.

    python3 ledger/checker/flip.py ledger/core/tests/golden/*.export [--seed N] [--some N | --all] [--out DIR]

A change that its own block does not refuse must be one of `FREE`, and one that nothing ever refuses one of `NEVER`; with `--all`
each of those must happen. `--out` writes the changed logs,
named by what was found, for others to judge. Changes that leave the tree or a signature as it was are refused by those."""

import argparse
import base64
import collections
import pathlib
import pickle
import random
import sys

sys.dont_write_bytecode = True

import helpers
import exports
import strict
from canonical import Refused, decode, encode, sha3
from check import judge, run
from machine import Machine, Undecided, Wrong
from shapes import LEAF, Bool, Bytes, Choice, Each, Inside, Name, Record, Signed, Text, Uint, Word

# What the block that a change is in does not refuse, when the one whose word it is says it and everybody signs again; and why.
# Most of it is noticed by a later leaf: a draw hangs on the whole log before it, a lease on its task.
FREE = {
    "Seal.seal.time_ms": "block time is the ledger's word, as long as it rises and nothing comes due by it",
    "Envelope.id": "any free id will do, where no approval or reserve is about it",
    "OpenEpoch.nonce": "random bytes",
    "RegisterProvider.key": "the operator's word; it counts where the provider is named",
    "RegisterProvider.owner": "the operator's word; it counts where validators are drawn",
    "RegisterProvider.validates": "the operator's word; it counts where validators are named",
    "OpenEscrow.budget": "any that covers the escrow",
    "OpenEscrow.workload": "the consumer's task, which leases name by its digest",
    "OpenEscrow.inputs": "the consumer's task, which leases name by its digest",
    "OpenEscrow.inputs.(one less)": "the consumer's task, which leases name by its digest",
    "OpenEscrow.kernel_set": "the consumer's task, which leases name by its digest",
    "OpenEscrow.outputs.name": "the consumer's task, which leases name by its digest",
    "OpenEscrow.outputs.dtype": "the consumer's task, which leases name by its digest",
    "OpenEscrow.units.units_per_shard": "the consumer's task, where it costs the same",
    "OpenEscrow.audits_per_shard": "the consumer's task, where it costs the same",
    "CloseRound.entries.(one less)": "a commitment that the operator has not",
    "CloseRound.eligible.(one less)": "a validator that the operator did not see",
    "RecordVerdict.shards.(one less)": "a shard that is judged later",
    "RecordVerdict.shards.votes.units.digest": "a validator's word that is overruled, whatever it is",
    "RecordVerdict.shards.votes.class": "a validator's word about its device",
    "RecordVerdict.shards.referee.units.digest": "the platform's word decides; what it decides is paid later",
    "RecordVerdict.shards.referee.class": "the platform's word about its device",
    "Reserve.expires_ms": "the provider's word; it counts when the time has come",
    "a refused transaction": "it changes nothing, and is refused as before",
}
# What of it nothing notices in these logs, up to their ends.
NEVER = {
    "Seal.seal.time_ms", "Envelope.id", "OpenEpoch.nonce", "CloseRound.eligible.(one less)", "Reserve.expires_ms",
    "RecordVerdict.shards.votes.units.digest", "RecordVerdict.shards.votes.class", "RecordVerdict.shards.referee.class",
    "a refused transaction",
}
SEEDS = {strict.public_key(bytes([number]) * 32): bytes([number]) * 32 for number in range(1, 41)}
CHECKPOINT_SEED = bytes([4]) * 32
# Of one log, no more changes are written for others to judge.
MOST_OUT = 1_000


class Resign:
    """A step into the payload of something signed: whoever signed it signs the other payload too."""

    def __init__(self, shape: Signed, chain: str):
        self.shape, self.chain = shape, chain

    def apply(self, value, inner):
        payload = inner(value[0])
        seed = SEEDS.get(value[1])
        signature = strict.sign(seed, self.shape.statement(self.chain, payload)) if seed else value[2]
        return {**value, 0: payload, 2: signature}


class Open:
    """A step into bytes that hold an encoding."""

    def __init__(self, shape: Inside):
        self.shape = shape

    def apply(self, value, inner):
        return self.shape.wrap(encode(inner(decode(self.shape.unwrap(value)))))


class At:
    """A step into a map or list."""

    def __init__(self, key):
        self.key = key

    def apply(self, value, inner):
        copy = value.copy()
        copy[self.key] = inner(copy[self.key])
        return copy


def changed(value, steps, change):
    if not steps:
        return change(value)
    return steps[0].apply(value, lambda inner: changed(inner, steps[1:], change))


def fields(shape, value, chain: str, names=(), steps=()):
    """(names, steps, change) for each field below, whatever its depth."""
    below = lambda sub, inner, name, *more: fields(sub, inner, chain, names + name, steps + more)
    if isinstance(shape, Signed):
        # As it is signed, and by whom: nobody signs again.
        for key in (0, 1, 2):
            name = (*names, ("signed bytes", "key", "signature")[key])
            yield name, (*steps, At(key)), flip_bytes
        inside = shape.fields[0][1]
        yield from below(inside.shape, decode(value[0]), (), Resign(shape, chain), Open(inside))
    elif isinstance(shape, Inside):
        try:
            inner = decode(shape.unwrap(value))
            shape.shape.read(inner)
        except Refused:
            return
        yield from below(shape.shape, inner, (), Open(shape))
    elif isinstance(shape, Record):
        for key, (name, sub, _) in shape.fields.items():
            if key in value:
                # A payload is called what it holds.
                called = () if isinstance(sub, Inside) else (name,)
                yield from below(sub, value[key], called, At(key))
    elif isinstance(shape, Each):
        for at, one in enumerate(value):
            yield from below(shape.shape, one, (), At(at))
        if value:
            yield (*names, "(one less)"), steps, lambda values: values[:-1]
    elif isinstance(shape, Choice):
        name, variant = shape.variants[value[0]]
        yield (*names, "(number)"), (*steps, At(0)), lambda number: number ^ 1
        for key, (field, sub, _) in variant.fields.items():
            more = () if field == "tx" or isinstance(sub, Inside) else (field,)
            yield from below(sub, value[1][key], (name, *more), At(1), At(key))
    else:
        yield names, steps, FLIPS[type(shape)]


def flip_bytes(data: bytes) -> bytes:
    at = RANDOM.randrange(8 * len(data)) if data else 0
    return bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(data)) or b"\x01"


def flip_text(text: str) -> str:
    return chr(ord(text[0]) ^ 1) + text[1:] if text else "a"


FLIPS = {
    Uint: lambda number: number ^ 1,
    Word: lambda number: number ^ 1,
    Bool: lambda yes: not yes,
    Bytes: flip_bytes,
    Text: flip_text,
    Name: flip_text,
}
RANDOM = random.Random()


def called(names: tuple[str, ...], refused: bool) -> str:
    """A field's name, by what it is a field of: `Envelope.id`, `Settle.page`."""
    parts = [part for part in names if part != "body"]
    if parts[:2] == ["Transaction", "signed"]:
        parts = parts[2:] if parts[2][0].isupper() else ["Envelope", *parts[2:]]
        if refused and parts[-1] not in ("signed bytes", "key", "signature"):
            return "a refused transaction"
    return ".".join(parts)


class Log:
    """A log that is right, with the machine before each of its blocks."""

    def __init__(self, data: bytes):
        note, self.leaves = exports.read(data)
        genesis = LEAF.read(decode(self.leaves[0])).body[1].genesis
        self.chain = "orion-" + sha3(genesis)[:16].hex()
        self.key = exports.Key(key_text(self.chain))
        judge(data, self.key)
        machine, tree = Machine(self.chain, self.key.key), exports.Tree()
        # For each leaf: where its block starts.
        self.starts, self.blocks = [], {}
        for leaf in self.leaves:
            if not machine.pending:
                self.blocks[tree.size] = pickle.dumps((machine, tree))
            self.starts.append(machine.base)
            tree.push(exports.leaf_hash(leaf))
            machine.leaf(leaf, tree)

    def changes(self):
        for at, leaf in enumerate(self.leaves):
            value = decode(leaf)
            number, body = LEAF.read(value).body
            refused = number == 1 and body.receipt.code != 0
            for names, steps, change in fields(LEAF, value, self.chain):
                yield at, called(names, refused), steps, change

    def make(self, at: int, steps, change) -> list[bytes]:
        """The leaves with one changed, and the chain of the seals after it made again."""
        leaves = list(self.leaves)
        leaves[at] = encode(changed(decode(leaves[at]), steps, change))
        previous = None
        for later in range(at, len(leaves)):
            value = decode(leaves[later])
            if value[2][0] == 3:
                if previous is not None:
                    value[2][1][0][1] = previous
                    leaves[later] = encode(value)
                elif later > at:
                    break
                previous = sha3(leaves[later])
        return leaves

    def ask(self, at: int, leaves: list[bytes]) -> tuple[int | None, bool]:
        """The leaf that the rules refuse, if any, and whether its block was over by then."""
        start = self.starts[at]
        end = next((later for later in sorted(self.blocks) if later > at), len(leaves))
        machine, tree = pickle.loads(self.blocks[start])
        try:
            run(machine, tree, leaves[start:end])
        except Undecided:
            return at, False
        except Wrong as wrong:
            return wrong.leaf, False
        try:
            run(machine, tree, leaves[end:])
        except Wrong as wrong:
            return wrong.leaf, True
        return None, True

    def export(self, leaves: list[bytes]) -> bytes:
        tree = exports.Tree()
        for leaf in leaves:
            tree.push(exports.leaf_hash(leaf))
        body = f"{self.key.name}\n{tree.size}\n{base64.b64encode(tree.root()).decode()}\n"
        line = base64.b64encode(self.key.id + strict.sign(CHECKPOINT_SEED, body.encode())).decode()
        return exports.write(f"{body}\n{exports.DASH}{self.key.name} {line}\n".encode(), leaves)


def key_text(chain: str) -> str:
    """The key of the test logs' checkpoints, as a note's key."""
    name, data = f"orion.dev/{chain}", b"\x01" + strict.public_key(CHECKPOINT_SEED)
    tag = exports.sha256(name.encode() + b"\n" + data)[:4].hex()
    return f"{name}+{tag}+{base64.b64encode(data).decode()}"


def chosen(log: Log, some: int | None):
    """All changes, or so many of them: one of each field, and others by chance."""
    changes = list(log.changes())
    RANDOM.shuffle(changes)
    if some is None:
        return changes
    names, first, rest = set(), [], []
    for change in changes:
        (rest if change[1] in names else first).append(change)
        names.add(change[1])
    return first + rest[: max(0, some - len(first))]


def flip(path: pathlib.Path, some: int | None, out: pathlib.Path | None):
    """Judges one log's changes; gives the names of those that their own block does not refuse, and that nothing does."""
    log, count, free, never = Log(path.read_bytes()), collections.Counter(), set(), set()
    for number, (at, name, steps, change) in enumerate(chosen(log, some)):
        leaves = log.make(at, steps, change)
        leaf, later = log.ask(at, leaves)
        free |= {name} if later else set()
        never |= {name} if leaf is None else set()
        count["taken" if leaf is None else "refused later" if later else "refused in its block"] += 1
        if out and number < MOST_OUT:
            said = "taken" if leaf is None else f"refused-{leaf}"
            (out / f"{path.stem}-{number}-{said}.export").write_bytes(log.export(leaves))
    plain(path, log, count)
    print(f"{path.stem}: " + ", ".join(f"{number} {word}" for word, number in sorted(count.items())))
    return free, never


def plain(path: pathlib.Path, log: Log, count) -> None:
    """A bit of the file, with nothing made again."""
    data = path.read_bytes()
    for _ in range(60):
        at = RANDOM.randrange(len(data))
        try:
            judge(data[:at] + bytes([data[at] ^ 1 << RANDOM.randrange(8)]) + data[at + 1 :], log.key)
        except Refused:
            count["refused by file, tree or signature"] += 1
        else:
            raise SystemExit(f"{path.stem}: byte {at} changed, and the file was taken")


def main() -> int:
    parser = argparse.ArgumentParser(description="Changes logs field by field; the rules must notice.")
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--some", type=int, default=150, help="changes a log, and one of each field at least")
    parser.add_argument("--all", action="store_true", help="every field of every leaf")
    parser.add_argument("--out", type=pathlib.Path, help="a folder for the changed logs")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    RANDOM.seed(arguments.seed)
    free, never = set(), set()
    for path in arguments.files:
        of_this = flip(path, None if arguments.all else arguments.some, arguments.out)
        free, never = free | of_this[0], never | of_this[1]
    wrong = 0
    for have, want, what in ((free, set(FREE), "not refused in their block"), (never, NEVER, "not refused at all")):
        # A sample need not meet all that there is.
        if have - want or (arguments.all and want - have):
            print(f"{what}: {sorted(have - want)} are not said to be; {sorted(want - have)} are said to be", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
