"""What `test` does with baselines: count, compare, write."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from imagebuilder.cli.app import App
from imagebuilder.errors import BuildError
from imagebuilder.report import MachineResult
from imagebuilder.report.baseline import (
    CHANGE_HEADER,
    change_rows,
    check_baseline,
    compare,
    read_baseline,
    write_baseline,
)
from imagebuilder.testing.session import Session


@dataclass(frozen=True, slots=True)
class Counting:
    """The options: compare with one file, write the figures to another, percent allowed."""

    baseline: Path | None
    output: Path | None
    threshold: float | None

    @property
    def asked(self) -> bool:
        """Whether anything is counted."""
        return self.baseline is not None or self.output is not None

    def check(self, machines: tuple[str, ...]) -> None:
        """`UserError` before anything is built, where a file cannot be used."""
        if self.baseline is not None:
            check_baseline(self.baseline, read_baseline(self.baseline), machines)
        if self.output is not None and self.output.exists():
            read_baseline(self.output)

    def complete(self, app: App, session: Session, result: MachineResult) -> MachineResult:
        """The result with the figures, if any were asked for; a failed test has none."""
        if not self.asked or not result.good:
            return result
        from imagebuilder.testing.counting import count

        guest = dataclasses.replace(session.guest, gdb=None)
        with app.log.task(f"count instructions on {result.machine}"):
            try:
                figures = count(dataclasses.replace(guest, log_folder=guest.log_folder / "counted"))
            except BuildError as error:
                return dataclasses.replace(result, error=error.what)
        result = dataclasses.replace(result, figures=figures)
        if self.baseline is None:
            return result
        before = read_baseline(self.baseline)[result.machine]
        changes = compare(before, figures, self.threshold)
        app.log.table(CHANGE_HEADER, list(change_rows(result.machine, changes)))
        return dataclasses.replace(result, changes=changes, compared=True)

    def save(self, results: Sequence[MachineResult]) -> None:
        """Write the figures of all machines that passed, and are no worse than before."""
        found = {r.machine: r.figures for r in results if r.figures and not r.regressions}
        if self.output is not None and found:
            write_baseline(self.output, found)


def counting_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of `Counting`, given to the command as `counting`."""

    @click.option(
        "--baseline",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Count instructions too, and fail where a figure is worse than in FILE.",
    )
    @click.option(
        "--write-baseline",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Count instructions too, and write the figures to FILE.",
    )
    @click.option(
        "--threshold",
        type=click.FloatRange(0, 1000),
        metavar="PERCENT",
        help="Growth of instructions that --baseline allows, by default 1 for inference, 3 for "
        "loading a model and for boot.",
    )
    @functools.wraps(function)
    def with_counting(*args: Any, **values: Any) -> None:
        names = ("baseline", "write_baseline", "threshold")
        counting = Counting(*(values.pop(name) for name in names))
        function(*args, counting=counting, **values)

    return with_counting
