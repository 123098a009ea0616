"""Baselines: figures of an image kept as text, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.state import write_if_changed

Figures = Mapping[str, int | str]

LIMITS = {"inference": 1.0, "token": 1.0, "prompt_token": 1.0, "session": 3.0, "boot": 3.0,
          "peak_kib": 10.0, "bytes": 2.0}  # fmt: skip
"""Percent by which a figure may grow, by the last part of its name; beyond what reruns differ."""
COUNTED = ("inference", "token", "prompt_token", "session", "boot")
"""Kinds of figures that are instructions."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure then and now; None where it was or is not there. `worse` fails the test."""

    name: str
    before: int | str | None
    now: int | str | None
    worse: bool

    @property
    def percent(self) -> float | None:
        """Growth in percent, None where there is none."""
        if isinstance(self.before, int) and isinstance(self.now, int) and self.before:
            return 100 * (self.now - self.before) / self.before
        return None

    def __str__(self) -> str:
        growth = "" if self.percent is None else f" ({self.percent:+.2f} %)"
        return f"{self.name}: {show_figure(self.before)} → {show_figure(self.now)}{growth}"


def show_figure(value: int | str | None) -> str:
    """With thousands apart."""
    if value is None:
        return "absent"
    return value if isinstance(value, str) else f"{value:,}"


def read_baseline(path: Path) -> dict[str, dict[str, int | str]]:
    """Machine → its figures; `UserError` for a file that is no baseline."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable baseline: {error}") from error
    machines = data.get("machines") if isinstance(data, dict) else None
    if not isinstance(machines, dict) or data.get("format") != 1:
        raise UserError(f"{path}: no baseline of format 1", hint="`test --write-baseline` makes it")
    for machine, figures in machines.items():
        if not isinstance(figures, dict) or not all(
            type(value) in (int, str) for value in figures.values()
        ):
            raise UserError(f"{path}: machines.{machine}: figures are whole numbers and text")
    return machines


def check_baseline(path: Path, baseline: Mapping[str, Figures], machines: tuple[str, ...]) -> None:
    """`UserError` where a machine that will be tested is not in the baseline."""
    for machine in machines:
        if machine not in baseline:
            found = ", ".join(sorted(baseline)) or "none"
            raise UserError(f"{path}: has no figures of {machine}", hint=f"it has: {found}")


def write_baseline(path: Path, found: Mapping[str, Figures]) -> None:
    """Put the figures of machines into a baseline; those of other machines stay."""
    old = read_baseline(path) if path.exists() else {}
    data = {"format": 1, "machines": {**old, **found}}
    text = json.dumps(data, indent=2, sort_keys=True) + "\n"
    write_if_changed(path, text.encode())


def compare(before: Figures, now: Figures, limit: float | None = None) -> tuple[Change, ...]:
    """Every figure that differs, the worse ones first; `limit` is for instructions, in percent."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    changes = [
        Change(name, before.get(name), now.get(name), _worse(name, before, now, limit))
        for name in names
    ]
    return tuple(sorted(changes, key=lambda change: not change.worse))


def _worse(name: str, before: Figures, now: Figures, limit: float | None) -> bool:
    old, new = before.get(name), now.get(name)
    if old is None:
        return False
    if not isinstance(old, int) or not isinstance(new, int):
        return old != new
    kind = name.rpartition(".")[2]
    allowed = LIMITS.get(kind, 0.0) if limit is None or kind not in COUNTED else limit
    return new > old * (1 + allowed / 100)


def change_rows(machine: str, changes: tuple[Change, ...]) -> Iterator[tuple[str, ...]]:
    """Rows of a table."""
    for change in changes:
        growth = "" if change.percent is None else f"{change.percent:+.2f} %"
        yield (machine, change.name, show_figure(change.before), show_figure(change.now), growth,
               "worse" if change.worse else "")  # fmt: skip


CHANGE_HEADER = ("machine", "figure", "baseline", "now", "growth", "")
