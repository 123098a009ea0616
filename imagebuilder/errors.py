"""The errors a command can end with, and the exit codes they map to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text file; line and column count from 1, 0 means the whole file."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.line == 0:
            return str(self.file)
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do about it."""

    what: str
    location: Location | None = None
    key: str = ""
    hint: str = ""

    def __str__(self) -> str:
        parts = [str(self.location)] if self.location else []
        parts += [self.key] if self.key else []
        text = ": ".join([*parts, self.what])
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ImagebuilderError(Exception):
    """Base of all errors that a command reports without a traceback."""

    exit_code = EXIT_FAILED


class UserError(ImagebuilderError):
    """The input or the host is wrong; carries every problem found."""

    exit_code = EXIT_INPUT

    def __init__(self, *problems: Problem | str, hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(
            Problem(problem, hint=hint) if isinstance(problem, str) else problem
            for problem in problems
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BuildError(ImagebuilderError):
    """Something that should have worked did not; `details` are shown below the message."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, details: Iterable[str] = (), hint: str = "") -> None:
        self.what = what
        self.details = tuple(details)
        self.hint = hint
        lines = [what, *(f"  {line}" for line in self.details)]
        super().__init__("\n".join([*lines, f"  hint: {hint}"] if hint else lines))
