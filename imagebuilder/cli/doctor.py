"""`imagebuilder doctor`: what this host lacks, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from imagebuilder.cli.app import App
from imagebuilder.cli.build import engine_option
from imagebuilder.errors import EXIT_INPUT, UserError
from imagebuilder.fetch.debian import find_mirrors
from imagebuilder.hostcheck import Finding, module, program
from imagebuilder.state import Cache
from imagebuilder.units import show_size

ROOM = 4 << 30
"""Bytes that downloads and builds for all four QEMU machines take, with room to spare."""


@click.command()
@engine_option
@click.pass_context
def command(context: click.Context, engine: str) -> None:
    """Check this host; exit code 2 if something is missing."""
    app: App = context.obj
    findings = tuple(examine(app))
    if engine == "yocto":
        from imagebuilder.engines.yocto.host import examine as examine_yocto

        findings += tuple(examine_yocto(Path.cwd()))
    rows = [(f.what, "ok" if f.good else "MISSING", f.found) for f in findings]
    app.log.table(("what", "state", "found"), rows)
    for finding in findings:
        if not finding.good:
            app.log.print(f"{finding.what}: {finding.mend}")
    context.exit(0 if all(finding.good for finding in findings) else EXIT_INPUT)


def examine(app: App) -> Iterator[Finding]:
    """Look at everything that building, running and testing needs of the host."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), version, "apt-get install python3")
    yield from (module(name, extra) for name, extra in MODULES)
    yield from (program(name, package) for name, package in PROGRAMS)
    yield _mirror(app)
    yield _room(app.fetcher.cache)
    yield _processors()


MODULES = (
    ("onnx", "models"),
    ("onnxruntime", "models"),
    ("ziglang", "build"),
    ("cmake", "build"),
    ("ninja", "build"),
    ("pytest", "test"),
    ("testinfra", "test"),
)
PROGRAMS = (("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("ssh", "openssh-client"))


def _mirror(app: App) -> Finding:
    mend = "export IMAGEBUILDER_DEBIAN_MIRROR=http://A-DEBIAN-MIRROR/debian"
    try:
        mirrors = find_mirrors(app.mirror, app.snapshot)
    except UserError as error:
        return Finding("Debian mirror", False, str(error.problems[0].what), mend)
    return Finding("Debian mirror", True, ", ".join(mirrors.all), mend)


def _room(cache: Cache) -> Finding:
    folder: Path = cache.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    found = f"{show_size(free)} free in {folder}" + ("" if writable else ", not writable")
    mend = "free some, or set IMAGEBUILDER_CACHE to a folder with 4 GiB"
    return Finding("room for the cache", free >= ROOM and writable, found, mend)


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0))
    return Finding("processors", count >= 1, str(count), "")
