"""Numbers as the page writes them: three digits to read, six to keep."""

from __future__ import annotations

import numpy as np


def number(value: float | None) -> str:
    """Return three significant digits, a true minus, and a dash for nothing."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"
    return text.replace("-", "−")


def percent(part: float | None) -> str:
    """Return a share in per cent, or a dash."""
    return "–" if part is None else f"{number(100 * part)} %"


def span(row: dict[str, float] | None) -> str:
    """Return 'median [lower, upper]'; without an interval, the value alone."""
    if row is None:
        return "–"
    if not np.isfinite(row["low"]):
        return number(row["median"])
    return f"{number(row['median'])} [{number(row['lower'])}, {number(row['upper'])}]"


def six_digits(value: float) -> float | None:
    """Return 6 significant digits; JSON has no infinity."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
