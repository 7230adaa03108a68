"""Metrics of a raw fresh sample against the frozen reference, one file per idea."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse.data import Rows
    from collapse.frame import Frame
    from collapse.metrics.base import Fact, Measurement


def measure_all(sample: Rows, previous: Rows | None, frame: Frame,
                training: Callable[[], Rows] | None = None) -> list[Measurement]:
    """Measure ``sample`` with every registered metric that applies, and its step from ``previous``.

    ``training`` returns what the model was trained on, for the metrics that ask for it.
    """
    from collapse import registry

    found: list[Measurement] = []
    for name in registry.names("metrics"):
        if frame.chosen is not None and name not in frame.chosen:
            continue
        metric = registry.find("metrics", name)()
        if not metric.applies(sample.schema):
            continue
        found += metric.measure(sample, frame)
        if metric.trained and training is not None:
            found += metric.against(sample, training(), frame)
        if previous is not None:
            found += metric.step(sample, previous, frame)
    return found


def facts() -> dict[str, Fact]:
    """Return what every metric means, by name: the registered, those with a step as ``NAME_step``, the models' own."""
    from dataclasses import replace

    from collapse import registry

    found: dict[str, Fact] = {}
    for kind in registry.names("metrics"):
        for name, fact in registry.find("metrics", kind).facts.items():
            found[name] = fact
            if fact.step:
                meaning = f"{fact.meaning}; here from the previous generation's sample"
                found[f"{name}_step"] = replace(fact, meaning=meaning, collapse="either", step=False, below="",
                                                above="")
    for kind in registry.names("models"):
        found |= registry.find("models", kind).facts
    return found
