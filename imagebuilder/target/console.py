"""The console of a target: kept in a file of limited size, searched for markers as it comes."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO

from imagebuilder import device

MAX_LOG = 16 << 20
"""Bytes kept in the file; a guest that floods its console cannot fill the disk."""
MAX_LINE = 4096
TAIL = 30
PANIC = re.compile(r"Kernel panic|Internal error: Oops|BUG: |Unable to handle kernel|segfault at")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>c]|\r")


class Console:
    """Reads a stream to its end in a thread of its own.

    `stages` maps a marker's name to seconds after the start; `trouble` is the first line that tells
    of a panic or of a failed start, `damage` all that tell of what was found damaged, or was
    mended; `size` is how many bytes were printed. With a `title` the file keeps what it has and
    goes on with it.
    """

    def __init__(self, stream: IO[bytes], log: Path, title: str = "") -> None:
        self.stages: dict[str, float] = {}
        self.trouble = ""
        self.damage: list[str] = []
        self.changed = threading.Condition()
        self.ended = False
        self.size = 0
        self._log = log
        self._title = title
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def tail(self) -> tuple[str, ...]:
        """The last lines."""
        with self.changed:
            return tuple(self._tail)

    def text(self) -> str:
        """All that was kept."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def settle(self, pause: float = 0.1, limit: float = 1.0) -> None:
        """Wait until nothing more comes for `pause` seconds, `limit` at most: a panic has lines."""
        deadline, before = time.monotonic() + limit, -1
        while self.size != before and not self.ended and time.monotonic() < deadline:
            before = self.size
            time.sleep(pause)

    def join(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(5)

    def _read(self, stream: IO[bytes]) -> None:
        # The stream is closed with the guest, whatever that may still have to say.
        with self._log.open("ab" if self._title else "wb") as log, contextlib.suppress(ValueError):
            if self._title:
                log.write(f"\n{device.MARKER}{self._title}\n".encode())
            kept = log.tell()
            while line := stream.readline(MAX_LINE):
                self.size += len(line)
                if kept < MAX_LOG:
                    log.write(line)
                    log.flush()
                    kept += len(line)
                self._take(ESCAPES.sub("", line.decode("utf-8", "replace")).strip())
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _take(self, line: str) -> None:
        if not line:
            return
        with self.changed:
            self._tail.append(line)
        _, found, stage = line.partition(device.MARKER)
        failed = found and stage.startswith(device.FAILED)
        if not (found or PANIC.search(line)):
            return
        with self.changed:
            if found and stage in device.STAGES:
                self.stages.setdefault(stage, round(time.monotonic() - self._started, 3))
            elif found and stage.startswith((device.DAMAGED, device.REPAIRED)):
                self.damage.append(stage)
            elif (failed or not found) and not self.trouble:
                self.trouble = stage.removeprefix(device.FAILED) if failed else line
            self.changed.notify_all()
