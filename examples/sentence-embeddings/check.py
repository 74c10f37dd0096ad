#!/usr/bin/env python3
"""Compares embeddings.npy, as `orion result` wrote it, with what others make of the same model. Run prepare.py before it.

    python check.py embeddings.npy          (in the virtual environment of prepare.py)
    python check.py --make embeddings.npy   writes onnxruntime's, to try search.py without a cluster

Three comparisons: our word pieces with those of the tokenizer in the model's package; the vectors with onnxruntime's on the
same graph; and onnxruntime's, of some rows, with the model written out in numpy, in double precision, straight from the weights.

Exit 0: the word pieces are equal, and all numbers less than 1e-5 apart. Exit 1: not. Exit 2: a file is missing, or no such array.
"""

import argparse
import math
import pathlib
import sys

sys.dont_write_bytecode = True

import numpy as np
import onnxruntime
import safetensors.numpy
import tokenizers

import prepare

HERE = pathlib.Path(__file__).resolve().parent
MOST = 1e-5
# A row in so many is computed in numpy.
STRIDE = 8
# What texts.txt does not have: accents, signs, other scripts, control characters, words that the vocabulary cannot make.
AWKWARD = (
    "",
    " \t\n",
    "Crème brûlée à la carte",
    "ÅNGSTRÖM İstanbul ﬁne",
    "don't (stop)--now!",
    "$5 + 3^2 = 14 ~ <tag> `x`",
    "機械学習 and 한국어",
    "Привет, мир",
    "naïve\u0301 zero\u200bwidth \u00a0 space\u2028line",
    "bell\x07 nul\0 \ufffd",
    "😀 ok",
    "Donaudampfschifffahrtsgesellschaftskapitän",
    "x" * 101,
    "[MASKED] [CL S]",
    "１２３ ⅷ ½",
    "“quotes” – dashes — …",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", type=pathlib.Path)
    parser.add_argument("--make", action="store_true", help="write onnxruntime's instead")
    arguments = parser.parse_args()
    try:
        ids, mask = np.load(HERE / "ids.npy"), np.load(HERE / "mask.npy")
        model = (HERE / "model.onnx").read_bytes()
        ours = None if arguments.make else np.load(arguments.embeddings)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2

    theirs = by_onnxruntime(model, ids, mask)
    if ours is None:
        with arguments.embeddings.open("wb") as file:
            np.save(file, theirs)
        return 0
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        print(f"{arguments.embeddings} is {ours.dtype} {ours.shape}, not {theirs.dtype} {theirs.shape}", file=sys.stderr)
        return 2

    different = differing_texts()
    for text in different:
        print(f"word pieces: other ones than the package's for {text!r}")
    if not different:
        print("word pieces: equal to the package's tokenizer in all texts")
    rows = range(0, len(ids), STRIDE)
    written_out = by_numpy(ids[::STRIDE], mask[::STRIDE])
    off = np.abs(ours - theirs).max(), np.abs(theirs[::STRIDE] - written_out).max()
    print(f"embeddings and onnxruntime's: at most {off[0]:.1e} apart in {len(ids)} rows")
    print(f"onnxruntime's and numpy's: at most {off[1]:.1e} apart in {len(rows)} rows")
    # A NaN is not below anything.
    return 0 if not different and all(apart < MOST for apart in off) else 1


def differing_texts() -> list[str]:
    """Texts that our word pieces and the package's differ in."""
    theirs = tokenizers.Tokenizer.from_str(prepare.packaged("tokenizer.json").decode())
    theirs.no_truncation()
    theirs.no_padding()
    ours = prepare.WordPiece(prepare.packaged("vocab.txt").decode())
    texts = [*prepare.lines("texts.txt"), *prepare.lines("queries.txt"), *AWKWARD]
    return [text for text in texts if ours.numbers_of(text) != theirs.encode(text).ids]


def by_onnxruntime(model: bytes, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["sentence_embedding"], dict(zip(prepare.INPUTS, (ids, mask))))[0]


def by_numpy(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each row alone and without its padding, so that it also shows that padding changes nothing."""
    weights = safetensors.numpy.load(prepare.packaged("model.safetensors"))
    weights = {name: values.astype(np.float64) for name, values in weights.items()}
    return np.stack([vector(weights, row[keep == 1]) for row, keep in zip(ids, mask)])


def vector(weights: dict[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
    """The model's vector for one text."""

    def dense(name, x):
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return unit * weights[name + ".weight"] + weights[name + ".bias"]

    def heads(x):
        return x.reshape(len(x), 12, 32).swapaxes(0, 1)

    tables = "word", "position", "token_type"
    words, positions, types = (weights[f"embeddings.{table}_embeddings.weight"] for table in tables)
    x = norm("embeddings.LayerNorm", words[ids] + types[0] + positions[: len(ids)])
    for layer in (f"encoder.layer.{number}." for number in range(6)):
        q, k, v = (heads(dense(f"{layer}attention.self.{part}", x)) for part in ("query", "key", "value"))
        shares = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(32))
        mixed = shares / shares.sum(-1, keepdims=True) @ v
        joined = mixed.swapaxes(0, 1).reshape(len(ids), 384)
        x = norm(layer + "attention.output.LayerNorm", x + dense(layer + "attention.output.dense", joined))
        inner = dense(layer + "intermediate.dense", x)
        inner = inner / 2 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(layer + "output.LayerNorm", x + dense(layer + "output.dense", inner))
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except prepare.Refused as refused:
        sys.exit(f"check: {refused}")
