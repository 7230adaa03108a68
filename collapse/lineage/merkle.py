"""One hash for all that a study keeps: a Merkle root (Merkle 1988), and signatures over it (Ed25519, RFC 8032).

With a signature a root tells a consistent rewrite from the original, which hashes that lie beside the data cannot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse.errors import InputError


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
        held = form.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{path}: no private key in PEM form ({str(error).splitlines()[0][:80]}); give another file, "
                         f"or a new name to make one") from None
    if not isinstance(held, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key; give another file, or a new name to make one")
    return held


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
        raise InputError(f"signed_by: '{text[:80]}' is neither 64 hexadecimal digits nor a public key in PEM form "
                         f"({str(error).splitlines()[0][:80]})") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"signed_by: {text} is not an Ed25519 key")
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
