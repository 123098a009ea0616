"""Host tools from Debian packages: unpacked in the cache, run without root or installation.

Programs of a newer Debian do not start with an older host's C library, so each is started by the
loader of its own packages.
"""

from __future__ import annotations

import hashlib
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder.errors import BuildError, UserError
from imagebuilder.fetch.debian import Archive
from imagebuilder.log import QUIET, Log
from imagebuilder.package import PackageSet
from imagebuilder.run import run
from imagebuilder.state import Cache, new_folder

IMAGE_TOOLS = ("e2fsprogs", "erofs-utils", "mtools", "dosfstools", "fdisk")
"""Packages with the tools that make images."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin")


def host_arch() -> str:
    """Debian's name of this host's architecture; `UserError` if no tools run here."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise UserError(f"no host tools for {machine}: build on x86_64 or aarch64")
    return _ARCHITECTURES[machine]


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The unpacked tools in `root`; `digest` identifies them."""

    root: Path
    digest: str

    def argv(self, program: str) -> list[str]:
        """The words that start a program, to be followed by its arguments."""
        libraries = ":".join(str(folder) for folder in self._library_folders())
        return [str(self._loader()), "--library-path", libraries, str(self.program(program))]

    def program(self, name: str) -> Path:
        """The file of a program; `BuildError` if the tools have none of this name."""
        for folder in _FOLDERS:
            path = self.root / folder / name
            if path.is_file():
                return path
        raise BuildError(f"the host tools have no {name}", hint="`imagebuilder lock --update`")

    def path(self, relative: str) -> Path:
        """A data file of the tools, for example `usr/share/qemu`."""
        return self.root / relative

    def _loader(self) -> Path:
        for pattern in ("usr/lib*/*/ld-linux-*.so.*", "usr/lib*/ld-linux-*.so.*"):
            for path in self.root.glob(pattern):
                return path
        what = f"the host tools in {self.root} have no loader, ld-linux"
        raise BuildError(what, hint="`imagebuilder lock --update`")

    def _library_folders(self) -> tuple[Path, ...]:
        triplets = sorted(self.root.glob("usr/lib/*-linux-gnu"))
        inner = [path for triplet in triplets for path in triplet.iterdir()
                 if path.is_dir() and any(path.glob("*.so*"))]  # fmt: skip
        return (*triplets, *sorted(inner))


def toolbox_digest(packages: PackageSet) -> str:
    """Digest of a set of packages, which names the folder that they are unpacked in."""
    text = "\n".join(package.sha256 for package in packages.packages)
    return hashlib.sha256(text.encode()).hexdigest()


def unpack_tools(packages: PackageSet, archive: Archive, cache: Cache) -> Toolbox:
    """The tools of a locked set, unpacked once."""
    digest = toolbox_digest(packages)
    root = cache.root / "tools" / digest
    if not root.is_dir():
        files = fetch_all(packages, archive)
        with archive.fetcher.log.task("unpack host tools"), new_folder(root) as temporary:
            for file in files:
                run(["dpkg-deb", "-x", file, temporary])
    return Toolbox(root, digest)


def fetch_all(packages: PackageSet, archive: Archive) -> tuple[Path, ...]:
    """All packages of a set, four downloads at a time, shown as one piece of work."""
    cache, log = archive.fetcher.cache, archive.fetcher.log
    missing = [p for p in packages.packages if not cache.download(p.sha256).is_file()]
    if missing:
        quiet = replace(archive, fetcher=replace(archive.fetcher, log=Log(QUIET)))
        label = f"fetch {len(missing)} packages"
        with log.task(label, sum(p.size for p in missing)) as task, ThreadPoolExecutor(4) as pool:
            for package, _ in zip(missing, pool.map(quiet.fetch, missing), strict=True):
                task.advance(package.size)
    return tuple(cache.download(package.sha256) for package in packages.packages)
