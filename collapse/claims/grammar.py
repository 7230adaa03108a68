"""Reads the claims of a study file: the grammar that :mod:`collapse.claims.statements` lists, into what it judges."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from collapse.calibration import STAGES
from collapse.claims.judge import Claim
from collapse.claims.records import Series, Span
from collapse.claims.statements.band import Leaves, Stays
from collapse.claims.statements.base import LEVEL, Statement
from collapse.claims.statements.bias import Bias
from collapse.claims.statements.change import NONE, Keeps, LevelsOff, Margin, Trend
from collapse.claims.statements.compare import Compare
from collapse.claims.statements.referred import DESIGNS, Design, Law
from collapse.claims.statements.stage import BEYOND, Reaches, Share, Warns
from collapse.errors import InputError, nearest

#: Metrics whose fact has no ideal for all data: a sentence on their bias must say what is true.
NO_TRUTH = ("fit_share", "fit_simpson", "fit_survivors")
#: What a series may be of; it is of the median if it says neither.
CENTRES = ("median", "mean")


def parse_claims(items: Sequence[Any], where: str, branches: Mapping[str, Span], metrics: Collection[str],
                 laws: Collection[str] = ()) -> tuple[Claim, ...]:
    """Return the claims of a study file.

    ``metrics`` are names, or facts by name (:func:`collapse.metrics.facts`), which know the truth of a bias.

    Raises
    ------
    InputError
        Naming the file, ``claims[i]``, the word that is wrong and the nearest right one.
    """
    return tuple(_claim(item, f"{where}: claims[{i}]", branches, metrics, laws) for i, item in enumerate(items))


def parse_series(text: str, where: str, branches: Mapping[str, Span], metrics: Collection[str]) -> Series:
    """Return the series that ``text`` names, as a claim would.

    Raises
    ------
    InputError
        Naming the word that is wrong and the nearest right one.
    """
    sentence = _Sentence(text, where, branches, metrics)
    series = sentence.series()
    sentence.end("series")
    return series


def _claim(item: Any, where: str, branches: Mapping[str, Span], metrics: Collection[str],
           laws: Collection[str]) -> Claim:
    if isinstance(item, str):
        item = {"claim": item}
    if not isinstance(item, dict) or not ("claim" in item) ^ ("law" in item):
        raise InputError(f"{where} must be a sentence, or a mapping {{claim: …, source: …}} or {{law: …, branch: …}}")
    keys = ("claim", "source") if "claim" in item else ("law", "branch", "feature", "source")
    for key, value in item.items():
        if key not in keys:
            raise InputError(f"{where}.{key} is not a key{nearest(key, keys)}")
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{where}.{key} must be text")
    source = item.get("source", "")
    if "claim" in item:
        text = " ".join(item["claim"].split())
        sentence = _Sentence(text, where, branches, metrics)
        statement = sentence.statement()
        return Claim(text, source, sentence.subject, statement)
    if item["law"] not in laws:
        raise InputError(f"{where}.law: '{item['law']}' is not a law{nearest(item['law'], laws)}")
    branch = item.get("branch", "")
    if branch not in branches:
        raise InputError(f"{where}.branch: '{branch}' is not a branch{nearest(branch, branches)}")
    feature = item.get("feature", "")
    text = f"{branch} follows {item['law']}" + (f"[{feature}]" if feature else "")
    return Claim(text, source, branch, Law(item["law"], branch, feature))


class _Sentence:
    """Reads a claim from left to right; every word is checked where it stands."""

    #: A series with its feature in brackets, a per cent sign, or a word.
    WORD: ClassVar[re.Pattern[str]] = re.compile(r"[^\s\[\]]+\[[^\[\]]+\]|%|[^\s%]+")
    SERIES: ClassVar[re.Pattern[str]] = re.compile(r"([^.\s]+)\.([^.\s\[\]]+)(?:\[(.+)\])?")

    def __init__(self, text: str, where: str, branches: Mapping[str, Span], metrics: Collection[str]):
        self.words = self.WORD.findall(text)
        self.place, self.subject = 0, ""
        self.where, self.branches, self.metrics = where, branches, metrics

    def statement(self) -> Statement:
        if not self.words:
            raise InputError(f"{self.where} is empty; write a sentence such as 'control is healthy in 95 % of cells'")
        if (text := " ".join(self.words)) in DESIGNS:
            self.place = len(self.words)
            return Design(text)
        subject = self.words[1] if self.words[0] in CENTRES and len(self.words) > 1 else self.words[0]
        found = self.about_series() if "." in subject else self.about_branch()
        self.end("claim")
        return found

    def end(self, what: str) -> None:
        """Refuse words after the end."""
        if self.place < len(self.words):
            raise self.wrong(f"'{self.words[self.place]}' is one word too many; the {what} could end before it")

    def about_series(self) -> Statement:
        series = self.series()
        verb: Any = self.word("leaves", "stays", "falls", "rises", "levels", "does", "amplifies", "keeps", "corrects",
                              "<", ">")
        if verb in ("leaves", "stays") and series.mean:
            raise self.wrong("a band is held against the median over replicates; leave 'mean' out")
        if verb == "leaves":
            self.phrase("the", "control", "band")
            side: Any = self.word("below", "above") if self.next() in ("below", "above") else "either"
            return Leaves(series, side, self.generation("by", series.branch))
        if verb == "stays":
            self.phrase("inside", "the", "control", "band")
            return Stays(series, self.generation("until", series.branch))
        if verb in ("falls", "rises"):
            if self.next() == "and":
                self.phrase("and", "levels", "off")
                return self.levels(series, verb)
            return self.trend(series, verb)
        if verb == "levels":
            self.phrase("off")
            return self.levels(series, "either")
        if verb == "does":
            self.phrase("not")
            return self.kept(series, self.word("fall", "rise"))
        if verb == "keeps" and self.next() != "its":
            return self.kept(series, "either")
        if verb in ("amplifies", "keeps", "corrects"):
            return self.bias(series, verb)
        return self.comparison(series, verb)

    def trend(self, series: Series, direction: Literal["falls", "rises"]) -> Trend:
        margin = NONE
        if self.next() == "by":
            self.phrase("by", "more", "than")
            margin = self.margin()
        return Trend(series, direction, *self.span(series), margin)

    def kept(self, series: Series, side: Any) -> Keeps:
        if side == "either":
            self.phrase("within")
        elif self.place == len(self.words) or self.next() in ("until", "at"):
            raise self.wrong(f"that it does not {side} wants a margin: 'does not {side} by more than 10 %', or a "
                             f"number in the units of {series.metric}")
        else:
            self.phrase("by", "more", "than")
        margin = self.margin()
        first, until, level = self.span(series)
        return Keeps(series, side, first, until, margin, level)

    def levels(self, series: Series, direction: Any) -> LevelsOff:
        if self.place == len(self.words) or self.next() in ("until", "at"):
            raise self.wrong(f"that it levels off wants a margin: 'levels off within 10 %', or a number in the units "
                             f"of {series.metric}")
        self.phrase("within")
        margin = self.margin()
        if not margin.size:
            raise self.wrong("no series levels off within 0; use what change is too small to matter")
        first, until, level = self.span(series)
        return LevelsOff(series, direction, first, until, margin, level)

    def margin(self) -> Margin:
        size = self.number()
        if size < 0:
            raise self.wrong(f"{size:g} is no margin; use a number of 0 or more")
        relative = self.next() == "%"
        if relative:
            self.phrase("%")
        return Margin(size, relative)

    def span(self, series: Series) -> tuple[int, int, float]:
        """Return the first and last generation and the level of '[until generation N] [at P %]'."""
        span = self.branches[series.branch]
        until = span.last if self.next() == "at" else self.generation("until", series.branch)
        if until <= span.first:
            raise self.wrong(f"a trend needs two generations, and '{series.branch}' begins at {span.first}")
        if self.next() != "at":
            return span.first, until, LEVEL
        self.phrase("at")
        level = self.number()
        self.phrase("%")
        if not 50 <= level < 100:
            raise self.wrong(f"{level:g} % is no level; use 50 to 99.9")
        return span.first, until, round(level / 100, 9)

    def bias(self, series: Series, verb: Literal["amplifies", "keeps", "corrects"]) -> Bias:
        if self.words[0] == "median":
            raise self.wrong(f"a bias is of the mean over replicates; leave 'median' out before {series.name}")
        self.phrase("its", "bias")
        margin = 0.0
        if verb == "keeps":
            if self.next() != "within":
                raise self.wrong("that it keeps its bias wants a margin: 'keeps its bias within 10 %', of all of it")
            self.phrase("within")
            margin = self.number()
            self.phrase("%")
            if not 0 < margin < 100:
                raise self.wrong(f"{margin:g} % is no margin of a bias; use more than 0 and less than 100")
        truth = first = until = None
        choices = ["around", "from", "until"]
        while self.place < len(self.words) and choices:
            word = self.word(*choices)
            choices = choices[choices.index(word) + 1 :]
            if word == "around":
                truth = self.number()
                continue
            self.place -= 1
            if word == "from":
                first = self.generation("from", series.branch)
            else:
                until = self.generation("until", series.branch)
        span = self.branches[series.branch]
        first, until = span.first if first is None else first, span.last if until is None else until
        if until <= first:
            raise self.wrong(f"a gain needs two generations, and there is none between {first} and {until}")
        known = self.truth(series.metric) if truth is None else truth
        return Bias(replace(series, mean=True), verb, known, first, until, round(margin / 100, 9))

    def truth(self, metric: str) -> float:
        """Return a metric's ideal, if a mean over replicates can lie on either side of it whatever the data."""
        fact = self.metrics[metric] if isinstance(self.metrics, Mapping) else None
        if fact is None or metric in NO_TRUTH or fact.collapse == "above" or not np.isfinite(fact.ideal):
            bias = "; 'fit_bias' is a share less the true one" if metric == "fit_share" else ""
            raise self.wrong(f"what is true of '{metric}' depends on the data; add 'around NUMBER' after 'bias'{bias}")
        return fact.ideal

    def comparison(self, left: Series, sign: Literal["<", ">"]) -> Compare:
        word = self.next()
        right = self.series(left.mean) if word in CENTRES or ("." in word and not _is_number(word)) else self.number()
        if isinstance(right, Series) and right.mean != left.mean:
            raise self.wrong(f"a mean is compared with a mean; write 'mean' before {left.name} too, or leave it out")
        if isinstance(right, Series) and right == left:
            raise self.wrong(f"{left.name} is compared with itself, which no data can refute; name another series")
        branches = [left.branch] + ([right.branch] if isinstance(right, Series) else [])
        margin = 0.0
        if isinstance(right, Series) and self.next() in ("+", "-"):
            margin = (1 if self.take("a sign") == "+" else -1) * self.number()
        return Compare(left, sign, right, self.generation("at", *branches), margin)

    def about_branch(self) -> Statement:
        branch = self.branch(self.take("a branch"))
        verb = self.word("reaches", "avoids", "warns", "is")
        if verb == "warns":
            self.phrase("before", "late")
            return Warns(branch)
        if verb == "is":
            stage = self.word(*STAGES)
            self.phrase("in")
            if self.next() == "at":
                self.phrase("at", "least")
            percent = self.number()
            if not 0 < percent <= 100:
                raise self.wrong(f"{percent:g} is not a percentage that can fail; use a number above 0, up to 100")
            self.phrase("%", "of", "cells")
            return Share(branch, stage, percent)
        return Reaches(branch, self.word(*BEYOND), self.generation("by", branch), verb == "avoids")

    # ------------------------------------------------------------------------------ words and numbers

    def wrong(self, text: str) -> InputError:
        return InputError(f"{self.where}: {text}")

    def next(self) -> str:
        return self.words[self.place] if self.place < len(self.words) else ""

    def take(self, what: str) -> str:
        if self.place == len(self.words):
            raise self.wrong(f"ends after '{self.words[-1]}'; {what} must follow")
        self.place += 1
        return self.words[self.place - 1]

    def word(self, *choices: str) -> str:
        found = self.take(" or ".join(f"'{c}'" for c in choices))
        if found not in choices:
            raise self.wrong(f"'{found}' cannot stand here{nearest(found, choices)}")
        return found

    def phrase(self, *words: str) -> None:
        for word in words:
            self.word(word)

    def branch(self, name: str) -> str:
        if name not in self.branches:
            raise self.wrong(f"'{name}' is not a branch{nearest(name, self.branches)}")
        self.subject = self.subject or name
        return name

    def series(self, mean: bool = False) -> Series:
        if self.next() in CENTRES:
            mean = self.take("a series") == "mean"
        text = self.take("a series such as replace.tail_ratio")
        match = self.SERIES.fullmatch(text)
        if match is None:
            raise self.wrong(f"'{text}' is not BRANCH.METRIC or BRANCH.METRIC[FEATURE]")
        branch, metric, feature = match.groups()
        if metric not in self.metrics:
            raise self.wrong(f"'{metric}' is not a metric{nearest(metric, self.metrics)}")
        return Series(self.branch(branch), metric, feature or "", mean)

    def number(self) -> float:
        text = self.take("a number")
        if not _is_number(text) or not np.isfinite(float(text)):
            raise self.wrong(f"'{text}' is not a number")
        return float(text)

    def generation(self, preposition: str, *branches: str) -> int:
        """Return N of '[by generation N]', which every one of ``branches`` must have; else their last common one."""
        first = max(self.branches[name].first for name in branches)
        last = min(self.branches[name].last for name in branches)
        if self.place == len(self.words):
            return last
        self.phrase(preposition, "generation")
        text = self.take("a whole number")
        if not text.isdecimal() or not text.isascii():
            raise self.wrong(f"'{text}' is not a generation; use a whole number")
        if not first <= int(text) <= last:
            raise self.wrong(f"generation {text} is not one of '{branches[-1]}', which has {first} to {last}")
        return int(text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", text, re.ASCII) is not None
