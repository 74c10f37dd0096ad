#!/usr/bin/env python3
"""Makes sequence.npy, a made-up genome of 32,768 bases, and configmap.yaml. Needs nothing but Python; running it again gives the same bytes."""

import base64
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
LENGTH = 32_768


def bases() -> bytes:
    """Letters from a linear congruential generator; now and then one is repeated, as in real genomes."""
    state, out = 1, bytearray()
    while len(out) < LENGTH:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        repeat = 1 + (state >> 33) % 9 if (state >> 40) % 64 == 0 else 1
        out += b"ACGT"[state >> 62 : (state >> 62) + 1] * repeat
    return bytes(out[:LENGTH])


def npy(data: bytes) -> bytes:
    """One dimension of uint8, as NumPy writes it."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(data)},), }}"
    text += " " * (21 - len(str(len(data))))
    text += " " * (64 - (10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def main() -> None:
    file = npy(bases())
    (HERE / "sequence.npy").write_bytes(file)
    lines = [
        "# Made by make_data.py.",
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        "  name: dna-motifs",
        "binaryData:",
        f"  sequence.npy: {base64.b64encode(file).decode()}",
    ]
    (HERE / "configmap.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
