#!/usr/bin/env python3
"""Prints the three sentences of texts.txt that are nearest to each question of queries.txt. Needs nothing but Python.

    python3 search.py embeddings.npy     as `orion result` wrote it: first the sentences' rows, then the questions'

Exit 0: the sentence whose line queries.txt names is the nearest every time. Exit 1: not. Exit 2: no such file, or no vectors in it.
"""

import ast
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
WIDTH = 384
BEST = 3


class NotEmbeddings(Exception):
    """The file holds something else than a vector a text."""


def read(path: str, count: int) -> list[tuple[float, ...]]:
    """The rows of a float32 array of this many vectors, in npy format, version 1."""
    file = pathlib.Path(path).read_bytes()
    end = 10 + int.from_bytes(file[8:10], "little")
    try:
        header = ast.literal_eval(file[10:end].decode("latin-1").strip())
    except (SyntaxError, ValueError) as error:
        raise NotEmbeddings(f"{path} has no readable header") from error
    expected = {"descr": "<f4", "fortran_order": False, "shape": (count, WIDTH)}
    if file[:8] != b"\x93NUMPY\x01\x00" or header != expected or len(file) - end != count * WIDTH * 4:
        raise NotEmbeddings(f"{path} is no npy file, version 1.0, of {count} rows of {WIDTH} float32: {header}")
    return list(struct.iter_unpack(f"<{WIDTH}f", file[end:]))


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    texts = (HERE / "texts.txt").read_text(encoding="utf-8").splitlines()
    queries = [line.split("\t") for line in (HERE / "queries.txt").read_text(encoding="utf-8").splitlines()]
    try:
        vectors = read(sys.argv[1], len(texts) + len(queries))
    except (OSError, NotEmbeddings) as error:
        print(error, file=sys.stderr)
        return 2

    right = 0
    for (query, expected), vector in zip(queries, vectors[len(texts) :]):
        # All vectors have length 1: the product is the cosine of the angle between them.
        cosines = [sum(map(float.__mul__, vector, other)) for other in vectors[: len(texts)]]
        nearest = sorted(range(len(texts)), key=lambda at: -cosines[at])[:BEST]
        right += nearest[0] + 1 == int(expected)
        print(query)
        for at in nearest:
            print(f"  {cosines[at]:.3f}  {texts[at]}")
    print(f"{right} of {len(queries)} questions found their answer first")
    return 0 if right == len(queries) else 1


if __name__ == "__main__":
    sys.exit(main())
