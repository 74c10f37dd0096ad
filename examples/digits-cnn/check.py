#!/usr/bin/env python3
"""Compares digit.npy, as `orion result` wrote it, with the labels, and prints the accuracy. Needs nothing but Python.

    python3 check.py digit.npy

Exit 0: as right as in training. Exit 1: not. Exit 2: no such file, or something else in it.
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 597
# What the network gets right of what it has not seen: printed by train.py.
EXPECTED = 567


def rows(path, descr, code):
    """A one-dimensional array of COUNT numbers in npy format, version 1."""
    file = pathlib.Path(path).read_bytes()
    end = 10 + int.from_bytes(file[8:10], "little")
    header = f"'descr': '{descr}', 'fortran_order': False, 'shape': ({COUNT},)"
    if file[:8] != b"\x93NUMPY\x01\x00" or header not in file[10:end].decode("latin-1"):
        sys.exit(f"{path} is no row of {COUNT} {descr}")
    return struct.unpack(f"<{COUNT}{code}", file[end:])


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        digits = rows(sys.argv[1], "<i8", "q")
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    labels = rows(HERE / "labels.npy", "|u1", "B")
    right = sum(digit == label for digit, label in zip(digits, labels))
    print(f"accuracy: {right} of {COUNT} right ({100 * right / COUNT:.2f} %)")
    return 0 if right == EXPECTED else 1


sys.exit(main())
