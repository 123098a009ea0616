"""What a person sees while a command works: messages, progress, tables."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

QUIET, NORMAL, VERBOSE = 0, 1, 2
SLOW = 1.0
"""Seconds after which a task is worth a line where no terminal shows it live."""
HEARTBEAT = 10.0
"""Seconds between two progress lines where no terminal shows them live."""


class Task:
    """A piece of work in progress; `advance` counts in the unit of `total`."""

    def __init__(self, log: Log, label: str, total: int | None) -> None:
        self._log = log
        self.label = label
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.spoken = self.started

    def advance(self, amount: int) -> None:
        """Add to what is done."""
        self.done += amount
        self._log.update(self)

    def note(self, label: str) -> None:
        """Replace the text shown for this task."""
        self.label = label
        self._log.update(self)

    def state(self) -> str:
        """Text such as `42 %`, empty when the total is not known."""
        return f"{min(100, 100 * self.done // self.total)} %" if self.total else ""


class Log:
    """Messages on stderr: live progress on a terminal, plain lines elsewhere.

    `level` is QUIET (errors only), NORMAL or VERBOSE. Colours follow NO_COLOR and the terminal.
    Results of a command go to stdout through `print` and `table` at every level.
    """

    def __init__(self, level: int = NORMAL, stream: TextIO | None = None) -> None:
        self.level = level
        self._stream = stream or sys.stderr
        self._live = level >= NORMAL and self._stream.isatty()
        self._shown = False

    def print(self, text: str = "") -> None:
        """A line of the command's result, on stdout."""
        self._clear()
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def info(self, text: str) -> None:
        """A line that `--quiet` leaves out."""
        self._line(text, NORMAL)

    def debug(self, text: str) -> None:
        """A line that only `--verbose` shows."""
        self._line(text, VERBOSE)

    def warning(self, text: str) -> None:
        """A line that only `--quiet` leaves out, marked as a warning."""
        self._line(f"warning: {text}", NORMAL)

    def error(self, text: str) -> None:
        """A line that is always shown."""
        self._line(text, QUIET)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of the command's result, on stdout; colours only on a terminal."""
        from rich.table import Column, Table

        # A narrow terminal breaks words rather than leave out their ends.
        table = Table(*(Column(name, overflow="fold") for name in header))
        for row in rows:
            table.add_row(*row)
        self._clear()
        _stdout_console().print(table)

    @contextlib.contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        """Show work in progress; where nothing is live, work over a second gets lines."""
        task = Task(self, label, total)
        self.update(task)
        try:
            yield task
        except BaseException:
            self._clear()
            raise
        self._clear()
        seconds = time.monotonic() - task.started
        if seconds >= SLOW or self.level >= VERBOSE:
            self._line(f"{task.label}: {seconds:.1f} s", NORMAL)

    def update(self, task: Task) -> None:
        """Show where a task stands."""
        now = time.monotonic()
        if self._live:
            self._stream.write(f"\r\x1b[K{task.label} {task.state()}".rstrip()[:200])
            self._stream.flush()
            self._shown = True
        elif now - task.spoken >= HEARTBEAT:
            task.spoken = now
            self._line(f"{task.label} ... {task.state()}".rstrip(), NORMAL)

    def _line(self, text: str, level: int) -> None:
        if level <= self.level:
            self._clear()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def _clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._shown = False


def _stdout_console() -> RichConsole:
    from rich.console import Console

    # A fixed width keeps tables whole in log files, where rich would assume 80 columns.
    return Console(width=None if sys.stdout.isatty() else 140)
