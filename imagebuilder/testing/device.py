"""A device whose disk keeps what was written, from one boot to the next."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from imagebuilder.errors import BuildError
from imagebuilder.run import run
from imagebuilder.target.command import KeptDisk
from imagebuilder.target.power import cut
from imagebuilder.target.qemu import Guest, QemuTarget, booted

STOP_TIMEOUT = 60.0


class Device:
    """Power on, cut the power, restart; see `device`. `lost` counts the writes of the last cut."""

    def __init__(self, guest: Guest, folder: Path, seed: int) -> None:
        self.lost = 0
        self._guest = guest
        self._chance = random.Random(seed)
        # `start` is the disk as it was at power-on, `run` what QEMU writes to.
        self._start, self._run, self._log = (folder / n for n in ("start", "run", "log"))
        self._stack = contextlib.ExitStack()
        self._target: QemuTarget | None = None
        _copy(guest.artifacts.path("disk"), self._start)

    @property
    def target(self) -> QemuTarget:
        """The device as it runs; `BuildError` while it is off."""
        if self._target is None:
            raise BuildError("the device is off")
        return self._target

    def boot(self) -> QemuTarget:
        """Power on and wait until the server answers."""
        if self._target is not None:
            raise BuildError("the device is on")
        _copy(self._start, self._run)
        self._log.write_bytes(b"")
        kept = KeptDisk(self._run, self._log)
        self._target = self._stack.enter_context(booted(self._guest, disk=kept))
        return self._target

    def power_cut(self) -> None:
        """Take the power away now; of what was written and not flushed, some is lost."""
        if self._target is None:
            raise BuildError("the device is off")
        self._off()
        self.lost = cut(self._start, self._log, self._chance)

    def reboot(self) -> QemuTarget:
        """Restart as the device itself would; `BuildError` if it does not go down."""
        self.target.start("reboot")
        self.target.wait_off(STOP_TIMEOUT)
        self._off()
        shutil.move(self._run, self._start)
        return self.boot()

    def crash(self, seconds: float = 30.0) -> tuple[str, ...]:
        """Make the kernel panic; gives the console's last lines, and the power is off."""
        self.target.start("echo c > /proc/sysrq-trigger")
        deadline = time.monotonic() + seconds
        console = self.target.console
        with console.changed:
            while not console.trouble and not console.ended:
                if not console.changed.wait(max(0.0, deadline - time.monotonic())):
                    raise BuildError("the kernel did not panic")
        lines = console.tail()
        self.power_cut()
        return lines

    def close(self) -> None:
        """Power off for good."""
        self._off()

    def _off(self) -> None:
        self._target = None
        self._stack.close()


@contextlib.contextmanager
def device(guest: Guest, seed: int = 0) -> Iterator[Device]:
    """A device that is off, with a disk as it was built; `seed` decides what power cuts lose."""
    with TemporaryDirectory(prefix="ib-device-", dir=guest.log_folder) as folder:
        found = Device(guest, Path(folder), seed)
        try:
            yield found
        finally:
            found.close()


def _copy(source: Path, target: Path) -> None:
    """Holes stay holes, and a file system that can share blocks does."""
    run(["cp", "--sparse=auto", "--reflink=auto", source, target])
