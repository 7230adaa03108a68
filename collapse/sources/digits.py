"""Real handwritten digits, bundled with scikit-learn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from collapse.data import Column, Rows, Schema
from collapse.sources.base import Source

_LABELS = tuple("0123456789")


class Digits(Source):
    """The 1,797 real 8 × 8 digits of the UCI optical-recognition test set, ink from 0 (none) to 1 (full).

    Source: Alpaydin and Kaynak 1998, UCI "Optical Recognition of Handwritten Digits"; read from scikit-learn.
    """

    kind: ClassVar[str] = "digits"
    real_inputs: ClassVar[tuple[str, ...]] = ("category set of label (10)",)

    def load(self) -> Rows:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        schema = Schema((Column("image", "image", shape=(8, 8)), Column("label", "category", _LABELS, role="label")))
        image = (bunch.images / 16).astype(np.float32)  # sixteenths are exact in float32
        return Rows(schema, {"image": image[None], "label": bunch.target.astype(np.int32)[None]})
