#!/usr/bin/env python3
"""Makes options.npy and configmap.yaml: 2,048 made-up options. Needs nothing but Python.

    python3 make_data.py

Running it again gives the same bytes.
"""

import base64
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 2048
SEED = 2026


def draws(seed):
    """Numbers within 0 and 1 that look random and are the same everywhere: a linear congruence modulo 2^64, its upper 24 bits."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (state >> 40) / 2**24


def options():
    """Spot, strike, years and volatility of each; what a float has no room for is cut by struct."""
    draw = draws(SEED)
    for _ in range(COUNT):
        spot = 50 + 100 * next(draw)
        strike = spot * (0.7 + 0.6 * next(draw))
        yield spot, strike, 0.05 + 1.95 * next(draw), 0.1 + 0.5 * next(draw)


def npy(descr, shape, data):
    """An array in npy format, version 1, as numpy writes it."""
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


def main():
    rows = [number for option in options() for number in option]
    array = npy("<f4", (COUNT, 4), struct.pack(f"<{len(rows)}f", *rows))
    (HERE / "options.npy").write_bytes(array)
    lines = [
        "# Made by make_data.py.",
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        "  name: american-puts",
        "binaryData:",
        f"  options.npy: {base64.b64encode(array).decode()}",
    ]
    (HERE / "configmap.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
