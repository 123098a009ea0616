"""A target in QEMU, whose disk keeps what was written from one boot to the next."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuilder.artifact import Artifacts
from imagebuilder.errors import BuildError
from imagebuilder.run import run
from imagebuilder.state import scratch_folder
from imagebuilder.target.command import KeptDisk
from imagebuilder.target.console import Console
from imagebuilder.target.ports import HeldPorts, ports_for_tests
from imagebuilder.target.power import cut
from imagebuilder.target.qemu import (
    Guest,
    Running,
    Saved,
    Start,
    TargetFailed,
    booted,
)
from imagebuilder.testing.keeping import describe_kept, keep
from imagebuilder.testing.target import WARM, Target

STOP_TIMEOUT = 60.0


class EmulatedTarget(Target):
    """See `Target`; `seed` decides what power cuts lose."""

    def __init__(self, guest: Guest, folder: Path, seed: int) -> None:
        super().__init__(guest.artifacts.machine, None)
        self._guest = guest
        self._folder = folder
        self._chance = random.Random(seed)
        # `start` is the disk as it was at power-on: that of the image, of a snapshot, or `own`,
        # which alone may be changed; `run` is what QEMU writes to.
        self._start = guest.artifacts.path("disk")
        self._own, self._run, self._log = (folder / name for name in ("own", "run", "log"))
        self._stack = contextlib.ExitStack()
        self._held = HeldPorts()
        self._ports = ports_for_tests(guest.artifacts, self._held)
        self._saved: dict[str, Saved] = {}
        self._emulated: Running | None = None
        self._broken: TargetFailed | None = None
        self._packets: list[Path] = []
        self._lost = 0

    @property
    def running(self) -> Running:
        """What QEMU runs now; `BuildError` while the target is off."""
        if self._emulated is None and self._broken is not None:
            raise self._broken
        if self._emulated is None:
            raise BuildError(f"{self.name} is off")
        return self._emulated

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._emulated is not None

    @property
    def artifacts(self) -> Artifacts:
        """What the build left behind, also while the target is off."""
        return self._guest.artifacts

    @property
    def console(self) -> Console:
        """What the target prints: `text()`, `tail()`, `stages`."""
        return self.running.console

    @property
    def packets(self) -> tuple[Path, ...]:
        """All packets of the target's network (pcap), a file for each boot and restore."""
        return tuple(self._packets)

    @property
    def disk(self) -> Path:
        """The disk while the target is off, as it will be at power-on (raw); may be changed."""
        if self.is_on:
            raise BuildError(f"{self.name} is on: its disk cannot be changed")
        if self._start != self._own:
            _copy(self._start, self._own)
            self._start = self._own
        return self._start

    @property
    def lost(self) -> int:
        """How many writes the last power cut lost."""
        return self._lost

    def begin(self, *, warm: bool) -> None:
        """Power on before all tests, and with `warm` take the snapshot of this name.

        With a target that does not come up, `prepare` fails.
        """
        try:
            self.boot()
            if warm:
                self.snapshot()
        except TargetFailed as error:
            self._broken = error

    def prepare(self, *, fresh: bool) -> None:
        """Before a test: on, and with `fresh` as the last snapshot `warm` has it.

        One that an earlier test found broken is brought up again; `TargetFailed`, at once and
        without the console after the first time, if it does not come up.
        """
        if self._broken is not None:
            broken, self._broken = self._broken, TargetFailed(self._broken.what)
            raise broken
        try:
            self._prepare(fresh)
        except TargetFailed as error:
            self._broken = TargetFailed(error.what)
            raise

    def _prepare(self, fresh: bool) -> None:
        failed = self.is_on and self.running.failed
        if fresh or (failed and WARM in self._saved):
            self.restore()
        elif failed or not self.is_on:
            self.close()
            self.boot()

    def boot(self) -> None:
        """Power on, and wait until the servers answer."""
        self._on(None, "boot")

    def power_cut(self) -> None:
        """Take the power away now: of what was written and not flushed, some is lost."""
        self.running  # noqa: B018 - raises while it is off
        self.close()
        self._lost = cut(self.disk, self._log, self._chance)

    def reboot(self) -> None:
        """Restart as the device itself would; `BuildError` if it does not go down."""
        self.start("reboot")
        self.running.wait_off(STOP_TIMEOUT)
        self.close()
        self._start = self._run.replace(self._own)
        self.boot()

    def crash(self, timeout: float = 30.0) -> tuple[str, ...]:
        """Make the kernel panic; gives the console's last lines, and the power is off."""
        self.start("echo c > /proc/sysrq-trigger")
        deadline = time.monotonic() + timeout
        console = self.console
        with console.changed:
            while not console.trouble and not console.ended:
                if not console.changed.wait(max(0.0, deadline - time.monotonic())):
                    raise BuildError("the kernel did not panic")
        lines = console.tail()
        self.power_cut()
        return lines

    def snapshot(self, name: str = WARM) -> None:
        """Keep memory and disk as they are now; the target goes on from there."""
        saved = self.running.save(self._folder / f"{name}.state")
        self.close()
        self._run.replace(self._kept_disk(name))
        self._saved[name] = saved
        self.restore(name)

    def restore(self, name: str = WARM) -> None:
        """Go on from a snapshot, be the target on or off; `BuildError` if there is none."""
        if name not in self._saved:
            raise BuildError(f"{self.name}: there is no snapshot {name!r}")
        self.close()
        self._start = self._kept_disk(name)
        self._on(self._saved[name], f"restore {name}")

    def leave_on(self) -> str:
        """Go on in a process that outlives this one; how to reach it, as text for people."""
        state = self._folder / "kept.state"
        self.running.monitor().save(state)
        self.close()
        kept = keep(self._guest, self._ports, state, self._run)
        return "\n".join(describe_kept(self._guest, self._ports, kept))

    def monitor(self, command: str, **arguments: Any) -> Any:
        """Give QEMU a command of its monitor (QMP), such as `set_link`."""
        return self.running.monitor().execute(command, **arguments)

    def close(self) -> None:
        """Power off; the disk is then as it was at power-on."""
        self._emulated = None
        self._stack.close()

    def release(self) -> None:
        """Power off for good, and let go of the ports."""
        self.close()
        self._held.close()

    def _on(self, saved: Saved | None, title: str) -> None:
        if self.is_on:
            raise BuildError(f"{self.name} is on")
        _copy(self._start, self._run)
        self._log.write_bytes(b"")
        self._packets.append(self._folder / f"{len(self._packets)}.pcap")
        start = Start(
            ports=self._ports,
            disk=KeptDisk(self._run, self._log),
            saved=saved,
            title=title if len(self._packets) > 1 else "",
            packets=self._packets[-1],
        )
        self._emulated = self._stack.enter_context(booted(self._guest, start))

    def _kept_disk(self, name: str) -> Path:
        return self._folder / f"{name}.disk"


@contextlib.contextmanager
def emulated(guest: Guest, seed: int = 0) -> Iterator[EmulatedTarget]:
    """A target that is off, with a disk as it was built; nothing of it is left at the end."""
    with scratch_folder(guest.log_folder) as folder:
        found = EmulatedTarget(guest, folder, seed)
        try:
            yield found
        finally:
            found.release()


def _copy(source: Path, target: Path) -> None:
    """Holes stay holes, and a file system that can share blocks does."""
    run(["cp", "--sparse=auto", "--reflink=auto", source, target])
