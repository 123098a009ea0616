"""Signs `bundle.json` with Ed25519 (RFC 8032) and checks `bundle.sig`."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagebuilder.bundle.errors import BundleError
from imagebuilder.errors import UserError


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


def signature_line(signer: Signer, manifest: bytes) -> bytes:
    """What `bundle.sig` holds: base64 of the signature over bundle.json, and a newline."""
    return base64.b64encode(signer.sign(manifest)) + b"\n"


def check_signature(line: bytes, manifest: bytes, public_key: bytes) -> None:
    """`BundleError` unless `line` is exactly the signature of `manifest` by `public_key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signature = base64.b64decode(line.removesuffix(b"\n"), validate=True)
        if base64.b64encode(signature) + b"\n" != line:
            raise ValueError("not canonical")
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, manifest)
    except (ValueError, binascii.Error, InvalidSignature) as error:
        raise BundleError("bad-signature", "bundle.sig is not the key's signature") from error
