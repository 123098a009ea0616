"""Signatures of bundles: keys in files, what is signed, and whose bundles are taken."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from imagebuilder.bundle.errors import BundleError
from imagebuilder.bundle.reader import open_bundle, read_bundle
from imagebuilder.bundle.signer import (
    FileKey,
    Trust,
    check_signature,
    check_trust,
    read_file_key,
    read_public_key,
    signature_line,
)
from imagebuilder.bundle.store import export_bundle
from imagebuilder.errors import UserError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bundles"
# RFC 8032, section 7.1, tests 2 and 3
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
OTHER = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")


def private_pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, password: bytes = b"") -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        lock or serialization.NoEncryption(),
    )


def public_pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_keys_in_files(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
    (tmp_path / "key").write_bytes(private_pem(key))
    (tmp_path / "pub").write_bytes(public_pem(key))
    assert read_file_key(tmp_path / "key").public_key() == PUBLIC
    assert read_public_key(tmp_path / "pub") == PUBLIC
    assert SEED.hex() not in repr(read_file_key(tmp_path / "key"))


def test_files_that_hold_no_such_key(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    other = rsa.generate_private_key(65537, 2048)
    for name, raw, what in (
        ("locked", private_pem(key, b"secret"), "no readable Ed25519 private key in PEM"),
        ("public", public_pem(key), "no readable Ed25519 private key in PEM"),
        ("empty", b"", "no readable Ed25519 private key in PEM"),
        ("rsa", private_pem(other), "the key is not Ed25519"),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(UserError) as caught:
            read_file_key(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {what}"
    for name, raw, what in (
        ("private", private_pem(key), "no readable Ed25519 public key in PEM"),
        ("rsa", public_pem(other), "the key is not Ed25519"),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(UserError) as caught:
            read_public_key(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {what}"


def test_the_public_key_is_the_rfcs() -> None:
    assert FileKey(SEED).public_key() == PUBLIC


def test_every_flipped_bit_of_the_line_is_found() -> None:
    line = signature_line(FileKey(SEED), b"\x72")
    check_signature(line, b"\x72", PUBLIC)
    for bit in range((len(line) - 1) * 8):
        changed = bytearray(line)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BundleError, match=r"bad-signature|wrong-signature"):
            check_signature(bytes(changed), b"\x72", PUBLIC)


def test_another_manifest_is_found() -> None:
    line = signature_line(FileKey(SEED), b"\x72")
    with pytest.raises(BundleError, match="wrong-signature"):
        check_signature(line, b"\x73", PUBLIC)


@pytest.mark.parametrize(
    ("fixture", "key", "least", "code"),
    [
        ("good-signed", PUBLIC, 3, ""),
        ("good-signed", PUBLIC, 4, "too-old: rollback_version is 3, the least is 4"),
        ("good-signed", OTHER, 0, "wrong-signature: bundle.sig is not this key's, or bundle.json "
         "was changed"),
        ("good-float", PUBLIC, 0, "bad-signature: no regular file bundle.sig"),
    ],
)  # fmt: skip
def test_whose_bundles_are_taken(fixture: str, key: bytes, least: int, code: str) -> None:
    bundle = read_bundle(FIXTURES / fixture)
    if code:
        with pytest.raises(BundleError) as caught:
            check_trust(bundle, Trust(key, least))
        assert str(caught.value) == code
    else:
        check_trust(bundle, Trust(key, least))


def test_signing_keeps_the_digest(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(FIXTURES / "good-float", folder)
    before = read_bundle(folder)
    for _ in range(2):
        copy = export_bundle(before, tmp_path / "sealed", FileKey(SEED))
    check_trust(open_bundle(copy), Trust(PUBLIC, 0))
    assert copy == tmp_path / "sealed" / "fixture"
    assert read_bundle(copy).digest == before.digest
    assert not (folder / "bundle.sig").exists()
    assert [path.name for path in (tmp_path / "sealed").iterdir()] == ["fixture"]
