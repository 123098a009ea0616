"""What `test` does with baselines: count, compare, write."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

    def check(self, machines: tuple[str, ...]) -> None:
        """`UserError` before anything is built, where a file cannot be used."""
        if self.baseline is not None:
            check_baseline(self.baseline, read_baseline(self.baseline), machines)
        if self.output is not None and self.output.exists():
            read_baseline(self.output)

    def complete(self, app: App, session: Session, result: MachineResult) -> MachineResult:
        """The result with the figures, if any were asked for; a failed test has none."""
        if (self.baseline is None and self.output is None) or not result.good:
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
