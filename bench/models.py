"""The models of the engine's benchmark: well-known topologies with random weights, as exporters write them.

    python models.py FOLDER [NAME ...]        (needs numpy and onnx 1.17)

writes NAME.onnx, opset 17, for each of them: gemm-1024 gemm-2048 resnet18 resnet50 mobilenetv2 minilm bert-base vit-b16 gpt2. Weights are drawn from one seed and
scaled so that values stay within range; batch normalisation is folded, as torch's exporter does it. Every model has one symbolic dimension,
the batch; transformers of text have 128 tokens.
"""

import pathlib
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

SEED, TOKENS = 11, 128
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Builder:
    """A graph under construction. Methods add nodes and give the name of what comes out."""

    def __init__(self, name, inputs):
        self.name, self.nodes, self.constants, self.count = name, [], {}, 0
        self.rng = np.random.default_rng(SEED)
        self.inputs = [helper.make_tensor_value_info(n, kind, ["batch", *shape]) for n, kind, shape in inputs]

    def op(self, kind, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{kind.lower()}_{self.count}_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def const(self, value, dtype=None):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype, order="C")
        return name

    def weight(self, *shape, fan=None):
        fan = fan or int(np.prod(shape[1:]))
        return self.const(self.rng.normal(0, (1.5 / fan) ** 0.5, shape), np.float32)

    def bias(self, size):
        return self.const(self.rng.normal(0, 0.05, size), np.float32)

    def conv(self, x, inputs, outputs, kernel, stride=1, pad=0, groups=1):
        w = self.weight(outputs, inputs // groups, kernel, kernel)
        return self.op("Conv", x, w, self.bias(outputs), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)

    def linear(self, x, inputs, outputs):
        """As torch exports a Linear over tokens."""
        return self.op("Add", self.bias(outputs), self.op("MatMul", x, self.weight(inputs, outputs, fan=inputs)))

    def gemm(self, x, inputs, outputs):
        return self.op("Gemm", x, self.weight(outputs, inputs), self.bias(outputs), transB=1)

    def norm(self, x, size, epsilon):
        scale = self.const(self.rng.normal(1, 0.05, size), np.float32)
        return self.op("LayerNormalization", x, scale, self.bias(size), axis=-1, epsilon=epsilon)

    def gelu(self, x):
        inner = self.op("Erf", self.op("Div", x, self.const(2**0.5, np.float32)))
        outer = self.op("Mul", x, self.op("Add", inner, self.const(1, np.float32)))
        return self.op("Mul", outer, self.const(0.5, np.float32))

    def heads(self, x, tokens, heads, size, order):
        return self.op("Transpose", self.op("Reshape", x, self.const([-1, tokens, heads, size], np.int64)), perm=order)

    def attention(self, q, k, v, tokens, heads, size, mask=None):
        """Scaled dot products of `[batch, tokens, heads * size]` three times."""
        q = self.heads(q, tokens, heads, size, [0, 2, 1, 3])
        k = self.heads(k, tokens, heads, size, [0, 2, 3, 1])
        v = self.heads(v, tokens, heads, size, [0, 2, 1, 3])
        scores = self.op("Div", self.op("MatMul", q, k), self.const(size**0.5, np.float32))
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        joined = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.op("Reshape", joined, self.const([-1, tokens, heads * size], np.int64))

    def write(self, folder, output, shape):
        # A name that says what it is.
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        outputs = [helper.make_tensor_value_info("output", F32, ["batch", *shape])]
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model)
        save(model, folder / f"{self.name}.onnx")


def resnet(name, blocks, bottleneck):
    b = Builder(name, [("input", F32, (3, 224, 224))])
    x = b.op("Relu", b.conv("input", 3, 64, 7, 2, 3))
    x = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    have = 64
    for stage, count in enumerate(blocks):
        wide = 64 << stage
        out = wide * 4 if bottleneck else wide
        for at in range(count):
            stride = 2 if stage > 0 and at == 0 else 1
            skip = x if have == out and stride == 1 else b.conv(x, have, out, 1, stride)
            if bottleneck:
                y = b.op("Relu", b.conv(x, have, wide, 1))
                y = b.op("Relu", b.conv(y, wide, wide, 3, stride, 1))
                y = b.conv(y, wide, out, 1)
            else:
                y = b.op("Relu", b.conv(x, have, wide, 3, stride, 1))
                y = b.conv(y, wide, out, 3, 1, 1)
            x, have = b.op("Relu", b.op("Add", y, skip)), out
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    return b, b.gemm(x, have, 1000), (1000,)


def mobilenetv2(name):
    b = Builder(name, [("input", F32, (3, 224, 224))])
    zero, six = b.const(0, np.float32), b.const(6, np.float32)

    def relu6(x):
        return b.op("Clip", x, zero, six)

    x, have = relu6(b.conv("input", 3, 32, 3, 2, 1)), 32
    for expand, out, count, first in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for at in range(count):
            stride, wide = (first if at == 0 else 1), have * expand
            y = relu6(b.conv(x, have, wide, 1)) if expand > 1 else x
            y = relu6(b.conv(y, wide, wide, 3, stride, 1, groups=wide))
            y = b.conv(y, wide, out, 1)
            x, have = (b.op("Add", x, y) if stride == 1 and have == out else y), out
    x = relu6(b.conv(x, have, 1280, 1))
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    return b, b.gemm(x, 1280, 1000), (1000,)


def bert(name, layers, size, heads, words=30522):
    b = Builder(name, [("input_ids", I64, (TOKENS,)), ("attention_mask", I64, (TOKENS,))])
    x = b.op("Gather", b.weight(words, size, fan=size), "input_ids")
    x = b.op("Add", b.op("Add", x, b.weight(1, 1, size)), b.weight(1, TOKENS, size, fan=size))
    x = b.norm(x, size, 1e-12)
    mask = b.op("Unsqueeze", "attention_mask", b.const([1, 2], np.int64))
    mask = b.op("Sub", b.const(1, np.float32), b.op("Cast", mask, to=F32))
    mask = b.op("Mul", mask, b.const(np.finfo(np.float32).min))
    for _ in range(layers):
        q, k, v = (b.linear(x, size, size) for _ in range(3))
        y = b.attention(q, k, v, TOKENS, heads, size // heads, mask)
        x = b.norm(b.op("Add", b.linear(y, size, size), x), size, 1e-12)
        y = b.linear(b.gelu(b.linear(x, size, size * 4)), size * 4, size)
        x = b.norm(b.op("Add", y, x), size, 1e-12)
    return b, x, (TOKENS, size)


def vit(name, layers=12, size=768, heads=12):
    b = Builder(name, [("input", F32, (3, 224, 224))])
    tokens = 197
    x = b.op("Reshape", b.conv("input", 3, size, 16, 16), b.const([-1, size, 196], np.int64))
    x = b.op("Transpose", x, perm=[0, 2, 1])
    # One more token before the others, repeated for each image.
    batch = b.op("Slice", b.op("Shape", "input"), b.const([0], np.int64), b.const([1], np.int64))
    first = b.op("Expand", b.weight(1, 1, size), b.op("Concat", batch, b.const([1, size], np.int64), axis=0))
    x = b.op("Add", b.op("Concat", first, x, axis=1), b.weight(1, tokens, size, fan=size))
    for _ in range(layers):
        y = b.norm(x, size, 1e-6)
        q, k, v = (b.linear(y, size, size) for _ in range(3))
        x = b.op("Add", x, b.linear(b.attention(q, k, v, tokens, heads, size // heads), size, size))
        y = b.norm(x, size, 1e-6)
        x = b.op("Add", x, b.linear(b.gelu(b.linear(y, size, size * 4)), size * 4, size))
    x = b.op("Gather", b.norm(x, size, 1e-6), b.const(0, np.int64), axis=1)
    return b, b.gemm(x, size, 1000), (1000,)


def gpt2(name, layers=12, size=768, heads=12, words=50257):
    b = Builder(name, [("input_ids", I64, (TOKENS,))])
    table = b.rng.normal(0, size**-0.5, (words, size))
    x = b.op("Add", b.op("Gather", b.const(table, np.float32), "input_ids"), b.weight(1, TOKENS, size, fan=size))
    causal = np.where(np.tri(TOKENS, dtype=bool), 0, np.finfo(np.float32).min).reshape(1, 1, TOKENS, TOKENS)
    mask = b.const(causal, np.float32)

    def conv1d(x, inputs, outputs):
        """A product over all tokens at once, as the exporter writes this model's own kind of linear layer."""
        flat = b.op("Reshape", x, b.const([-1, inputs], np.int64))
        y = b.op("Gemm", flat, b.weight(inputs, outputs, fan=inputs), b.bias(outputs))
        return b.op("Reshape", y, b.const([-1, TOKENS, outputs], np.int64))

    def gelu_new(x):
        cube = b.op("Mul", b.op("Pow", x, b.const(3, np.float32)), b.const(0.044715, np.float32))
        inner = b.op("Mul", b.op("Add", x, cube), b.const((2 / np.pi) ** 0.5, np.float32))
        outer = b.op("Add", b.op("Tanh", inner), b.const(1, np.float32))
        return b.op("Mul", b.op("Mul", x, b.const(0.5, np.float32)), outer)

    for _ in range(layers):
        y = conv1d(b.norm(x, size, 1e-5), size, size * 3)
        q, k, v = b.op("Split", y, b.const([size] * 3, np.int64), outputs=3, axis=2)
        x = b.op("Add", conv1d(b.attention(q, k, v, TOKENS, heads, size // heads, mask), size, size), x)
        y = gelu_new(conv1d(b.norm(x, size, 1e-5), size, size * 4))
        x = b.op("Add", x, conv1d(y, size * 4, size))
    head = b.const(table.T, np.float32)
    return b, b.op("MatMul", b.norm(x, size, 1e-5), head), (TOKENS, words)


def gemm(name, size):
    b = Builder(name, [("input", F32, (size,))])
    return b, b.op("MatMul", "input", b.weight(size, size)), (size,)


def chain(name, nodes=1000):
    """Nodes that cost next to nothing and that nobody can make one of: what is left is the price of a node."""
    b = Builder(name, [("input", F32, (8,))])
    x = "input"
    for _ in range(nodes):
        x = b.op("Softmax", x, axis=-1)
    return b, x, (8,)


MODELS = {
    "gemm-1024": lambda name: gemm(name, 1024),
    "gemm-2048": lambda name: gemm(name, 2048),
    "resnet18": lambda name: resnet(name, (2, 2, 2, 2), False),
    "resnet50": lambda name: resnet(name, (3, 4, 6, 3), True),
    "mobilenetv2": mobilenetv2,
    "minilm": lambda name: bert(name, 6, 384, 12),
    "bert-base": lambda name: bert(name, 12, 768, 12),
    "vit-b16": vit,
    "gpt2": gpt2,
    "chain-1000": chain,
}


def main():
    folder, *names = sys.argv[1:]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or MODELS:
        if not (folder / f"{name}.onnx").exists():
            builder, output, shape = MODELS[name](name)
            builder.write(folder, output, shape)
            print(name, f"{(folder / f'{name}.onnx').stat().st_size / 1e6:.0f} MB", flush=True)


if len(sys.argv) < 2:
    sys.exit(__doc__)
main()
