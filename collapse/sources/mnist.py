"""The handwritten digits of MNIST: arrays in one npz file, or the original idx files."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError
from collapse.sources.base import Source

_LABELS = tuple("0123456789")
#: Where the original files are fetched from, and the SHA-256 of each: what is fetched is these bytes or refused.
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
ORIGINAL = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
#: The type of number in an idx file: unsigned bytes.
IDX_BYTES = 8


class Mnist(Source):
    """Images of unsigned bytes, as ink from 0 (none) to 1 (full), and their digits (LeCun et al. 1998).

    Parameters
    ----------
    path
        An npz file with ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, or as Keras names them
        (``x_train``, ``y_train``, …), or a folder with the original idx files, gzipped or not: from the working
        directory or else from the folder in COLLAPSE_DATA_DIR. Any images in these formats will do (Fashion-MNIST).
    part
        ``train`` (60,000 rows), ``test`` (10,000) or ``all``.
    limit
        Take the first so many rows.
    labelled
        Whether rows have their digit as label.
    download
        Fetch the original files by their hashes, once, into the user's cache, where they are not at hand.
    """

    kind: ClassVar[str] = "mnist"
    path: Annotated[str, Field(min_length=1)] = "mnist/mnist.npz"
    part: Literal["train", "test", "all"] = "train"
    limit: Annotated[int, Field(ge=1)] | None = None
    labelled: bool = True
    download: bool = False

    @property
    def real_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return what of reality the source hands to every generation."""
        return ("category set of label (10)",) if self.labelled else ()

    def files(self) -> tuple[Path, ...]:
        place = self.locate()
        if place.is_file():
            return (place,)
        kinds = ("images-idx3", "labels-idx1") if self.labelled else ("images-idx3",)
        return tuple(self._idx(place, f"{prefix}-{kind}-ubyte") for prefix in self._prefixes() for kind in kinds)

    def locate(self) -> Path:
        """Return the npz file or the folder of idx files; fetch them where the study asks for it.

        Raises
        ------
        InputError
            If there is neither.
        """
        folder = os.environ.get("COLLAPSE_DATA_DIR")
        for place in [Path(self.path)] + ([Path(folder) / self.path] if folder else []):
            if place.exists():
                return place
        if self.download:
            return self._fetch()
        where = f"in COLLAPSE_DATA_DIR, {folder}" if folder else "in COLLAPSE_DATA_DIR, which is not set"
        raise InputError(f"source.path: {self.path} is not there (looked in the working directory and {where}); give "
                         f"the path of an npz file or of a folder of idx files, or set source.download: true")

    def load(self) -> Rows:
        images, labels = self._read()
        schema = [Column("image", "image", shape=images.shape[1:])]
        values: dict[str, np.ndarray] = {"image": (images[: self.limit] / np.float32(255))[None]}
        if self.labelled:
            schema.append(Column("label", "category", _LABELS, role="label"))
            values["label"] = labels[: self.limit].astype(np.int32)[None]
        return Rows(Schema(tuple(schema)), values)

    # --------------------------------------------------------------------------------------- reading

    def _prefixes(self) -> tuple[str, ...]:
        return {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}[self.part]

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, h, w), uint8, and labels (n,)."""
        place = self.locate()
        parts = [self._npz(place, "test" if prefix == "t10k" else prefix) if place.is_file() else
                 self._originals(place, prefix) for prefix in self._prefixes()]
        if len({images.shape[1:] for images, _ in parts}) > 1:
            raise self._bad(place, "holds training and test images of two sizes", "take one part")
        return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])

    def _npz(self, path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        names = [f"{name}_images", f"{name}_labels"]
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if f"x_{name}" in arrays:
                    names = [f"x_{name}", f"y_{name}"]
                found = [arrays[key] for key in names[: 1 + self.labelled]]
        except KeyError as error:
            remedy = "name its arrays train_images, train_labels, test_images and test_labels"
            raise self._bad(path, f"has no array {error.args[0].split()[0]}",
                            remedy + (", or write labelled: false" if "images" not in error.args[0] else "")) from None
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise self._bad(path, f"is not a readable npz file without pickle ({str(error).splitlines()[0]})",
                            "save it with numpy.savez") from None
        images = self._checked(path, names[0], found[0])
        return images, self._matching(path, names[1], *found) if self.labelled else _none(images)

    def _originals(self, folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        path = self._idx(folder, f"{prefix}-images-idx3-ubyte")
        images = self._checked(path, "it", self._read_idx(path))
        if not self.labelled:
            return images, _none(images)
        path = self._idx(folder, f"{prefix}-labels-idx1-ubyte")
        return images, self._matching(path, "it", images, self._read_idx(path))

    def _idx(self, folder: Path, name: str) -> Path:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
        raise self._bad(folder, f"holds no {name}, gzipped or not", "give the folder of the four idx files")

    def _read_idx(self, path: Path) -> np.ndarray:
        """Return the array of an idx file: two zeros, type, rank, sizes as big-endian words, then the numbers."""
        try:
            data = path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise self._bad(path, f"cannot be read ({error})", "fetch it again") from None
        if len(data) < 4 or data[:2] != b"\0\0" or data[2] != IDX_BYTES:
            raise self._bad(path, "is not an idx file of unsigned bytes", "give the original file")
        rank = data[3]
        shape = tuple(np.frombuffer(data, ">u4", rank, 4).tolist()) if len(data) >= 4 + 4 * rank else (0,)
        if len(data) != 4 + 4 * rank + int(np.prod(shape, dtype=np.int64)):
            raise self._bad(path, "is not as long as its header says", "fetch it again")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)

    def _checked(self, path: Path, name: str, images: np.ndarray) -> np.ndarray:
        if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
            raise self._bad(path, f"has images of shape {images.shape} and type {images.dtype} ({name})",
                            "they must be uint8 of shape (n, height, width)")
        return images

    def _matching(self, path: Path, name: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise self._bad(path, f"has labels of shape {labels.shape} and type {labels.dtype} ({name})",
                            f"they must be whole numbers, one for each of the {len(images)} images")
        if labels.min() < 0 or labels.max() >= len(_LABELS):
            raise self._bad(path, f"has labels from {labels.min()} to {labels.max()} ({name})", "they must be 0 to 9")
        return labels

    def _fetch(self) -> Path:
        import pooch

        keeper = pooch.create(pooch.os_cache("collapse-lab") / "mnist", MIRROR, registry=ORIGINAL, retry_if_failed=1)
        pooch.get_logger().setLevel("WARNING")
        for name in ORIGINAL:
            try:
                keeper.fetch(name)
            except (OSError, ValueError) as error:  # no network, or other bytes than the hash says
                raise InputError(f"source.download: {name} could not be fetched ({str(error).splitlines()[0][:120]}); "
                                 f"set source.path to files of your own, or try again") from None
        return Path(keeper.path)

    def _bad(self, path: Path, problem: str, remedy: str) -> InputError:
        return InputError(f"source.path: {path} {problem}; {remedy}")


def _none(images: np.ndarray) -> np.ndarray:
    """Return what stands for the labels of images whose labels are not asked for."""
    return np.zeros(len(images), dtype=np.uint8)
