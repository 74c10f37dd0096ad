"""Trains the small convolutional network of this example and writes it as ONNX, with the images that it has not seen.

    python train.py            (needs numpy, onnx 1.17 and the files of ../digits-knn)

writes model.onnx, images.npy (float32, [597, 64]) and labels.npy of the last third of the digits, and configmap.yaml with the first two, and
prints the figures. The other two thirds are what it learns from. The seed is fixed; another machine may round differently and write another, equally good model, which is why the
files are committed.
"""

import base64
import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent / "digits-knn"
SEED, EPOCHS, BATCH, RATE = 7, 60, 64, 2e-3
CHANNELS = (16, 32)


def patches(x):
    """[n, c, h, w] -> [n, h * w, c * 9]: the 3 x 3 surroundings of each pixel, zeros around the image."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return np.stack(taps, axis=2).reshape(n, c * 9, h * w).transpose(0, 2, 1)


def scatter(grad, shape):
    """What `patches` gathered, given back."""
    n, c, h, w = shape
    grad = grad.transpose(0, 2, 1).reshape(n, c, 9, h, w)
    padded = np.zeros((n, c, h + 2, w + 2), np.float32)
    for tap in range(9):
        i, j = divmod(tap, 3)
        padded[:, :, i : i + h, j : j + w] += grad[:, :, tap]
    return padded[:, :, 1:-1, 1:-1]


def conv(x, weight, bias):
    """3 x 3, same size."""
    n, _, h, w = x.shape
    columns = patches(x)
    out = columns @ weight.reshape(len(weight), -1).T + bias
    return out.transpose(0, 2, 1).reshape(n, len(weight), h, w), columns


def conv_back(grad, columns, shape, weight):
    n, o, h, w = grad.shape
    flat = grad.reshape(n, o, h * w).transpose(0, 2, 1)
    dw = np.tensordot(flat, columns, ((0, 1), (0, 1))).reshape(weight.shape)
    return scatter(flat @ weight.reshape(o, -1), shape), dw, flat.sum((0, 1))


def pool(x):
    """The largest of each 2 x 2."""
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    return cells.max(-1), cells.argmax(-1)


def pool_back(grad, best):
    n, c, h, w = grad.shape
    cells = np.zeros((n, c, h, w, 4), np.float32)
    np.put_along_axis(cells, best[..., None], grad[..., None], -1)
    return cells.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)


def forward(x, p):
    image = x.reshape(-1, 1, 8, 8) / np.float32(16)
    a, columns_a = conv(image, p["w1"], p["b1"])
    ra = np.maximum(a, 0)
    pa, best_a = pool(ra)
    b, columns_b = conv(pa, p["w2"], p["b2"])
    rb = np.maximum(b, 0)
    pb, best_b = pool(rb)
    flat = pb.reshape(len(x), -1)
    logits = flat @ p["w3"] + p["b3"]
    return logits, (image, columns_a, a, pa, best_a, columns_b, b, pb, best_b, flat)


def gradients(x, y, p):
    logits, (image, columns_a, a, pa, best_a, columns_b, b, pb, best_b, flat) = forward(x, p)
    e = np.exp(logits - logits.max(1, keepdims=True))
    grad = e / e.sum(1, keepdims=True)
    grad[np.arange(len(y)), y] -= 1
    grad /= len(y)
    out = {"w3": flat.T @ grad, "b3": grad.sum(0)}
    back = (grad @ p["w3"].T).reshape(pb.shape)
    back = pool_back(back, best_b) * (b > 0)
    back, out["w2"], out["b2"] = conv_back(back, columns_b, pa.shape, p["w2"])
    back = pool_back(back, best_a) * (a > 0)
    _, out["w1"], out["b1"] = conv_back(back, columns_a, image.shape, p["w1"])
    return out


def train(x, y):
    rng = np.random.default_rng(SEED)
    one, two = CHANNELS

    def normal(fan, *shape):
        return rng.normal(0, (2 / fan) ** 0.5, shape).astype(np.float32)

    p = {
        "w1": normal(9, one, 1, 3, 3),
        "b1": np.zeros(one, np.float32),
        "w2": normal(one * 9, two, one, 3, 3),
        "b2": np.zeros(two, np.float32),
        "w3": normal(two * 4, two * 4, 10),
        "b3": np.zeros(10, np.float32),
    }
    first, second = ({k: np.zeros_like(v) for k, v in p.items()} for _ in range(2))
    step = 0
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
            step += 1
            for k, g in gradients(x[rows], y[rows], p).items():
                first[k] += 0.1 * (g - first[k])
                second[k] += 0.001 * (g * g - second[k])
                mean, square = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
                p[k] = (p[k] - RATE * mean / (square**0.5 + 1e-8)).astype(np.float32)
    return p


def export(p):
    """The network as ONNX: pixels from 0 to 16 in, probabilities and the likeliest digit out."""
    weights = {k: (v.T if k == "w3" else v) for k, v in p.items()}
    constants = {
        **{k: np.ascontiguousarray(v, np.float32) for k, v in weights.items()},
        "sixteen": np.array(16, np.float32),
        "image": np.array([-1, 1, 8, 8], np.int64),
    }
    same, two = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Div", ["pixels", "sixteen"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "image"], ["images"]),
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], **same),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], **two),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], **same),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], **two),
        helper.make_node("Flatten", ["p2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["digit"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "digits-cnn",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("digit", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def configmap(*names):
    lines = ["# Made by train.py. The data's source and licence: LICENSE-data.", "apiVersion: v1", "kind: ConfigMap", "metadata:"]
    lines += ["  name: digits-cnn", "binaryData:"]
    lines += [f"  {name}: {base64.b64encode((HERE / name).read_bytes()).decode()}" for name in names]
    return "\n".join(lines) + "\n"


def main():
    x, y = np.load(DATA / "digits.npy").reshape(-1, 64).astype(np.float32), np.load(DATA / "labels.npy")
    cut = 1200
    p = train(x[:cut], y[:cut])
    right = {name: int((forward(x[rows], p)[0].argmax(1) == y[rows]).sum()) for name, rows in
             [("seen", slice(0, cut)), ("unseen", slice(cut, None))]}
    (HERE / "model.onnx").write_bytes(export(p).SerializeToString())
    np.save(HERE / "images.npy", x[cut:])
    np.save(HERE / "labels.npy", y[cut:])
    (HERE / "configmap.yaml").write_text(configmap("model.onnx", "images.npy"))
    print(f"right: {right['seen']} of {cut} seen, {right['unseen']} of {len(x) - cut} not seen")


main()
