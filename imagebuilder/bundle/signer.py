"""Signs `bundle.json` with Ed25519 (RFC 8032), and checks whose a bundle is."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagebuilder.bundle.errors import BundleError
from imagebuilder.bundle.reader import MANIFEST, SealedBundle, read_signature
from imagebuilder.errors import UserError


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles are taken: those that `public_key` (32 bytes) signed, of this version on."""

    public_key: bytes
    minimum_version: int

    def key_text(self) -> str:
        """The key in base64."""
        return base64.b64encode(self.public_key).decode()


class Signer(Protocol):
    """Whoever holds the private key: a file, a token, a service."""

    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message`."""
        ...


@dataclass(frozen=True, slots=True)
class FileKey:
    """The 32 bytes of an Ed25519 private key; never printed."""

    _seed: bytes

    def __repr__(self) -> str:
        return "FileKey(...)"

    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed).public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message`."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed).sign(message)


def read_file_key(path: Path) -> FileKey:
    """A PEM (PKCS #8) Ed25519 private key without passphrase; `UserError` for anything else."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"{path}: no readable Ed25519 private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{path}: the key is not Ed25519")
    return FileKey(key.private_bytes_raw())


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of a PEM (SubjectPublicKeyInfo) Ed25519 public key; `UserError` otherwise."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        raw = path.read_bytes()
        key = load_pem_public_key(raw)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise UserError(f"{path}: no readable Ed25519 public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(f"{path}: the key is not Ed25519")
    return key.public_bytes_raw()


def signature_line(signer: Signer, manifest: bytes) -> bytes:
    """What `bundle.sig` holds: base64 of the signature over bundle.json, and a newline."""
    return base64.b64encode(signer.sign(manifest)) + b"\n"


def check_trust(bundle: SealedBundle, trust: Trust) -> None:
    """`BundleError` unless the bundle is one that is trusted."""
    manifest = (bundle.folder / MANIFEST).read_bytes()
    if f"sha256:{hashlib.sha256(manifest).hexdigest()}" != bundle.digest:
        raise BundleError("wrong-signature", "bundle.json was changed since it was read")
    check_signature(read_signature(bundle.folder), manifest, trust.public_key)
    version = bundle.description.rollback_version
    if version < trust.minimum_version:
        what = f"rollback_version is {version}, the least is {trust.minimum_version}"
        raise BundleError("too-old", what)


def check_signature(line: bytes, manifest: bytes, public_key: bytes) -> None:
    """`BundleError` unless `line` is exactly the signature of `manifest` by `public_key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signature = base64.b64decode(line.removesuffix(b"\n"), validate=True)
        if len(signature) != 64 or base64.b64encode(signature) + b"\n" != line:
            raise ValueError("not canonical")
    except (ValueError, binascii.Error) as error:
        raise BundleError("bad-signature", "bundle.sig is no base64 of 64 bytes") from error
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, manifest)
    except InvalidSignature as error:
        what = "bundle.sig is not this key's, or bundle.json was changed"
        raise BundleError("wrong-signature", what) from error
