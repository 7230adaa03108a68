"""A small classifier of real images, learned once at generation 0: its last hidden layer is a feature space."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from collapse.data import Rows, Schema
from collapse.rng import Rng

#: Units of the hidden layers; the last is the feature space.
HIDDEN = (128, 32)
EPOCHS, BATCH = 30, 64
#: Rows of one pass through the layers.
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Classifier:
    """A perceptron with rectified hidden layers: weights (in, out) and biases (out,), layer by layer.

    Trained by scikit-learn on other real rows than the reference, so that what it says of the reference is honest. It
    is stored with generation 0 and read, never trained again, by every later node. Reading it needs NumPy alone.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @staticmethod
    def fit(rows: Rows) -> Classifier:
        """Return the classifier of labelled images, R = 1."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        assert rows.label is not None and rows.schema.label is not None
        network = MLPClassifier(HIDDEN, batch_size=min(BATCH, rows.n), max_iter=EPOCHS, n_iter_no_change=EPOCHS,
                                random_state=Rng("frame", "classifier").seed(0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
            network.fit(pixels(rows)[0], rows.label[0])
        weights, biases = list(network.coefs_), list(network.intercepts_)
        weights[-1], biases[-1] = _by_code(weights[-1], biases[-1], network.classes_, len(rows.schema.label.categories))
        return Classifier(tuple(weights), tuple(biases))

    @staticmethod
    def blank(schema: Schema) -> Classifier:
        """Return a classifier that has learned nothing, for a plan that asks what would be measured."""
        assert schema.label is not None
        sizes = (_image(schema).width, *HIDDEN, len(schema.label.categories))
        shapes = list(pairwise(sizes))
        return Classifier(tuple(np.zeros(s) for s in shapes), tuple(np.zeros(s[1]) for s in shapes))

    def embed(self, rows: Rows) -> np.ndarray:
        """Return the last hidden layer of images, (R, n, 32)."""
        x = pixels(rows)
        out = np.empty((*x.shape[:2], HIDDEN[-1]))
        for r in range(len(x)):  # one replicate at a time: what runs beside it changes no bit
            for start in range(0, x.shape[1], CHUNK):
                h = x[r, start : start + CHUNK]
                for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
                    h = np.maximum(h @ weight + bias, 0)
                out[r, start : start + CHUNK] = h
        return out

    def classify(self, embedded: np.ndarray) -> np.ndarray:
        """Return the code of the likeliest class of embedded rows (R, n, 32), (R, n)."""
        return (embedded @ self.weights[-1] + self.biases[-1]).argmax(axis=2)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.numpy import save_file

        save_file({f"{name}.{i}": np.ascontiguousarray(a) for name, arrays in
                   (("weight", self.weights), ("bias", self.biases)) for i, a in enumerate(arrays)}, path)

    @staticmethod
    def load(path: Path) -> Classifier:
        """Return the classifier that :meth:`save` wrote."""
        from safetensors.numpy import load_file

        found = load_file(path)
        weights, biases = (tuple(found[f"{name}.{i}"] for i in range(len(HIDDEN) + 1)) for name in ("weight", "bias"))
        return Classifier(weights, biases)


def _by_code(weight: np.ndarray, bias: np.ndarray, codes: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the output layer with a unit per code: one for two classes becomes two, and an absent class never wins."""
    if weight.shape[1] < len(codes):
        weight, bias = np.concatenate([-weight, weight], axis=1) / 2, np.concatenate([-bias, bias]) / 2
    out, lean = np.zeros((len(weight), classes)), np.full(classes, -np.inf)
    out[:, codes], lean[codes] = weight, bias
    return out, lean


def applies(schema: Schema) -> bool:
    """Return whether a classifier can be learned: there are images, and labels."""
    return schema.label is not None and any(column.kind == "image" for column in schema.numeric)


def _image(schema: Schema):
    return next(column for column in schema.numeric if column.kind == "image")


def pixels(rows: Rows) -> np.ndarray:
    """Return the first image column flattened, (R, n, d)."""
    image = rows[_image(rows.schema).name]
    return image.reshape(*image.shape[:2], -1).astype(np.float64)
