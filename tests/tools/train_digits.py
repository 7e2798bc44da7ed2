"""Train the example models and write everything under ``manifests/local`` that is made from data.

    python tests/tools/train_digits.py [FOLDER]

v1 is a softmax regression, v2 a network with one hidden layer: a real step in accuracy on the half of scikit-learn's
digits (a copy of the UCI optical recognition test set, 1797 images of 8 x 8) that neither has seen. What is written is
plain JSON, so that loading a model runs no code, and scoring needs numpy only.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

FOLDER = Path(__file__).parents[2] / "manifests" / "local"

Array = NDArray[np.float64]


def held_out() -> tuple[Array, Array, Array, Array]:
    """Train and test images (n x 64, 0 to 16) and labels, always the same halves."""
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.5, random_state=0, stratify=labels
    )
    return train, train_labels, test, test_labels


def train_v1() -> list[tuple[Array, Array]]:
    """Layers of the softmax regression: weights (64 x 10) and bias (10)."""
    images, labels, _, _ = held_out()
    model = LogisticRegression(C=0.1, max_iter=2000, tol=1e-6).fit(images / 16, labels)
    return [(model.coef_.T, model.intercept_)]


def train_v2() -> list[tuple[Array, Array]]:
    """Layers of the network: 64 x 64 and 64 x 10."""
    images, labels, _, _ = held_out()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early on purpose: it generalises better
        model = MLPClassifier((64,), solver="lbfgs", alpha=1.0, max_iter=100, random_state=0).fit(images / 16, labels)
    return list(zip(model.coefs_, model.intercepts_, strict=True))


def predict(layers: Sequence[tuple[Array, Array]], images: Array) -> NDArray[np.int64]:
    """Digits of ``images``, the way ``score.py`` finds them, written down a second time."""
    values = images / 16
    for number, (weights, bias) in enumerate(layers, start=1):
        values = values @ weights + bias
        values = values if number == len(layers) else np.maximum(values, 0)
    return values.argmax(axis=1)


def artefact(about: str, layers: Sequence[tuple[Array, Array]]) -> dict[str, Any]:
    """What is stored of a model."""
    rounded = [(weights.round(4), bias.round(4)) for weights, bias in layers]
    _, _, images, labels = held_out()
    return {
        "about": about,
        "accuracy": round(float((predict(rounded, images) == labels).mean()), 4),
        "layers": [{"weights": weights.tolist(), "bias": bias.tolist()} for weights, bias in rounded],
    }


def main(folder: Path) -> None:
    """Write the artefacts and samples below ``folder``."""
    with threadpool_limits(1):  # the order of additions, and with it the last digits, depends on the threads
        models = {
            "v1": artefact("softmax regression on 8 x 8 pixels", train_v1()),
            "v2": artefact("network with 64 hidden units on 8 x 8 pixels", train_v2()),
        }
    for version, model in models.items():
        (folder / "digits" / version).mkdir(parents=True, exist_ok=True)
        (folder / "digits" / version / "weights.json").write_text(json.dumps(model, separators=(",", ":")) + "\n")
    _, _, images, _ = held_out()
    bodies = [json.dumps({"data": [image.astype(int).tolist()]}, separators=(",", ":")) for image in images]
    (folder / "samples").mkdir(exist_ok=True)
    (folder / "samples" / "digits.jsonl").write_text("\n".join(bodies) + "\n")
    (folder / "samples" / "digit.json").write_text(bodies[0] + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
