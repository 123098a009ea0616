"""Pins of Debian packages: which sets a build asks for, and their place in the lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from imagebuilder.errors import UserError
from imagebuilder.fetch.debian import Archive, UnknownPackage
from imagebuilder.hosttools import host_arch
from imagebuilder.lock import Lock, LockUnfit
from imagebuilder.package import PackageSet
from imagebuilder.resolve import Build

TOOLS_SUITE = "trixie"


@dataclass(frozen=True, slots=True)
class Request:
    """Packages to pin: `section` and `role` are the place in the lock.

    Without `closure` exactly these; `prefix` keeps only packages whose names begin with it.
    """

    section: str
    role: str
    suite: str
    arch: str
    names: tuple[str, ...]
    closure: bool = True
    prefix: str = ""


def emulator(build: Build) -> Iterator[Request]:
    """The packages of the QEMU that stands in for the machine, if there is one."""
    if build.machine.qemu is not None:
        role, names = emulator_role(build), build.machine.qemu.packages
        yield Request("", role, TOOLS_SUITE, host_arch(), names)


def emulator_role(build: Build) -> str:
    """The role of these packages in the lock."""
    return f"qemu-{build.machine.name}"


def tool_set(build: Build, role: str) -> PackageSet:
    """The locked host tools of a role."""
    return build.lock.tools[host_arch()][role]


def lock_packages(
    build: Build, requests: Iterable[Request], archive: Archive, *, update: bool, strict: bool
) -> Lock:
    """The lock with a set for each request; a set that fits its request is kept.

    Raises `LockUnfit` when `strict` and one does not fit.
    """
    lock = build.lock
    for request in requests:
        if fits(_find(lock, request), request) and not update:
            continue
        if strict:
            raise LockUnfit(
                f"the lock has no packages for {request.role} of {build.machine.name}",
                hint="run `imagebuilder lock`",
            )
        lock = _store(lock, request, _resolve(build, request, archive))
    return lock


def fits(found: PackageSet | None, request: Request) -> bool:
    """Whether a locked set answers a request."""
    return found is not None and (found.suite, found.arch, found.request) == (
        request.suite,
        request.arch,
        request.names,
    )


def _resolve(build: Build, request: Request, archive: Archive) -> PackageSet:
    try:
        found = archive.resolve(request.suite, request.arch, request.names, closure=request.closure)
    except UnknownPackage as error:
        own = build.manifest.debian.packages
        if error.package not in own:
            raise
        key = ("debian", "packages", own.index(error.package))
        raise UserError(build.manifest.problem(key, str(error))) from error
    kept = tuple(p for p in found.packages if p.name.startswith(request.prefix))
    return dataclasses.replace(found, packages=kept)


def _find(lock: Lock, request: Request) -> PackageSet | None:
    if request.section:
        return lock.packages.get(request.section, {}).get(request.role)
    return lock.tools.get(request.arch, {}).get(request.role)


def _store(lock: Lock, request: Request, packages: PackageSet) -> Lock:
    if request.section:
        return dataclasses.replace(
            lock, packages=_insert(lock.packages, request.section, request.role, packages)
        )
    return dataclasses.replace(
        lock, tools=_insert(lock.tools, request.arch, request.role, packages)
    )


def _insert(
    sets: Mapping[str, Mapping[str, PackageSet]], outer: str, inner: str, packages: PackageSet
) -> dict[str, Mapping[str, PackageSet]]:
    return {**sets, outer: {**sets.get(outer, {}), inner: packages}}
