"""A guest that goes on when its tests are over, for a look around."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imagebuilder.errors import BuildError
from imagebuilder.run import detach
from imagebuilder.target.backlog import widen_backlog
from imagebuilder.target.command import Channels, KeptDisk, qemu_command
from imagebuilder.target.ports import Ports
from imagebuilder.target.qemu import Guest, connected, copy_vars
from imagebuilder.target.qmp import Qmp


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A guest that nobody waits for: QEMU's process, and the folder of its sockets."""

    pid: int
    folder: Path


def keep(guest: Guest, ports: Ports, state: Path, disk: Path) -> Kept:
    """Go on with a saved guest in a QEMU that outlives this process; `BuildError` if it fails.

    Its disk and state have no names any more when this returns: they go with the process.
    """
    folder = Path(tempfile.mkdtemp(prefix="ib-kept-", dir="/tmp"))
    channels = Channels(
        forwards=ports.forwards,
        agent=folder / "agent",
        qmp=folder / "qmp",
        vars=copy_vars(guest, folder),
        disk=KeptDisk(disk, None),
        console=folder / "console",
        gdb=guest.gdb,
    )
    words = qemu_command(guest.artifacts, guest.qemu, guest.tools, guest.boot, channels)
    process = detach([*words, "-incoming", "defer"], folder / "qemu.log")
    try:
        monitor = connected(Qmp, folder / "qmp", process)
        monitor.load(state)
        monitor.close()
        widen_backlog(process.pid, [forward.host for forward in ports.forwards])
    except (BuildError, OSError) as error:
        process.kill()
        process.wait()
        said = (folder / "qemu.log").read_text("utf-8", "replace").strip()
        raise BuildError(f"the guest cannot be kept: {error} {said}".strip()) from error
    for path in (state, disk):
        path.unlink()
    return Kept(process.pid, folder)


def describe_kept(guest: Guest, ports: Ports, kept: Kept) -> Iterator[str]:
    """How to reach a kept guest, and how to end it."""
    yield f"{guest.artifacts.machine} is left on, QEMU's process {kept.pid}"
    if ports.api is not None:
        yield f"  inferd:  http://127.0.0.1:{ports.api}"
    if ports.text is not None:
        yield f"  text:    http://127.0.0.1:{ports.text}"
    if ports.ssh is not None:
        yield f"  ssh:     ssh -p {ports.ssh} root@127.0.0.1"
    yield f"  console: socat STDIO,raw,echo=0,escape=0x1d UNIX-CONNECT:{kept.folder}/console"
    yield "           (Ctrl-] leaves it)"
    if guest.gdb is not None:
        yield f"  gdb:     target remote 127.0.0.1:{guest.gdb}"
    yield f"  stop:    kill {kept.pid}; rm -r {kept.folder}"
