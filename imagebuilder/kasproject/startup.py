"""What busybox init does of the manifest's units and modules, which systemd does by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagebuilder.errors import Problem, UserError
from imagebuilder.resolve import Build
from imagebuilder.services import service_path, service_script

FOLDER = "imagebuilder-startup"
"""Where the files lie among the sources of the recipe."""
TABLE = "/usr/share/imagebuilder/inittab.d/70-firmware"
"""A part of inittab, which the image's class puts together."""


@dataclass(frozen=True, slots=True)
class StartupFile:
    """A file of the recipe and where it goes on the device."""

    name: str
    text: str
    path: str
    mode: int


def startup_files(build: Build) -> tuple[StartupFile, ...]:
    """The scripts and their lines of inittab; none for systemd."""
    modules, services = build.manifest.kernel.modules, build.manifest.image.services
    if build.manifest.yocto.init != "busybox" or not (modules or services):
        return ()
    lines = [f"::sysinit:/sbin/modprobe -a {' '.join(modules)}"] if modules else []
    files = []
    for index, unit in enumerate(services):
        path = service_path(index, unit)
        lines.append(f"::respawn:{path}")
        files.append(StartupFile(path.rpartition("/")[2], service_script(unit), path, 0o755))
    table = "".join(f"{line}\n" for line in lines)
    return (*files, StartupFile("inittab", table, TABLE, 0o644))


def startup_problems(build: Build) -> Iterator[Problem]:
    """What busybox init cannot do of the manifest's units."""
    if build.manifest.yocto.init != "busybox":
        return
    for unit in build.manifest.image.services:
        try:
            service_script(unit)
        except UserError as error:
            yield from error.problems
