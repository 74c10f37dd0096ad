"""The public conformance suite: which of its tests are ours, and its files.

    onnx_suite.py list            prints the tests within our operators and types, and their count (needs the package onnx==1.17.0)
    onnx_suite.py fetch FOLDER    puts the suite's files into FOLDER/data (needs pip)

The suite comes with the Python package `onnx` 1.17.0 (Apache-2.0), later versions of which hold no files. The list is committed as
tests/onnx_conformance/list.txt, so that what counts is fixed before anything runs.
"""

import pathlib
import sys

PACKAGE = "onnx==1.17.0"
DATA = "onnx/backend/test/data/"

OPERATORS = set(
    """
    Abs Add And ArgMax AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv Cos CumSum Div Dropout Equal Erf Exp
    Expand Flatten Gather Gelu Gemm GlobalAveragePool Greater GreaterOrEqual HardSigmoid HardSwish Identity LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mod Mul Neg Not Or Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceSum Relu
    Reshape ScatterND Shape Sigmoid Sin Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Trilu Unsqueeze Where
    """.split()
)


def types(graph):
    """Every element type that a graph names."""
    from onnx import TensorProto

    for value in [*graph.input, *graph.output, *graph.value_info]:
        # What is no tensor has type 0, which is none of ours.
        yield value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0
    for tensor in graph.initializer:
        yield tensor.data_type
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t.data_type
            if node.op_type == "Cast" and attribute.name == "to":
                yield attribute.i
            if attribute.name in ("value_string", "value_strings"):
                yield TensorProto.STRING


def ours():
    """Names of the node tests within our operators and types."""
    import onnx

    float_, int32, int64, bool_ = 1, 6, 7, 9
    root = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
    for folder in sorted(root.iterdir()):
        graph = onnx.load(folder / "model.onnx").graph
        operators = {node.op_type if node.domain in ("", "ai.onnx") else "?" for node in graph.node}
        if operators <= OPERATORS and set(types(graph)) <= {float_, int32, int64, bool_}:
            yield folder.name


def fetch(into):
    """Unpacks the suite's files; what is there already stays."""
    done = into / "data" / "complete"
    if done.exists():
        return
    # Not before: where the files are already, little of Python may be there.
    import subprocess
    import tempfile
    import zipfile

    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        # Any platform's wheel holds the same files.
        pip += ["--platform", "manylinux2014_x86_64", "--python-version", "3.11", "--dest", scratch, PACKAGE]
        subprocess.run(pip, check=True)
        (wheel,) = pathlib.Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith((DATA + "node/", DATA + "light/")) and not name.endswith("/"):
                    target = into / "data" / name.removeprefix(DATA)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))
    done.touch()


match sys.argv[1:]:
    case ["list"]:
        names = list(ours())
        print(*names, sep="\n")
        # Beside the list, which is a file.
        print(f"{len(names)} tests within {len(OPERATORS)} operators and 4 types", file=sys.stderr)
    case ["fetch", folder]:
        fetch(pathlib.Path(folder))
    case _:
        sys.exit(__doc__)
