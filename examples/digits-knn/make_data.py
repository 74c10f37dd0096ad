#!/usr/bin/env python3
"""Makes digits.npy, labels.npy and configmap.yaml from the digits that scikit-learn ships.

    python3 -m venv /tmp/knn && /tmp/knn/bin/pip install scikit-learn
    /tmp/knn/bin/python examples/digits-knn/make_data.py

Running it again gives the same bytes: npy headers carry no date, and the ConfigMap is written by hand.
"""

import base64
import pathlib

import numpy
from sklearn.datasets import load_digits

HERE = pathlib.Path(__file__).resolve().parent
FILES = ("digits.npy", "labels.npy")


def main() -> None:
    digits = load_digits()
    pixels = digits.data.astype(numpy.uint8)
    labels = digits.target.astype(numpy.uint8)
    # The source stores whole numbers as floats: nothing may be lost on the way.
    assert (pixels == digits.data).all() and (labels == digits.target).all()
    assert pixels.shape == (1797, 64) and pixels.max() == 16 and labels.max() == 9
    numpy.save(HERE / "digits.npy", numpy.ascontiguousarray(pixels))
    numpy.save(HERE / "labels.npy", numpy.ascontiguousarray(labels))
    (HERE / "configmap.yaml").write_text(configmap(), encoding="utf-8")


def configmap() -> str:
    lines = [
        "# Made by make_data.py. The data's source and licence: LICENSE-data.",
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        "  name: digits",
        "binaryData:",
    ]
    for name in FILES:
        lines.append(f"  {name}: {base64.b64encode((HERE / name).read_bytes()).decode()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
