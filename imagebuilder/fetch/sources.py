"""Fetches what a bundle's `source` or `data.sources` names, checked by SHA-256."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.fetch import MAX_BYTES, TOO_LARGE, Fetcher
from imagebuilder.fetch.wheels import fetch_from_wheel
from imagebuilder.source import DebSource, PathSource, PypiSource, Source, UrlSource
from imagebuilder.state import new_file, sha256_file

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
        raise UserError(f"{path.name}: {size} bytes are {TOO_LARGE}")
    return path


def _local(source: PathSource, folder: Path) -> Path:
    path = (folder / source.path).resolve()
    if not path.is_file():
        raise UserError(f"{source.path}: no such file", hint=f"looked for {path}")
    if not path.is_relative_to(folder.resolve()):
        raise UserError(
            f"{source.path} leads out of the bundle's folder, to {path}", hint="copy the file there"
        )
    if source.sha256 is not None and path.stat().st_size <= MAX_BYTES:
        got = sha256_file(path)
        if got != source.sha256:
            raise UserError(f"{source.path}: wrong SHA-256: got {got}, want {source.sha256}")
    return path


def _from_deb(fetcher: Fetcher, source: DebSource) -> Path:
    path = fetcher.cache.download(source.sha256)
    if path.is_file():
        return path
    from imagebuilder.fetch.debian import Archive, find_mirrors

    archive = Archive(fetcher, partial(find_mirrors, fetcher.mirror, fetcher.snapshot))
    arch = "amd64" if source.arch == "all" else source.arch
    deb = archive.fetch_pin(SUITE, arch, source.pin)
    with new_file(path) as temporary:
        extract_from_deb(deb, source, temporary)
    return path


def extract_from_deb(deb: Path, source: DebSource, target: Path) -> None:
    """Write the named file of a package to `target`; links in it are followed inside it only.

    Raises `UserError` when the package is none, or the file is not in it or is another one.
    """
    from imagebuilder.run import CommandFailed, run

    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as name:
        folder = Path(name).resolve()
        try:
            run(["dpkg-deb", "-x", deb, folder])
        except CommandFailed as error:
            raise UserError(f"{source.pin}: dpkg-deb cannot unpack it") from error
        found = (folder / source.file).resolve()
        if not (found.is_relative_to(folder) and found.is_file()):
            raise UserError(f"{source.pin} holds no file {source.file}")
        got = sha256_file(found)
        if got != source.sha256:
            raise UserError(
                f"{source.file} of {source.pin}: wrong SHA-256: got {got}, want {source.sha256}"
            )
        shutil.copyfile(found, target)
