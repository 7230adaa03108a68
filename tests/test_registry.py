"""A kind of one's own that lacks something says so, with its file, before anything is made of it."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from collapse import registry
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.loop import split
from collapse.models.base import Model
from collapse.rng import Rng
from collapse.sources.base import Source

HEAD = "from collapse.{group}.base import {base}\n"
MODEL = "class Own(Model):\n    kind = 'own'\n    def sample(self, *_): ...\n"
FACT = "from collapse.metrics.base import Fact\nclass Own(Metric):\n    kind = 'own'\n" \
       "    def measure(self, *_): ...\n" \
       "    facts = {{'own': Fact('{family}', 1.0, 'below', 'm', 's', below='{below}')}}\n"
WRONG = {
    "no fit": ("models", MODEL, "collapse/models/own.py: Own must define fit or solve or learn"),
    "no sample": ("models", "class Own(Model):\n    kind = 'own'\n    def fti(self, *_): ...\n",
                  "Own must define sample or answer or make"),
    "no rule": ("regimes", "class Own(Regime):\n    kind = 'own'\n",
                "collapse/regimes/own.py: Own must define next_pool"),
    "no rows": ("sources", "class Own(Source):\n    kind = 'own'\n", "Own must define load or divide or draw"),
    "no model": ("models", "class Own:\n    kind = 'own'\n",
                 "Own is no Model; it must extend collapse.models.base.Model"),
    "a family": ("metrics", FACT.format(family="sprad", below=""), "own has family 'sprad'; did you mean 'spread'?"),
    "a side": ("metrics", FACT.format(family="spread", below="spread lots"), "did you mean 'spread lost'?"),
    "no class": ("metrics", "own = 1\n", "collapse/metrics/own.py defines no class of kind 'own'"),
    "syntax": ("models", "class Own(Model)\n", "own.py, line 2: expected ':'"),
    "an import": ("models", "import collapse.rngg\n", "collapse/models/own.py cannot be imported: No module named "
                                                      "'collapse.rngg'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_kind_lacks_is_one_line(tmp_path, monkeypatch, what):
    group, text, message = WRONG[what]
    base = registry.CONTRACTS[group][0]
    (tmp_path / "own.py").write_text(HEAD.format(group=group, base=base) + text)
    package = importlib.import_module(f"collapse.{group}")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    registry.names.cache_clear()
    try:
        with pytest.raises(InputError) as found:
            registry.find(group, "own")
    finally:
        sys.modules.pop(f"collapse.{group}.own", None)
        registry.names.cache_clear()
    assert message in str(found.value) and "\n" not in str(found.value)


SCHEMA = Schema((Column("x", "number"),))


def rows(replicates: int, n: int) -> Rows:
    return Rows(SCHEMA, {"x": np.zeros((replicates, n))})


def test_rows_of_another_number_are_refused_where_they_are_made():
    class Short(Model):
        kind = "short"

        def sample(self, parameters, schema, n, rng):
            return rows(2, n - 1)

    with pytest.raises(NodeError, match="model short made 9 rows a replicate where 10 were asked"):
        Short().make({}, SCHEMA, 10, Rng(1), lambda: rows(2, 10))

    class Swapped(Source):
        kind = "swapped"
        finite = False

        def draw(self, n, replicates, rng):
            return rows(n, replicates)

    with pytest.raises(InputError, match="source swapped drew 5000 replicates of 1 rows where 1 of 5000 were asked"):
        split(Swapped(), 10, 2, Rng(1))
