"""Sources of real data: what they draw or read, and what they refuse."""

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.manifest import read_pool, write_pool
from collapse.parquet import content_hash, read_part, write_part
from collapse.pool import Part, Pool
from collapse.registry import find
from collapse.rng import Rng
from collapse.sources import mnist
from collapse.sources.base import Source

DATA = os.environ.get("COLLAPSE_DATA_DIR")
needs_data = pytest.mark.skipif(DATA is None, reason="COLLAPSE_DATA_DIR is not set: the real tables are not at hand")

INFINITE = [
    pytest.param("gaussian", {}, id="gaussian"),
    pytest.param("gaussian", {"dim": 2, "mean": [1, 2], "covariance": [[2, 0.5], [0.5, 1]]}, id="gaussian-2d"),
    pytest.param("mixture", {}, id="mixture"),
    pytest.param("mixture", {"means": [[0, 0], [3, 1]], "weights": [1, 3], "labelled": False}, id="mixture-unlabelled"),
    pytest.param("zipf", {}, id="zipf"),
]


def source(kind: str, **settings) -> Source:
    return find("sources", kind)(**settings)


# --------------------------------------------------------------------------------------- infinite


@pytest.mark.parametrize(("kind", "settings"), INFINITE)
def test_draws_depend_on_their_address_and_replicates_on_nothing_else(kind, settings):
    s = source(kind, **settings)
    assert not s.finite
    long = s.draw(20, 70, Rng(1))
    assert (long.replicates, long.n) == (70, 20)
    for shorter in (1, 65):
        short = s.draw(20, shorter, Rng(1))
        for name in long.schema.names:
            np.testing.assert_array_equal(short[name], long[name][:shorter])
    assert any((s.draw(20, 70, Rng(2))[name] != long[name]).any() for name in long.schema.names)
    body = {key: value for key, value in s.spec().items() if key != "kind"}
    assert type(s)(**body) == s  # what a manifest records can be read back


def test_gaussian_is_standard_normal_by_default():
    rows = source("gaussian").draw(5000, 2, Rng(1))
    assert rows.schema.names == ("x",)
    assert stats.kstest(rows["x"].ravel(), "norm").pvalue > 1e-4


def test_gaussian_has_the_mean_and_covariance_asked_for():
    covariance = [[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]]
    s = source("gaussian", dim=3, mean=[1, -2, 5], covariance=covariance)
    rows = s.draw(20_000, 1, Rng(1))
    assert rows.schema.names == ("x1", "x2", "x3")
    white = np.linalg.solve(np.linalg.cholesky(covariance), (rows.matrix()[0] - [1, -2, 5]).T)
    assert all(stats.kstest(axis, "norm").pvalue > 1e-4 for axis in white)
    np.testing.assert_allclose(np.corrcoef(white), np.eye(3), atol=0.04)


@pytest.mark.parametrize(("settings", "line"), [
    ({"dim": 2, "mean": [0.0]}, "mean has 1 entries, but dim is 2"),
    ({"covariance": [[1.0, 0.0], [0.0, 1.0]]}, "covariance must be 1 lists of 1 numbers"),
    ({"dim": 2, "covariance": [[1.0, 0.0], [0.0]]}, "covariance must be 2 lists of 2 numbers"),
    ({"dim": 2, "covariance": [[1.0, 0.5], [0.4, 1.0]]}, "covariance is not symmetric"),
    ({"dim": 2, "covariance": [[1.0, 2.0], [2.0, 1.0]]}, r"not positive definite \(its least eigenvalue is -1\)"),
    ({"dim": 0}, "greater than or equal to 1"),
    ({"dim": 1.0}, "valid integer"),
    ({"mean": [float("nan")]}, "finite number"),
    ({"sigma": 1.0}, "Extra inputs"),
])
def test_gaussian_refusals(settings, line):
    with pytest.raises(ValidationError, match=line):
        source("gaussian", **settings)


def test_mixture_is_a_ring_of_round_blobs_named_by_their_label():
    s = source("mixture", components=5, radius=3.0, std=0.1)
    rows = s.draw(20_000, 1, Rng(1))
    assert rows.schema.label.categories == ("c0", "c1", "c2", "c3", "c4")
    angle = 2 * np.pi * rows["label"][0] / 5
    noise = (rows.matrix()[0] - 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)) / 0.1
    assert stats.kstest(noise[:, 0], "norm").pvalue > 1e-4
    assert stats.kstest(noise[:, 1], "norm").pvalue > 1e-4
    assert stats.chisquare(np.bincount(rows["label"][0])).pvalue > 1e-4


def test_mixture_takes_means_and_weights():
    s = source("mixture", means=[[0.0, 0.0], [10.0, 0.0]], weights=[1, 3], labelled=False)
    rows = s.draw(10_000, 1, Rng(1))
    assert rows.schema.names == ("x1", "x2")
    assert s.real_inputs == ()
    assert source("mixture").real_inputs == ("category set of label (8)",)
    assert stats.binomtest(int((rows["x1"] > 5).sum()), 10_000, 0.75).pvalue > 1e-4


@pytest.mark.parametrize(("settings", "line"), [
    ({"components": 3, "means": [[0.0, 0.0], [1.0, 1.0]]}, "means has 2 entries, but components is 3"),
    ({"components": 3, "weights": [1.0, 1.0]}, "weights has 2 entries, but there are 3 components"),
    ({"weights": [1.0] * 7 + [0.0]}, "greater than 0"),
    ({"means": [[0.0, 0.0, 0.0]]}, "at most 2"),
    ({"components": 1}, "write labelled: false"),
    ({"std": 0.0}, "greater than 0"),
])
def test_mixture_refusals(settings, line):
    with pytest.raises(ValidationError, match=line):
        source("mixture", **settings)


def test_zipf_words_have_zipfs_shares():
    rows = source("zipf", categories=20, exponent=1.5).draw(50_000, 1, Rng(1))
    assert rows.schema["word"].categories[:2] == ("w001", "w002")
    law = np.arange(1, 21) ** -1.5
    assert stats.chisquare(np.bincount(rows["word"][0], minlength=20), 50_000 * law / law.sum()).pvalue > 1e-4
    assert source("zipf").draw(1, 1, Rng(1)).schema["word"].categories[-1] == "w100"
    assert source("zipf", categories=1000).draw(1, 1, Rng(1)).schema["word"].categories[0] == "w0001"


def test_zipf_takes_shares_of_your_own():
    s = source("zipf", shares=[620, 300, 80])
    np.testing.assert_allclose(s.probabilities, [0.62, 0.3, 0.08])
    counts = np.bincount(s.draw(20_000, 1, Rng(1))["word"][0])
    assert stats.chisquare(counts, 20_000 * s.probabilities).pvalue > 1e-4
    assert s.real_inputs == ("category set of word (3)",)


@pytest.mark.parametrize(("settings", "line"), [
    ({"categories": 1}, "greater than or equal to 2"),
    ({"exponent": -1.0}, "greater than or equal to 0"),
    ({"shares": [0.5, 0.0]}, "greater than 0"),
    ({"shares": [1.0]}, "at least 2"),
    ({"shares": [0.5, 0.5], "categories": 3}, "shares has 2 entries, but categories is 3"),
])
def test_zipf_refusals(settings, line):
    with pytest.raises(ValidationError, match=line):
        source("zipf", **settings)


# ------------------------------------------------------------------------------------------ mnist


def bytes_of(n: int = 12, side: int = 5) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(1)
    return g.integers(0, 256, (n, side, side), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)


def npz(path: Path, **arrays: np.ndarray) -> str:
    images, labels = bytes_of()
    np.savez(path, **{"train_images": images, "train_labels": labels, "test_images": images[:3],
                      "test_labels": labels[:3], **arrays})
    return str(path)


def idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray, zipped: bool) -> None:
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
        name = f"{prefix}-{kind}-ubyte"
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)


def test_mnist_reads_npz_and_idx_alike_and_by_its_place(tmp_path, monkeypatch):
    images, labels = bytes_of()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    npz(tmp_path / "data" / "mnist" / "mnist.npz")
    monkeypatch.setenv("COLLAPSE_DATA_DIR", str(tmp_path / "data"))
    rows = source("mnist").load()
    assert (rows.replicates, rows.n, rows["image"].dtype, rows["image"].shape[2:]) == (1, 12, np.float32, (5, 5))
    np.testing.assert_array_equal(np.round(rows["image"][0] * 255), images)
    np.testing.assert_array_equal(rows.label[0], labels)
    for zipped in (True, False):
        folder = tmp_path / f"idx{zipped}"
        folder.mkdir()
        idx(folder, "train", images, labels, zipped)
        idx(folder, "t10k", images[:3], labels[:3], zipped)
        same = source("mnist", path=folder.name).load()
        for name in rows.values:
            np.testing.assert_array_equal(same[name], rows[name])
        assert len(source("mnist", path=folder.name, part="all").files()) == 4
    assert source("mnist", part="all").load().n == 15
    assert source("mnist", limit=7, labelled=False).load().schema.names == ("image",)
    assert source("mnist", limit=7).load().n == 7
    assert [path.name for path in source("mnist").files()] == ["mnist.npz"]
    keras = tmp_path / "keras.npz"
    np.savez(keras, x_train=images, y_train=labels, x_test=images[:3], y_test=labels[:3])
    for name, values in source("mnist", path="keras.npz").load().values.items():
        np.testing.assert_array_equal(values, rows[name])


@pytest.mark.parametrize(("name", "missing"), [("train_images", "train_labels"), ("x_train", "y_train")])
def test_mnist_needs_labels_only_where_they_are_asked_for(tmp_path, name, missing):
    path = tmp_path / "bare.npz"
    np.savez(path, **{name: bytes_of()[0]})
    assert source("mnist", path=str(path), labelled=False).load().schema.names == ("image",)
    with pytest.raises(InputError, match=f"has no array {missing}; name its .*, or write labelled: false"):
        source("mnist", path=str(path)).load()


@pytest.mark.parametrize(("arrays", "message"), [
    ({"train_images": np.zeros((12, 25), np.uint8)}, r"images of shape \(12, 25\) and type uint8 .*must be uint8 of"),
    ({"train_images": np.zeros((12, 5, 5))}, r"has images of shape \(12, 5, 5\) and type float64"),
    ({"train_labels": np.zeros((12, 10), np.uint8)}, r"labels of shape \(12, 10\) and type uint8 .*one for each of"),
    ({"train_labels": np.zeros(11, np.uint8)}, "one for each of the 12 images"),
    ({"train_labels": np.full(12, 11, np.uint8)}, "labels from 11 to 11 .*; they must be 0 to 9"),
    ({"train_images": np.array([None] * 12)}, "not a readable npz file without pickle"),
])
def test_mnist_refuses_arrays_of_wrong_rank_or_type(tmp_path, arrays, message):
    path = npz(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        source("mnist", path=path).load()
    assert "\n" not in str(caught.value)


def test_mnist_refuses_files_that_are_not_what_they_should_be(tmp_path, monkeypatch):
    monkeypatch.delenv("COLLAPSE_DATA_DIR", raising=False)
    with pytest.raises(InputError, match=r"not there \(looked .*COLLAPSE_DATA_DIR, which is not set\); give the path"):
        source("mnist").files()
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(InputError, match="not a readable npz file"):
        source("mnist", path=str(tmp_path / "text.npz")).load()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="has no array train_images; name its arrays"):
        source("mnist", path=str(tmp_path / "other.npz")).load()
    with pytest.raises(InputError, match="holds no train-images-idx3-ubyte, gzipped or not"):
        source("mnist", path=str(tmp_path)).files()
    images, labels = bytes_of()
    idx(tmp_path, "train", images, labels, zipped=False)
    whole = (tmp_path / "train-images-idx3-ubyte").read_bytes()
    for data, message in ((whole[:-1], "not as long as its header says"), (b"GIF8" + whole, "not an idx file"),
                          (b"\0\0\x0d\3" + whole[4:], "not an idx file of unsigned bytes")):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(data)
        with pytest.raises(InputError, match=message):
            source("mnist", path=str(tmp_path)).load()


def test_mnist_is_fetched_only_where_a_study_asks_and_only_by_its_hash(tmp_path, monkeypatch):
    import pooch

    monkeypatch.delenv("COLLAPSE_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    away = tmp_path / "mirror"
    away.mkdir()
    idx(away, "train", *bytes_of(), zipped=True)
    idx(away, "t10k", *bytes_of(), zipped=True)
    monkeypatch.setattr(mnist, "MIRROR", "mirror://")
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: lambda url, out, p: shutil.copy(
        away / url.rpartition("/")[2], out))
    with pytest.raises(InputError, match=r"download: train-images-idx3-ubyte\.gz could not be fetched .*hash"):
        source("mnist", download=True).load()
    monkeypatch.setattr(mnist, "ORIGINAL", {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in away.iterdir()})
    assert source("mnist", download=True).load().n == 12


@needs_data
def test_mnist_as_published():
    rows = source("mnist", limit=1000).load()
    assert rows["image"].shape == (1, 1000, 28, 28)
    assert rows.label[0][:5].tolist() == [5, 0, 4, 1, 9]


# ----------------------------------------------------------------------------------------- digits


def test_digits_are_scikit_learns_scaled_to_ink():
    from sklearn.datasets import load_digits

    s = source("digits")
    rows = s.load()
    assert s.finite
    assert (rows.replicates, rows.n) == (1, 1797)
    assert rows["image"].shape == (1, 1797, 8, 8)
    assert (rows["image"].min(), rows["image"].max()) == (0, 1)
    np.testing.assert_array_equal(rows["image"][0].reshape(-1, 64) * 16, load_digits().data)
    assert rows.schema.label.categories == tuple("0123456789")
    np.testing.assert_array_equal(rows.label[0], load_digits().target)


# ------------------------------------------------------------------------------------------ table


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLLAPSE_DATA_DIR", raising=False)
    return tmp_path


CSV = "size,colour,ok,code\n1.5,red,True,10\n2,blue,False,9\n-3,red,True,9\n4,green,False,2\n"


def write(folder: Path, text: str, name: str = "t.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def decoded(rows: Rows, name: str) -> list[str]:
    return [rows.schema[name].categories[code] for code in rows[name][0]]


def test_csv_becomes_numbers_and_categories(folder):
    rows = source("table", path=write(folder, CSV)).load()
    assert [(c.name, c.kind, c.role) for c in rows.schema.columns] == [
        ("size", "number", "feature"), ("colour", "category", "feature"), ("ok", "category", "feature"),
        ("code", "number", "feature")]
    assert rows["size"].tolist() == [[1.5, 2, -3, 4]]
    assert rows.schema["colour"].categories == ("blue", "green", "red")
    assert decoded(rows, "colour") == ["red", "blue", "red", "green"]
    assert decoded(rows, "ok") == ["True", "False", "True", "False"]


def test_parquet_and_csv_give_the_same_rows(folder):
    import pandas as pd

    write(folder, CSV)
    frame = pd.read_csv(folder / "t.csv")
    frame.to_parquet(folder / "t.parquet")
    frame.assign(colour=frame["colour"].astype("category")).to_parquet(folder / "c.parquet")
    rows = source("table", path="t.csv").load()
    for name in ("t.parquet", "c.parquet"):
        other = source("table", path=name).load()
        assert other.schema == rows.schema
        for column in rows.schema.names:
            np.testing.assert_array_equal(other[column], rows[column])


def test_columns_are_chosen_dropped_and_labelled(folder):
    path = write(folder, CSV)
    rows = source("table", path=path, columns=["colour", "size"], label="code").load()
    assert rows.schema.names == ("colour", "size", "code")
    assert rows.schema.label.name == "code"
    assert rows.schema.label.categories == ("2", "9", "10")  # numbers in their order
    assert decoded(rows, "code") == ["10", "9", "9", "2"]
    rows = source("table", path=path, drop=["ok"], types={"code": "category"}).load()
    assert rows.schema.names == ("size", "colour", "code")
    assert rows.schema["code"].kind == "category"
    assert rows.schema.label is None


def test_counts_repeat_rows(folder):
    rows = source("table", path=write(folder, "breed,n\npug,3\ncollie,0\nlab,2\n"), counts="n").load()
    assert rows.schema.names == ("breed",)
    assert decoded(rows, "breed") == ["pug", "pug", "pug", "lab", "lab"]


def test_separator_and_byte_order_mark(folder):
    (folder / "t.csv").write_text("a;b\n1,5;x\n2,5;y\n", encoding="utf-8-sig")
    rows = source("table", path="t.csv", separator=";").load()
    assert rows.schema.names == ("a", "b")
    assert decoded(rows, "a") == ["1,5", "2,5"]


MISSING = "size,colour,label\n1,red,0\n,blue,1\n3,NA,0\n4,None,1\n5,?,0\n6,red,1\n"


def test_missing_values_are_refused_dropped_or_made_a_category(folder):
    path = write(folder, MISSING)
    with pytest.raises(InputError) as caught:
        source("table", path=path, missing="refuse").load()
    assert str(caught.value) == ("source.missing: t.csv has missing values (size 1, colour 1; 2 of 6 rows); "
                                 "write missing: keep, missing: drop, or drop: [size, colour]")
    rows = source("table", path=path, missing="drop", label="label").load()
    assert rows["size"].tolist() == [[1, 4, 5, 6]]
    assert decoded(rows, "colour") == ["red", "None", "?", "red"]  # plain categories, as written
    with pytest.raises(InputError, match=r"has missing numeric values \(size 1; 2 of 6 rows\)"):
        source("table", path=path, missing="category").load()
    rows = source("table", path=path, missing="category", drop=["size"]).load()
    assert decoded(rows, "colour") == ["red", "blue", "(missing)", "None", "?", "red"]
    assert rows.schema["colour"].categories == ("?", "None", "blue", "red", "(missing)")


def test_a_missing_label_does_not_turn_whole_numbers_into_fractions(folder):
    path = write(folder, "x,label\n1,0\n2,1\n3,\n4,10\n")
    assert source("table", path=path, missing="drop", label="label").load().schema.label.categories == ("0", "1", "10")
    rows = source("table", path=path, missing="category", label="label").load()
    assert decoded(rows, "label") == ["0", "1", "(missing)", "10"]


def test_relative_paths_are_found_in_the_data_folder_after_the_working_directory(folder, monkeypatch):
    (folder / "far").mkdir()
    write(folder / "far", CSV)
    monkeypatch.setenv("COLLAPSE_DATA_DIR", str(folder / "far"))
    s = source("table", path="t.csv")
    assert s.locate() == folder / "far" / "t.csv"
    write(folder, CSV)
    assert s.locate() == Path("t.csv")


REFUSALS = {
    "empty file": ("", {}, "source.path: t.csv is empty; give a file with a header and rows"),
    "header only": ("a,b\n", {}, "source.path: t.csv has no rows; give a file with a header and rows"),
    "ragged": ("a,b\n1,2\n1,2,3\n", {}, "source.path: t.csv line 3 has 3 fields, but the header has 2; quote "),
    "more fields than the header": ("a,b\n1,2,3\n4,5,6\n", {}, "t.csv line 2 has 3 fields, but the header has 2"),
    "same name": ("a,a\n1,2\n3,4\n", {}, "has two columns called 'a'; rename one"),
    "reserved name": ("a,replicate\n1,2\n3,4\n", {}, "write drop: [replicate]"),
    "unknown label": (CSV, {"label": "color"}, "source.label: t.csv has no column 'color'; did you mean 'colour'?"),
    "unknown column": (CSV, {"columns": ["siz"]}, "source.columns: t.csv has no column 'siz'; did you mean 'size'?"),
    "unknown drop": (CSV, {"drop": ["cod"]}, "source.drop: t.csv has no column 'cod'; did you mean 'code'?"),
    "unknown types": (CSV, {"types": {"cod": "category"}}, "source.types: t.csv has no column 'cod'"),
    "unknown counts": (CSV, {"counts": "cod"}, "source.counts: t.csv has no column 'cod'"),
    "bad counts": (CSV, {"counts": "size"}, "source.counts: t.csv: column 'size' must hold whole numbers"),
    "dropped label": (CSV, {"label": "ok", "drop": ["ok"]}, "source.drop: t.csv names 'ok', which is source.label"),
    "nothing left": (CSV, {"columns": ["ok"], "drop": ["ok"]}, "source.columns: t.csv has no column left to learn"),
    "only a label": (CSV, {"columns": ["ok"], "label": "ok"}, "source.columns: t.csv has no column left to learn"),
    "infinite": ("a,b\n1,2\ninf,3\n", {}, "source.columns: t.csv: column 'a' has 1 infinite value; mend them in the "
                                          "file, or write drop: [a]"),
    "constant": ("a,b,c\n1,x,1\n1,x,2\n", {}, "source.columns: t.csv is constant in a, b: nothing can be learned or "
                                              "lost; write drop: [a, b]"),
    "constant label": ("a,b\n1,x\n2,x\n", {"label": "b"}, "source.label: t.csv: column 'b' has a single value"),
    "too many categories": (CSV, {"max_categories": 2}, "source.max_categories: t.csv: column 'colour' has 3 "
                                                        "categories, more than 2; write drop: [colour]"),
    "measured label": ("a,b\n1,.1\n2,.2\n3,.3\n", {"label": "b", "max_categories": 2},
                       "source.label: t.csv: column 'b' has 3 categories"),
    "always missing": ("a,b\n1,\n2,\n", {"missing": "drop"}, "has a missing value in every row; write drop: [b]"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_table_refusals_are_one_line_with_file_key_and_remedy(folder, case):
    text, settings, line = REFUSALS[case]
    with pytest.raises(InputError) as caught:
        source("table", path=write(folder, text), **settings).load()
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_refuses_files_that_are_not_tables(folder, monkeypatch):
    with pytest.raises(InputError, match=r"source\.path: no\.csv is not there .*COLLAPSE_DATA_DIR, which is not set"):
        source("table", path="no.csv").load()
    (folder / "sub").mkdir()
    with pytest.raises(InputError, match="sub is a folder, not a file"):
        source("table", path="sub").load()
    (folder / "b.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(InputError, match=r"b\.csv is not UTF-8 in line 2; give its .*source\.encoding"):
        source("table", path="b.csv").load()
    (folder / "b.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match="is not readable Parquet") as caught:
        source("table", path="b.parquet").load()
    assert "\n" not in str(caught.value)


def test_table_refuses_values_that_are_neither_numbers_nor_text(folder):
    import pandas as pd

    pd.DataFrame({"a": [1, 2], "when": pd.to_datetime(["2020-01-01", "2020-01-02"])}).to_parquet(folder / "d.parquet")
    assert source("table", path="d.parquet").load().schema["when"].says == "date"
    pd.DataFrame({"a": [1, 2], "list": [[1], [2]]}).to_parquet(folder / "l.parquet")
    with pytest.raises(InputError, match=r"column 'list' holds \w+ values"):
        source("table", path="l.parquet").load()


def test_parquet_nan_is_missing(folder):
    import pandas as pd

    pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", "y", None]}).to_parquet(folder / "n.parquet")
    with pytest.raises(InputError, match=r"\(a 1, b 1; 2 of 3 rows\)"):
        source("table", path="n.parquet", missing="refuse").load()
    rows = source("table", path="n.parquet").load()
    np.testing.assert_array_equal(rows["a"], [[1, np.nan, 3]])
    assert decoded(rows, "b") == ["x", "y", "(missing)"]


TYPED = """name,age,score,born,seen,ok,zip,always
ada,36,1.5,1815-12-10,2024-01-02T03:04:05.678901,True,00501,1
bob,,2.0,1990-01-01,2024-01-02T03:04:06,,10001,2
ada,41,,?,2024-05-01T00:00:00,False,00501,3
cyd,29,3.25,2001-02-28,,True,?,4
"""


def test_the_schema_is_inferred_and_can_be_overridden(folder):
    path = write(folder, TYPED)
    schema = source("table", path=path, na=["?"], types={"zip": "category", "always": "number"}).load().schema
    assert {c.name: c.says for c in schema.columns} == {
        "name": "category", "age": "integer, may be missing", "score": "number, may be missing",
        "born": "date, may be missing", "seen": "datetime, may be missing", "ok": "boolean, may be missing",
        "zip": "category, may be missing", "always": "number"}
    assert schema["zip"].categories == ("00501", "10001", "(missing)")  # as it is written, zeros and all
    assert schema["ok"].categories == ("False", "True", "(missing)")
    assert Schema.parse(schema.plain()) == schema
    loaded = source("table", path=path, na=["?"]).load()
    assert loaded["born"][0, 0] == (np.datetime64("1815-12-10") - np.datetime64("1970-01-01")).astype(int)
    assert loaded["seen"][0, 0] == np.datetime64("2024-01-02T03:04:05.678901").astype("datetime64[us]").astype(int)
    assert loaded.schema["zip"] == schema["zip"]  # leading zeros: a code, and no number


def test_a_schema_without_new_facts_is_described_as_before():
    plain = Column("x", "number").plain()
    assert plain == {"name": "x", "kind": "number", "role": "feature", "categories": [], "shape": []}
    assert Column.parse(plain) == Column("x", "number")


def test_parts_carry_native_types_and_read_back_exactly(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = source("table", path=write(folder, TYPED), na=["?"]).load()
    part = Part.of(rows, "t-real", 0, synthetic=False)
    hashes = write_part(part, folder / "a.parquet", "t")
    table = pq.read_table(folder / "a.parquet")
    kinds = dict(zip(table.schema.names, table.schema.types, strict=True))
    assert (kinds["age"], kinds["score"], kinds["born"], kinds["seen"], kinds["ok"]) == (
        pa.int64(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.bool_())
    assert {name: table[name].null_count for name in ("age", "score", "born", "seen", "ok", "zip", "name")} == {
        "age": 1, "score": 1, "born": 1, "seen": 1, "ok": 1, "zip": 1, "name": 0}
    assert table["born"].to_pylist()[0].isoformat() == "1815-12-10"
    back = read_part(folder / "a.parquet").rows()
    assert back.schema == rows.schema
    for name in rows.schema.names:
        np.testing.assert_array_equal(back[name], rows[name])
    assert write_part(Part.of(back, "t-real", 0, False), folder / "b.parquet", "t") == hashes
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def test_the_content_hash_sees_gaps_and_not_how_they_are_written():
    schema = Schema((Column("x", "number", missing=True),))
    strange = np.frombuffer(np.uint64(0x7FF8000000000123).tobytes(), dtype=np.float64)  # a NaN of other bits
    one, two = (Rows(schema, {"x": np.array([[1.0, gap]])}) for gap in (np.nan, strange[0]))
    other = Rows(schema, {"x": np.array([[1.0, 0.0]])})
    hashes = [content_hash(schema, np.array([2]), {"x": rows["x"][0]}) for rows in (one, two, other)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(("types", "line"), [
    ({"name": "integer"}, "source.types: t.csv: column 'name' is not of type integer: it has 'ada'; mend the file, or "
                          "write types: {name: category}"),
    ({"score": "integer"}, "column 'score' is not of type integer: it has '1.5'"),
    ({"name": "number"}, "column 'name' is not of type number: it has 'ada'"),
    ({"age": "boolean"}, "column 'age' is not of type boolean: it has '36"),
    ({"name": "date"}, "column 'name' is not of type date: it has 'ada'"),
    ({"seen": "date"}, "column 'seen' is not of type date: it has '2024-01-02"),
    ({"agee": "number"}, "source.types: t.csv has no column 'agee'; did you mean 'age'?"),
])
def test_types_that_do_not_fit_are_one_line(folder, types, line):
    with pytest.raises(InputError) as caught:
        source("table", path=write(folder, TYPED), na=["?"], types=types).load()
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whole_numbers_that_no_float_holds_are_refused(folder):
    path = write(folder, "id,x\n9007199254740993,1\n9007199254740995,2\n")
    with pytest.raises(InputError, match=r"column 'id' has whole numbers beyond 2\^53.*types: \{id: category\}"):
        source("table", path=path).load()


LATER = {
    "lacks a column": ("size,colour,ok\n1,red,True\n2,blue,False\n",
                       "later.csv: lacks the column 'code', which was frozen"),
    "a new type": (CSV.replace("-3", "three"), "later.csv: column 'size' is category, but was frozen as number at"),
    "a new category": (CSV.replace("blue", "mauve"), "has the category 'mauve', which is not among those frozen"),
    "a gap": (CSV.replace("-3", ""), "column 'size' is number, may be missing, but was frozen as number"),
    "a new column": (CSV.replace("\n", ",1\n").replace("code,1", "code,more"),
                     "has a column 'more' that was not there"),
}


@pytest.mark.parametrize("case", LATER)
def test_a_later_table_must_have_the_frozen_schema(folder, case):
    frozen = source("table", path=write(folder, CSV)).load().schema
    text, line = LATER[case]
    with pytest.raises(InputError) as caught:
        source("table", path=write(folder, text, "later.csv")).read_as(frozen)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_later_table_takes_the_frozen_order_and_codes(folder):
    frozen = source("table", path=write(folder, CSV)).load().schema
    later = source("table", path=write(folder, "code,ok,colour,size\n9,True,red,7\n9,False,green,8\n", "l.csv"))
    rows = later.read_as(frozen)
    assert rows.schema == frozen
    assert decoded(rows, "colour") == ["red", "green"]


def test_a_pool_of_another_schema_is_refused(folder):
    rows = source("table", path=write(folder, CSV)).load()
    manifest = {"study": "t", "schema": rows.schema.plain()}
    write_pool(Pool.of(Part.of(rows, "t-real", 0, False)), folder / "pool", manifest)
    assert read_pool(folder / "pool").rows().n == 4
    fewer = Rows(Schema(rows.schema.columns[:3]), {name: rows[name] for name in rows.schema.names[:3]})
    (folder / "pool" / "t-real.parquet").unlink()
    write_part(Part.of(fewer, "t-real", 0, False), folder / "pool" / "t-real.parquet", "t")
    with pytest.raises(InputError, match=r"t-real\.parquet: lacks the column 'code', which was frozen at generation 0"):
        read_pool(folder / "pool")


def test_a_part_whose_file_was_changed_is_refused(folder):
    import pyarrow.parquet as pq

    rows = source("table", path=write(folder, CSV)).load()
    write_part(Part.of(rows, "t-real", 0, False), folder / "p.parquet", "t")
    table = pq.read_table(folder / "p.parquet")
    pq.write_table(table.drop_columns(["code"]), folder / "fewer.parquet")
    place = table.schema.get_field_index("code")
    pq.write_table(table.set_column(place, "code", table["code"].cast("string")), folder / "text.parquet")
    with pytest.raises(InputError, match="lacks the column 'code'"):
        read_part(folder / "fewer.parquet").rows()
    with pytest.raises(InputError, match="column 'code' is string, but was frozen as integer"):
        read_part(folder / "text.parquet").rows()


@pytest.mark.parametrize("settings", [{}, {"path": ""}, {"path": "t.csv", "missing": "ignore"},
                                      {"path": "t.csv", "labl": "a"}, {"path": "t.csv", "separator": ";;"},
                                      {"path": "t.csv", "columns": []}, {"path": "t.csv", "max_categories": 1}])
def test_table_settings_are_strict(settings):
    with pytest.raises(ValidationError):
        source("table", **settings)


@needs_data
def test_the_census_keeps_its_rare_groups():
    rows = source("table", path="adult/adult.csv", label="income", drop=["split"]).load()
    assert rows.n == 48_842
    assert len(rows.schema.numeric) == 6
    counts = dict(zip(rows.schema["occupation"].categories, np.bincount(rows["occupation"][0]), strict=True))
    assert counts["Armed-Forces"] == 15
    assert counts["?"] > 0  # a plain category


@needs_data
def test_diamonds_and_penguins():
    rows = source("table", path="tabular/diamonds.csv").load()
    assert (rows.n, len(rows.schema.numeric), len(rows.schema.categorical)) == (53_940, 7, 3)
    with pytest.raises(InputError, match="11 of 344 rows"):
        source("table", path="tabular/penguins.csv", missing="refuse").load()
    assert [c.name for c in source("table", path="tabular/penguins.csv").load().schema.gaps] == [
        "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    rows = source("table", path="tabular/penguins.csv", label="species", missing="drop").load()
    assert rows.n == 333
    assert rows.schema.label.categories == ("Adelie", "Chinstrap", "Gentoo")


# --------------------------------------------------------------------------------------- registry


@pytest.mark.parametrize("kind", ["digits", "gaussian", "mixture", "zipf", "table"])
def test_sources_are_registered_and_say_what_is_frozen(kind):
    s = source(kind, **({"path": "t.csv"} if kind == "table" else {}))
    assert isinstance(s, Source)
    assert s.spec()["kind"] == kind
    assert bool(s.real_inputs) == (kind != "gaussian")


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'digits'"):
        find("sources", "digit")
