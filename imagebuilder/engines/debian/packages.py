"""Which Debian packages a build needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from imagebuilder.engines.locking import TOOLS_SUITE, Request, emulator
from imagebuilder.hosttools import IMAGE_TOOLS, host_arch
from imagebuilder.package import PackageSet
from imagebuilder.resolve import Build

BASE = ("busybox-static", "e2fsck-static", "libc6", "libgcc-s1", "libstdc++6")
SSH = ("dropbear-bin",)
SERVER_BUILD = ("libevent-dev", "libonnxruntime-dev", "libsodium-dev", "nlohmann-json3-dev")
UEFI_BUILD = ("systemd-boot-efi", "systemd-ukify")


def requests(build: Build) -> Iterator[Request]:
    """All that has to be pinned for a build."""
    machine = build.machine
    debian = machine.debian
    assert debian is not None
    suite, name = build.manifest.debian.suite, machine.name
    yield Request(name, "image", suite, debian.arch, image_names(build))
    for role, names, from_suite in _foreign(build):
        yield Request(name, role, from_suite, debian.arch, names, closure=False)
    # Its tools for making an initramfs are not needed: ours is made here.
    yield Request(name, "kernel", suite, debian.arch, (debian.kernel,), prefix="linux-image-")
    sysroot = SERVER_BUILD + (UEFI_BUILD if debian.boot == "uefi" else ())
    yield Request(name, "sysroot", suite, debian.arch, sysroot, closure=False)
    yield Request("", "image", TOOLS_SUITE, host_arch(), IMAGE_TOOLS)
    yield from emulator(build)


def image_names(build: Build) -> tuple[str, ...]:
    """The packages of the root, sorted."""
    names = {*BASE, *build.manifest.debian.packages}
    for model in build.models:
        assert model.target.debian is not None
        if model.target.debian.suite is None:
            names |= set(model.target.debian.packages)
    if build.manifest.image.authorized_keys:
        names |= set(SSH)
    return tuple(sorted(names))


def _foreign(build: Build) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Runtimes of another suite: role in the lock, packages, suite."""
    sources = {model.runtime.name: model.target.debian for model in build.models}
    for runtime, source in sources.items():
        if source is not None and source.suite is not None:
            yield f"runtime-{runtime}", source.packages, source.suite


def root_packages(build: Build) -> PackageSet:
    """The packages of the root; those of a runtime's own suite take the place of the image's."""
    found = package_set(build, "image")
    foreign = [p for role, _, _ in _foreign(build) for p in package_set(build, role).packages]
    names = {package.name for package in foreign}
    kept = [package for package in found.packages if package.name not in names]
    return dataclasses.replace(found, packages=tuple(sorted({*kept, *foreign})))


def package_set(build: Build, role: str) -> PackageSet:
    """The locked packages of a role of this machine."""
    return build.lock.packages[build.machine.name][role]
