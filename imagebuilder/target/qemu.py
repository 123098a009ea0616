"""An image in QEMU, from power-on to power-off: booting → ready, or failed once and for all.

Readiness comes over the console, commands then go over ssh where a key is given, else to the agent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from imagebuilder.artifact import Artifacts
from imagebuilder.catalog.machine import Qemu
from imagebuilder.errors import BuildError, UserError
from imagebuilder.hosttools import Toolbox
from imagebuilder.run import spawn
from imagebuilder.state import scratch_folder
from imagebuilder.target.agent import Agent, Output
from imagebuilder.target.backlog import widen_backlog
from imagebuilder.target.command import Channels, ExtraDisk, KeptDisk, qemu_command
from imagebuilder.target.console import Console
from imagebuilder.target.kernels import wrong_kernel
from imagebuilder.target.ports import OPEN_LOOPBACK, Ports, held_ports
from imagebuilder.target.progress import Watch
from imagebuilder.target.qmp import Qmp
from imagebuilder.target.reachable import read_token
from imagebuilder.target.ssh import Ssh

T = TypeVar("T")

COUNT_SHIFT = 1
COUNTED = ("-icount", f"shift={COUNT_SHIFT},sleep=off", "-rtc", "clock=vm")
"""The guest's clock advances by 2^COUNT_SHIFT ns an instruction; idle time is skipped."""
SOCKET_TIMEOUT = 30.0
GDB_TIMEOUT = 12 * 3600.0
"""Seconds to the first answer where a debugger may stop the kernel."""
SOCKETS = Path("/tmp")
LOOK = 0.5
"""Seconds between two looks at a guest that boots."""
FLOOD = 4 << 20
"""Bytes on the console before a guest is ready; one that boots prints some KiB."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What is booted and how; with `ssh_key`, a private key, commands go over ssh.

    With `gdb`, a port of this host, each boot waits until a debugger lets it go on.
    """

    artifacts: Artifacts
    qemu: Qemu
    tools: Toolbox
    boot: str
    log_folder: Path
    ssh_key: Path | None = None
    gdb: int | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A running guest's state in a file, and the console's stages up to it."""

    state: Path
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Start:
    """How a guest is started, beside what it is.

    `counted`: its clock counts instructions. `disk` is written to, instead of nothing at all.
    `saved` is gone on with in place of a boot. `title` begins the console's text, which is then
    added to what the file has. `packets` takes all packets of the network (pcap). `extra` is a
    second disk. With another `stage` of `device.STAGES` only that is waited for, whether or not
    the server can start.
    """

    ports: Ports | None = None
    counted: bool = False
    disk: KeptDisk | None = None
    saved: Saved | None = None
    title: str = ""
    extra: ExtraDisk | None = None
    stage: str = "ready"
    packets: Path | None = None


class TargetFailed(BuildError):
    """The target cannot be used any more; carries the console's last lines."""


class Running:
    """An image that QEMU runs; see `booted`."""

    def __init__(
        self, guest: Guest, process: subprocess.Popen[bytes], folder: Path, start: Start
    ) -> None:
        assert start.ports is not None
        self.guest = guest
        self.artifacts = guest.artifacts
        self.api_port = start.ports.api
        self.text_port = start.ports.text
        self.ssh_port = start.ports.ssh
        self._loopback = any(forward.address for forward in start.ports.forwards)
        self.packets = start.packets or folder / "packets.pcap"
        self._process = process
        assert process.stdout is not None
        log = guest.log_folder / "console.log"
        self.console = Console(process.stdout, log, start.title)
        self._folder = folder
        self._transport: Agent | Ssh | None = None
        self._monitor: Qmp | None = None
        self._failure: TargetFailed | None = None

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command on the target as root; `TargetFailed` when it is gone."""
        self._check()
        assert self._transport is not None
        try:
            return self._transport.run(command, timeout)
        except (BuildError, OSError) as error:
            # An emulator that ends closes its sockets first.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            gone = self.console.ended or self._process.poll() is not None
            why = self._ending() if gone else str(error)
            raise self._fail(why) from error

    @cached_property
    def api_token(self) -> str:
        """What inferd wants its clients to show; empty where it wants nothing."""
        return read_token(self.run)

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    @property
    def failed(self) -> bool:
        """Whether a `TargetFailed` was raised, and nothing more can be done here."""
        return self._failure is not None

    def wait_ready(self, stage: str = "ready") -> None:
        """Wait for the server's first answer, or for an earlier stage of `device.STAGES`.

        `TargetFailed` as soon as that cannot come.
        """
        watch = Watch(self._process.pid)
        with self.console.changed:
            while stage not in self.console.stages:
                if self.console.trouble or self.console.ended:
                    break
                if self.console.changed.wait(LOOK) or self.guest.gdb is not None:
                    continue
                why = watch.stuck(len(self.console.stages))
                if self.console.size > FLOOD:
                    why = f"the console has printed more than {FLOOD >> 20} MiB"
                if why:
                    last = next(reversed(self.console.stages), "power-on")
                    raise self._fail(f"not {stage}: {why}, last stage: {last}")
        if stage not in self.console.stages:
            self.console.settle()
            raise self._fail(self.console.trouble or self._ending())
        try:
            self._transport = self._connect()
            self._transport.wait_ready(30)
        except (OSError, BuildError) as error:
            raise self._fail(str(error)) from error
        if self._loopback:
            self.run(OPEN_LOOPBACK)

    def resume(self, saved: Saved) -> None:
        """Go on with a saved guest; `TargetFailed` if QEMU does not take it."""
        self.console.stages.update(saved.stages)
        try:
            # Before the guest goes on: it never sees that nobody was connected.
            self._transport = self._connect()
            self.monitor().load(saved.state)
            if isinstance(self._transport, Ssh):
                self._transport.wait_ready(30)
        except (OSError, BuildError) as error:
            why = self._ending() if self._process.poll() is not None else str(error)
            raise self._fail(why) from error

    def save(self, state: Path) -> Saved:
        """Write the guest's state to a file; it is stopped for good."""
        self._check()
        try:
            self.monitor().save(state)
        except BuildError as error:
            raise self._fail(str(error)) from error
        return Saved(state, dict(self.console.stages))

    def monitor(self) -> Qmp:
        """QEMU's monitor; `BuildError` if it does not answer."""
        if self._monitor is None:
            self._monitor = connected(Qmp, self._folder / "qmp", self._process)
        return self._monitor

    def _connect(self) -> Agent | Ssh:
        if self.guest.ssh_key is not None and self.ssh_port is not None:
            return Ssh(self.ssh_port, self.guest.ssh_key, self._folder)
        return connected(Agent, self._folder / "agent", self._process)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.console.trouble:
            raise self._fail(self.console.trouble)
        if self.console.ended:
            raise self._fail(self._ending())

    def _ending(self) -> str:
        code = self._process.wait()
        assert self._process.stderr is not None
        words = self._process.stderr.read().decode("utf-8", "replace").strip()
        return f"QEMU ended with exit code {code}" + (f": {words}" if words else "")

    def _fail(self, why: str) -> TargetFailed:
        details = [*self.console.tail(), f"console: {self.guest.log_folder / 'console.log'}"]
        name = self.guest.artifacts.machine
        self._failure = TargetFailed(f"{name}: {why}", details=details)
        return self._failure

    def start(self, command: str) -> None:
        """Start a shell command on the target that may take the connection with it."""
        self.run(f"(sleep 0.2; {command}) </dev/null >/dev/null 2>&1 &")

    def wait_off(self, timeout: float) -> None:
        """Wait until the target has powered off or wants to restart; `TargetFailed` if not."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise self._fail(f"still on after {timeout:g} s") from error

    def close(self) -> None:
        """End the connections for commands."""
        for connection in (self._transport, self._monitor):
            if connection is not None:
                connection.close()


@contextlib.contextmanager
def booted(guest: Guest, start: Start | None = None) -> Iterator[Running]:
    """Boot an image and wait until its server answers; nothing of it is left at the end.

    The API is forwarded to a free port of the host unless the server listens on loopback only; a
    language model always.
    """
    guest.log_folder.mkdir(parents=True, exist_ok=True)
    check_kernel(guest)
    start = start or Start()
    with contextlib.ExitStack() as stack:
        ports = start.ports or stack.enter_context(held_ports(guest.artifacts))
        start = dataclasses.replace(start, ports=ports)
        # A short path: that of a unix socket has at most 107 bytes.
        folder = stack.enter_context(scratch_folder(SOCKETS))
        with spawn(_command(guest, start, folder)) as process:
            found = Running(guest, process, folder, start)
            try:
                if start.saved is None:
                    found.wait_ready(stage=start.stage)
                else:
                    found.resume(start.saved)
                widen_backlog(process.pid, [forward.host for forward in ports.forwards])
                yield found
            finally:
                found.close()


def check_kernel(guest: Guest) -> None:
    """`BuildError` where the image is of another architecture, which would say nothing at all."""
    artifacts = guest.artifacts
    if artifacts.has("kernel"):
        wrong = wrong_kernel(artifacts.path("kernel"), guest.qemu.system)
        if wrong:
            raise BuildError(f"{artifacts.machine}: {wrong}")


def _command(guest: Guest, start: Start, folder: Path) -> list[str]:
    assert start.ports is not None
    channels = Channels(
        forwards=start.ports.forwards,
        agent=folder / "agent",
        qmp=folder / "qmp",
        packets=start.packets or folder / "packets.pcap",
        vars=copy_vars(guest, folder),
        disk=start.disk,
        extra=start.extra,
        gdb=guest.gdb,
    )
    words = qemu_command(guest.artifacts, guest.qemu, guest.tools, guest.boot, channels)
    words += COUNTED if start.counted else ()
    if start.saved is not None:
        return [*words, "-incoming", "defer"]
    return [*words, *(("-S",) if guest.gdb else ())]


def connected(kind: Callable[[Path], T], path: Path, process: subprocess.Popen[bytes]) -> T:
    """A connection to a socket that QEMU makes, and then listens on, as it starts."""
    deadline = time.monotonic() + SOCKET_TIMEOUT
    while True:
        try:
            return kind(path)
        except (FileNotFoundError, ConnectionRefusedError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def copy_vars(guest: Guest, folder: Path) -> Path | None:
    """A writable copy of the firmware's variable store, where the disk boots by itself."""
    if guest.boot == "direct":
        return None
    if guest.qemu.firmware_vars is None:
        raise UserError(f"{guest.artifacts.machine} has no UEFI firmware", hint="use --boot direct")
    target = folder / "vars.fd"
    shutil.copyfile(guest.tools.path(guest.qemu.firmware_vars), target)
    return target
