"""Whether a process still gets on, judged by processor time: the load of the host changes nothing.

What a process waits for a processor counts as well as what it runs (/proc/PID/task/*/schedstat,
Documentation/scheduler/sched-stats.rst), so that neither looks like a hang.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

IDLE = 20.0
"""Seconds in which next to nothing ran, after which a guest hangs."""
BUSY = 90.0
"""Seconds of processor time without a new stage, after which a guest hangs."""
SHARE = 0.05
"""Of the time: less is what the timers of a guest take that has nothing to do."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds that a process's threads have run, and waited for a processor."""

    ran: float
    waited: float


def effort(pid: int) -> Effort:
    """What a process has done; on a host that does not tell, it seems to run all the time."""
    ran = waited = 0
    found = False
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            words = path.read_text("ascii").split()
            ran, waited, found = ran + int(words[0]), waited + int(words[1]), True
    return Effort(ran / 1e9, waited / 1e9) if found else Effort(time.monotonic(), 0.0)


class Watch:
    """Looks at a process again and again, while it has something to do."""

    def __init__(self, pid: int, idle: float = IDLE, busy: float = BUSY) -> None:
        self._pid = pid
        self._idle = idle
        self._busy = busy
        self._stage = -1
        self._ran = 0.0
        self._active = self._looked = time.monotonic()
        self._before = effort(pid)

    def stuck(self, stage: int) -> str:
        """Why the process no longer gets on, empty while it does; `stage` is how far it is."""
        now, found = time.monotonic(), effort(self._pid)
        ran = found.ran - self._before.ran
        if abs(ran + found.waited - self._before.waited) > SHARE * (now - self._looked):
            self._active = now
        self._ran += max(0.0, ran)
        if stage != self._stage:
            self._stage, self._ran, self._active = stage, 0.0, now
        self._looked, self._before = now, found
        if now - self._active > self._idle:
            return f"nothing has run for {self._idle:g} s"
        if self._ran > self._busy:
            return f"{self._busy:g} s of processor time are over"
        return ""
