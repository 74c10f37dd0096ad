#!/usr/bin/env python3
"""Checks an export of the ledger by rules of its own, with nothing but the log's public key.

    python3 ledger/checker/check.py log.export --key orion.vkey

`--key` takes the key's text, or a file that holds it. Exit 0: everything follows. 1: something is proven wrong, and it says
which leaf. 2: it cannot be decided: the file or the key cannot be read, or the log holds kinds that this checker does not know.
Needs Python 3.10 or later and nothing else."""

import argparse
import pathlib
import sys

sys.dont_write_bytecode = True

import helpers
import exports
from canonical import Refused
from machine import Machine, Undecided, Wrong


def judge(data: bytes, key: exports.Key) -> Machine:
    """The ledger as it is after the last seal; `Wrong` or `Refused` when something is."""
    note, leaves = exports.read(data)
    size, root = exports.checkpoint(note, key)
    whole = exports.Tree()
    for leaf in leaves:
        whole.push(exports.leaf_hash(leaf))
    if len(leaves) != size or whole.root() != root:
        raise Refused(f"the {len(leaves)} leaves hash to {whole.root().hex()}, signed is {size} with {root.hex()}")
    machine = Machine(key.chain, key.key)
    run(machine, exports.Tree(), leaves)
    return machine


def run(machine: Machine, tree: exports.Tree, leaves) -> None:
    for leaf in leaves:
        tree.push(exports.leaf_hash(leaf))
        machine.leaf(leaf, tree)
    if machine.pending or machine.state is None:
        raise Wrong(machine.base + len(machine.pending), "the log ends without the seal of its last block")


def read_key(text: str) -> exports.Key:
    return exports.Key(text if text.count("+") >= 2 else pathlib.Path(text).read_text(encoding="utf-8").strip())


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks an export of the ledger, independently of the ledger's code.")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--key", required=True, help="the log's public key (orion.vkey): its text, or the file")
    arguments = parser.parse_args()
    if not __debug__:
        print("cannot be decided: Python leaves checks out with -O", file=sys.stderr)
        return 2
    try:
        key, data = read_key(arguments.key), arguments.file.read_bytes()
    except (OSError, UnicodeDecodeError, Refused) as error:
        print(f"cannot be decided: {error}", file=sys.stderr)
        return 2
    try:
        machine = judge(data, key)
    except Undecided as error:
        print(f"cannot be decided: {error}; a newer checker may know it", file=sys.stderr)
        return 2
    except (Wrong, Refused) as error:
        print(f"wrong: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # A fault of the checker proves nothing; Python's own exit code would say that it does.
        print(f"cannot be decided: the checker failed: {error!r}", file=sys.stderr)
        return 2
    books = machine.state.books
    print(f"proven: {machine.base} leaves in {machine.height} blocks, state {machine.state_hash.hex()}, totals {books.sums}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
