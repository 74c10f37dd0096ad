#!/usr/bin/env python3
"""Compares the files that `orion result` or `orion run` wrote into a folder with what plain Python finds. Needs nothing else.

    python3 check.py [FOLDER]

Exit 0: equal. Exit 1: not. Exit 2: a file is missing, or holds something else.
"""

import itertools
import math
import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
WINDOW, UNIT, BOX, LETTERS = 128, 16, b"TATAAA", b"ACTG"


def array(path: pathlib.Path) -> tuple[tuple, tuple]:
    """Shape and numbers of an npy file of version 1."""
    file = path.read_bytes()
    end = 10 + int.from_bytes(file[8:10], "little")
    found = re.search(rb"'descr': '(\S+)', 'fortran_order': False, 'shape': \(([^)]*)\)", file[10:end])
    if file[:8] != b"\x93NUMPY\x01\x00" or not found:
        raise ValueError(f"{path} is no npy file of version 1.0")
    code = {b"|u1": "B", b"<u4": "I", b"<i8": "q"}[found[1]]
    shape = tuple(int(dim) for dim in found[2].split(b",") if dim.strip())
    return shape, struct.unpack(f"<{math.prod(shape)}{code}", file[end:])


def expected() -> dict[str, tuple[tuple, tuple]]:
    sequence = (HERE / "sequence.npy").read_bytes()[-32_768:]
    near = lambda at: sum(a != b for a, b in zip(sequence[at : at + 6], BOX)) <= 1
    places = [at for at in range(len(sequence) - 5) if near(at)]
    counts = [sum(at // WINDOW == window for at in places) for window in range(len(sequence) // WINDOW)]
    words, runs = [], []
    for first in range(0, len(sequence), WINDOW * UNIT):
        mine = range(first, first + WINDOW * UNIT)
        seen = [sequence[at : at + 3] for at in mine]
        words.append([seen.count(bytes(word)) for word in itertools.product(LETTERS, repeat=3)])
        after = lambda at: len(sequence) - at - len(sequence[at:].lstrip(sequence[at : at + 1]))
        runs.append([max((after(at) for at in mine if sequence[at] == letter), default=0) for letter in LETTERS])
    flat = lambda rows: tuple(itertools.chain(*rows))
    return {
        "places.values": ((len(places),), tuple(places)),
        "places.offsets": ((len(counts) + 1,), (0, *itertools.accumulate(counts))),
        "place-counts": ((len(counts),), tuple(counts)),
        "words": ((4, 4, 4), tuple(map(sum, zip(*words)))),
        "words.units": ((len(words), 4, 4, 4), flat(words)),
        "longest-run": ((4,), tuple(map(max, zip(*runs)))),
        "longest-run.units": ((len(runs), 4), flat(runs)),
    }


def main() -> int:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    want, different = expected(), []
    for name, right in want.items():
        try:
            have = array(folder / f"{name}.npy")
        except (OSError, ValueError, KeyError, struct.error) as error:
            print(error, file=sys.stderr)
            return 2
        if have != right:
            different.append(name)
    if different:
        print(f"not what Python finds: {', '.join(different)}")
        return 1
    (places,), counts = want["places.values"][0], want["place-counts"][1]
    print(f"{places} boxes, at most {max(counts)} in a window; {counts.count(0)} windows have none")
    print(f"{sum(want['words'][1]):,} words; the longest runs of A, C, T, G: {want['longest-run'][1]}")
    print(f"equal to plain Python in all {len(want)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
