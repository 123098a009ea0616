"""How an image reaches a device: the commands as data, and what a block device must be for them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.errors import Problem, UserError
from imagebuilder.units import show_size

Command = tuple[str, ...]


def flash_commands(method: str, artifacts: Artifacts, device: Path | None) -> tuple[Command, ...]:
    """The commands of a method, in order.

    Raises `UserError` when it needs a device or a file that there is not.
    """
    return METHODS[method](artifacts, device)


def _bmaptool(artifacts: Artifacts, device: Path | None) -> tuple[Command, ...]:
    image = _file(artifacts, "compressed" if artifacts.has("compressed") else "disk")
    bmap = ("--bmap", _file(artifacts, "bmap")) if artifacts.has("bmap") else ("--nobmap",)
    return (("bmaptool", "copy", *bmap, image, _device(device)),)


def _dd(artifacts: Artifacts, device: Path | None) -> tuple[Command, ...]:
    image = _file(artifacts, "disk")
    return (("dd", f"if={image}", f"of={_device(device)}", "bs=4M", "conv=fsync"),)


def _uuu(artifacts: Artifacts, device: Path | None) -> tuple[Command, ...]:
    if device is not None:
        return _bmaptool(artifacts, device)
    return (("uuu", "-b", "emmc_all", _file(artifacts, "bootloader"),
             _file(artifacts, "compressed")),)  # fmt: skip


def _tegraflash(artifacts: Artifacts, device: Path | None) -> tuple[Command, ...]:
    if device is not None:
        raise UserError("this device is flashed over USB in recovery mode: leave --device out")
    archive = _file(artifacts, "flash")
    folder = f"{archive.partition('.tegraflash')[0]}-flash"
    return (
        ("mkdir", "-p", folder),
        ("tar", "-C", folder, "-xf", archive),
        ("sh", "-c", 'cd "$0" && ./doflash.sh', folder),
    )


METHODS: dict[str, Callable[[Artifacts, Path | None], tuple[Command, ...]]] = {
    "bmaptool": _bmaptool,
    "dd": _dd,
    "uuu": _uuu,
    "tegraflash": _tegraflash,
}
"""The machine file's `flash.method` → its commands."""


def _file(artifacts: Artifacts, kind: str) -> str:
    try:
        return str(artifacts.path(kind))
    except KeyError as error:
        what = f"the build in {artifacts.folder} has no file of the kind {kind}"
        raise UserError(what, hint="build it with --engine yocto") from error


def _device(device: Path | None) -> str:
    if device is None:
        raise UserError("this machine is flashed onto a block device", hint="name it by --device")
    return str(device)


def device_problems(device: Path, needs: int, mounts: str) -> Iterator[Problem]:
    """Why nothing may be written to `device`; `mounts` is the text of /proc/self/mounts."""
    try:
        status = device.stat()
    except OSError as error:
        yield Problem(f"{device}: {os.strerror(error.errno or 0)}")
        return
    if not stat.S_ISBLK(status.st_mode):
        yield Problem(f"{device} is not a block device")
        return
    real = str(device.resolve())
    used = [line.split()[:2] for line in mounts.splitlines() if line.startswith(real)]
    for source, place in used:
        hint = "this is the disk that the host runs from" if place == "/" else f"umount {place}"
        yield Problem(f"{source} is mounted at {place}", hint=hint)
    if (size := device_size(device)) < needs:
        yield Problem(f"{device} has {show_size(size)}, the image needs {show_size(needs)}")


def device_size(device: Path) -> int:
    """Bytes of a block device; 0 if it cannot be read."""
    try:
        descriptor = os.open(device, os.O_RDONLY)
    except OSError:
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
