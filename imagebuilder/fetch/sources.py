"""Fetches what a bundle's `source` or `data.sources` names, checked by SHA-256."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.fetch.wheels import fetch_from_wheel
from imagebuilder.run import run
from imagebuilder.source import DebSource, PathSource, PypiSource, Source, UrlSource
from imagebuilder.state import new_file, sha256_file

MAX_BYTES = 4 << 30
SUITE = "trixie"


def fetch_source(fetcher: Fetcher, source: Source, folder: Path) -> Path:
    """The file that a source names; `folder` is what a path is relative to.

    Raises `UserError` when it cannot be had, is empty, too large or another file.
    """
    match source:
        case PathSource():
            path = _local(source, folder)
        case PypiSource():
            path = fetch_from_wheel(fetcher, source)
        case UrlSource():
            path = fetcher.file([source.url], source.sha256)
        case DebSource():
            path = _from_deb(fetcher, source)
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path.name}: the file is empty")
    if size > MAX_BYTES:
        raise UserError(f"{path.name}: {size} bytes are more than 4 GiB")
    return path


def _local(source: PathSource, folder: Path) -> Path:
    path = (folder / source.path).resolve()
    if not path.is_file():
        raise UserError(f"{source.path}: no such file", hint=f"looked for {path}")
    if source.sha256 is not None and path.stat().st_size <= MAX_BYTES:
        got = sha256_file(path)
        if got != source.sha256:
            raise UserError(f"{source.path}: wrong SHA-256: got {got}, want {source.sha256}")
    return path


def _from_deb(fetcher: Fetcher, source: DebSource) -> Path:
    path = fetcher.cache.download(source.sha256)
    if path.is_file():
        return path
    archive = Archive(fetcher, partial(find_mirrors, None, None))
    arch = "amd64" if source.arch == "all" else source.arch
    deb = archive.fetch_pin(SUITE, arch, source.pin)
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        run(["dpkg-deb", "-x", deb, folder])
        found = Path(folder) / source.file
        if not found.is_file():
            raise UserError(f"{source.pin} holds no file {source.file}")
        got = sha256_file(found)
        if got != source.sha256:
            raise UserError(
                f"{source.file} of {source.pin}: wrong SHA-256: got {got}, want {source.sha256}"
            )
        with new_file(path) as temporary:
            shutil.copyfile(found, temporary)
    return path
