"""QEMU's command line for an image. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagebuilder import device
from imagebuilder.artifact import Artifacts
from imagebuilder.catalog.machine import Qemu
from imagebuilder.hosttools import Toolbox
from imagebuilder.units import MIB


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of the host that leads to one of the guest, at its own address or at another one."""

    host: int
    guest: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class KeptDisk:
    """A disk that the guest writes to, and the log of its writes (see `power`), if any is kept."""

    path: Path
    log: Path | None


@dataclass(frozen=True, slots=True)
class ExtraDisk:
    """A second disk, read-only; the guest finds it by its `serial`, at most 20 characters."""

    path: Path
    serial: str


@dataclass(frozen=True, slots=True)
class Channels:
    """How the host and the guest talk; a path that is None is not used.

    `agent` and `qmp` are unix sockets, `packets` receives all network packets, `vars` is a writable
    copy of the firmware's variables, `disk` stands in for the image's, `extra` is a second one.
    `console` is a unix socket in place of this process's own console, `gdb` a port of the host for
    a debugger.
    """

    forwards: tuple[Forward, ...] = ()
    agent: Path | None = None
    packets: Path | None = None
    vars: Path | None = None
    disk: KeptDisk | None = None
    qmp: Path | None = None
    extra: ExtraDisk | None = None
    console: Path | None = None
    gdb: int | None = None


def qemu_command(
    artifacts: Artifacts, qemu: Qemu, tools: Toolbox, boot: str, channels: Channels
) -> list[str]:
    """The words that start QEMU; `boot` is `direct` or `disk`.

    Without `channels.disk` the image is opened as a snapshot, and stays as it was built.
    """
    return [
        *tools.argv(f"qemu-system-{qemu.system}"),
        *("-L", str(tools.path("usr/share/qemu")), "-L", str(tools.path("usr/share/seabios"))),
        *("-machine", qemu.machine, "-cpu", qemu.cpu, "-accel", "tcg"),
        *("-m", str(qemu.memory // MIB), "-smp", "1", "-nographic", "-no-reboot"),
        # With signals, so that Ctrl-C ends QEMU; Ctrl-A X does too, Ctrl-A C gives its monitor.
        *("-nodefaults", "-chardev", _console(channels.console)),
        *("-serial", "chardev:console", "-mon", "chardev=console"),
        *("-drive", f"if=none,id=disk,{_disk(artifacts, channels.disk)}"),
        *("-device", "virtio-blk-pci,drive=disk" + (",bootindex=0" if boot == "disk" else "")),
        *_network(channels),
        *_boot(artifacts, qemu, tools, boot, channels),
        *_extra(channels.extra),
        *_sockets(channels),
    ]


def _network(channels: Channels) -> list[str]:
    forwards = "".join(
        f",hostfwd=tcp:127.0.0.1:{item.host}-{item.address}:{item.guest}"
        for item in channels.forwards
    )
    words = ["-netdev", f"user,id=net{forwards}"]
    if channels.packets is not None:
        dump = f"filter-dump,id=dump,netdev=net,file={_escape(channels.packets)}"
        words += ["-object", dump]
    return [*words, "-device", "virtio-net-pci,netdev=net,romfile="]


def _extra(disk: ExtraDisk | None) -> list[str]:
    if disk is None:
        return []
    drive = f"if=none,id=extra,file={_escape(disk.path)},format=raw,readonly=on"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive=extra,serial={disk.serial}"]


def _sockets(channels: Channels) -> list[str]:
    words = []
    if channels.agent is not None:
        words += [
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=agent,path={_escape(channels.agent)},server=on,wait=off"),
            *("-device", f"virtserialport,chardev=agent,name={device.AGENT_PORT}"),
        ]
    if channels.qmp is not None:
        words += ["-qmp", f"unix:{_escape(channels.qmp)},server=on,wait=off"]
    if channels.gdb is not None:
        words += ["-gdb", f"tcp:127.0.0.1:{channels.gdb}"]
    return words


def _console(path: Path | None) -> str:
    if path is None:
        return "stdio,id=console,mux=on,signal=on"
    place, log = _escape(path), _escape(path.with_suffix(".log"))
    return f"socket,id=console,mux=on,path={place},server=on,wait=off,logfile={log}"


def _disk(artifacts: Artifacts, kept: KeptDisk | None) -> str:
    if kept is None:
        return f"file={_escape(artifacts.path('disk'))},format=raw,snapshot=on"
    if kept.log is None:
        return f"file={_escape(kept.path)},format=raw"
    files = {"file": kept.path, "log": kept.log}
    parts = [f"{name}.driver=raw,{name}.file.driver=file,{name}.file.filename={_escape(path)}"
             for name, path in files.items()]  # fmt: skip
    return ",".join(["driver=blklogwrites", *parts])


def _boot(
    artifacts: Artifacts, qemu: Qemu, tools: Toolbox, boot: str, channels: Channels
) -> list[str]:
    if boot == "direct":
        # A debugger's symbols have the addresses that the kernel was linked for.
        fixed = "" if channels.gdb is None else " nokaslr"
        initrd = ["-initrd", str(artifacts.path("initrd"))] if artifacts.has("initrd") else []
        return ["-kernel", str(artifacts.path("kernel")), *initrd,
                "-append", artifacts.command_line + fixed]  # fmt: skip
    assert qemu.firmware_code is not None
    code = _escape(tools.path(qemu.firmware_code))
    words = ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
             "-boot", "menu=on,splash-time=0"]  # fmt: skip
    if channels.vars is not None:
        words += ["-drive", f"if=pflash,format=raw,unit=1,file={_escape(channels.vars)}"]
    return words


def _escape(path: Path) -> str:
    """In an option of QEMU a comma is written twice."""
    return str(path).replace(",", ",,")
