"""Where a file of a bundle comes from: a tagged union, told apart by its first key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PathSource:
    """A file in the bundle's own folder."""

    path: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class PypiSource:
    """A file in a wheel, or with no `file` the wheel itself; `pin` is NAME==VERSION.

    With `member` the file is a zip archive, and its member is meant. `sha256` is of what is meant.
    """

    pin: str
    file: str | None
    sha256: str
    platform: str | None
    python: str | None
    member: str | None = None


@dataclass(frozen=True, slots=True)
class DebSource:
    """A file in a Debian package; `pin` is NAME=VERSION, `sha256` is of the file."""

    pin: str
    arch: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file at an address."""

    url: str
    sha256: str


Source = PathSource | PypiSource | DebSource | UrlSource


def source_name(source: Source) -> str:
    """The name of the file that is meant; empty for a whole wheel."""
    match source:
        case PathSource(path=path):
            return path
        case PypiSource(file=file, member=member):
            return member or file or ""
        case DebSource(file=file):
            return file
        case UrlSource(url=url):
            return url


def parse_source(data: dict[str, Any]) -> Source:
    """A `source` that has passed the schema."""
    if "path" in data:
        return PathSource(data["path"], data.get("sha256"))
    if "pypi" in data:
        return PypiSource(
            data["pypi"],
            data.get("file"),
            data["sha256"],
            data.get("platform"),
            data.get("python"),
            data.get("member"),
        )
    if "deb" in data:
        return DebSource(data["deb"], data.get("arch", "all"), data["file"], data["sha256"])
    return UrlSource(data["url"], data["sha256"])
