"""What a host needs to run BitBake."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from imagebuilder.errors import ImagebuilderError
from imagebuilder.hostcheck import Finding, module, program
from imagebuilder.run import run
from imagebuilder.units import show_size

ROOM = 60 << 30
INODES = 2_000_000
PROGRAMS = {
    "bzip2": "bzip2", "chrpath": "chrpath", "cpio": "cpio", "diffstat": "diffstat", "file": "file",
    "g++": "g++", "gawk": "gawk", "gcc": "gcc", "git": "git", "lz4c": "lz4", "make": "make",
    "patch": "patch", "perl": "perl", "python3": "python3", "pzstd": "zstd",
    "rpcgen": "rpcsvc-proto", "strings": "binutils", "wget": "wget", "xz": "xz-utils",
    "zstd": "zstd",
}  # fmt: skip
"""Program → Debian package: HOSTTOOLS of OE-core's bitbake.conf that a small host may lack."""
NAMESPACES = (
    "sysctl -w kernel.unprivileged_userns_clone=1 (as root; Ubuntu 24.04: "
    "kernel.apparmor_restrict_unprivileged_userns=0)"
)


def examine(folder: Path) -> Iterator[Finding]:
    """Look at the host; `folder` is where BitBake would work."""
    root = os.geteuid() == 0
    yield Finding("normal user", not root, "root" if root else "", "BitBake refuses root: log in "
                  "as another user")  # fmt: skip
    yield module("kas", "yocto")
    yield from (program(name, package) for name, package in PROGRAMS.items())
    yield _namespaces()
    yield _locale()
    yield _room(folder)
    yield _inodes(folder)


def _namespaces() -> Finding:
    return Finding("user namespaces", _works("unshare", "-Urn", "true"), "", NAMESPACES)


def _works(*command: str) -> bool:
    try:
        return run(command, check=False, timeout=20).exit_code == 0
    except ImagebuilderError:
        return False


def _locale() -> Finding:
    try:
        names = run(["locale", "-a"], check=False).stdout.decode("utf-8", "replace").lower()
    except ImagebuilderError:
        names = ""
    found = "en_us.utf8" in names.replace("-", "")
    mend = "apt-get install locales && echo 'en_US.UTF-8 UTF-8' >>/etc/locale.gen && locale-gen"
    return Finding("locale en_US.UTF-8", found, "", mend)


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    mend = f"free some: a first build takes about {show_size(ROOM)}"
    return Finding("room for BitBake", free >= ROOM, f"{show_size(free)} free in {folder}", mend)


def _inodes(folder: Path) -> Finding:
    status = os.statvfs(folder)
    # File systems that make inodes as they go report none.
    good = status.f_files == 0 or status.f_favail >= INODES
    return Finding("inodes", good, f"{status.f_favail} free", "use a file system with more inodes")
