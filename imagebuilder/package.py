"""Debian packages, pinned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A Debian package; `path` is its place in the archive, `size` in bytes."""

    name: str
    version: str
    arch: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PackageSet:
    """What was asked for, and all packages that this needs, sorted by name."""

    suite: str
    arch: str
    request: tuple[str, ...]
    packages: tuple[Package, ...]
