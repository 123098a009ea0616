"""Which Debian packages a build needs."""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.engines.locking import TOOLS_SUITE, Request, emulator
from imagebuilder.hosttools import IMAGE_TOOLS, host_arch
from imagebuilder.package import PackageSet
from imagebuilder.resolve import Build

BASE = ("busybox-static", "libc6", "libgcc-s1", "libstdc++6")
SSH = ("dropbear-bin",)
SERVER_BUILD = ("libevent-dev", "libonnxruntime-dev", "nlohmann-json3-dev")
UEFI_BUILD = ("systemd-boot-efi", "systemd-ukify")


def requests(build: Build) -> Iterator[Request]:
    """All that has to be pinned for a build."""
    machine = build.machine
    debian = machine.debian
    assert debian is not None
    suite, name = build.manifest.debian.suite, machine.name
    yield Request(name, "image", suite, debian.arch, image_names(build))
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
        names |= set(model.target.debian.packages)
    if build.manifest.image.authorized_keys:
        names |= set(SSH)
    return tuple(sorted(names))


def package_set(build: Build, role: str) -> PackageSet:
    """The locked packages of a role of this machine."""
    return build.lock.packages[build.machine.name][role]
