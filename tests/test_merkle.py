"""Roots and signatures: what is signed is what was sealed, and a key that is none is one line."""

from __future__ import annotations

import hashlib
import stat

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from collapse.errors import InputError
from collapse.lineage.merkle import merkle, public_text, read_public, signing_key, verify


def hashed(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def leaf(name: str, value: str) -> bytes:
    return hashed(b"\x00" + f"{name}\0{value}".encode())


def test_the_root_of_nothing_is_the_hash_of_nothing():
    assert merkle({}) == hashlib.sha256().hexdigest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_the_root_is_built_level_by_level_whatever_the_number_of_leaves(count):
    def root(level: list[bytes]) -> bytes:
        if len(level) == 1:
            return level[0]
        half = 1 << (len(level) - 1).bit_length() - 1  # the left tree of RFC 6962: the greatest power of two below
        return hashed(b"\x01" + root(level[:half]) + root(level[half:]))

    leaves = {f"f{i}": str(i) for i in range(count)}
    assert merkle(leaves) == root([leaf(*item) for item in leaves.items()]).hex()


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "folder" / "key.pem"
    made = signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_text(signing_key(path)) == public_text(made)
    beside = signing_key(tmp_path / "new" / "other.pem")
    assert public_text(beside) != public_text(made) and len(public_text(made)) == 64


def test_a_key_that_another_process_just_wrote_is_not_written_over(tmp_path, monkeypatch):
    path = tmp_path / "key.pem"
    path.write_text("of another")
    monkeypatch.setattr(type(path), "exists", lambda self: False)
    with pytest.raises(FileExistsError):
        signing_key(path)
    assert path.read_text() == "of another"


def test_only_the_owner_of_a_key_signs_with_it(tmp_path):
    mine, other = signing_key(tmp_path / "mine.pem"), signing_key(tmp_path / "other.pem")
    signature = mine.sign(b"root").hex()
    assert verify(public_text(mine), signature, b"root") is True
    assert verify(public_text(mine), signature, b"another root") is False
    assert verify(public_text(other), signature, b"root") is False
    for nonsense in ("", "00" * 64, "no digits"):
        assert verify(public_text(mine), nonsense, b"root") is False
    assert verify("no key", signature, b"root") is False


@pytest.mark.parametrize("body", ["nonsense", "locked", "elliptic", "folder"])
def test_what_is_no_signing_key_is_one_line(tmp_path, body):
    path = tmp_path / "key.pem"
    if body == "folder":
        path.mkdir()
    else:
        elliptic = generate_private_key(SECP256R1())
        kept = form.BestAvailableEncryption(b"secret") if body == "locked" else form.NoEncryption()
        text = elliptic.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, kept)
        path.write_bytes(b"nonsense" if body == "nonsense" else text)
    words = "give another file" if body == "elliptic" else "no private key in PEM form"
    with pytest.raises(InputError, match=words) as caught:
        signing_key(path)
    assert "\n" not in str(caught.value)


def test_a_public_key_is_read_from_its_digits_or_its_file(tmp_path):
    key = signing_key(tmp_path / "key.pem")
    path = tmp_path / "public.pem"
    path.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    assert read_public(str(path)) == read_public(public_text(key).upper()) == public_text(key)


@pytest.mark.parametrize("text", ["ab" * 31, "ab" * 31 + "a", "ab" * 32 + "a", "g" * 64, ""])
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(InputError, match="neither 64 hexadecimal digits nor a public key in PEM form"):
        read_public(text)


def test_a_file_that_holds_another_kind_of_key_is_no_public_key(tmp_path):
    path = tmp_path / "public.pem"
    path.write_text("nonsense")
    with pytest.raises(InputError, match="nor a public key"):
        read_public(str(path))
    elliptic = generate_private_key(SECP256R1()).public_key()
    path.write_bytes(elliptic.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputError, match="is not an Ed25519 key"):
        read_public(str(path))
