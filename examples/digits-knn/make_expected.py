#!/usr/bin/env python3
"""Makes expected.npy: what scikit-learn predicts for each digit from all the others.

Needs scikit-learn, as make_data.py does. The same rule written out in whole numbers must agree with it in every row, so
that expected.npy hangs neither on scikit-learn's version nor on how its threads break ties.
"""

import pathlib

import numpy
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

HERE = pathlib.Path(__file__).resolve().parent


def load() -> tuple[numpy.ndarray, numpy.ndarray]:
    return numpy.load(HERE / "digits.npy"), numpy.load(HERE / "labels.npy")


def by_scikit_learn() -> numpy.ndarray:
    pixels, labels = load()
    # Brute force and floats on purpose: the kd_tree and the uint8 path break ties in another way.
    classifier = KNeighborsClassifier(3, algorithm="brute")
    return cross_val_predict(classifier, pixels.astype(float), labels, cv=LeaveOneOut()).astype(numpy.uint8)


def by_the_rule() -> numpy.ndarray:
    """3 nearest others by squared distance, ties to the lower index; vote ties to the smallest label."""
    pixels, labels = load()
    pixels = pixels.astype(numpy.int64)
    predictions = numpy.empty(len(pixels), numpy.uint8)
    for item, row in enumerate(pixels):
        distance = ((pixels - row) ** 2).sum(axis=1)
        distance[item] = numpy.iinfo(numpy.int64).max
        nearest = numpy.argsort(distance, kind="stable")[:3]
        # argmax gives the first, so the smallest label, of equal counts.
        predictions[item] = numpy.bincount(labels[nearest], minlength=10).argmax()
    return predictions


def main() -> None:
    expected = by_scikit_learn()
    assert (expected == by_the_rule()).all(), "scikit-learn and the rule written out differ"
    numpy.save(HERE / "expected.npy", expected)


if __name__ == "__main__":
    main()
