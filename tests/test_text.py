"""Text: tokens and blocks, sources and their division, n-gram models by brute force, metrics on small cases."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse import loop, tokenisers
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.frame import Frame
from collapse.lineage.plan import build
from collapse.metrics import measure_all
from collapse.metrics._corpus import frozen
from collapse.metrics._ngrams import Counts, Packing, Smoothed, different, hashed
from collapse.metrics.diversity import segmental, zipf_exponent
from collapse.metrics.repetition import self_bleu
from collapse.models.ngram import Ngram
from collapse.parquet import content_hash, read_part, write_part
from collapse.pool import Part, Pool
from collapse.regimes.accumulate import Accumulate
from collapse.regimes.replace import Replace
from collapse.report.texts import Texts, _apart, figures
from collapse.rng import Rng
from collapse.sources.pydoc import _documents
from collapse.sources.text import Text
from collapse.sources.wikitext import Wikitext, articles
from collapse_lab.tasks.expectations.counts import profile

LETTERS = "abcdefghij"


def rows_of(tokens: np.ndarray, size: int) -> Rows:
    """Rows of a text column whose vocabulary are letters, from tokens (R, n, L)."""
    column = Column("text", "text", tuple(chr(97 + i) for i in range(size)), (tokens.shape[2],))
    return Rows(Schema((column,)), {"text": tokens.astype(np.int32)})


def markov(n: int, length: int, size: int = 8, seed: int = 0, replicates: int = 1) -> np.ndarray:
    """Rows (R, n, L) of a Markov chain with a few likely successors."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(np.random.default_rng(99).dirichlet(np.full(size, 0.4), size), axis=1)
    out = rng.integers(size, size=(replicates, n, length))
    for t in range(1, length):
        u = rng.random((replicates, n, 1)) * steps[-1, -1]
        out[:, :, t] = (u > steps[out[:, :, t - 1]]).sum(axis=2).clip(0, size - 1)
    return out


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """Documents of a few hundred words with Zipf's frequencies."""
    rng = np.random.default_rng(5)
    words = np.array(["".join(rng.choice(list(LETTERS), rng.integers(2, 8))) for _ in range(400)])
    shares = 1 / np.arange(1, 401)
    shares /= shares.sum()
    return [" ".join(words[rng.choice(400, rng.integers(30, 90), p=shares)]) + f" §{i}§" for i in range(160)]


@pytest.fixture(scope="module")
def folder(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file per document."""
    where = tmp_path_factory.mktemp("texts")
    for number, document in enumerate(documents):
        (where / f"{number:03d}.txt").write_text(document, encoding="utf-8")
    return where


# -------------------------------------------------------------------------------------------- columns


def test_a_text_part_is_read_as_it_was_written_and_can_be_read_by_people(tmp_path):
    import pyarrow.parquet as pq

    rows = rows_of(markov(7, 5, replicates=2), 8)
    part = Part.of(rows, "s-real", 0, synthetic=False)
    hashes = write_part(part, tmp_path / "a.parquet", "s")
    assert write_part(part, tmp_path / "b.parquet", "s") == hashes  # equal rows, equal bytes
    again = read_part(tmp_path / "a.parquet").rows()
    assert np.array_equal(again["text"], rows["text"]) and again.schema == rows.schema
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["replicate", "text", "text_tokens"]
    assert table["text"][0].as_py() == "".join(chr(97 + t) for t in rows["text"][0, 0])
    other = rows["text"].copy()
    other[1, 3, 2] ^= 1
    flat = {"text": other.reshape(-1, 5)}
    assert content_hash(rows.schema, part.counts, flat) != hashes[0]
    counted = profile(table, rows.schema, 2)
    assert (counted.rows == 14).all() and not counted[["strange", "unusable", "unknown"]].any(axis=None)


def test_the_profile_sees_tokens_outside_the_vocabulary_and_another_length(tmp_path):
    rows = rows_of(np.full((1, 3, 5), 2), 8)
    table = __import__("pyarrow.parquet").parquet
    write_part(Part.of(rows, "s-real", 0, synthetic=False), tmp_path / "a.parquet", "s")
    small = rows_of(np.zeros((1, 1, 5)), 2).schema
    assert profile(table.read_table(tmp_path / "a.parquet"), small, 1).unknown.sum() == 15
    short = rows_of(np.zeros((1, 1, 4)), 8).schema
    found = profile(table.read_table(tmp_path / "a.parquet"), short, 1)
    assert found.strange.tolist() == [0, 1]  # the text itself, and its tokens


def test_bytes_that_are_no_character_show_as_such():
    column = Column("text", "text", ("\xc3", "\xa9", "a"), (2,))
    assert column.decode(np.array([[0, 1], [0, 2], [2, 2]])) == ["é", "\ufffda", "aa"]


# ----------------------------------------------------------------------------------------- tokenisers


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=60))
def test_byte_pairs_give_back_any_text(text):
    tokeniser = _bpe()
    column = Column("text", "text", tokeniser.vocabulary, (4,))
    tokens = tokeniser.encode([text])
    assert tokens[-1] == tokeniser.end and (tokens[:-1] != tokeniser.end).all()
    assert column.decode(tokens[None, :-1]) == [text.encode("utf-8", "replace").decode()]


def _bpe(cache: dict = {}) -> tokenisers.Tokeniser:  # noqa: B006
    if not cache:
        cache["it"] = tokenisers.make("bpe", ["the cat sat on the mat", "the hat of the cat <|end|> é"] * 5, 300)
    return cache["it"]


def test_the_end_of_a_document_is_no_text():
    tokeniser = _bpe()
    assert (tokeniser.encode(["a <|end|> b"]) == tokeniser.end).sum() == 1


def test_a_tokeniser_is_the_same_in_another_process(documents):
    sizes = {"bpe": 320, "characters": None, "words": None}
    own = [hashlib.sha256(tokenisers.make(kind, documents[:60], size).json.encode()).hexdigest()
           for kind, size in sizes.items()]
    code = ("import sys, json, hashlib; from collapse import tokenisers; sizes, documents = json.load(sys.stdin); "
            "print(*[hashlib.sha256(tokenisers.make(kind, documents, size).json.encode()).hexdigest() "
            "for kind, size in sizes.items()])")
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps([sizes, documents[:60]]), text=True,
                          capture_output=True, check=True, env=environment)
    assert done.stdout.split() == own


@pytest.mark.parametrize("kind", tokenisers.KINDS)
def test_a_tokeniser_can_be_loaded_from_its_json(kind, documents):
    from tokenizers import Tokenizer

    made = tokenisers.make(kind, documents[:20], 300 if kind == "bpe" else None)
    loaded = Tokenizer.from_str(made.json)
    loaded.encode_special_tokens = True
    assert loaded.encode(documents[3]).ids == made.encode([documents[3]])[:-1].tolist()


def test_words_and_characters_give_back_text_but_for_white_space():
    words = tokenisers.make("words", ["one two\nthree  two"], None)
    column = Column("text", "text", words.vocabulary, (4,))
    tokens = words.encode(["two three\nfour"])
    assert column.decode(tokens[None, :-1]) == ["two three \n<unk> "]
    characters = tokenisers.make("characters", ["abé"], None)
    column = Column("text", "text", characters.vocabulary, (4,))
    assert column.decode(characters.encode(["éab"])[None, :-1]) == ["éab"]


def test_the_byte_table_is_a_bijection():
    from tokenizers import pre_tokenizers

    table = tokenisers.byte_level()
    assert sorted(table.values()) == list(range(256)) and set(table) == set(pre_tokenizers.ByteLevel.alphabet())


# -------------------------------------------------------------------------------------------- sources


def test_documents_are_held_out_whole_and_budgets_are_exact(folder):
    source = Text(path=str(folder), tokeniser="characters", block=16, unknown="replace")
    parts = loop.split(source, 40, 3, Rng(1, "s", 0))
    column = parts.reference.schema["text"]

    def whole(rows: Rows) -> set[str]:
        text = "".join(column.decode(rows["text"].reshape(-1, 16)))
        return {piece for piece in text.split("§")[1::2] if piece.isdigit()}

    # Blocks are shuffled, so marks may be cut: those that are whole never stand on both sides.
    assert not whole(parts.bank) & whole(parts.reference) and len(whole(parts.bank)) > 20
    assert parts.first["text"].shape == (3, 40, 16)
    share = parts.reference["text"].size / (parts.bank["text"].size + parts.reference["text"].size)
    assert 0.28 < share < 0.35
    assert parts.found["tokens"]["bank"] == parts.bank["text"].size
    assert hashlib.sha256(parts.files["tokeniser.json"].encode()).hexdigest() == parts.found["tokeniser_sha256"]


def test_the_tokeniser_knows_only_the_bank(folder):
    source = Text(path=str(folder), tokeniser="words", block=8)
    division = source.divide(0.3, Rng(2, "s"))
    own = set(division.bank.schema["text"].pieces)
    used = {division.bank.schema["text"].pieces[t] for t in np.unique(division.bank["text"])}
    assert len(own - used) < 10  # unknown, the end of a line, and what the last block cuts off
    assert (division.reference["text"] == 1).any()  # the marks of held-out documents are unknown


def test_a_single_file_is_cut_at_blank_lines_or_a_separator(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffone\ntwo\n\n \nthree\r\n\r\nfour", encoding="utf-8")
    assert Text(path=str(tmp_path / "a.txt")).documents() == ["one\ntwo", "three", "four"]
    assert Text(path=str(tmp_path / "*.txt"), separator="t").documents() == ["one\n", "wo\n\n \n", "hree\n\nfour"]


def test_articles_are_the_documents_of_wikitext():
    text = "\n = One = \n\n body a \n\n = = Part = = \n\n more \n\n = Two of 2 = \n\n body b \n"
    assert [a.split()[1] for a in articles(text)] == ["One", "Two"]
    assert "more" in articles(text)[0]


def test_wikitext_keeps_its_official_division(tmp_path, monkeypatch):
    (tmp_path / "wikitext-2").mkdir()
    for part in ("train", "test"):
        text = "".join(f" \n = {part} {i} = \n\n {part} word{i} <unk> . \n" for i in range(9))
        (tmp_path / "wikitext-2" / f"{part}.txt").write_text(text, encoding="utf-8")
    monkeypatch.setenv("COLLAPSE_DATA_DIR", str(tmp_path))
    division = Wikitext(tokeniser="words", block=4).divide(0.3, Rng(1))
    names = {piece.decode().strip() for piece in division.bank.schema["text"].pieces}
    assert "train" in names and "test" not in names
    assert division.found["documents"] == {"bank": 9, "reference": 9}


def test_the_documentation_of_python_is_real_text(tmp_path, monkeypatch):
    import pooch

    from collapse.registry import find

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    files = find("sources", "pydoc")().files()
    assert len(files) > 300 and files == find("sources", "pydoc")().files()
    some = tuple(path for path in files if path.name in ("topics.py", "random.py", "ast.py"))
    found = _documents(some)
    assert len(set(found)) == len(found) > 100
    assert "Get a random number in the range [a, b) or [a, b] depending on rounding." in found
    assert any("comprehension" in text for text in found)

    (kept,) = (tmp_path / "collapse-lab/pydoc").glob("*.json")
    whole = kept.read_text(encoding="utf-8")
    for text in (whole, whole.replace("comprehension", "compression"), "[]", "{"):  # checked, or made again
        kept.write_text(text, encoding="utf-8")
        _documents.cache_clear()
        assert _documents(some) == found and kept.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize(("setting", "message"), [
    ({"path": "bad.txt"}, "source.path: bad.txt is not UTF-8: byte 3 is 0xff; convert the file"),
    ({"path": "empty.txt"}, "source.path: empty.txt holds no text"),
    ({"path": "no.txt"}, "source.path: no.txt is no file, folder or pattern"),
    ({"path": "one.txt"}, "has 1 document, and some are held out whole"),
    ({"path": "two.txt", "block": 64}, "less than a block of 64; lower block"),
    ({"path": "odd.txt", "tokeniser": "characters"}, "held-out document"),
    ({"path": "two.txt", "vocabulary": 200}, "bpe needs more than 257 tokens"),
    ({"path": "odd.txt", "tokeniser": "characters", "vocabulary": 5}, "leave vocabulary out"),
    ({"path": "two.txt", "tokeniser": "./nowhere"}, "./nowhere is not a folder"),
    ({"path": "two.txt", "tokeniser": "."}, "holds no tokenizer.json"),
])
def test_bad_text_is_refused_in_one_line(setting, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLLAPSE_DATA_DIR", raising=False)
    Path("bad.txt").write_bytes(b"abc\xff")
    Path("empty.txt").write_text(" \n\n ")
    Path("one.txt").write_text("one")
    Path("two.txt").write_text("one\n\ntwo")
    Path("odd.txt").write_text("\n\n".join([chr(97 + i) * 40 for i in range(20)]))
    with pytest.raises(InputError) as error:
        loop.split(Text(**setting), 10, 1, Rng(1))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_budget_larger_than_the_source_says_what_is_there(folder):
    with pytest.raises(InputError, match=r"has \d+ blocks of 16 tokens, .*; rows: 5000 \(tokens: 80000\) needs"):
        loop.split(Text(path=str(folder), tokeniser="characters", block=16, unknown="replace"), 5000, 1, Rng(1))


def test_wikitext_that_is_not_there_says_what_to_do(monkeypatch):
    monkeypatch.delenv("COLLAPSE_DATA_DIR", raising=False)
    with pytest.raises(InputError, match="write download: true"):
        Wikitext().files()


# -------------------------------------------------------------------------------------------- n-grams


def kneser_ney(tokens: np.ndarray, size: int, order: int, history: tuple[int, ...]) -> np.ndarray:
    """p(·|history) by dictionaries, straight from the definition: (size,)."""
    raw: list[Counter] = [Counter() for _ in range(order + 1)]
    for row in tokens.tolist():
        padded = [size] * (order - 1) + row
        for end in range(order - 1, len(padded)):
            raw[order][tuple(padded[end - order + 1 : end + 1])] += 1
    tables = {order: raw[order]}
    for m in range(order - 1, 0, -1):
        lower: Counter = Counter()
        for gram, count in tables[m + 1].items():
            lower[gram[1:]] += count if gram[1] == size else 1
        tables[m] = lower
    p = np.full(size, 1 / size)
    for m in range(1, order + 1):
        table, context = tables[m], history[len(history) - m + 1 :]
        once, twice = sum(c == 1 for c in table.values()), sum(c == 2 for c in table.values())
        discount = (once + 0.5) / (once + 2 * twice + 1)
        seen = {gram[-1]: c for gram, c in table.items() if gram[:-1] == context}
        if not seen:
            continue
        total = sum(seen.values())
        own = np.array([max(seen.get(w, 0) - discount, 0) / total for w in range(size)])
        p = own + discount * len(seen) / total * p
    return p


def witten_bell(tokens: np.ndarray, size: int, order: int, history: tuple[int, ...]) -> np.ndarray:
    """The same with the weight T/(T + C)."""
    p = np.full(size, 1 / size)
    for m in range(1, order + 1):
        context, seen = history[len(history) - m + 1 :], Counter()
        for row in tokens.tolist():
            padded = [size] * (order - 1) + row
            for end in range(order - 1, len(padded)):
                if tuple(padded[end - m + 1 : end]) == context:
                    seen[padded[end]] += 1
        if seen:
            total, kinds = sum(seen.values()), len(seen)
            p = np.array([seen[w] for w in range(size)]) / (total + kinds) + kinds / (total + kinds) * p
    return p


HISTORIES = [(8, 8), (8, 3), (1, 2), (5, 5), (7, 0), (3, 7)]


@pytest.mark.parametrize("rule", ["kneser-ney", "witten-bell"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_are_those_of_the_definition_and_sum_to_one(rule, order):
    tokens = markov(12, 9)[0]
    packing = Packing(8, order)
    model = Smoothed(Counts.of(packing.pack(tokens)), packing, rule)
    define = kneser_ney if rule == "kneser-ney" else witten_bell
    for history in HISTORIES:
        history = history[2 - (order - 1) :]
        found = np.array([model._shares(np.array([sum(t << packing.bits * (order - 1 - i)
                                                      for i, t in enumerate((*history, w)))]))[0] for w in range(8)])
        assert found == pytest.approx(define(tokens, 8, order, history), rel=1e-12)
        assert found.sum() == pytest.approx(1, rel=1e-12) and (found > 0).all()


def test_perplexity_is_that_of_every_token_by_hand():
    tokens, held = markov(12, 9)[0], markov(5, 9, seed=3)[0]
    packing = Packing(8, 3)
    model = Smoothed(Counts.of(packing.pack(tokens)), packing, "kneser-ney")
    by_hand = np.empty(held.shape)
    for i, row in enumerate(held.tolist()):
        padded = [8, 8, *row]
        for t, token in enumerate(row):
            by_hand[i, t] = kneser_ney(tokens, 8, 3, tuple(padded[t : t + 2]))[token]
    assert model.probabilities(held) == pytest.approx(by_hand, rel=1e-12)
    assert model.loss(Counts.of(packing.pack(held))) == pytest.approx(-np.log(by_hand).mean(), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("rule", ["kneser-ney", "witten-bell"])
def test_what_is_drawn_has_the_tempered_distribution(temperature, rule):
    """χ² of 100,000 draws after each of several histories against p^(1/τ), normalised over the whole vocabulary."""
    from scipy.stats import chi2

    tokens, packing = markov(12, 9)[0], Packing(8, 3)
    model = Smoothed(Counts.of(packing.pack(tokens)), packing, rule, temperature)
    for number, history in enumerate(HISTORIES):
        p = (kneser_ney if rule == "kneser-ney" else witten_bell)(tokens, 8, 3, history) ** (1 / temperature)
        p /= p.sum()
        u = np.random.default_rng(number).random(100_000)
        drawn = model._next(np.full(len(u), history[0] << packing.bits | history[1]), u)
        found = np.bincount(drawn, minlength=8)
        assert ((found - len(u) * p) ** 2 / (len(u) * p)).sum() < chi2.isf(1e-5, 7)


def test_counts_of_parts_add_up():
    a, b = rows_of(markov(30, 6, replicates=2), 8), rows_of(markov(20, 6, seed=1, replicates=2), 8)
    model = Ngram(order=3)
    both = model.add(model.summarise(a), model.summarise(b))
    whole = model.summarise(Rows.concat([a, b]))
    assert all(np.array_equal(both[key], whole[key]) for key in whole)
    pool = Pool.of(Part.of(a, "x", 0, False), Part.of(b, "y", 1, True))
    assert np.array_equal(model.learn(pool, Rng(0))["counts"], whole["counts"])


def test_a_replicate_is_the_same_whatever_is_beside_it():
    tokens = markov(40, 10, replicates=4)
    model = Ngram(order=2, temperature=0.8)
    few, many = (rows_of(tokens[:k], 8) for k in (2, 4))
    drawn = [model.sample(model.fit(rows, Rng(1)), rows.schema, 25, Rng(1, "sample"))["text"] for rows in (few, many)]
    assert np.array_equal(drawn[0], drawn[1][:2])
    truth = {"text.text": markov(9, 10, seed=5)[0]}
    values = [[m.values for m in model.statistics(model.fit(rows, Rng(1)), rows.schema, truth, 40)]
              for rows in (few, many)]
    assert all(np.array_equal(a, b[:2]) for a, b in zip(*values, strict=True))


def test_an_order_that_does_not_fit_is_refused():
    schema = Schema((Column("text", "text", tuple(map(str, range(2**16))), (8,)),))
    Ngram(order=3).check(schema, 10)
    with pytest.raises(InputError, match=r"ngram: model\.order: .* take an order of 3 or less"):
        Ngram(order=4).check(schema, 10)
    with pytest.raises(InputError, match="models one column of text, and x is none"):
        Ngram().check(Schema((Column("x", "number"),)), 10)


def test_perplexity_rises_under_replace_and_far_less_under_accumulate(tmp_path):
    texts = ["".join(chr(97 + t) for t in row) for row in markov(120, 60, 26)[0]]
    (tmp_path / "chain.txt").write_text("\n\n".join(texts))
    source = Text(path=str(tmp_path / "chain.txt"), tokeniser="characters", block=16)
    model, ends = Ngram(order=2), {}
    for regime in (Replace(), Accumulate()):
        path = loop.run(source, model, regime, 100, 10, replicates=6, seed=3)["fit_perplexity"]
        ends[regime.kind] = np.log(path[:, -1] / path[:, 0])
    assert (ends["replace"] > 0.1).all() and (ends["accumulate"] < ends["replace"] / 2).all()


# -------------------------------------------------------------------------------------------- metrics


@pytest.fixture(scope="module")
def frame() -> Frame:
    return Frame.freeze(rows_of(markov(300, 20), 8), rows_of(markov(800, 20, seed=1), 8), (), 400)


def measured(sample: Rows, frame: Frame) -> dict[tuple[str, str], np.ndarray]:
    return {(m.metric, m.feature): m.values for m in measure_all(sample, None, frame)}


def test_fresh_real_text_has_the_ideal_values(frame):
    found = measured(rows_of(markov(400, 20, seed=7, replicates=8), 8), frame)
    for metric in ("effective_tokens", "distinct_1", "distinct_2", "vocabulary_coverage", "sample_perplexity",
                   "compression_ratio"):
        assert found[metric, ""].mean() == pytest.approx(1, abs=0.05), metric
    assert found["perplexity_tail", "low"].mean() == pytest.approx(1, abs=0.35)
    assert found["perplexity_tail", "high"].mean() == pytest.approx(1, abs=0.35)
    shares = [values for (metric, _), values in found.items() if metric == "perplexity_share"]
    assert np.sum(shares, axis=0) == pytest.approx(1)


def test_one_phrase_over_and_over_has_collapsed(frame):
    found = measured(rows_of(np.tile([0, 1, 2, 3, 1], (1, 400, 4)), 8), frame)
    assert found["vocabulary_coverage", ""][0] == pytest.approx(0.5, abs=0.01)
    assert found["repeated_4grams", ""][0] == pytest.approx(12 / 17)
    assert found["self_bleu", ""][0] == pytest.approx(1) and found["compression_ratio", ""][0] < 0.1
    assert found["effective_tokens", ""][0] < 0.9 and found["distinct_3", ""][0] < 0.1


def test_rows_of_the_bank_are_copies(frame):
    assert measured(frame.real.head(50), frame)["copied_8grams", ""] == 1
    sample, other = rows_of(markov(30, 20, seed=11), 8), rows_of(np.full((1, 30, 20), 3), 8)
    half = Rows.concat([sample.head(15), other.head(15)])
    for training, share in ((sample, 1.0), (other, 0.0), (half, 0.5)):
        found = {m.metric: m.values for m in measure_all(sample, None, frame, lambda t=training: t)}
        assert found["learned_8grams"][0] == pytest.approx(share, abs=0.15)
    noise = rows_of(np.random.default_rng(0).integers(8, size=(1, 50, 20)), 8)
    assert measured(noise, frame)["copied_8grams", ""] < 0.05


def test_rare_tokens_are_frozen_on_the_reference(frame):
    text = frozen(frame)
    members, mass = text.rare
    share = np.bincount(text.reference.ravel(), minlength=8) / text.reference.size
    assert share[members].sum() <= 0.05 and mass == pytest.approx(members[text.other].mean())


def test_expected_tokens_are_those_of_fresh_blocks():
    """The chance to meet a token in n blocks drawn without replacement, against drawing them."""
    rng = np.random.default_rng(1)
    tokens = rng.zipf(1.4, size=(1, 500, 6)).clip(1, 200) - 1
    rows = rows_of(tokens, 200)
    frame = Frame.freeze(rows_of(tokens[:, :200], 200), rows_of(tokens[:, 200:], 200), (), 40)
    drawn = np.mean([[len(np.unique(rows["text"][0, rng.permutation(500)[:40]]))] for _ in range(400)])
    assert frozen(frame).expected(40).sum() == pytest.approx(drawn, rel=0.02)


def test_zipf_exponent_is_found_again():
    counts = (1e6 / np.arange(1, 501) ** 1.3).round()
    assert zipf_exponent(counts[None], counts)[0] == pytest.approx(1.3, abs=0.01)


def test_counting_different_things():
    tokens = np.array([[[1, 2, 1, 2, 1, 2, 3, 3]]])
    assert different(hashed(tokens, 2))[0, 0] == 4 and hashed(tokens, 9).shape == (1, 1, 0)
    assert segmental(np.array([[[1, 1, 2, 2]]])) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    wide = rng.integers(50_000, size=(20_000, 8))
    exact = len(np.unique(wide[:, :3], axis=0))
    assert different(hashed(wide[:, :3], 3).ravel()) == exact


def test_self_bleu_is_that_of_the_library():
    import sacrebleu

    texts = ["a b c d e f", "a b c x y z", "q r s t u v"]
    by_hand = [sacrebleu.sentence_bleu(t, [o for o in texts if o is not t], tokenize="none").score for t in texts]
    assert self_bleu(texts) == pytest.approx(np.mean(by_hand) / 100)


# ----------------------------------------------------------------------------------------------------- disk

STUDY = """\
title: A small text
seed: 3
source: {kind: text, path: texts, tokeniser: words, block: 16}
model: {kind: ngram, order: 2}
rows: 100
generations: 1
replicates: 2
branches: {accumulate: {regime: accumulate}}
gates: {}
"""


def test_a_node_of_text_on_disk(folder, tmp_path, monkeypatch):
    from collapse.manifest import read_manifest, read_pool
    from collapse_lab.tasks import fit, measure, pool, publish, sample, split
    from collapse_lab.tasks.node_run import NodeRun, find

    monkeypatch.chdir(tmp_path)
    Path("texts").symlink_to(folder)
    Path("studies").mkdir()
    Path("studies/small.yaml").write_text(STUDY)
    Path("params.yaml").write_text("studies: [small]\n")

    def turn(name: str) -> NodeRun:
        study, place = find(name)
        (Path("stage") / name).mkdir(parents=True)
        return NodeRun(study, place, Path("stage") / name)

    real = turn("small-real")
    split.split.fn(real)
    measure.measure.fn(real)
    publish.publish.fn(real)
    Path("data/records/small/small-real.verdict.json").write_text('{"outcome": "pass"}')
    made = turn("small-accumulate-01")
    fit.fit.fn(made)
    pool.pool.fn(made, sample.sample.fn(made))
    scalars = measure.measure.fn(made)
    publish.publish.fn(made)
    assert np.shares_memory(made.previous["text"], made.pool.parts[0].values["text"])  # read once for both

    node, bank = Path("data/small-accumulate-01"), Path("data/small-real/bank")
    assert (node / "model/tokeniser.json").samefile(bank / "tokeniser.json")
    manifest = read_manifest(Path("data/small-real/pool"))
    found = manifest["found"]
    assert hashlib.sha256((bank / "tokeniser.json").read_bytes()).hexdigest() == found["tokeniser_sha256"]
    inputs = read_manifest(node / "pool")["real_inputs"]
    assert any("tokeniser words" in line for line in inputs) and any("frozen vocabulary" in line for line in inputs)
    assert {"fit_perplexity", "token_alive", "learned_8grams"} <= set(scalars)
    grown = read_pool(node / "pool")
    assert [part.stored for part in grown.parts] != [{}, {}]  # counts lie beside both parts
    whole = Ngram(order=2).summarise(grown.rows())
    assert all(np.array_equal(grown.summary(Ngram(order=2))[key], whole[key]) for key in whole)
    assert profile(__import__("pyarrow.parquet").parquet.read_table(node / "sample/small-accumulate-01.parquet"),
                   grown.parts[0].schema, 2).strange.sum() == 0


# ----------------------------------------------------------------------------------------------------- page


def test_text_on_the_page_is_escaped_and_the_end_of_a_document_is_a_mark():
    column = Column("text", "text", ("<|end|>", "<b>", "&"), (4,), end=0)
    rows = Rows(Schema((column,)), {"text": np.array([[[1, 0, 2, 0]]], dtype=np.int32)})
    part = Part.of(rows, "s-real", 0, synthetic=False)
    html = Texts(column, part).paint(part)
    assert html.replace('<i title="end of a document">¶</i>', "|") == "<p>&lt;b&gt;|&amp;|</p>"


def test_labels_of_curves_keep_apart():
    places = _apart([160.0, 161.0, 162.0, 20.0, 21.0])
    assert np.diff(sorted(places)).min() >= 11 - 1e-9 and max(places) <= 164 and min(places) == 20


def test_the_page_has_two_charts_for_every_branch_of_a_text_study(frame):
    import pandas as pd

    samples = {t: rows_of(markov(400, 20, seed=t), 8) for t in (1, 2)}
    found = [{"branch": "replace", "metric": m.metric, "feature": m.feature, "generation": t, "value": v}
             for t, rows in samples.items() for m in measure_all(rows, None, frame) for v in m.values]
    branch = type("Branch", (), {"name": "replace", "colour": "#123456", "first": 1, "last": 2})
    collected = type("Collected", (), {"table": pd.DataFrame(found), "branches": [branch]})
    (figure,) = figures(collected)
    assert figure.likelihood.count('class="line"') == 2 and 'class="area"' in figure.likelihood
    assert figure.survival.count('class="line"') == len(frozen(frame).bands(8000))
    assert "nan" not in figure.likelihood + figure.survival


def test_a_budget_in_tokens_is_the_same_study_as_in_rows(tmp_path):
    from collapse.study.parse import parse_study

    (tmp_path / "t.txt").write_text("\n\n".join(f"some words about number {i}" for i in range(400)), encoding="utf-8")

    def study(**more):
        branches = {"replace": {"regime": "replace"}, "less": {"regime": "replace", **more.pop("less", {})}}
        return parse_study({
            "title": "t", "seed": 1, "source": {"kind": "text", "path": str(tmp_path / "t.txt"), "block": 16},
            "model": {"kind": "ngram"}, "generations": 2, "replicates": 1, "branches": branches, "gates": {}, **more,
        }, "t", Path("studies/t.yaml"))

    said, counted = study(tokens=320, less={"tokens": 160}), study(rows=20, less={"rows": 10})
    assert (said.rows, said.branches["less"].rows) == (counted.rows, counted.branches["less"].rows) == (20, 10)
    built = [build({"t": one})["generations"]["t-less-01"] for one in (said, counted)]
    assert [(one["rows"], one["own_rows"]) for one in built] == [("tokens", "branches.less.tokens"),
                                                                 ("rows", "branches.less.rows")]
    for more, message in (
        ({"tokens": 330}, "studies/t.yaml: tokens: 330 is no whole number of blocks of 16; take 320 or 336"),
        ({"tokens": 8}, "tokens must be at least 16"),
        ({"rows": 20, "tokens": 320}, "rows and tokens are two budgets; keep one of them"),
        ({"rows": 20, "less": {"tokens": 8.5}}, "branches.less.tokens must be a whole number"),
        ({"tokens": 320, "source": {"kind": "digits"}}, "tokens is a budget of text, and source 'digits' has rows"),
        ({}, "rows is missing"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            study(**more)
    with pytest.raises(InputError, match=r"rows: 6250 \(tokens: 100000\) needs .* to rows: \d+ \(tokens: \d+\)"):
        loop.check_study(study(tokens=100_000))
