#!/usr/bin/env python3
"""Compares puts.npy, as `orion result` wrote it, with the same formulas in 64-bit floats. Needs nothing but Python.

    python3 check.py puts.npy

Exit 0: within the tolerance. Exit 1: not. Exit 2: no such file, or something else in it.
"""

import math
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 2048
STEPS = 128
RATE = 0.03
# Of a price, in the money that spot and strike are in: 50 to 200.
TOLERANCE = 0.0002
# Trees take long in Python: of so many options one is compared. Black and Scholes are compared for all.
EVERY = 8


def rows(path, width):
    """An array of COUNT rows of float32 in npy format, version 1."""
    file = pathlib.Path(path).read_bytes()
    end = 10 + int.from_bytes(file[8:10], "little")
    header = f"'descr': '<f4', 'fortran_order': False, 'shape': ({COUNT}, {width})"
    if file[:8] != b"\x93NUMPY\x01\x00" or header not in file[10:end].decode("latin-1"):
        print(f"{path} is no array of {COUNT} x {width} float32", file=sys.stderr)
        sys.exit(2)
    return list(struct.iter_unpack(f"<{width}f", file[end:]))


def american(spot, strike, years, volatility):
    """By a binomial tree."""
    step = years / STEPS
    spread = volatility * math.sqrt(step)
    up, down, growth = math.exp(spread), math.exp(-spread), math.exp(RATE * step)
    above = (growth - down) / (up - down) / growth
    below = 1 / growth - above
    exercise = [strike - spot * math.exp(spread * (level - STEPS)) for level in range(2 * STEPS + 1)]
    value = [max(exercise[2 * node], 0.0) for node in range(STEPS + 1)]
    for left in range(STEPS - 1, -1, -1):
        for node in range(left + 1):
            value[node] = max(above * value[node + 1] + below * value[node], exercise[2 * node - left + STEPS])
    return value[0]


def european(spot, strike, years, volatility):
    """By Black and Scholes."""
    spread = volatility * math.sqrt(years)
    d = (math.log(spot / strike) + RATE * years) / spread + spread / 2
    below = lambda x: math.erfc(x / math.sqrt(2)) / 2
    return strike * math.exp(-RATE * years) * below(d - spread) - spot * below(d)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        options, puts = rows(HERE / "options.npy", 4), rows(sys.argv[1], 2)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    by_tree = [abs(puts[at][0] - american(*options[at])) for at in range(0, COUNT, EVERY)]
    by_formula = [abs(put[1] - european(*option)) for put, option in zip(puts, options)]
    print(f"american: {len(by_tree)} of {COUNT} compared, the farthest off by {max(by_tree):.6f}")
    print(f"european: {COUNT} of {COUNT} compared, the farthest off by {max(by_formula):.6f}")
    good = max(by_tree + by_formula) <= TOLERANCE
    print(f"{'all' if good else 'not all'} within {TOLERANCE} of the same in 64 bits")
    return 0 if good else 1


sys.exit(main())
