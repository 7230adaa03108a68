"""What a verifier of synthetic data must do for training on the kept samples to recover the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

SOURCE = "Feng et al. 2024, arXiv 2406.07515"


def threshold(right: Any, wrong: Any) -> np.ndarray:
    """Return p* = 1/(1 + ψ/φ), the error rate of the generator under which its kept samples still teach the truth.

    Parameters
    ----------
    right
        φ, the chance that the verifier keeps a right sample, above 0.
    wrong
        ψ, the chance that it keeps a wrong one. 0: a perfect verifier, p* = 1; ψ = φ: it keeps at random, p* = ½.
    """
    right, wrong = np.asarray(right, dtype=float), np.asarray(wrong, dtype=float)
    return right / (right + wrong)


def kept_error(rate: Any, right: Any, wrong: Any) -> np.ndarray:
    """Return the share of wrong samples among the kept ones, pψ/(pψ + (1 − p)φ); ½ at the threshold."""
    rate, right, wrong = (np.asarray(x, dtype=float) for x in (rate, right, wrong))
    return rate * wrong / (rate * wrong + (1 - rate) * right)
