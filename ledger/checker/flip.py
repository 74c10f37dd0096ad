#!/usr/bin/env python3
"""Changes every field of every leaf of a log, one at a time, and asks the rules about each: the tree, the seals' chain, the
checkpoint and the signatures around the field are made again by the keys of the test logs, so that only a rule can notice.

    python3 ledger/checker/flip.py ledger/core/tests/golden/*.export [--seed N] [--some N | --all] [--out DIR]

A change that its own block does not refuse must be one of `FREE`, and one that nothing ever refuses one of `NEVER`; with `--all`
each of `FREE` that the logs have must happen. `--out` writes the changed logs, named by what was found, for others to judge.
Changes that leave the tree or a signature as it was are refused by those."""

import argparse
import base64
import collections
import pathlib
import pickle
import random
import sys

sys.dont_write_bytecode = True

import helpers
import changes
import exports
import strict
from canonical import Refused, decode, encode, sha3
from check import judge, run
from machine import Machine, Undecided, Wrong
from shapes import LEAF

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
    "Slash.first.units.digest": "either word, as long as they differ",
    "Slash.first.class": "a validator's word about its device",
    "Slash.second.units.digest": "either word, as long as they differ",
    "Slash.second.class": "a validator's word about its device",
    "Reserve.expires_ms": "the provider's word; it counts when the time has come",
    "a refused transaction": "it changes nothing, and is refused as before",
}
# What of it nothing notices in some of these logs, up to their ends.
NEVER = {
    "Seal.seal.time_ms", "Envelope.id", "OpenEpoch.nonce", "CloseRound.eligible.(one less)", "Reserve.expires_ms",
    "RecordVerdict.shards.votes.units.digest", "RecordVerdict.shards.votes.class", "RecordVerdict.shards.referee.class",
    "RecordVerdict.shards.referee.units.digest", "Slash.first.units.digest", "Slash.first.class",
    "Slash.second.units.digest", "Slash.second.class",
    "a refused transaction",
}
CHECKPOINT_SEED = bytes([4]) * 32
# Of one log, no more changes are written for others to judge.
MOST_OUT = 1_000


def called(names: tuple[str, ...], refused: bool) -> str:
    """A field's name, by what it is a field of: `Envelope.id`, `Settle.page`."""
    parts = [part for part in names if part != "body"]
    if parts[:2] == ["Transaction", "signed"]:
        parts = parts[2:] if parts[2][0].isupper() else ["Envelope", *parts[2:]]
        # Whoever refuses it has checked the envelope all the same.
        if refused and parts not in (["Envelope", "signed bytes"], ["Envelope", "key"], ["Envelope", "signature"]):
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
            for names, steps, change in changes.fields(LEAF, value, self.chain):
                yield at, called(names, refused), steps, change

    def make(self, at: int, steps, change) -> list[bytes]:
        """The leaves with one changed, and the chain of the seals after it made again."""
        leaves = list(self.leaves)
        leaves[at] = encode(changes.changed(decode(leaves[at]), steps, change))
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
    found = list(log.changes())
    changes.RANDOM.shuffle(found)
    if some is None:
        return found
    names, first, rest = set(), [], []
    for change in found:
        (rest if change[1] in names else first).append(change)
        names.add(change[1])
    return first + rest[: max(0, some - len(first))]


def flip(path: pathlib.Path, some: int | None, out: pathlib.Path | None):
    """Judges one log's changes; gives the names of those that their own block does not refuse, that nothing does, and of all."""
    log, count = Log(path.read_bytes()), collections.Counter()
    free, never, names = set(), set(), set()
    for number, (at, name, steps, change) in enumerate(chosen(log, some)):
        leaves = log.make(at, steps, change)
        leaf, later = log.ask(at, leaves)
        names.add(name)
        free |= {name} if later else set()
        never |= {name} if leaf is None else set()
        count["taken" if leaf is None else "refused later" if later else "refused in its block"] += 1
        if out and number < MOST_OUT:
            said = "taken" if leaf is None else f"refused-{leaf}"
            (out / f"{path.stem}-{number}-{said}.export").write_bytes(log.export(leaves))
    plain(path, log, count)
    print(f"{path.stem}: " + ", ".join(f"{number} {word}" for word, number in sorted(count.items())))
    return free, never, names


def plain(path: pathlib.Path, log: Log, count) -> None:
    """A bit of the file, with nothing made again."""
    data = path.read_bytes()
    for _ in range(60):
        at = changes.RANDOM.randrange(len(data))
        try:
            judge(data[:at] + bytes([data[at] ^ 1 << changes.RANDOM.randrange(8)]) + data[at + 1 :], log.key)
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
    changes.RANDOM.seed(arguments.seed)
    found = [flip(path, None if arguments.all else arguments.some, arguments.out) for path in arguments.files]
    free, never, names = (set().union(*sets) for sets in zip(*found))
    # A sample need not meet all that there is.
    unmet = FREE.keys() & names - free if arguments.all else set()
    wrong = {"free": free - FREE.keys(), "never noticed": never - NEVER, "noticed, though said to be free": unmet}
    for what, which in wrong.items():
        if which:
            print(f"{what}: {sorted(which)}; see FREE and NEVER in {__file__}", file=sys.stderr)
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
