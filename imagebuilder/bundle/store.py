"""Where sealed bundles lie: in a project's own folder, and in the cache."""

from __future__ import annotations

import hashlib
import shutil
import stat
from pathlib import Path

from imagebuilder.bundle.reader import (
    MANIFEST,
    MAX_DESCRIPTION,
    SIGNATURE,
    SealedBundle,
    bundle_files,
    open_bundle,
    read_bundle,
)
from imagebuilder.bundle.signer import Signer, signature_line
from imagebuilder.state import Cache, new_folder

SEALED = "sealed"
"""The folder beside a manifest: one folder a model, with its signature if it has one."""


def find_bundle(
    name: str, digest: str, places: tuple[Path, Cache], *, verify: bool = True
) -> SealedBundle | None:
    """The bundle with this digest, from the project's folder or else from the cache.

    Raises `BundleError` when it is there and its files are others.
    """
    sealed, cache = places
    for folder in (sealed / name, cache.bundle(digest)):
        if _digest(folder / MANIFEST) == digest:
            return read_bundle(folder) if verify else open_bundle(folder)
    return None


def _digest(path: Path) -> str:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_DESCRIPTION:
            return ""
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return ""


def export_bundle(bundle: SealedBundle, folder: Path, signer: Signer | None) -> Path:
    """Copy a bundle to `folder`/NAME, in place of what is there, and sign the copy."""
    target = folder / bundle.description.name
    with new_folder(target.with_name(f".{target.name}.new")) as temporary:
        _copy(bundle, temporary)
        if signer is not None:
            line = signature_line(signer, (bundle.folder / MANIFEST).read_bytes())
            (temporary / SIGNATURE).write_bytes(line)
    if target.exists():
        shutil.rmtree(target)
    target.with_name(f".{target.name}.new").rename(target)
    return target


def keep_bundle(bundle: SealedBundle, cache: Cache) -> None:
    """Have a bundle in the cache too, for what finds it by its digest; never a signature."""
    target = cache.bundle(bundle.digest)
    if target.exists():
        return
    with new_folder(target) as temporary:
        _copy(bundle, temporary)


def _copy(bundle: SealedBundle, folder: Path) -> None:
    for name, path in bundle_files(bundle, signed=False).items():
        shutil.copyfile(path, folder / name)
