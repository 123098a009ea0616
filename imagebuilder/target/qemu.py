"""A target in QEMU: off → booting → ready, or failed once and for all.

Readiness comes over the console, commands then go over ssh where a key is given, else to the agent.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.catalog.machine import Qemu
from imagebuilder.errors import BuildError, UserError
from imagebuilder.hosttools import Toolbox
from imagebuilder.run import spawn
from imagebuilder.target.agent import Agent, Output
from imagebuilder.target.command import Channels, Forward, KeptDisk, qemu_command
from imagebuilder.target.console import Console
from imagebuilder.target.ssh import Ssh

COUNT_SHIFT = 1
COUNTED = ("-icount", f"shift={COUNT_SHIFT},sleep=off", "-rtc", "clock=vm")
"""The guest's clock advances by 2^COUNT_SHIFT ns an instruction; idle time is skipped."""
BOOT_TIMEOUT = 180.0
"""Seconds to the first answer of the server, on a slow and busy host."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What is booted and how; with `ssh_key`, a private key, commands go over ssh."""

    artifacts: Artifacts
    qemu: Qemu
    tools: Toolbox
    boot: str
    log_folder: Path
    ssh_key: Path | None = None


class TargetFailed(BuildError):
    """The target cannot be used any more; carries the console's last lines."""


class QemuTarget:
    """A booted image; see `booted`."""

    def __init__(self, guest: Guest, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.guest = guest
        self.api_port: int | None = None
        self.text_port: int | None = None
        self.ssh_port: int | None = None
        self.packets = folder / "packets.pcap"
        self._process = process
        assert process.stdout is not None
        self.console = Console(process.stdout, guest.log_folder / "console.log")
        self._folder = folder
        self._transport: Agent | Ssh | None = None
        self._failure: TargetFailed | None = None

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command on the target as root; `TargetFailed` when it is gone."""
        self._check()
        assert self._transport is not None
        try:
            return self._transport.run(command, timeout)
        except BuildError as error:
            raise self._fail(str(error)) from error

    def wait_ready(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait for the server's first answer; `TargetFailed` as soon as that cannot come."""
        deadline = time.monotonic() + timeout
        with self.console.changed:
            while "ready" not in self.console.stages:
                if self.console.trouble:
                    raise self._fail(self.console.trouble)
                if self.console.ended:
                    raise self._fail(self._ending())
                if not self.console.changed.wait(max(0.0, deadline - time.monotonic())):
                    stage = next(reversed(self.console.stages), "power-on")
                    raise self._fail(f"not ready within {timeout:g} s, last stage: {stage}")
        try:
            self._transport = self._connect()
            self._transport.wait_ready(30)
        except (OSError, BuildError) as error:
            raise self._fail(str(error)) from error

    def _connect(self) -> Agent | Ssh:
        if self.guest.ssh_key is not None and self.ssh_port is not None:
            return Ssh(self.ssh_port, self.guest.ssh_key, self._folder)
        return Agent(self._folder / "agent")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.console.trouble:
            raise self._fail(self.console.trouble)

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
        """End the connection for commands."""
        if self._transport is not None:
            self._transport.close()


@contextlib.contextmanager
def booted(
    guest: Guest,
    *,
    forwards: tuple[Forward, ...] = (),
    counted: bool = False,
    disk: KeptDisk | None = None,
) -> Iterator[QemuTarget]:
    """Boot an image and wait until its server answers; nothing of it is left at the end.

    The API is forwarded to a free port of the host unless the server listens on loopback only.
    With `counted` the guest's clock counts instructions; `disk` is written to.
    """
    guest.log_folder.mkdir(parents=True, exist_ok=True)
    # A short path: that of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ib-", dir="/tmp") as name:
        folder = Path(name)
        forwards, api = forwarded(guest.artifacts.listen, forwards)
        forwards, text = forwarded(guest.artifacts.text_listen, forwards)
        ssh = free_port() if guest.artifacts.ssh else None
        forwards = (*forwards, *((Forward(ssh, 22),) if ssh else ()))
        channels = Channels(
            forwards, folder / "agent", folder / "packets.pcap", copy_vars(guest, folder), disk
        )
        command = qemu_command(guest.artifacts, guest.qemu, guest.tools, guest.boot, channels)
        command += COUNTED if counted else ()
        with spawn(command) as process:
            target = QemuTarget(guest, process, folder)
            target.api_port, target.text_port, target.ssh_port = api, text, ssh
            try:
                target.wait_ready()
                yield target
            finally:
                target.close()


def forwarded(
    listen: str | None, forwards: tuple[Forward, ...]
) -> tuple[tuple[Forward, ...], int | None]:
    """The forwards with one to a server, and its port of the host.

    None where there is no server, or it listens on the target's loopback only.
    """
    if listen is None:
        return forwards, None
    address, _, text = listen.rpartition(":")
    if address.startswith("127.") or address == "localhost":
        return forwards, None
    port = int(text)
    host = next((f.host for f in forwards if f.guest == port), None) or free_port()
    return (*(f for f in forwards if f.guest != port), Forward(host, port)), host


def copy_vars(guest: Guest, folder: Path) -> Path | None:
    """A writable copy of the firmware's variable store, where the disk boots by itself."""
    if guest.boot == "direct":
        return None
    if guest.qemu.firmware_vars is None:
        raise UserError(f"{guest.artifacts.machine} has no UEFI firmware", hint="use --boot direct")
    target = folder / "vars.fd"
    shutil.copyfile(guest.tools.path(guest.qemu.firmware_vars), target)
    return target


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether this host's TCP port can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
