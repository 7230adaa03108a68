"""Advice about one's own lineage: what is asked, the study that answers it, and the answer in words."""

from collapse_lab.engine.recommend.ask import UNREACHABLE, recommend
from collapse_lab.engine.recommend.book import Book
from collapse_lab.engine.recommend.words import words

__all__ = ["UNREACHABLE", "Book", "recommend", "words"]
