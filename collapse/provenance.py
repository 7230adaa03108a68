"""What a training set is made of, and one hash for all of it.

* **Share**: rows by kind.
* **Synthetic depth**: of a real row 0; of a row that a model made 1 + the mean (and the greatest) depth of the rows
  that it was trained on. How many models stand between a row and reality.
* **Effective share**: the expected diversity E[H]/H_0 that is left of reality, from part sizes alone
  (:func:`collapse.laws.effective.heterozygosity`).
* **Root**: a Merkle root (Merkle 1988) over everything that a study keeps; with a signature (Ed25519, RFC 8032) it
  tells a consistent rewrite from the original, which hashes that lie beside the data cannot.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collapse.errors import InputError
from collapse.laws.effective import heterozygosity
from collapse.pool import trained_rows


@dataclass(frozen=True)
class Makeup:
    """What the rows of a pool that are trained on are. ``depths``: by part, (rows, mean depth, greatest depth)."""

    real: int
    synthetic: int
    depths: Mapping[str, tuple[int, float, int]]
    effective: float | None

    @property
    def real_share(self) -> float | None:
        """Return the share of real rows: 1.0 all real, 0.0 none; None of an empty pool."""
        total = self.real + self.synthetic
        return self.real / total if total else None

    @property
    def depth(self) -> tuple[float, int]:
        """Return mean and greatest depth over rows; (0.0, 0) if all are real."""
        rows = sum(count for count, _, _ in self.depths.values())
        if not rows:
            return 0.0, 0
        return (sum(count * mean for count, mean, _ in self.depths.values()) / rows,
                max(greatest for count, _, greatest in self.depths.values() if count))


def makeup(manifests: Sequence[Mapping[str, Any]], trained: Sequence[Sequence[Mapping[str, Any]]]) -> list[Makeup]:
    """Return what each pool on the way from generation 0 is made of.

    Parameters
    ----------
    manifests
        Of the nodes from generation 0 on.
    trained
        For each of them, the parts that its model was trained on: its parent's pool, less what was in quarantine.

    Data that came with a record of its own (:mod:`collapse.foreign`) counts as real, and at a depth, as that says.
    """
    depth: dict[str, tuple[float, int]] = {}
    made: dict[str, int] = {}
    pools: list[dict[str, float]] = []
    found = []
    share, base = _brought(manifests[0]) if manifests else (1.0, (0.0, 0))
    budgets: dict[int, int] = {}
    for place, (manifest, parts) in enumerate(zip(manifests, trained, strict=True)):
        rows = sum(map(trained_rows, parts))
        if rows:
            below = [(n, *_depth(part, depth, base)) for part in parts if (n := trained_rows(part))]
            depth[manifest["node"]] = (1 + sum(n * mean for n, mean, _ in below) / rows, 1 + max(d for *_, d in below))
            made[manifest["node"]] = place - 1
        replicates = manifest["replicates"]
        pools.append({_key(part): part["rows"] / replicates for part in manifest["parts"]})
        if "draw" in manifest:
            budgets[place] = manifest["draw"]["rows"]
        here = {part["origin"]: (trained_rows(part), *_depth(part, depth, base)) for part in manifest["parts"]}
        real = round(share * sum(trained_rows(part) for part in manifest["parts"] if part["kind"] == "real"))
        found.append((real, sum(map(trained_rows, manifest["parts"])) - real, here))
    whole = all(pools)
    shares = heterozygosity(pools, made, budgets) if whole else np.full(len(pools), np.nan)
    return [Makeup(real, synthetic, here, float(share) if whole else None)
            for (real, synthetic, here), share in zip(found, shares, strict=True)]


def _depth(part: Mapping[str, Any], known: Mapping[str, tuple[float, int]],
           base: tuple[float, int]) -> tuple[float, int]:
    return base if part["kind"] == "real" else known.get(part["origin"], (float("nan"), 0))


def _brought(manifest: Mapping[str, Any]) -> tuple[float, tuple[float, int]]:
    """Return the real share and the depth of the rows that generation 0 began with, as their own record has them."""
    says = manifest.get("provenance", {}).get("says", {})
    depth = says.get("depth", 0)
    return says.get("real_share", 1.0), (float(depth), math.ceil(depth))


def _key(part: Mapping[str, Any]) -> str:
    """Return what tells parts apart: fresh real rows of two generations come from one node and are not one part."""
    return part["content"] if part["kind"] == "real" else part["origin"]


# --------------------------------------------------------------------------------------------- roots


def merkle(leaves: Mapping[str, str]) -> str:
    """Return the Merkle root of named hashes, whatever their order: a change of any name or hash changes it.

    Leaves and inner nodes are hashed apart (prefixes 0 and 1, as in RFC 6962), an odd one goes up as it is.
    """
    level = [hashlib.sha256(b"\0" + f"{name}\0{value}".encode()).digest() for name, value in sorted(leaves.items())]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        level = [hashlib.sha256(b"\1" + level[i] + level[i + 1]).digest() if i + 1 < len(level) else level[i]
                 for i in range(0, len(level), 2)]
    return level[0].hex()


def signing_key(path: Path) -> Any:
    """Return the Ed25519 key in ``path``; a new one is made there if there is none, readable by its owner alone.

    Raises
    ------
    InputError
        If the file holds something else.
    """
    import os

    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        return key
    try:
        key = form.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{path}: no private key in PEM form ({str(error).splitlines()[0][:80]}); give another file, "
                         f"or a new name to make one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key; give another file, or a new name to make one")
    return key


def public_text(key: Any) -> str:
    """Return the public half of a private key, 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def read_public(text: str) -> str:
    """Return the public key that ``text`` is or names: 64 hexadecimal digits, or a file of a public key in PEM form.

    Raises
    ------
    InputError
        If it is neither.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(text) == 64 and all(c in "0123456789abcdef" for c in text.lower()):
        return text.lower()
    try:
        data = Path(text).read_bytes()
        key = form.load_pem_public_key(data)
    except (OSError, ValueError) as error:
        raise InputError(f"--signed-by: '{text[:80]}' is neither 64 hexadecimal digits nor a public key in PEM form "
                         f"({str(error).splitlines()[0][:80]})") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"--signed-by: {text} is not an Ed25519 key")
    return key.public_bytes_raw().hex()


def verify(public: str, signature: str, message: bytes) -> bool:
    """Return whether ``signature`` (hexadecimal) of ``message`` was made by the owner of ``public``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
