#!/usr/bin/env python3
"""Compares predictions.npy, as `orion result` wrote it, with scikit-learn's predictions, and prints the accuracy.

    python3 check.py predictions.npy                 against expected.npy; needs nothing but Python
    python3 check.py --scikit-learn predictions.npy  against predictions that scikit-learn makes now

Exit 0: equal in every row. Exit 1: not. Exit 2: no such file, or no predictions in it.
"""

import argparse
import ast
import pathlib
import sys

sys.dont_write_bytecode = True

HERE = pathlib.Path(__file__).resolve().parent


class NotPredictions(Exception):
    """The file holds something else than one byte a digit."""


def read(path: pathlib.Path) -> bytes:
    """The bytes of a one-dimensional uint8 array in npy format, version 1."""
    file = path.read_bytes()
    if file[:8] != b"\x93NUMPY\x01\x00":
        raise NotPredictions(f"{path} is no npy file of version 1.0")
    end = 10 + int.from_bytes(file[8:10], "little")
    try:
        header = ast.literal_eval(file[10:end].decode("latin-1").strip())
    except (SyntaxError, ValueError) as error:
        raise NotPredictions(f"{path} has no readable header") from error
    if header != {"descr": "|u1", "fortran_order": False, "shape": (len(file) - end,)}:
        raise NotPredictions(f"{path} is not a row of uint8: {header}")
    return file[end:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predictions", type=pathlib.Path)
    parser.add_argument("--scikit-learn", action="store_true", help="let scikit-learn predict now")
    arguments = parser.parse_args()
    try:
        predictions = read(arguments.predictions)
    except (OSError, NotPredictions) as error:
        print(error, file=sys.stderr)
        return 2
    labels = read(HERE / "labels.npy")
    if arguments.scikit_learn:
        import make_expected

        expected = make_expected.by_scikit_learn().tobytes()
    else:
        expected = read(HERE / "expected.npy")

    if len(predictions) != len(expected):
        print(f"{len(predictions)} predictions, expected {len(expected)}")
        return 1
    different = [row for row, pair in enumerate(zip(predictions, expected)) if pair[0] != pair[1]]
    right = sum(ours == label for ours, label in zip(predictions, labels))
    print(f"accuracy: {right:,} of {len(labels):,} right ({100 * right / len(labels):.2f} %)")
    if different:
        print(f"differs from scikit-learn in {len(different)} rows, first in row {different[0]}")
        return 1
    print(f"equal to scikit-learn in all {len(expected):,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
