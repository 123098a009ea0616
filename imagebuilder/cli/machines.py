"""What verbs that boot images share: the machines asked for, built and ready for QEMU."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from imagebuilder.artifact import Artifacts, testable
from imagebuilder.cli.app import App, manifest_argument
from imagebuilder.cli.build import engine_option, locked_option, output_option
from imagebuilder.cli.pipeline import Asked, ask, build_image, output_folder
from imagebuilder.engines.locking import emulator, emulator_role, lock_packages, tool_set
from imagebuilder.errors import UserError
from imagebuilder.fetch.debian import Archive
from imagebuilder.hosttools import unpack_tools
from imagebuilder.resolve import Build
from imagebuilder.target.qemu import Guest
from imagebuilder.target.qemuboot import read_qemuboot, with_qemuboot

OVERHEAD = 256 << 20
"""Bytes of memory that QEMU and its tests take beside the guest's."""


@dataclass(frozen=True, slots=True)
class Images:
    """Options of verbs for several machines: whose images are meant, and how they are made."""

    manifest: Path
    machines: tuple[str, ...]
    engine: str
    locked: bool
    output: Path | None

    def ask(self, app: App) -> list[Asked]:
        """What the manifest names, once for each machine; `UserError` with all problems."""
        names = machine_names(app, self.manifest, self.machines, self.engine)
        return [ask(app, self.manifest, name, self.engine) for name in names]

    def make(self, app: App, asked: Asked, boot: str = "direct") -> Bootable:
        """A machine's image, with the test agent, ready for QEMU; raises as `build` does."""
        return make_bootable(app, asked, boot, locked=self.locked, output=self.output)

    def folder(self, asked: Asked) -> Path:
        """Where the reports of all machines go."""
        return output_folder(asked, self.output).parent


def images_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of `Images`, given to the command as `images`."""

    @manifest_argument
    @click.option(
        "--machine",
        "machines",
        metavar="NAME",
        multiple=True,
        help="Machine instead of the manifest's; may be repeated, and may be a pattern such as "
        "'qemu*'.",
    )
    @engine_option
    @locked_option
    @output_option
    @functools.wraps(function)
    def with_images(*args: Any, **values: Any) -> None:
        names = [field.name for field in dataclasses.fields(Images)]
        images = Images(**{name: values.pop(name) for name in names})
        function(*args, images=images, **values)

    return with_images


@dataclass(frozen=True, slots=True)
class Bootable:
    """A built image, and what boots it."""

    build: Build
    guest: Guest
    archive: Archive


def machine_names(
    app: App, manifest: Path, asked: tuple[str, ...], engine: str
) -> list[str | None]:
    """The names asked for, patterns resolved to machines that QEMU and the engine have."""
    if not asked:
        return [None]
    catalog = app.catalog(app.manifest(manifest))
    names: list[str | None] = []
    for pattern in asked:
        if not any(char in pattern for char in "*?["):
            names.append(pattern)
            continue
        near = map(catalog.machine, fnmatch.filter(catalog.names("machines"), pattern))
        found = [m.name for m in near if m.qemu and getattr(m, engine) is not None]
        if not found:
            raise UserError(f"no machine fits {pattern!r}")
        names += found
    return list(dict.fromkeys(names))


def make_bootable(
    app: App,
    asked: Asked,
    boot: str = "direct",
    *,
    locked: bool,
    output: Path | None,
    tested: bool = True,
) -> Bootable:
    """Build a machine's image, and fetch its QEMU if that is not there yet.

    `tested` takes the image with the test agent, where there are two. Raises as `build` does.
    """
    build, artifacts, archive = build_image(app, asked, locked=locked, output=output)
    guest = _guest(app, build, testable(artifacts) if tested else artifacts, archive, boot)
    return Bootable(build, guest, archive)


def _guest(app: App, build: Build, artifacts: Artifacts, archive: Archive, boot: str) -> Guest:
    qemu = build.machine.qemu
    if qemu is None:
        raise UserError(f"QEMU has no stand-in for {build.machine.name}")
    if boot == "disk" and qemu.firmware_code is None:
        raise UserError(f"{build.machine.name} does not boot by itself", hint="use --boot direct")
    lock = lock_packages(build, emulator(build), archive, update=False, strict=False)
    build = dataclasses.replace(build, lock=lock)
    tools = unpack_tools(tool_set(build, emulator_role(build)), archive, app.fetcher.cache)
    if artifacts.has("qemuboot"):
        qemu = with_qemuboot(qemu, read_qemuboot(artifacts.path("qemuboot").read_text("utf-8")))
    return Guest(artifacts, qemu, tools, boot, artifacts.folder)


def jobs_that_fit(guests: Sequence[Guest]) -> int:
    """How many of the guests can run at once on this host."""
    largest = max((guest.qemu.memory for guest in guests), default=0) + OVERHEAD
    return max(1, min(len(os.sched_getaffinity(0)), available_memory() // largest))


def available_memory() -> int:
    """Bytes that new processes can have; without /proc, those of one machine."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next(int(s.split()[1]) << 10 for s in lines if s.startswith("MemAvailable:"))
